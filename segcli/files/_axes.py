"""Axes of arrays that store no names of axes."""

from segcli.core.types import Array

__all__ = ["as_channels_last", "axes_of"]

COLOURS = 4
"""Largest length of an axis that may be the channels."""


def axes_of(shape: tuple[int, ...], spatial: str) -> str:
    """Guess the axes of an array from its shape, as letters; channels are `c`.

    Example:
        >>> axes_of((512, 512, 3), "yx"), axes_of((3, 512, 512), "yx")
        ('yxc', 'cyx')
    """
    if len(shape) == len(spatial):
        return spatial
    if len(shape) == len(spatial) + 1:
        return f"{spatial}c" if shape[-1] <= COLOURS else f"c{spatial}" if shape[0] <= COLOURS else "?" + spatial
    return "tczyx"[-len(shape) :]


def as_channels_last(part: Array, axes: str, spatial: str) -> Array:
    """Turn a part of an array into `(*S, C)`.

    Args:
        part: The part, without axes of length 1.
        axes: Its axes, those of `spatial` and perhaps `c`.
        spatial: Spatial axes in the required order.
    """
    if "c" not in axes:
        part, axes = part[..., None], f"{axes}c"
    return part.transpose([axes.index(axis) for axis in f"{spatial}c"])
