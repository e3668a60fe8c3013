"""Batches that several workers load together.

Each worker reads the crops of images of its own, so that each image is decoded once an epoch.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch

from segcli.core.errors import DataError, SegcliError
from segcli.data.batches import Key, Loaded, differing

__all__ = ["in_parts", "joined"]


def in_parts(batches: Sequence[Sequence[Key]], repeat: int, num_workers: int) -> list[list[Key]]:
    """Split each batch into one part for each worker, some of them empty; PyTorch gives them to the workers in turns.

    Args:
        batches: Keys of each batch.
        repeat: Crops of each image in an epoch.
        num_workers: Number of workers.

    Example:
        >>> in_parts([[(0, 0), (0, 2), (0, 1)], [(0, 3)]], repeat=2, num_workers=2)
        [[(0, 0), (0, 1)], [(0, 2)], [], [(0, 3)]]
    """
    return [
        [key for key in batch if _owner(key, repeat, num_workers) == worker]
        for batch in batches
        for worker in range(num_workers)
    ]


def _owner(key: Key, repeat: int, num_workers: int) -> int:
    return key[1] // repeat % num_workers


def joined(
    parts: Iterable[Loaded | SegcliError | None], batches: Sequence[Sequence[Key]], repeat: int, num_workers: int
) -> Iterator[Loaded | SegcliError]:
    """Put the parts of each batch together, in the order of its keys; a mistake of a user stays one.

    Args:
        parts: Loaded parts, in the order of `in_parts`; None for an empty one.
        batches: Keys of each batch.
        repeat: Crops of each image in an epoch.
        num_workers: Number of workers.
    """
    rest = iter(parts)
    for batch in batches:
        loaded = list(islice(rest, num_workers))
        mistake = next((part for part in loaded if isinstance(part, SegcliError)), None)
        owners = [_owner(key, repeat, num_workers) for key in batch]
        yield mistake or _joined([part for part in loaded if not isinstance(part, SegcliError)], owners)
    deque(rest, maxlen=0)  # nothing is left, but PyTorch ends an epoch only when it is asked for more


def _joined(parts: Sequence[Loaded | None], owners: Sequence[int]) -> Loaded | DataError:
    """Put parts together; `owners` has the number of the part of each sample."""
    found: list[tuple[Loaded, int]] = []
    taken = [0] * len(parts)
    for owner in owners:
        part = parts[owner]
        assert part is not None, "a part with samples was loaded"
        found.append((part, taken[owner]))
        taken[owner] += 1
    mistake = differing((part.cases[at], part.tensors["image"].shape[1:]) for part, at in found)
    if mistake is not None:
        return mistake
    names = found[0][0].tensors
    return Loaded(
        tensors={name: torch.stack([part.tensors[name][at] for part, at in found]) for name in names},
        cases=[part.cases[at] for part, at in found],
        geometries=[part.geometries[at] for part, at in found],
        stored_maps=[part.stored_maps[at] for part, at in found],
    )
