"""Comparison of the geometry of a label map with that of its image.

Both are compared in the axes in which voxels are read, so a label map that is stored in another orientation but lies at
the same place agrees with its image.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from segcli.core.types import Array
from segcli.data.checks import Finding, Severity
from segcli.files import Header

__all__ = ["HINT", "placement", "unusual"]

SPACING = 1e-3
"""Largest relative difference of the spacing: half a voxel over 512 voxels; headers round to float32 or to 4 digits."""
TURN = 2e-3
"""Largest difference of a direction, as the length of the difference of unit vectors (0.1 degrees): a rotation that is
stored as a float32 quaternion is up to 1.3e-3 off."""
SHIFT = 0.05
"""Largest distance of the centres in voxels that is not mentioned."""
MISPLACED = 0.999
"""A label map this many voxels or more from its image, so one whole voxel, is an error; a nearer one is a warning."""
HINT = (
    "if their voxels match one by one, write the label map with the affine of its image "
    "(`nibabel.Nifti1Image(labels, image.affine)`); otherwise resample it to the image"
)


def placement(
    label: Path,
    label_header: Header,
    image: Path,
    image_header: Header,
    *,
    other: str = "its image",
) -> Iterator[Finding]:
    """Find differences in spacing, directions and position; files of one size and with a geometry are compared.

    Args:
        label: Label map, or another file that must lie on the image.
        label_header: Its header.
        image: The image.
        image_header: Its header.
        other: Words for the image.
    """
    ours, others = label_header.grid, image_header.grid
    if ours is None or others is None or ours.size != others.size:
        return

    def both() -> str:
        return f"`{label}` has {ours.words}, but {other} `{image}` has {others.words}"

    if not np.allclose(ours.spacing, others.spacing, rtol=SPACING, atol=0):
        yield Finding("spacing_differs", "error", label, f"{both()}: their voxels differ in size", HINT, (image,))
        return
    turned = float(np.linalg.norm(_directions(ours.placed) - _directions(others.placed), axis=0).max())
    if turned > TURN:
        degrees = float(np.degrees(2 * np.arcsin(min(turned / 2, 1.0))))
        message = f"{both()}: they are turned by {degrees:.3g} degrees against each other"
        yield Finding("geometry_differs", "error", label, message, HINT, (image,))
        return
    centre = np.array([*((length - 1) / 2 for length in others.size), 1.0])
    apart = np.abs(np.linalg.inv(others.placed) @ ours.placed @ centre - centre)[:3]
    if apart.max() > SHIFT:
        voxels = "x".join(f"{value:.3g}" for value in apart.round(3) + 0.0)
        severity: Severity = "error" if apart.max() >= MISPLACED else "warning"
        message = f"{both()}: they lie {voxels} voxels apart"
        yield Finding("geometry_differs", severity, label, message, HINT, (image,))


def unusual(path: Path, header: Header) -> Iterator[Finding]:
    """Report a geometry that was not taken as the file states it first."""
    if header.grid is not None and header.grid.remark:
        yield Finding("unusable_sform", "warning", path, header.grid.remark, "write the file again if that is wrong")


def _directions(affine: Array) -> Array:
    directions: Array = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return directions
