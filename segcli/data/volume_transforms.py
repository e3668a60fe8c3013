"""Augmentation of volumes: noise, intensity, rotation and flips, for the image and all its masks together."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from segcli.core.errors import ConfigError
from segcli.core.types import Array
from segcli.data.samples import Sample, as_unit
from segcli.data.settings import VOLUME_KEYS, Augmentation

__all__ = ["VolumeAugmenter"]


@dataclass(frozen=True)
class _Strength:
    """Holds the values of a preset."""

    noise_std: float = 0.0
    intensity_scale_range: tuple[float, float] = (1.0, 1.0)
    rotation_degrees: float = 0.0
    flip_axes: tuple[int, ...] = ()
    quarter_turns: bool = False
    gamma_range: tuple[float, float] = (1.0, 1.0)
    contrast_range: tuple[float, float] = (1.0, 1.0)
    noise_up_to: float = 0.0
    noise_share: float = 1.0


PRESETS = {
    "light": _Strength(0.02, (0.9, 1.1)),
    "medium": _Strength(0.05, (0.8, 1.2), 10.0),
    "heavy": _Strength(0.1, (0.7, 1.4), 20.0),
    "nuclei": _Strength(
        flip_axes=(0, 1, 2),
        quarter_turns=True,
        gamma_range=(0.8, 1.2),
        contrast_range=(0.8, 1.2),
        noise_up_to=0.05,
        noise_share=0.3,
    ),
}


class VolumeAugmenter:
    """Augments volumes; the same seed gives the same voxels.

    Volumes are rotated about their centre, in millimetres if the spacing is known, so that shapes are preserved. Voxels
    from outside repeat the border in the image and do not count in the masks.

    Args:
        settings: The `data.augmentation` section.
        spacing: Size of a voxel along each axis.

    Raises:
        ConfigError: A key is only for 2D images.
    """

    def __init__(self, settings: Augmentation, *, spacing: tuple[float, ...] | None = None) -> None:
        if settings.transforms or settings.preset == "street":
            key = "transforms" if settings.transforms else "preset: street"
            legal = ", ".join(f"`{name}`" for name in ("preset: light", "medium", "heavy", "nuclei", *VOLUME_KEYS))
            raise ConfigError(f"`data.augmentation.{key}` is for 2D images", hint=f"for volumes, use {legal}")
        base = _Strength() if settings.has_own_keys else PRESETS[settings.preset or "medium"]
        self.noise_std = base.noise_std if settings.noise_std is None else settings.noise_std
        self.noise_up_to = base.noise_up_to if settings.noise_up_to is None else settings.noise_up_to
        self.noise_share = base.noise_share if settings.noise_share is None else settings.noise_share
        self.scales = _range(settings, "intensity_scale_range", base)
        self.gammas = _range(settings, "gamma_range", base)
        self.contrasts = _range(settings, "contrast_range", base)
        self.turns = base.quarter_turns if settings.quarter_turns is None else settings.quarter_turns
        self.degrees = base.rotation_degrees if settings.rotation_degrees is None else settings.rotation_degrees
        self.flip_axes = base.flip_axes if settings.flip_axes is None else tuple(settings.flip_axes)
        self.flip_share = 0.5 if settings.flip_probability is None else settings.flip_probability
        self.turn_share = 1.0 if settings.turn_probability is None else settings.turn_probability
        self.spacing = np.array(spacing or (1.0, 1.0, 1.0))

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """Augment the sample; the values stay as stored where nothing changes them, and arrays may be views."""
        # Draw every number, used or not, so that one key does not change the random numbers of the others.
        rng = np.random.default_rng(seed)
        angles = np.deg2rad(rng.uniform(-1.0, 1.0, 3) * self.degrees)
        flips = rng.random(3) < self.flip_share
        scale = rng.uniform(*self.scales)
        more = np.random.default_rng((seed, 1))
        gamma, contrast = more.uniform(*self.gammas), more.uniform(*self.contrasts)
        turns, noisy, level = int(more.integers(4)), more.random() < self.noise_share, more.random()
        rotates, turns_by_quarters = np.random.default_rng((seed, 2)).random(2) < self.turn_share
        lights, noises = (gamma, contrast, scale) != (1.0, 1.0, 1.0), noisy and (self.noise_std or self.noise_up_to)
        computes = lights or noises or (self.degrees and rotates)
        # before flips and turns, so that sums run over the voxels in one order
        image, maps = as_unit(sample.image) if computes else sample.image, sample.maps
        if self.degrees and rotates:
            grid = self._grid(sample.size, angles)
            image = _resampled(image, grid, smooth=True)
            maps = {name: _resampled(values, grid, smooth=False) for name, values in maps.items()}
        for axis in self.flip_axes:
            if flips[axis]:
                image, maps = np.flip(image, axis), {name: np.flip(values, axis) for name, values in maps.items()}
        if self.turns and turns_by_quarters:
            count = turns if image.shape[1] == image.shape[2] else turns // 2 * 2
            image, maps = np.rot90(image, count, (1, 2)), {n: np.rot90(v, count, (1, 2)) for n, v in maps.items()}
        if lights:
            image = _brightened(image, gamma, contrast) * np.float32(scale)
        if noises:
            deviation = self.noise_std * float(image.std()) + self.noise_up_to * level * float(np.ptp(image))
            image = image + rng.standard_normal(image.shape, dtype=np.float32) * np.float32(deviation)
        return Sample(image=image, maps=maps)

    def _grid(self, size: tuple[int, ...], angles: Array) -> torch.Tensor:
        """Compute the source of each voxel for `grid_sample`: from -1 to 1, last axis first."""
        # voxel -> millimetres from the centre, rotated back, -> voxel, each in units of half the volume
        half = np.array(size) * self.spacing / 2.0
        matrix = np.diag(1.0 / half) @ _rotation(angles) @ np.diag(half)
        reversed_axes = np.zeros((3, 4), np.float32)
        reversed_axes[:, :3] = matrix[::-1, ::-1]
        return F.affine_grid(torch.from_numpy(reversed_axes)[None], [1, 1, *size], align_corners=False)


def _range(settings: Augmentation, key: str, base: _Strength) -> tuple[float, float]:
    low, high = getattr(settings, key) or getattr(base, key)
    if low > high:
        raise ConfigError(f"`data.augmentation.{key}` goes from {low:g} to {high:g}, but the first must not be larger")
    return low, high


def _brightened(image: Array, gamma: float, contrast: float) -> Array:
    """Raise the values, scaled from minimum to maximum, to `gamma`; then multiply differences from the mean."""
    if gamma == 1.0 and contrast == 1.0:
        return image
    low, high = image.min(), image.max()
    if gamma != 1.0 and high > low:
        image = ((image - low) / (high - low)) ** np.float32(gamma) * (high - low) + low
    mean = image.mean(dtype=np.float32)
    changed: Array = (image - mean) * np.float32(contrast) + mean
    return changed


def _rotation(angles: Array) -> Array:
    """Compute the matrix of a rotation about the first axis, then the second, then the third."""
    total = np.eye(3)
    for axis, angle in enumerate(angles):
        one, other = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[[one, one, other, other], [one, other, one, other]] = (
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        )
        total = turn @ total
    return total


def _resampled(values: Array, grid: torch.Tensor, *, smooth: bool) -> Array:
    """Sample `(*S)` or `(*S, C)` at the points of the grid; for masks, take the nearest voxel, and 0 outside."""
    channels = values[..., None] if values.ndim == 3 else values
    tensor = torch.from_numpy(np.ascontiguousarray(np.moveaxis(channels, -1, 0), dtype=np.float32))[None]
    mode, padding = ("bilinear", "border") if smooth else ("nearest", "zeros")
    turned = F.grid_sample(tensor, grid, mode=mode, padding_mode=padding, align_corners=False)
    result: Array = np.moveaxis(turned[0].numpy(), 0, -1).reshape(values.shape).astype(values.dtype)
    return result
