"""Batches from worker processes; order and random numbers do not depend on the number of workers.

The sampler yields (epoch, sample) keys. Persistent workers thus know the epoch, and a resumed epoch skips its first
batches without reading them.
"""

import errno
import math
import multiprocessing
import multiprocessing.connection
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import psutil
import torch
from torch.utils.data import DataLoader, Sampler

from segcli.core.errors import DataError, DeviceError, SegcliError
from segcli.core.free_memory import free_bytes
from segcli.core.platform import SHARED_MEMORY, START_METHOD, signal_name
from segcli.core.randomness import generator
from segcli.core.ranks import share_of
from segcli.data.batches import Key, Loaded, collated
from segcli.data.cache import MemoryCache
from segcli.data.parts import in_parts, joined
from segcli.data.pipeline import Pipeline, Source
from segcli.data.reading import Cases, Wanted, with_later
from segcli.data.samples import Case
from segcli.data.settings import DataSettings
from segcli.data.workers import CROWDED, ENLARGE, FULL, OPEN_MORE, start_worker, unheard

__all__ = ["EvaluationLoader", "Loaded", "Loader", "TrainLoader", "batch_sizes"]

DYING_S = 2.0
"""Seconds to wait for a worker process to end after its connection broke."""
NO_DESCRIPTOR = "items of ancillary data"
"""Part of Python's message when a process may not open the file that another sends."""
AHEAD = 2
"""Batches that each worker loads before they are asked for."""
HELD = 0.1
"""Share of the free memory that crops may take which are cut before their turn, in all processes together."""


