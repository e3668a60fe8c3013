"""Batches of a run without pixels: names, dtypes and sizes of their tensors."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segcli.config.schema import Run
from segcli.core.errors import ConfigError, DataError
from segcli.core.types import Array
from segcli.data.loader import Loaded
from segcli.data.pipeline import Pipeline
from segcli.data.samples import Case, Geometry, padded_size
from segcli.datasets import Layout

__all__ = ["Inputs", "inputs_of", "with_batch_size", "with_image_size"]

Shape = tuple[int, ...]
Kind = np.dtype[Any]
SCORED = 2
"""Number of images of a validation batch that are scored."""
EXAMPLES = {2: "[512,512]", 3: "[64,64,64]"}
MAPS: dict[str, tuple[Shape, Kind]] = {"mask": ((), np.dtype(np.uint8)), "valid": ((), np.dtype(np.uint8))}
"""Maps that come with an image, if the data set is not available: axes before the spatial axes, and dtype."""
FACTS: dict[str, tuple[Shape, Kind]] = {"class": ((), np.dtype(np.uint8))}
"""Arrays without spatial axes that come with an image, if the data set is not available: axes and dtype."""


@dataclass(frozen=True)
class Inputs:
    """Sizes of a run's batches."""

    train: Shape
    """Size of a training image or patch, before padding to the network's stride."""
    val_stored: Shape
    """Size of the largest validation image, as stored."""
    val_resized: Shape
    """Size of the largest validation image after resizing to `image_size`."""
    channels: int
    maps: dict[str, tuple[Shape, Kind]]
    fixed: dict[str, tuple[Shape, Kind]]
    """Arrays without spatial axes, such as the class of the whole image."""
    after: dict[str, Shape] = field(default_factory=dict)
    """Axes after the spatial axes, such as the structures of masks that may overlap."""
    notes: tuple[str, ...] = ()
    """Assumptions that had to be made."""

    def training_batch(self, run: Run, multiple: int) -> Loaded:
        """Make a batch as the training loader does."""
        size = padded_size(self.train, multiple)
        return self._batch(run.data.batch_size, Geometry(self.train, self.train, size))

    def validation_batch(self, run: Run, multiple: int) -> Loaded:
        """Make a batch of whole images as the validation loader does."""
        padded = padded_size(self.val_resized, multiple)
        loaded = self._batch(run.data.evaluated_at_once, Geometry(self.val_stored, self.val_resized, padded))
        del loaded.cases[SCORED:]  # each scored image adds only a few numbers: two images are enough
        stored: dict[str, Array] = {
            name: np.zeros((*lead, *self.val_stored, *self.after.get(name, ())), kind)
            for name, (lead, kind) in self.maps.items()
        }
        stored |= {name: np.zeros(shape, kind) for name, (shape, kind) in self.fixed.items()}
        loaded.stored_maps = [stored] * len(loaded.cases)
        return loaded

    def image(self, count: int, multiple: int) -> torch.Tensor:
        """Make images as prediction passes them to the network."""
        return torch.zeros(count, self.channels, *padded_size(self.val_resized, multiple))

    def _batch(self, count: int, geometry: Geometry) -> Loaded:
        size = geometry.padded
        shapes: dict[str, tuple[Shape, Kind]] = {"image": ((self.channels, *size), np.dtype(np.float32))}
        shapes |= {name: ((*lead, *size, *self.after.get(name, ())), kind) for name, (lead, kind) in self.maps.items()}
        shapes |= self.fixed
        tensors = {
            name: torch.zeros(count, *shape, dtype=torch.from_numpy(np.empty(0, kind)).dtype)
            for name, (shape, kind) in shapes.items()
        }
        case = Case("forecast", Path("forecast"))
        return Loaded(tensors, [case] * count, [geometry] * count, [{}] * count)


def inputs_of(run: Run) -> Inputs:
    """Find the sizes in the config, and in the data set if it is available.

    Raises:
        ConfigError: Neither of them gives the size of an image.
    """
    layout: Layout = run.dataset.build()
    pipeline = Pipeline(run.data, run.dataset.spec, stride=1)
    notes: list[str] = []
    try:
        cases = layout.cases("train")
        found = cases + (layout.cases("val") if layout.has("val") else [])
        stored = max((layout.size(case) for case in found), key=_pixels)
        sample = layout.read(cases[0])
    except DataError:
        stored, sample = None, None
    if stored is None:
        notes.append("the data set is not available: sizes are taken from the config")
    patch = tuple(run.data.patch_size) if run.data.patch_size else None
    whole = pipeline.image_size or stored or layout.case_size
    train = patch or whole
    if train is None:
        raise ConfigError(
            f"the image size of `{run.name}` is unknown: the data set is not available and the config gives no size",
            hint=f"give `data.image_size={EXAMPLES[layout.ndim]}`, or `data.patch_size`",
        )
    if whole is None:
        whole = train
        notes.append("the size of whole images is unknown: validation is forecast on patches")
    names = {"valid", *layout.truths}
    maps, fixed = ({name: entry for name, entry in known.items() if name in names} for known in (MAPS, FACTS))
    after: dict[str, Shape] = {"mask": (run.dataset.num_classes,)} if layout.overlaps else {}
    if sample is not None:
        size = sample.size
        arrays = {"valid": np.empty(size, np.uint8), **sample.maps}
        arrays = {name: array[..., 0] if name in after else array for name, array in arrays.items()}
        ndim = len(size)
        maps = {n: (a.shape[: a.ndim - ndim], a.dtype) for n, a in arrays.items() if a.shape[a.ndim - ndim :] == size}
        facts = {name: array for name, array in {**arrays, **sample.facts}.items() if name not in maps}
        fixed = {name: (array.shape, array.dtype) for name, array in facts.items()}
    return Inputs(
        train=tuple(train),
        val_stored=stored or tuple(whole),
        val_resized=tuple(whole),
        channels=run.dataset.num_channels,
        maps=maps,
        fixed=fixed,
        after=after,
        notes=tuple(notes),
    )


def _pixels(size: Shape) -> int:
    return int(np.prod(size))


def with_batch_size(run: Run, count: int) -> Run:
    """Return the run with another batch size."""
    return run.model_copy(update={"data": run.data.model_copy(update={"batch_size": count})})


def with_image_size(run: Run, size: Shape) -> Run:
    """Return the run with another image size, or patch size if it trains on patches."""
    key = "patch_size" if run.data.patch_size else "image_size"
    return run.model_copy(update={"data": run.data.model_copy(update={key: list(size)})})
