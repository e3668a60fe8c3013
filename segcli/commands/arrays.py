"""Prediction of images in memory: the steps of `segcli predict`, without files."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from segcli.commands.ensemble import ensemble
from segcli.core.errors import ConfigError, DataError
from segcli.core.types import Array, Mask
from segcli.data.checks import size_mismatch
from segcli.data.field_of_view import Field, estimated, field_of_mask
from segcli.datasets import IN_MEMORY
from segcli.engine.inference import prediction as engine
from segcli.engine.inference.predictor import InMemory, Predictor

__all__ = ["ArrayPredictor", "Prediction"]

FIELD = Path("<fov>")
"""Stands for a mask of the field of view in memory, in messages."""
AXES = {2: "(H, W) or (H, W, C)", 3: "(D, H, W) or (D, H, W, C)"}


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """Prediction of one image or volume.

    All arrays have the size of the image. `(*S)` is `(H, W)` or `(D, H, W)`, K is the number of classes.
    """

    classes: tuple[str, ...]
    """Names of the classes or structures, in the order of the K channels."""
    probabilities: Array
    """Probabilities `(K, *S)` float32; `(K)` if the whole image has one class."""
    mask: Array | None
    """Mask as `segcli predict` writes it: 0 and 255 for a single mask, the numbers or the colours `(*S, 3)` of the data
    set's classes, or in each voxel the number of its structure. None if the whole image has one class."""
    index: Array | None
    """Number of the class of each pixel, `(*S)`, counted from 0; None if classes do not exclude each other."""
    structures: Mask | None
    """Mask of each structure, `(K, *S)` boolean, which may overlap; None for other tasks."""
    presence: dict[str, bool] | None
    """Tells which structures are there; None for other tasks."""
    certainty: dict[str, dict[str, float]]
    """`probability` and `confidence` of the presence of each structure, if the network gives them."""
    label: str | None
    """Class of the whole image; None if there is a mask."""
    found: engine.Prediction | None

    @cached_property
    def confidence(self) -> Array | None:
        """Return the probability `(*S)` of the predicted class; 0 outside the field of view."""
        return None if self.found is None else self.found.confidence

    @cached_property
    def uncertainty(self) -> Array | None:
        """Return the uncertainty `(*S)` from 0 to 1: entropy, or the spread of several networks."""
        return None if self.found is None else self.found.uncertainty

    @property
    def fov(self) -> Mask | None:
        """Field of view `(H, W)`, outside of which nothing is predicted; None for the whole image."""
        return None if self.found is None else self.found.inside

    def __repr__(self) -> str:
        size = "x".join(map(str, self.probabilities.shape[1:]))
        what = f"label={self.label!r}" if self.label is not None else f"size={size}"
        return f"Prediction({what}, classes={self.classes})"


class ArrayPredictor:
    """Predicts images in memory with one network, or with the mean of several.

    Args:
        members: The networks.
        fov: `auto` or `none` instead of `inference.fov` of the run; None keeps it.

    Raises:
        ConfigError: The networks do not fit together.
    """

    def __init__(self, members: Sequence[Predictor], *, fov: str | None = None) -> None:
        self.members = list(members)
        self.has_pixels = members[0].task.has_pixels
        self.parts = ensemble(self.members) if self.has_pixels else members[0]
        settings = [member.inference.fov for member in members]
        self.fov = fov or ("auto" if "auto" in settings else self.parts.inference.fov)
        for member in members[1:]:
            if member.task.classes != members[0].task.classes:
                raise ConfigError(
                    f"`{members[0].source}` and `{member.source}` differ in the classes",
                    hint="average only runs with the same classes",
                )

    def predict(self, image: Any, fov: Any = None) -> Prediction:
        """Predict an image `(*S)` or `(*S, C)` in the data type of stored images.

        Args:
            image: The image; it is not changed.
            fov: Mask of the field of view, `(H, W)`; None leaves the choice to the setting.

        Raises:
            DataError: The image does not fit the network, or the mask does not fit the image.
            SegcliError: The device fails.
        """
        pixels = _channels_last(np.asarray(image), self.parts.layout.ndim)
        if not self.has_pixels:
            return self._classified(pixels, fov)
        (sample,) = self.parts.layout.of_array(pixels)
        found = self.parts.predict(sample, self._field(sample.image, fov))
        answer = self.parts.decided(found)
        structures = np.moveaxis(answer, -1, 0) > 0 if self.parts.layout.overlaps else None
        classes = self.parts.task.classes
        return Prediction(
            classes=classes,
            probabilities=found.probs,
            mask=self.parts.layout.as_stored(answer),
            index=answer if found.exclude else None,
            structures=structures,
            presence=None if structures is None else dict(zip(classes, _there(found, structures), strict=True)),
            certainty={
                name: {key: float(values[position]) for key, values in found.certainty.items()}
                for position, name in enumerate(classes)
                if found.certainty
            },
            label=None,
            found=found,
        )

    def _field(self, image: Array, mask: Any) -> Field | None:
        """Choose the field of view by the rule of `segcli predict`: a mask comes first, then `inference.fov`."""
        if mask is not None:
            if self.parts.layout.ndim != 2:
                raise DataError("a field of view is for 2D images", hint="leave `fov` out")
            field = field_of_mask(np.asarray(mask), str(FIELD))
            if field.size != image.shape[:2]:
                finding = size_mismatch(FIELD, field.size, IN_MEMORY, image.shape[:2])
                raise DataError(finding.message, hint=finding.hint)
            return field
        if self.fov != "auto" or self.parts.layout.ndim != 2:
            return None
        return estimated(image.shape[:2], InMemory(image).read)

    def _classified(self, pixels: Array, fov: Any) -> Prediction:
        """Predict the class of a whole image: the mean over its crops, then over the networks."""
        if fov is not None:
            raise DataError("a field of view is for masks, but this run predicts one class", hint="leave `fov` out")
        each = [
            np.mean([member.of_whole(sample) for sample in member.layout.of_array(pixels)], axis=0)
            for member in self.members
        ]
        probs: Array = np.mean(each, axis=0)
        classes = self.parts.task.classes
        nothing: dict[str, Any] = dict.fromkeys(("mask", "index", "structures", "presence", "found"))
        return Prediction(
            classes=classes, probabilities=probs, label=classes[int(probs.argmax())], certainty={}, **nothing
        )


def _there(found: engine.Prediction, structures: Mask) -> list[bool]:
    has_voxels: Mask = np.array([mask.any() for mask in structures])
    return found.there(has_voxels)


def _channels_last(pixels: Array, ndim: int) -> Array:
    """Add the axis of channels to an image that lacks it.

    Raises:
        DataError: The array is no image with `ndim` axes.
    """
    if pixels.ndim not in (ndim, ndim + 1) or pixels.dtype.kind not in "buif" or 0 in pixels.shape:
        word = "image" if ndim == 2 else "volume"
        raise DataError(
            f"an array of {pixels.dtype} of shape {pixels.shape} is no {word} for this network",
            hint=f"give numbers of shape {AXES[ndim]}, channels last",
        )
    pixels = pixels[..., None] if pixels.ndim == ndim else pixels
    pixels = pixels.astype(np.uint8) * np.uint8(255) if pixels.dtype == bool else pixels
    return np.ascontiguousarray(pixels)
