"""Turns a case into the arrays that a network sees: read, resize, crop, augment, normalise, pad."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from segcli.core.randomness import generator, seed_of
from segcli.core.types import Array
from segcli.data.crops import random_crop
from segcli.data.moments import Moments
from segcli.data.normalising import Place, Scale, normalised_planes
from segcli.data.samples import Case, Geometry, Sample, as_unit, pad_end, padded_size, resize
from segcli.data.settings import DatasetSpec, DataSettings

__all__ = ["Pipeline", "Ready", "Scale", "Source"]

CHUNK = 2**20
"""Pixels per step when the mean and the standard deviation are computed."""


class Source(Protocol):
    """Reads decoded cases: a layout, or a cache in front of a layout."""

    def read(self, case: Case) -> Sample:
        """Decode one case."""
        ...


@dataclass
class Ready:
    """Holds one sample as the loader returns it."""

    arrays: dict[str, Array]
    """`image` `(C, *S)` float32; maps `(*S)` uint8: `valid` always, `mask` where there is a label, `scored` where fewer
    pixels count in the metrics than in the loss; and the facts."""
    geometry: Geometry
    stored_maps: dict[str, Array]
    """Maps at the stored size, for scoring; empty in training."""


class Pipeline:
    """Prepares images; in training, also crops and augments them at random.

    Args:
        settings: The `data` section.
        spec: The data set.
        stride: Sizes must be multiples of this.
        augment: Changes a training sample at random, by seed.
        seed: Seed of the run.
    """

    def __init__(
        self,
        settings: DataSettings,
        spec: DatasetSpec,
        *,
        stride: int,
        seed: int = 0,
        augment: Callable[[Sample, int], Sample] | None = None,
    ) -> None:
        self.settings = settings
        self.multiple = settings.preprocessing.pad_to_multiple or stride
        self.augment = augment
        self.seed = seed
        self.by_class = spec.num_classes > 1
        self.mean = np.array(spec.mean or [0.0] * spec.num_channels, dtype=np.float32)
        self.std = np.array(spec.std or [1.0] * spec.num_channels, dtype=np.float32)
        chosen = settings.image_size or spec.image_size
        self.image_size = tuple(chosen) if chosen else None

    def network_size(self, stored: tuple[int, ...]) -> tuple[int, ...]:
        """Return the size at which an image of this stored size reaches the network outside training."""
        return padded_size(self.image_size or stored, self.multiple)

    def resized(self, sample: Sample) -> Sample:
        """Resize the sample to `image_size`; keep its maps at the stored size for scoring."""
        if self.image_size is None or sample.size == self.image_size:
            return sample
        return Sample(
            image=resize(sample.image, self.image_size),
            maps={name: resize(values, self.image_size, labels=True) for name, values in sample.maps.items()},
            facts=sample.facts,
            stored_maps=sample.maps,
        )

    def for_training(self, sample: Sample, *, epoch: int, index: int, scale: Scale | None = None) -> Ready:
        """Cut and augment a random crop; it depends only on seed, epoch and index.

        Args:
            sample: The whole image, resized.
            epoch: Epoch, counted from 0.
            index: Position among the samples of the epoch.
            scale: What `scale` gives for the whole image, if it is known.
        """
        cut, scale = self.cut(sample, epoch=epoch, index=index), scale or self.scale(sample.image)
        return self.augmented(cut, epoch=epoch, index=index, scale=scale)

    def cut(self, sample: Sample, *, epoch: int, index: int) -> Sample:
        """Cut the random crop of `for_training`, a view of the image; the whole image without `patch_size`."""
        patch = self.settings.patch_size
        if patch is None:
            return sample
        rng = generator(self.seed, "crop", epoch, index)
        found = random_crop(sample, tuple(patch), rng, self.settings.foreground_share, by_class=self.by_class)
        return replace(found, facts=sample.facts)

    def augmented(self, cut: Sample, *, epoch: int, index: int, scale: Scale, place: Place = np.empty) -> Ready:
        """Augment, normalise and pad what `cut` gave.

        Args:
            cut: The crop.
            epoch: Epoch, counted from 0.
            index: Position among the samples of the epoch.
            scale: Scale of the whole image, before cropping and augmentation: a crop then looks as in the whole image,
                and normalisation does not undo a change of intensity.
            place: Makes the array for the normalised image.
        """
        everywhere = np.broadcast_to(np.uint8(1), cut.size)  # takes no memory, however it is turned
        sample = Sample(image=cut.image, maps={"valid": everywhere, **cut.maps})
        if self.augment is not None:
            sample = self.augment(sample, seed_of(self.seed, "augment", epoch, index))
        patch = self.settings.patch_size
        ready = self._finished(
            sample, stored=sample.size, at_least=tuple(patch) if patch else None, scale=scale, place=place
        )
        ready.arrays |= cut.facts
        return ready

    def for_evaluation(self, sample: Sample, *, scale: Scale | None = None, place: Place = np.empty) -> Ready:
        """Prepare the whole image without any randomness; `scale` and `place` as in `augmented`."""
        stored_maps = sample.stored_maps or sample.maps
        stored = next(iter(stored_maps.values())).shape[: len(sample.size)] if sample.stored_maps else sample.size
        maps = {"valid": np.ones(sample.size, np.uint8), **sample.maps}
        ready = self._finished(Sample(image=sample.image, maps=maps), stored=stored, scale=scale, place=place)
        ready.arrays |= sample.facts
        ready.stored_maps = {"valid": np.ones(stored, np.uint8), **stored_maps, **sample.facts}
        return ready

    def _finished(
        self,
        sample: Sample,
        *,
        stored: tuple[int, ...],
        at_least: tuple[int, ...] | None = None,
        scale: Scale | None = None,
        place: Place = np.empty,
    ) -> Ready:
        size = padded_size(sample.size, self.multiple, at_least)
        scale = self._scale_in_use(sample.image, scale)  # of the image without its padding
        image = normalised_planes(pad_end(sample.image, size, mirror=True), scale, place)
        arrays = {name: pad_end(values, size, mirror=False) for name, values in sample.maps.items()}
        outside = arrays.pop("outside", None)
        if outside is not None:  # counts in the loss, not in the metrics
            arrays |= {"scored": arrays["valid"], "valid": arrays["valid"] | outside}
        arrays["image"] = image
        return Ready(arrays, Geometry(stored=stored, resized=sample.size, padded=size), stored_maps={})

    def normalised(self, image: Array, scale: Scale | None = None) -> Array:
        """Scale stored pixels to 0 to 1, then normalise them by `preprocessing.normalize`.

        The result is `(*S, C)` float32, whose channels lie one after the other in memory.

        Args:
            image: `(*S, C)`.
            scale: Values to subtract from each channel and to divide it by; default: those of the data set or the
                image.
        """
        return np.moveaxis(normalised_planes(image, self._scale_in_use(image, scale)), 0, -1)

    def _scale_in_use(self, image: Array, scale: Scale | None) -> Scale | None:
        """Return the scale to normalise an image with; None without normalisation."""
        if not self.settings.preprocessing.normalize:
            return None
        return self.scale(image) if scale is None else scale

    def scale(self, image: Array) -> Scale:
        """Return the scale of a whole image `(*S, C)` as stored: that of the data set, or of the image itself."""
        if not self.settings.preprocessing.by_image:
            return self.mean, self.std
        flat = image.reshape(-1, image.shape[-1])
        return self.scale_of(as_unit(flat[start : start + CHUNK]) for start in range(0, len(flat), CHUNK))

    def scale_of(self, parts: Iterable[Array]) -> Scale:
        """Compute the scale of one image: mean and standard deviation of each channel, or minimum and range.

        Args:
            parts: Parts of the image, `(*S, C)` on the scale 0 to 1; together they hold each pixel once.
        """
        if self.settings.preprocessing.normalize == "min_max":
            return _range_of(parts)
        return _moments_of(parts)


def _range_of(parts: Iterable[Array]) -> Scale:
    """Compute minimum and range of each channel."""
    flat = (part.reshape(-1, part.shape[-1]) for part in parts)
    lows, highs = zip(*((part.min(axis=0), part.max(axis=0)) for part in flat), strict=True)
    low = np.min(lows, axis=0)
    return low, np.maximum(np.max(highs, axis=0) - low, 1e-6)


def _moments_of(parts: Iterable[Array]) -> Scale:
    """Compute mean and standard deviation of each channel; exact for images of any size."""
    flat = (part.reshape(-1, part.shape[-1]) for part in parts)
    chunks = (pixels[start : start + CHUNK] for pixels in flat for start in range(0, len(pixels), CHUNK))
    moments = Moments.together(map(Moments.of_pixels, chunks))
    return moments.means.astype(np.float32), np.maximum(moments.deviations, 1e-6).astype(np.float32)
