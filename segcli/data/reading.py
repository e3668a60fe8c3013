"""Samples by their key, as a process of the loader reads them; an image is decoded once for all its crops."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch.utils.data import Dataset, get_worker_info

from segcli.core.errors import SegcliError
from segcli.core.platform import peak_memory_kib
from segcli.data.batches import InOneArray, Key
from segcli.data.normalising import Place
from segcli.data.pipeline import Pipeline, Ready, Scale, Source
from segcli.data.samples import Case, Sample

__all__ = ["Cases", "Wanted", "with_later"]


class Wanted(NamedTuple):
    """Names a sample that a process shall read."""

    epoch: int
    number: int
    """Position in the list of samples of the epoch."""
    later: tuple[int, ...] = ()
    """Positions of other crops of the same image that this process reads later in the epoch."""


def with_later(batches: Sequence[Sequence[Key]], repeat: int, num_workers: int) -> list[list[Wanted]]:
    """Add to each sample the other crops of its image that the same process reads later.

    PyTorch gives the batches to the workers in turns. A process that is given others only decodes more often.

    Example:
        >>> with_later([[(0, 2)], [(0, 0)], [(0, 3)]], repeat=2, num_workers=0)[0]
        [Wanted(epoch=0, number=2, later=(3,))]
    """
    if repeat == 1:
        return [[Wanted(epoch, index) for epoch, index in batch] for batch in batches]
    rest: dict[tuple[int, int], tuple[int, ...]] = {}
    found: list[list[Wanted]] = []
    for number in reversed(range(len(batches))):
        here: list[Wanted] = []
        for epoch, index in reversed(batches[number]):
            group = number % max(num_workers, 1), index // repeat
            later = rest.get(group, ())
            here.append(Wanted(epoch, index, later))
            rest[group] = (index, *later)
        found.append(here[::-1])
    return found[::-1]


class _Crops:
    """Holds crops that were cut and are read later in the same epoch, up to a number of bytes."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.epoch = -1
        self.crops: dict[int, Sample] = {}
        self.num_bytes = 0

    def take(self, epoch: int, index: int) -> Sample | None:
        """Take out a crop; None if it is not held."""
        if epoch != self.epoch:
            self.epoch, self.crops, self.num_bytes = epoch, {}, 0  # an epoch that was not read to its end
        crop = self.crops.pop(index, None)
        if crop is not None:
            self.num_bytes -= crop.nbytes
        return crop

    def hold(self, index: int, cut: Callable[[int], Sample]) -> bool:
        """Cut and hold a crop of this epoch; False if there is no room for it."""
        if index in self.crops:
            return True
        crop = cut(index)
        if self.num_bytes + crop.nbytes > self.most_bytes:
            return False
        self.crops[index] = crop.copied()
        self.num_bytes += crop.nbytes
        return True


class Cases(Dataset[Any]):
    """Reads samples by key; returns a user's mistake as a value, because PyTorch would hide it in a traceback.

    Args:
        source: Decodes the cases.
        pipeline: Crops, augments and normalises.
        cases: The cases.
        repeat: Crops of each image in an epoch.
        training: Prepare random crops, not whole images.
        held_bytes: Bytes of crops that each process may hold, so that it decodes an image once for all its crops.
    """

    def __init__(
        self,
        source: Source,
        pipeline: Pipeline,
        cases: Sequence[Case],
        repeat: int,
        *,
        training: bool,
        held_bytes: int = 0,
    ) -> None:
        self.source = source
        self.pipeline = pipeline
        self.cases = cases
        self.repeat = repeat
        self.training = training
        self.crops = _Crops(held_bytes)
        self.log: Any = None
        """Two numbers per worker: the case it reads, and its peak memory in KiB."""
        self.scales: dict[int, Scale] = {}
        """Scale of each case that this process has read, if each image is normalised by itself."""

    @property
    def crops_ahead(self) -> int:
        """Return the crops of an image that are cut together."""
        return self.repeat if self.crops.most_bytes else 1

    def __getitem__(self, wanted: Wanted) -> tuple[Case, Ready] | SegcliError:
        return self.__getitems__([wanted])[0]

    def __getitems__(self, batch: Sequence[Wanted]) -> list[tuple[Case, Ready] | SegcliError]:
        """Read the samples of a batch, whose images lie one after the other in one array."""
        place = InOneArray(len(batch))
        return [self._read(wanted, place) for wanted in batch]

    def _read(self, wanted: Wanted, place: Place) -> tuple[Case, Ready] | SegcliError:
        position = wanted.number // self.repeat
        case = self.cases[position]
        self._note(position + 1)
        try:
            if self.training:
                return case, self._for_training(position, wanted, place)
            sample = self.source.read(case)
            return case, self.pipeline.for_evaluation(sample, scale=self._scale(position, sample), place=place)
        except SegcliError as error:
            return error
        finally:
            self._note(-(position + 1))

    def _for_training(self, position: int, wanted: Wanted, place: Place) -> Ready:
        epoch, index, later = wanted
        crop = self.crops.take(epoch, index)
        if crop is None:
            sample = self.source.read(self.cases[position])
            self._scale(position, sample)
            crop = self.pipeline.cut(sample, epoch=epoch, index=index)
            for other in later:
                if not self.crops.hold(other, lambda at: self.pipeline.cut(sample, epoch=epoch, index=at)):
                    break
        scale = self._scale(position, crop)
        return self.pipeline.augmented(crop, epoch=epoch, index=index, scale=scale, place=place)

    def _scale(self, position: int, sample: Sample) -> Scale:
        """Return the scale of the whole image, computed once in each process from `sample`; or that of the data set."""
        if not self.pipeline.settings.preprocessing.by_image:
            return self.pipeline.mean, self.pipeline.std
        if position not in self.scales:
            self.scales[position] = self.pipeline.scale(sample.image) if sample.scale is None else sample.scale
        return self.scales[position]

    def _note(self, position: int) -> None:
        """Log the case that this worker reads (negative: has read), in case the worker dies."""
        worker = get_worker_info()
        if worker is not None and self.log is not None:
            self.log[2 * worker.id] = position
            self.log[2 * worker.id + 1] = peak_memory_kib()
