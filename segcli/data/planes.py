"""A picture of what was found in a volume: planes through it, side by side."""

from collections.abc import Callable

import cv2
import numpy as np

from segcli.core.types import Array, Mask
from segcli.data.classes.painting import overlay

__all__ = ["Planes"]

SHARES = (0.25, 0.5, 0.75)
"""Where planes lie, as shares of the length of each axis."""
LONGEST = 512
"""Pixels of the longer side of a plane, at most."""
GAP = 6


class Planes:
    """Planes of an answer, taken while it is found; three along each axis.

    Args:
        size: Of the volume.
    """

    def __init__(self, size: tuple[int, ...]) -> None:
        self.size = size
        self.places = [(axis, int(length * share)) for axis, length in enumerate(size) for share in SHARES]
        self.taken: dict[tuple[int, int], list[Array]] = {place: [] for place in self.places}

    def add(self, rows: slice, answer: Array) -> None:
        """Take what lies in the next planes, `(d, *S)` or `(d, *S, K)`."""
        for (axis, at), parts in self.taken.items():
            if axis > 0:
                parts.append(answer.take(at, axis))
            elif rows.start <= at < rows.stop:
                parts.append(answer[at - rows.start])

    def picture(
        self,
        read: Callable[[tuple[slice, ...]], Array],
        tinted: Callable[[Array], tuple[Array, Mask]],
        spacing: tuple[float, ...] | None,
        *,
        upright: bool,
    ) -> Array:
        """The image with the answer over it, `(H, W, 3)` uint8; a row for each axis.

        Args:
            read: Gives voxels of a window, `(*window, C)`.
            tinted: Colours of an answer, and where it is shown.
            spacing: Size of a voxel along each axis, which planes are stretched by.
            upright: Whether axes go from left to right, back to front and bottom to top, as of a patient: planes are
                then turned so that the head or the front is above.
        """
        steps = np.array(spacing or (1.0,) * 3)
        tiles = [self._plane(place, read, tinted, steps, upright=upright) for place in self.places]
        rows = [tiles[start : start + len(SHARES)] for start in range(0, len(tiles), len(SHARES))]
        width = max(row[0][0].shape[1] for row in rows)
        images, colours, masks = (
            np.concatenate([_in_a_row([tile[part] for tile in row], width) for row in rows]) for part in range(3)
        )
        return overlay(images, colours, masks[..., 0] > 0)

    def _plane(
        self,
        place: tuple[int, int],
        read: Callable[[tuple[slice, ...]], Array],
        tinted: Callable[[Array], tuple[Array, Mask]],
        steps: Array,
        *,
        upright: bool,
    ) -> tuple[Array, Array, Array]:
        axis, at = place
        window = tuple(
            slice(at, at + 1) if other == axis else slice(0, length) for other, length in enumerate(self.size)
        )
        image = read(window).squeeze(axis)
        answer = self.taken[place][0] if axis == 0 else np.concatenate(self.taken[place])
        colours, mask = tinted(answer)
        lengths = np.array(image.shape[:2]) * np.delete(steps, axis)
        scale = min(1.0 / steps.min(), LONGEST / lengths.max())
        size = tuple(max(int(length * scale), 1) for length in lengths[::-1])
        layers = []
        for values in (image.astype(np.float32), np.ascontiguousarray(colours), mask.astype(np.uint8)):
            method = cv2.INTER_AREA if values.dtype == np.float32 else cv2.INTER_NEAREST
            sized = cv2.resize(values, size, interpolation=method).reshape(size[1], size[0], -1)
            layers.append(np.rot90(sized) if upright else sized)
        return layers[0], layers[1], layers[2]


def _in_a_row(tiles: list[Array], width: int) -> Array:
    """Pictures side by side, each with room for `width` columns, and a gap around them."""
    widths = [(GAP, GAP), (GAP, GAP), (0, 0)]
    low = min(tile.min() for tile in tiles)
    padded = [np.pad(tile, [(0, 0), (0, max(width - tile.shape[1], 0)), (0, 0)], constant_values=low) for tile in tiles]
    return np.concatenate([np.pad(tile, widths, constant_values=low) for tile in padded], axis=1)
