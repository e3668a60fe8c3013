"""Preview picture of a prediction in a volume: planes through the volume, side by side, with their names."""

from collections.abc import Callable

import cv2
import numpy as np

from segcli.core.types import Array, Mask
from segcli.data.classes.lettering import lettered
from segcli.data.classes.painting import overlay
from segcli.data.images import as_rgb

__all__ = ["Planes", "plane_name"]

SHARES = (0.25, 0.5, 0.75)
"""Positions of the planes, as shares of the length of each axis."""
SHORTEST, LONGEST = 256, 512
"""Smallest and largest number of pixels of the longest side of the volume."""
GAP = 6
HEAD = 20
"""Pixels above a plane for its name."""
LETTERS = 13
"""Size of the letters, in pixels."""
ANATOMICAL = (("sagittal", "P", "A"), ("coronal", "L", "R"), ("axial", "L", "R"))
"""Name of the planes across each axis of a patient, and what lies at the left and at the right edge."""


def plane_name(axis: int, at: int, count: int, *, upright: bool) -> str:
    """Name a plane across an axis, counted from 1.

    Example:
        >>> plane_name(2, 9, 40, upright=True), plane_name(0, 9, 40, upright=False)
        ('axial 10 of 40', 'axis 1, slice 10 of 40')
    """
    return f"{ANATOMICAL[axis][0] if upright else f'axis {axis + 1}, slice'} {at + 1} of {count}"


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

        All planes have the same scale; small volumes are enlarged.

        Args:
            read: Reads the voxels of a window, `(*window, C)`.
            tinted: Returns the colours of a prediction and the mask of the pixels to tint.
            spacing: Size of a voxel along each axis; planes are stretched by it.
            upright: Whether the axes of a patient go from left to right, back to front and bottom to top: planes are
                then turned so that the head or the front is at the top, and the sides of the patient are marked.
        """
        steps = np.array(spacing or (1.0,) * 3)
        longest = float((np.array(self.size) * steps).max())
        steps = steps * min(max(1.0 / steps.min(), SHORTEST / longest), LONGEST / longest)
        tiles = [self._plane(place, read, tinted, steps, upright=upright) for place in self.places]
        photos = as_rgb(np.concatenate([image.reshape(-1, 1, image.shape[-1]) for image, _, _ in tiles]))
        ends = np.cumsum([image.shape[0] * image.shape[1] for image, _, _ in tiles])[:-1]
        drawn = [
            self._named(overlay(photo.reshape(colours.shape), colours, mask[..., 0] > 0), place, upright=upright)
            for photo, (_, colours, mask), place in zip(np.split(photos, ends), tiles, self.places, strict=True)
        ]
        width = max(tile.shape[1] for tile in drawn)
        rows = [drawn[start : start + len(SHARES)] for start in range(0, len(drawn), len(SHARES))]
        return np.concatenate([_in_a_row(row, width) for row in rows])

    def _plane(
        self,
        place: tuple[int, int],
        read: Callable[[tuple[slice, ...]], Array],
        tinted: Callable[[Array], tuple[Array, Mask]],
        steps: Array,
        *,
        upright: bool,
    ) -> tuple[Array, Array, Array]:
        """Cut image, colours and mask of a plane, `steps` pixels for each voxel."""
        axis, at = place
        window = tuple(
            slice(at, at + 1) if other == axis else slice(0, length) for other, length in enumerate(self.size)
        )
        image = read(window).squeeze(axis)
        answer = self.taken[place][0] if axis == 0 else np.concatenate(self.taken[place])
        colours, mask = tinted(answer)
        lengths = np.array(image.shape[:2]) * np.delete(steps, axis)
        size = tuple(max(round(length), 1) for length in lengths[::-1])
        layers = []
        for values in (image.astype(np.float32), np.ascontiguousarray(colours), mask.astype(np.uint8)):
            smooth = cv2.INTER_AREA if size[0] * size[1] < mask.size else cv2.INTER_LINEAR
            method = smooth if values.dtype == np.float32 else cv2.INTER_NEAREST_EXACT
            sized = cv2.resize(values, size, interpolation=method).reshape(size[1], size[0], -1)
            layers.append(np.rot90(sized) if upright else sized)
        return layers[0], layers[1], layers[2]

    def _named(self, tile: Array, place: tuple[int, int], *, upright: bool) -> Array:
        """Write the name of a plane above it, and the sides of the patient at its edges."""
        axis, at = place
        name = plane_name(axis, at, self.size[axis], upright=upright)
        height, width = tile.shape[:2]
        words = [((2, HEAD // 2), "lm", name)]
        if upright:
            _, left, right = ANATOMICAL[axis]
            middle = HEAD + height // 2
            words += [((4, middle), "lm", left), ((width - 4, middle), "rm", right)]
        room = max(8 * len(name), width) - width
        return lettered(np.pad(tile, ((HEAD, 0), (0, room), (0, 0))), words, LETTERS)


def _in_a_row(tiles: list[Array], width: int) -> Array:
    """Put pictures side by side, each padded to `width` columns, with a gap around them."""
    gaps = [(GAP, GAP), (GAP, GAP), (0, 0)]
    padded = [np.pad(tile, [(0, 0), (0, width - tile.shape[1]), (0, 0)]) for tile in tiles]
    return np.concatenate([np.pad(tile, gaps) for tile in padded], axis=1)
