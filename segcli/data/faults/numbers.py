"""Findings on stated `mean` and `std`, on spacings, and on patches that are larger than their images."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from segcli.core.types import Array
from segcli.data.checks import Finding
from segcli.data.samples import Case

__all__ = ["IMAGENET", "far_numbers", "padded_patches", "spacings_differ"]

FAR_MEAN = 1.0
"""Distance of a stated mean from the measured one that is reported, in measured standard deviations."""
FAR_STD = 2.5
"""Ratio of a stated to a measured deviation that is reported."""
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
"""Numbers of ImageNet, which pretrained backbones expect."""
ANISOTROPY = 1.5
"""Ratio of the largest to the smallest spacing of the cases along one axis that is reported."""
ODD = 1.05
"""Ratio that is reported where nearly all cases have one spacing."""
ONE_SPACING = 0.75
"""Share of the cases that have it then."""
MUCH_PADDING = 0.25
"""Share of padding in the patches that is reported."""


def far_numbers(
    mean: Sequence[float], std: Sequence[float], measured_mean: Sequence[float], measured_std: Sequence[float]
) -> Iterator[Finding]:
    """Compare stated numbers with the measured ones of the training images.

    Each has one number for each channel.
    """
    spread = np.maximum(np.array(measured_std), 1e-12)
    off = np.abs(np.array(mean) - np.array(measured_mean)) / spread
    ratio = np.array(std) / spread
    if off.max() <= FAR_MEAN and ratio.max() <= FAR_STD and ratio.min() >= 1 / FAR_STD:
        return
    stated = f"`mean: {_listed(mean)}` and `std: {_listed(std)}`"
    measured = f"`mean: {_listed(measured_mean)}` and `std: {_listed(measured_std)}`"
    if _are_imagenet(mean, std):
        message = f"{stated} are those of ImageNet; the training images have {measured}"
        yield Finding("imagenet_numbers", "info", None, message, "right for a backbone that was trained on ImageNet")
        return
    message = f"{stated} are far from those of the training images: {measured}"
    hint = "`segcli data stats CONFIG --write` writes the measured ones into the data-set file"
    yield Finding("far_numbers", "warning", None, message, hint)


def _are_imagenet(mean: Sequence[float], std: Sequence[float]) -> bool:
    if len(mean) > len(IMAGENET[0]):
        return False
    pairs = zip((mean, std), IMAGENET, strict=True)
    return all(np.allclose(stated, known[: len(stated)], atol=2e-3) for stated, known in pairs)


def spacings_differ(spacings: Mapping[Case, tuple[float, ...]]) -> Iterator[Finding]:
    """Find cases whose voxels differ much in size.

    Args:
        spacings: Millimetres along each axis, of each case.
    """
    if not spacings:
        return
    cases, values = list(spacings), np.array(list(spacings.values()))
    ratios = values.max(axis=0) / np.maximum(values.min(axis=0), 1e-12)
    axis = int(ratios.argmax())
    usual = np.isclose(values, np.median(values, axis=0), rtol=1e-3).all(axis=1).mean()
    if ratios[axis] < (ODD if len(values) > 2 and usual >= ONE_SPACING else ANISOTROPY):
        return
    low, high = int(values[:, axis].argmin()), int(values[:, axis].argmax())
    message = (
        f"the spacing differs from case to case: `{cases[low].place}` has {_by_axes(values[low])} mm, "
        f"`{cases[high].place}` {_by_axes(values[high])} mm"
    )
    hint = "resample all cases to one spacing: a network sees voxels, not millimetres"
    yield Finding("spacings_differ", "warning", cases[high].image, message, hint, (cases[low].image,))


def padded_patches(patch: Sequence[int], sizes: Sequence[tuple[int, ...]]) -> Iterator[Finding]:
    """Find out how much of the patches of training images is padding.

    Args:
        patch: `data.patch_size`.
        sizes: Sizes of the training images.
    """
    shares = [1 - math.prod(map(min, size, patch)) / math.prod(patch) for size in sizes]
    smaller = [size for size, share in zip(sizes, shares, strict=True) if share > 0]
    if not shares or sum(shares) / len(shares) <= MUCH_PADDING:
        return
    fits = [int(length) for length in np.minimum(np.median(np.array(sizes), axis=0), np.array(patch))]
    message = (
        f"`data.patch_size: {list(patch)}` is larger than {len(smaller)} of {len(sizes)} training images: "
        f"{sum(shares) / len(shares):.0%} of the patches is padding"
    )
    hint = f"set a patch that fits the images, such as `data.patch_size: {fits}`"
    yield Finding("padded_patches", "warning", None, message, hint)


def _listed(values: Sequence[float]) -> str:
    return "[{}]".format(", ".join(f"{value:.4g}" for value in values))


def _by_axes(values: Array) -> str:
    return "x".join(f"{value:.4g}" for value in values)