class _Order(Sampler[list[Wanted]]):
    """Yields the batches of keys that the loader sets before each pass."""

    def __init__(self) -> None:
        self.batches: list[list[Wanted]] = []

    def __iter__(self) -> Iterator[list[Wanted]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class Loader:
    """Wraps a PyTorch loader; its errors name the sample."""

    def __init__(self, cases: Cases, *, num_workers: int, pin_memory: bool) -> None:
        self.cases = cases
        self.order = _Order()
        self.pins = pin_memory
        self.splits_batches = num_workers > 1 and cases.crops_ahead > 1
        """True if each worker loads the part of a batch that is of its own images."""
        if num_workers:
            cases.log = multiprocessing.RawArray("q", 2 * num_workers)
        self.loader: DataLoader[Any] = DataLoader(
            cases,
            batch_sampler=self.order,
            collate_fn=collated,
            num_workers=num_workers,
            pin_memory=pin_memory and not self.splits_batches,
            prefetch_factor=AHEAD * (num_workers if self.splits_batches else 1) if num_workers else None,
            persistent_workers=num_workers > 0,
            worker_init_fn=start_worker,
            multiprocessing_context=START_METHOD if num_workers else None,
            # a separate generator: by default each pass draws a number from the one that dropout uses
            generator=torch.Generator(),
        )
        self.workers: list[Any] = []

    def batches(self, order: list[list[Key]]) -> Iterator[Loaded]:
        """Load the batches in this order.

        Raises:
            DataError: A file cannot be read, or a worker died while reading it.
            DeviceError: A worker was killed, as the kernel does when memory runs out.
        """
        num_workers = self.loader.num_workers
        keys = in_parts(order, self.cases.repeat, num_workers) if self.splits_batches else order
        self.order.batches = with_later(keys, self.cases.crops_ahead, num_workers)
        try:
            batches = iter(self.loader)
            self.workers = list(getattr(batches, "_workers", []))
            for batch in self._joined(batches, order) if self.splits_batches else batches:
                if isinstance(batch, SegcliError):
                    raise batch
                yield batch
        except (RuntimeError, OSError, EOFError) as error:
            raise self.explained(error) or error from error

    def _joined(self, parts: Iterator[Any], order: list[list[Key]]) -> Iterator[Loaded | SegcliError]:
        """Put the parts of batches together that the workers loaded."""
        for batch in joined(parts, order, self.cases.repeat, self.loader.num_workers):
            yield batch.pin_memory() if self.pins and isinstance(batch, Loaded) else batch

    def close(self) -> None:
        """End the workers; the loader can be used again.

        This must be explicit: an error keeps the iterator alive, and the process would wait for its workers.
        """
        end = getattr(self.loader._iterator, "_shutdown_workers", None)
        try:
            if end is not None:
                end()
        except (RuntimeError, ConnectionError, EOFError) as error:
            # PyTorch reports a dead worker a second time, or the connection to it breaks
            if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                raise
        self.loader._iterator = None
        self.workers = []

    def _dead_workers(self) -> list[tuple[int, Any]]:
        """List the workers that ended, with their numbers; wait a moment, because a dying worker needs some time."""
        if self.workers:
            ended = multiprocessing.connection.wait([worker.sentinel for worker in self.workers], timeout=DYING_S)
            for worker in self.workers:
                if worker.sentinel in ended:
                    worker.join(DYING_S)  # its files are closed a moment before it has an exit code
        return [(number, worker) for number, worker in enumerate(self.workers) if not worker.is_alive()]

    def explained(self, error: Exception) -> SegcliError | None:
        """Turn the error of a dead worker, or too many open files, into a message; None for any other error.

        PyTorch raises the error from a signal handler, so it can occur anywhere in the main process. Instead, the
        connection to the dead worker may break first.
        """
        if os.strerror(errno.EMFILE) in str(error) or NO_DESCRIPTOR in str(error):
            return DeviceError("too many open files", hint=OPEN_MORE)
        is_theirs = isinstance(error, OSError | EOFError) or "DataLoader worker" in str(error)
        dead = self._dead_workers() if is_theirs else []
        if not dead:
            return None
        number, worker = next(((n, w) for n, w in dead if (w.exitcode or 0) < 0), dead[0])
        code = worker.exitcode
        position, kilobytes = self.cases.log[2 * number], self.cases.log[2 * number + 1]
        doing = "while reading" if position > 0 else "after reading"
        what = f"{doing} `{self.cases.cases[abs(position) - 1].place}`" if position else "before it read anything"
        if code in (FULL, CROWDED):
            return unheard(number, full=code == FULL)
        name = signal_name(code)
        free = psutil.virtual_memory().available / 2**20
        message = (
            f"loader worker {number} died of {name} {what} "
            f"(the worker used {kilobytes / 1024:,.0f} MiB, {free:,.0f} MiB of memory are free)"
        )
        if name == "SIGKILL":
            return DeviceError(message, hint="lower `data.num_workers` or `data.batch_size`, or free memory")
        if name == "SIGBUS":
            return DeviceError(message, hint=f"{SHARED_MEMORY} is full: {ENLARGE}")
        return DataError(message, hint="try `data.num_workers=0` to see the cause; the file may be damaged")


def batch_sizes(count: int, settings: DataSettings) -> list[int]:
    """Count the images of each training batch of an epoch of `count` images.

    Example:
        >>> batch_sizes(5, DataSettings(batch_size=2)), batch_sizes(5, DataSettings(batch_size=2, drop_last=True))
        ([2, 2, 1], [2, 2])
    """
    full, rest = divmod(count, settings.batch_size)
    sizes = [settings.batch_size] * full + ([rest] if rest and not settings.drop_last else [])
    return sizes[: settings.limit_batches]


class TrainLoader(Loader):
    """Loads the shuffled batches of an epoch.

    Args:
        source: Decodes the cases.
        pipeline: Crops, augments and normalises.
        cases: Training cases.
        seed: Seed of the run.
        rank: Number of this process, which loads its share of each batch.
        size: Number of processes.
        unit: Number of neighbours of a batch that stay in one process.
    """

    def __init__(
        self,
        source: Source,
        pipeline: Pipeline,
        cases: Sequence[Case],
        *,
        seed: int,
        pin_memory: bool,
        rank: int = 0,
        size: int = 1,
        unit: int = 1,
    ) -> None:
        settings = pipeline.settings
        self.settings = settings
        self.seed = seed
        self.rank, self.size, self.unit = rank, size, unit
        self.batch_size = settings.batch_size
        self.count = len(cases) * settings.patches_per_image
        repeat = settings.patches_per_image
        # a source in memory costs nothing to read again
        is_cheap = repeat == 1 or isinstance(source, MemoryCache)
        held = 0 if is_cheap else int(HELD * free_bytes()) // (size * max(settings.num_workers, 1))
        dataset = Cases(source, pipeline, cases, repeat, training=True, held_bytes=held)
        super().__init__(dataset, num_workers=settings.num_workers, pin_memory=pin_memory)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(batch_sizes(self.count, self.settings))

    def images(self, batch: int) -> int:
        """Count the images of a batch, counted from 0; the last batch of an epoch may have fewer."""
        return min(self.batch_size, self.count - batch * self.batch_size)

    def epoch(self, epoch: int, *, first_batch: int = 0) -> Iterator[Loaded]:
        """Load the batches of an epoch from `first_batch` on; seed and epoch decide the order."""
        order = generator(self.seed, "order", epoch).permutation(self.count)
        keys = [(epoch, int(index)) for index in order]
        batches = [keys[start : start + self.batch_size] for start in range(0, self.count, self.batch_size)]
        batches = batches[first_batch : len(self)]
        loaded = self.batches(batches) if self.size == 1 else self._shared(batches)
        yield from (replace(each, key=(epoch, number)) for number, each in enumerate(loaded, first_batch))

    def _shared(self, batches: list[list[Key]]) -> Iterator[Loaded]:
        """Load the share of this process of each batch; if it is empty, an image that does not count."""
        shares = [share_of(len(batch), self.rank, self.size, self.unit) for batch in batches]
        own = [batch[share.start : share.stop] or batch[:1] for batch, share in zip(batches, shares, strict=True)]
        for loaded, batch, share in zip(self.batches(own), batches, shares, strict=True):
            cases = [self.cases.cases[index // self.cases.repeat] for _, index in batch]
            yield replace(loaded, batch=cases, counts=bool(share))


class EvaluationLoader(Loader):
    """Loads whole images in their order; a batch holds images of one network size.

    Args:
        source: Reads the images.
        pipeline: Prepares them.
        cases: The images.
        sizes: Size at which each image reaches the network.
        batch_size: Most images of a batch, or a function that tells it by their size.
        num_workers: Loader processes.
        pin_memory: Put batches where a GPU copies them from.
    """

    def __init__(
        self,
        source: Source,
        pipeline: Pipeline,
        cases: Sequence[Case],
        sizes: Sequence[tuple[int, ...]],
        *,
        batch_size: int | Callable[[tuple[int, ...]], int],
        num_workers: int,
        pin_memory: bool,
    ) -> None:
        dataset = Cases(source, pipeline, cases, 1, training=False)
        super().__init__(dataset, num_workers=num_workers, pin_memory=pin_memory)
        self.runs = _runs_of_equal_size(sizes, batch_size)
        self.costs = [sum(math.prod(sizes[index]) for _, index in run) for run in self.runs]
        """Pixels of each batch."""
        self.count = len(cases)

    def __iter__(self) -> Iterator[Loaded]:
        return self.batches(self.runs)

    def only(self, numbers: Sequence[int]) -> Iterator[Loaded]:
        """Load some of the batches, chosen by their numbers."""
        return self.batches([self.runs[number] for number in numbers])

    def positions(self, numbers: Sequence[int]) -> list[int]:
        """List the position of each case of some batches in the list of all cases."""
        return [index for number in numbers for _, index in self.runs[number]]


def _runs_of_equal_size(
    sizes: Sequence[tuple[int, ...]], batch_size: int | Callable[[tuple[int, ...]], int]
) -> list[list[Key]]:
    batches: list[list[Key]] = []
    for index, size in enumerate(sizes):
        most = batch_size(size) if callable(batch_size) else batch_size
        if batches and len(batches[-1]) < most and sizes[batches[-1][0][1]] == size:
            batches[-1].append((0, index))
        else:
            batches.append([(0, index)])
    return batches
