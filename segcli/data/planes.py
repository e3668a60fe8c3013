"""Preview picture of a prediction in a volume: planes through the volume, side by side."""

from collections.abc import Callable

import cv2
import numpy as np

from segcli.core.types import Array, Mask
from segcli.data.classes.painting import overlay

__all__ = ["Planes"]

SHARES = (0.25, 0.5, 0.75)
"""Positions of the planes, as shares of the length of each axis."""
LONGEST = 512
"""Largest number of pixels of the longer side of a plane."""
GAP = 6


class Planes:
    """Collects three planes along each axis of a prediction while it is computed.

    Args:
        size: Size of the volume.
    """

    def __init__(self, size: tuple[int, ...]) -> None:
        self.size = size
        self.places = [(axis, int(length * share)) for axis, length in enumerate(size) for share in SHARES]
        self.taken: dict[tuple[int, int], list[Array]] = {place: [] for place in self.places}

    def add(self, rows: slice, answer: Array) -> None:
        """Collect the planes from the next rows of the prediction, `(d, *S)` or `(d, *S, K)`."""
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
        """Draw the prediction over the image, `(H, W, 3)` uint8; one row of planes for each axis.

        Args:
            read: Reads the voxels of a window, `(*window, C)`.
            tinted: Returns the colours of a prediction and the mask of the pixels to tint.
            spacing: Size of a voxel along each axis; planes are stretched by it.
            upright: Whether the axes of a patient go from left to right, back to front and bottom to top: planes are
                then turned so that the head or the front is at the top.
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
    """Put pictures side by side, each padded to `width` columns, with a gap around them."""
    widths = [(GAP, GAP), (GAP, GAP), (0, 0)]
    low = min(tile.min() for tile in tiles)
    padded = [np.pad(tile, [(0, 0), (0, max(width - tile.shape[1], 0)), (0, 0)], constant_values=low) for tile in tiles]
    return np.concatenate([np.pad(tile, widths, constant_values=low) for tile in padded], axis=1)
