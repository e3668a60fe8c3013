"""Slices of a volume that are there twice, are empty between others, or are exchanged with their neighbours."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segcli.core.types import Array
from segcli.data.checks import Finding
from segcli.data.clipping import without_details
from segcli.data.samples import Case, Sample
from segcli.data.slices import SliceStacks
from segcli.files import Window

__all__ = ["flat_crop", "slice_faults"]

SIDE = 64
"""Longest side of the slices that are compared in order."""
EXCHANGED, CLEARER = 1.08, 1.15
"""Ratio at which two slices are exchanged, and by what factor it exceeds those elsewhere in the volume."""
FEWEST = 7
"""Fewer slices have no usual ratio."""


@dataclass(frozen=True)
class _Named:
    """Names the slices of a part of a volume."""

    folder: Path
    files: Sequence[Path]
    pages: Sequence[int]

    def name(self, at: int) -> str:
        """Name a slice by its file or, in a file of several pages, by its number."""
        one_file = len(set(self.files)) < len(self.files)
        return f"page {self.pages[at] + 1}" if one_file else f"`{self.files[at].name}`"

    def finding(self, code: str, at: int, message: str, hint: str) -> Finding:
        """Report a fault of a slice."""
        return Finding(code, "warning", self.files[at], f"`{self.folder}`: {message}", hint)


def flat_crop(case: Case, sample: Sample, shown: Sample, intensity_range: Sequence[float] | None) -> list[Finding]:
    """Report a crop with one value, of which `intensity_range` leaves little, or of which its mask hides all.

    Args:
        case: The crop.
        sample: What a network sees.
        shown: The crop with the voxels that its mask hides.
        intensity_range: Stored values that become 0 and 1.
    """
    found = list(without_details(shown.image, intensity_range, f"crop `{case.id}` of `{case.image}`", case.image))
    if found or sample.image.min() != sample.image.max():
        return found
    message = f"mask `{case.label}` hides every voxel of crop `{case.id}`: it marks nothing there"
    hint = "draw the mask, or leave out the sample: its class cannot be learnt from an empty crop"
    return [Finding("empty_mask", "warning", case.label or case.image, message, hint, (case.image,))]


def slice_faults(stacks: SliceStacks, folder: Path, window: Window) -> Iterator[Finding]:
    """Find slices that repeat their neighbour, have one value between slices that do not, or are exchanged.

    Args:
        stacks: Reader of the slices.
        folder: Folder or file of the volume.
        window: Part of the volume that is looked at.
    """
    stack, voxels = stacks.of(folder), stacks.voxels(folder, window)
    across = tuple(slice(0, length) for length in stack.size[1:])

    def whole(at: int) -> Array:
        number = window[0].start + at
        return stacks.voxels(folder, (slice(number, number + 1), *across))

    planes = stack.planes[window[0]]
    named = _Named(folder, [plane.file for plane in planes], [plane.page for plane in planes])
    constant = np.array([bool((plane == plane.flat[0]).all()) for plane in voxels])
    yield from _repeated(voxels, constant, named, whole)
    yield from _empty(constant, named, whole)
    if not constant.any():
        yield from _exchanged(voxels, named)


def _repeated(voxels: Array, constant: Array, named: _Named, whole: Callable[[int], Array]) -> Iterator[Finding]:
    pairs = [
        at
        for at in range(1, len(voxels))
        if not constant[at]
        and np.array_equal(voxels[at, 0], voxels[at - 1, 0])
        and np.array_equal(voxels[at], voxels[at - 1])
        and np.array_equal(whole(at), whole(at - 1))
    ]
    if not pairs:
        return
    more = f", and {len(pairs) - 1} more slices repeat the one before" if len(pairs) > 1 else ""
    message = f"slice {named.name(pairs[0])} has the pixels of the slice before, {named.name(pairs[0] - 1)}{more}"
    hint = "export the slices again: one was written twice, or the volume was made longer by repeating slices"
    yield named.finding("repeated_slice", pairs[0], message, hint)


def _empty(constant: Array, named: _Named, whole: Callable[[int], Array]) -> Iterator[Finding]:
    filled = np.flatnonzero(~constant)
    if len(filled) < 2:
        return
    inside = [at for at in np.flatnonzero(constant).tolist() if filled[0] < at < filled[-1]]
    for at in inside:
        plane = whole(at)
        if not (plane == plane.flat[0]).all():
            return  # only this part of the slice is empty
    if inside:
        more = f", and so have {len(inside) - 1} more" if len(inside) > 1 else ""
        message = f"slice {named.name(inside[0])} has one value in all pixels, between slices that do not{more}"
        hint = "restore the slice, or leave out the sample: the objects are cut in two there"
        yield named.finding("empty_slice", inside[0], message, hint)


def _exchanged(voxels: Array, named: _Named) -> Iterator[Finding]:
    """Find two neighbours that fit better in the other order, in a volume whose slices change step by step."""
    if len(voxels) < FEWEST:
        return
    rows, columns = (-(-length // SIDE) for length in voxels.shape[1:])
    small = voxels[:, rows // 2 :: rows, columns // 2 :: columns].astype(np.float32)
    near, far = (np.abs(small[step:] - small[:-step]).mean(axis=(1, 2)) for step in (1, 2))
    if not near.min() or not far.min():
        return  # repeated or mirrored slices fit in both orders
    # of a, b, c, d: how far neighbours are in this order, as a ratio to a, c, b, d
    ratios = (near[:-2] + near[2:]) / (far[:-1] + far[1:])
    at = int(ratios.argmax())
    others = np.delete(ratios, range(max(at - 1, 0), min(at + 2, len(ratios))))
    if ratios[at] < EXCHANGED or ratios[at] < CLEARER * others.max():
        return
    message = f"slices {named.name(at + 1)} and {named.name(at + 2)} fit their neighbours better in the other order"
    hint = "look at both: if they were exchanged, exchange their names, and those of their masks"
    yield named.finding("exchanged_slices", at + 1, message, hint)
