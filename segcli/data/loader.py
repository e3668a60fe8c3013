"""Batches from worker processes; order and random numbers do not depend on the number of workers.

The sampler yields (epoch, sample) keys. Persistent workers thus know the epoch, and a resumed epoch skips its first
batches without reading them.
"""

import errno
import gc
import math
import multiprocessing
import multiprocessing.connection
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import queues
from typing import Any

import cv2
import numpy as np
import psutil
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from segcli.core.errors import DataError, DeviceError, SegcliError
from segcli.core.platform import (
    SHARED_MEMORY,
    START_METHOD,
    STOPPING,
    die_with_parent,
    leave_group,
    peak_memory_kib,
    signal_name,
)
from segcli.core.randomness import generator
from segcli.core.ranks import share_of
from segcli.core.types import Array, Batch
from segcli.data.pipeline import Pipeline, Ready, Scale, Source
from segcli.data.samples import Case, Geometry, Sample
from segcli.data.settings import DataSettings

__all__ = ["EvaluationLoader", "Loaded", "Loader", "TrainLoader", "batch_sizes"]

FULL, CROWDED, MUTE = 71, 72, 73
"""Exit codes of a worker that cannot send a batch: no shared memory, too many open files, any other reason."""
DYING_S = 2.0
"""Seconds to wait for a worker process to end after its connection broke."""
NO_DESCRIPTOR = "items of ancillary data"
"""Part of Python's message when a process may not open the file that another sends."""
OPEN_MORE = "raise `ulimit -n`, or set `data.num_workers=0`"
ENLARGE = "enlarge it, or set `data.num_workers=0`"
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


