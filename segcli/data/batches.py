"""Batches of samples, as the loader gives them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from segcli.core.errors import DataError, SegcliError
from segcli.core.types import Array, Batch
from segcli.data.pipeline import Ready
from segcli.data.rows import in_rows
from segcli.data.samples import Case, Geometry

__all__ = ["InOneArray", "Key", "Loaded", "collated", "differing"]

Key = tuple[int, int]
"""Epoch, and position in the list of samples of that epoch."""


@dataclass
class Loaded:
    """Holds one batch."""

    tensors: Batch
    cases: list[Case]
    geometries: list[Geometry]
    stored_maps: list[dict[str, Array]]
    """Maps at the stored size, for each image; empty in training."""
    batch: list[Case] | None = None
    """Cases of the whole batch if other processes have loaded the rest."""
    counts: bool = True
    """False if none of the images is for this process: it only does what the others do."""
    key: Key | None = None
    """Epoch, and number of the batch in it, in training."""

    def pin_memory(self) -> "Loaded":
        """Move the tensors to page-locked memory; PyTorch's loader calls this."""
        self.tensors = {name: tensor.pin_memory() for name, tensor in self.tensors.items()}
        return self


class InOneArray:
    """Makes the arrays of the images of a batch as parts of one array, which is then the batch without a copy.

    Example:
        >>> place = InOneArray(2)
        >>> first, second = place((1, 3), np.float32), place((1, 3), np.float32)
        >>> _stacked([first, second]) is first.base
        True
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.whole: Array | None = None
        self.given = 0

    def __call__(self, shape: tuple[int, ...], dtype: type[np.float32]) -> Array:
        """Return the next part; an array of its own for a shape that differs from that of the first image."""
        if self.whole is None:
            self.whole = np.empty((self.count, *shape), dtype)
        if self.given == self.count or self.whole.shape[1:] != shape:
            return np.empty(shape, dtype)
        self.given += 1
        part: Array = self.whole[self.given - 1]
        return part


def collated(samples: Sequence[tuple[Case, Ready] | SegcliError]) -> Loaded | SegcliError | None:
    """Put samples into a batch; return the first mistake of a user, if there is one, and None without samples."""
    if not samples:
        return None
    mistakes = [sample for sample in samples if isinstance(sample, SegcliError)]
    if mistakes:
        return mistakes[0]
    ready = [sample for sample in samples if isinstance(sample, tuple)]
    names = ready[0][1].arrays
    mistake = differing((case, item.arrays["image"].shape) for case, item in ready)
    if mistake is not None:
        return mistake
    return Loaded(
        tensors={name: torch.from_numpy(_stacked([item.arrays[name] for _, item in ready])) for name in names},
        cases=[case for case, _ in ready],
        geometries=[item.geometry for _, item in ready],
        stored_maps=[item.stored_maps for _, item in ready],
    )


def differing(shapes: Iterable[tuple[Case, tuple[int, ...]]]) -> DataError | None:
    """Tell which images of a batch differ in their shape `(C, *S)`; None if all have the same."""
    sizes = {shape: case for case, shape in shapes}
    if len(sizes) == 1:
        return None
    shown = " and ".join(f"`{case.place}` {'x'.join(map(str, shape[1:]))}" for shape, case in list(sizes.items())[:2])
    return DataError(
        f"images of one batch differ in size: {shown}",
        hint="set `data.image_size`, `data.patch_size`, or `data.batch_size=1`",
    )


def _stacked(arrays: Sequence[Array]) -> Array:
    """Put arrays of one shape into one, in the usual order of axes whatever that of the arrays is.

    They are copied unless they are the parts of one array.
    """
    whole = arrays[0].base
    if whole is not None and whole.shape == (len(arrays), *arrays[0].shape) and all(map(_is_same, arrays, whole)):
        return whole
    found = np.empty((len(arrays), *arrays[0].shape), arrays[0].dtype)
    for number, values in enumerate(arrays):
        is_one_value = values.ndim and values.size and not any(values.strides)  # such as `valid` of most images
        found[number] = values.flat[0] if is_one_value else in_rows(values)
    return found


def _is_same(one: Array, other: Array) -> bool:
    """Tell whether two arrays of one shape are the same memory."""
    return one.__array_interface__["data"] == other.__array_interface__["data"] and one.strides == other.strides
