"""Augmentation of volumes and one `crop_size`, which two earlier pipelines had."""

from typing import Any

from segcli.config.earlier.flips import TRANSFORMS
from segcli.config.earlier.row import Asked, LeftOut, Row, Sets, Undecided
from segcli.config.earlier.values import largest, number, probability, switch

__all__ = ["VOLUME_AUGMENTATION"]


def _range(value: Any, asked: Asked) -> list[float]:
    """Read a lower and an upper limit; one number is the distance from 1."""
    if isinstance(value, list):
        if len(value) != 2:
            raise Undecided(f"`{value}` is not a lower and an upper limit")
        return [number(entry, asked) for entry in value]
    away = number(value, asked)
    if not 0.0 < away < 1.0:
        raise Undecided(f"`{value}` is not a lower and an upper limit such as `[0.8, 1.2]`")
    return [round(1.0 - away, 6), round(1.0 + away, 6)]


def _flips(value: Any, asked: Asked) -> Any:
    """Read flips of volumes: true or a probability for all axes, or a list of axes."""
    if isinstance(value, list):
        return [int(number(entry, asked)) for entry in value]
    share = probability(value, asked)
    if share == 0.0:
        raise LeftOut("a probability of 0 is none")
    if share != 0.5:
        return Sets({"data.augmentation.flip_axes": [0, 1, 2]}, "each axis with probability 0.5")
    return [0, 1, 2]


def _one_flip(value: Any, asked: Asked) -> Any:
    raise Undecided("which axis of the volume that was depends on the code; name it in `data.augmentation.flip_axes`")


def _noise(value: Any, asked: Asked) -> float:
    found = number(value, asked)
    if found == 0.0:
        raise LeftOut("no noise is the default")
    if found > 0.5:
        raise Undecided(f"{found:g} was in units of intensity; here it is a share of the volume's standard deviation")
    return found


def _both(names: str) -> str:
    return " ".join([*names.split(), *(f"augmentation.{name}" for name in names.split())])


VOLUME_AUGMENTATION = (
    Row(
        _both("noise_std gaussian_noise_std noise_sigma noise"),
        "data.augmentation.noise_std",
        "a share of the volume's standard deviation, not in units of intensity",
        _noise,
    ),
    Row(_both("noise_prob noise_p noise_probability"), "data.augmentation.noise_share", read=number),
    Row(
        _both("intensity_scale_range intensity_scale scale_intensity intensity_range_scale"),
        "data.augmentation.intensity_scale_range",
        "`0.1` is `[0.9, 1.1]`",
        _range,
    ),
    Row(
        _both("rotation rotation_degrees rotation_range max_rotation rotate rotation_angle"),
        "data.augmentation.rotation_degrees",
        "largest angle",
        largest,
    ),
    Row(
        _both("flip_axes flip random_flip flips flip_prob flip_p flip_probability"),
        "data.augmentation.flip_axes",
        "a list of axes, or true for all",
        _flips,
    ),
    Row(
        " ".join(_both(TRANSFORMS[kind]) for kind in ("HorizontalFlip", "VerticalFlip")),
        "",
        "name the axes in `data.augmentation.flip_axes`",
        _one_flip,
    ),
    Row(
        _both("gamma_range random_gamma gamma_limits"), "data.augmentation.gamma_range", "`0.2` is `[0.8, 1.2]`", _range
    ),
    Row(
        _both("contrast_range contrast random_contrast"), "data.augmentation.contrast_range", "as `gamma_range`", _range
    ),
    Row(_both("rotate90 quarter_turns random_rotate90 rot90"), "data.augmentation.quarter_turns", read=switch),
)
"""Rows of both pipelines for volumes."""