class _Cases(Dataset[Any]):
    """Reads samples by key; returns a user's mistake as a value, because PyTorch would hide it in a traceback."""

    def __init__(self, source: Source, pipeline: Pipeline, cases: Sequence[Case], repeat: int, training: bool) -> None:
        self.source = source
        self.pipeline = pipeline
        self.cases = cases
        self.repeat = repeat
        self.training = training
        self.log: Any = None
        """Two numbers per worker: the case it reads, and its peak memory in KiB."""
        self.scales: dict[int, Scale] = {}
        """Scale of each case that this process has read, if each image is normalised by itself."""

    def __getitem__(self, key: Key) -> tuple[Case, Ready] | SegcliError:
        epoch, index = key
        case = self.cases[index // self.repeat]
        self._note(index // self.repeat + 1)
        try:
            sample = self.source.read(case)
            scale = self._scale(index // self.repeat, sample)
            if self.training:
                return case, self.pipeline.for_training(sample, epoch=epoch, index=index, scale=scale)
            return case, self.pipeline.for_evaluation(sample, scale=scale)
        except SegcliError as error:
            return error
        finally:
            self._note(-(index // self.repeat + 1))

    def _scale(self, position: int, sample: Sample) -> Scale | None:
        """Return the scale of the whole image, computed once in each process; None if the data set has one."""
        if not self.pipeline.settings.preprocessing.by_image:
            return None
        if position not in self.scales:
            self.scales[position] = self.pipeline.scale(sample.image)
        return self.scales[position]

    def _note(self, position: int) -> None:
        """Log the case that this worker reads (negative: has read), in case the worker dies."""
        worker = get_worker_info()
        if worker is not None and self.log is not None:
            self.log[2 * worker.id] = position
            self.log[2 * worker.id + 1] = peak_memory_kib()


def _collate(samples: list[tuple[Case, Ready] | SegcliError]) -> Loaded | SegcliError:
    mistakes = [sample for sample in samples if isinstance(sample, SegcliError)]
    if mistakes:
        return mistakes[0]
    ready = [sample for sample in samples if isinstance(sample, tuple)]
    names = ready[0][1].arrays
    sizes = {item.arrays["image"].shape: case for case, item in ready}
    if len(sizes) > 1:
        shown = " and ".join(
            f"`{case.place}` {'x'.join(map(str, shape[1:]))}" for shape, case in list(sizes.items())[:2]
        )
        return DataError(
            f"images of one batch differ in size: {shown}",
            hint="set `data.image_size`, `data.patch_size`, or `data.batch_size=1`",
        )
    return Loaded(
        tensors={name: torch.from_numpy(np.stack([item.arrays[name] for _, item in ready])) for name in names},
        cases=[case for case, _ in ready],
        geometries=[item.geometry for _, item in ready],
        stored_maps=[item.stored_maps for _, item in ready],
    )


def _start_worker(_: int) -> None:
    """Leave stop signals to the main process; a terminal or a scheduler sends them to the whole group.

    A SIGTERM sent to a worker alone still ends it: PyTorch ends workers in this way when they do not answer.
    """
    leave_group()
    gc.freeze()  # a collection would copy the memory that is still shared with the main process
    parent = multiprocessing.parent_process()
    die_with_parent(None if parent is None else parent.pid, MUTE)
    for signum in STOPPING:
        signal.signal(signum, signal.SIG_DFL if signum == signal.SIGTERM else signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)  # the threads of the main process do not survive a fork
    # Python's own hook for this, which the types do not list
    queues.Queue._on_queue_feeder_error = staticmethod(_end_unheard)  # type: ignore[attr-defined]


def _end_unheard(error: Exception, _: Any) -> None:
    """End a worker that cannot send a batch; Python would drop the batch, and the training would wait without end."""
    full, crowded = (os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EMFILE))
    os._exit(FULL if full else CROWDED if crowded else MUTE)


class _Order(Sampler[list[Key]]):
    """Yields the batches of keys that the loader sets before each pass."""

    def __init__(self) -> None:
        self.batches: list[list[Key]] = []

    def __iter__(self) -> Iterator[list[Key]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class Loader:
    """Wraps a PyTorch loader; its errors name the sample."""

    def __init__(self, cases: _Cases, *, num_workers: int, pin_memory: bool) -> None:
        self.cases = cases
        self.order = _Order()
        if num_workers:
            cases.log = multiprocessing.RawArray("q", 2 * num_workers)
        self.loader: DataLoader[Any] = DataLoader(
            cases,
            batch_sampler=self.order,
            collate_fn=_collate,
            num_workers=num_workers,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
            worker_init_fn=_start_worker,
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
        self.order.batches = order
        try:
            batches = iter(self.loader)
            self.workers = list(getattr(batches, "_workers", []))
            for batch in batches:
                if isinstance(batch, SegcliError):
                    raise batch
                yield batch
        except (RuntimeError, OSError, EOFError) as error:
            raise self.explained(error) or error from error

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
            return _unheard(number, full=code == FULL)
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


def _unheard(number: int, *, full: bool) -> DeviceError:
    """Tell that a worker could not send a batch to the training."""
    begun = f"loader worker {number} cannot send a batch"
    if full:
        return DeviceError(f"{begun}: {SHARED_MEMORY} is full", hint=ENLARGE)
    return DeviceError(f"{begun}: too many open files", hint=OPEN_MORE)


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
        dataset = _Cases(source, pipeline, cases, settings.patches_per_image, training=True)
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
    """Loads whole images in their order; a batch holds images of one network size."""

    def __init__(
        self,
        source: Source,
        pipeline: Pipeline,
        cases: Sequence[Case],
        sizes: Sequence[tuple[int, ...]],
        *,
        batch_size: int,
        num_workers: int,
        pin_memory: bool,
    ) -> None:
        dataset = _Cases(source, pipeline, cases, 1, training=False)
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


def _runs_of_equal_size(sizes: Sequence[tuple[int, ...]], batch_size: int) -> list[list[Key]]:
    batches: list[list[Key]] = []
    for index, size in enumerate(sizes):
        if batches and len(batches[-1]) < batch_size and sizes[batches[-1][0][1]] == size:
            batches[-1].append((0, index))
        else:
            batches.append([(0, index)])
    return batches
