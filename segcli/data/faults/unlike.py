"""Findings on images and masks that differ from the others of the data set."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from segcli.data.checks import Finding
from segcli.data.faults.alignment import Fit, inverted, shifted
from segcli.data.faults.brightness import Brightness, far_off, saturated
from segcli.data.faults.kept import Images
from segcli.data.faults.misfits import Again, misfits
from segcli.data.faults.negatives import negatives
from segcli.data.faults.turned import AXES
from segcli.data.faults.volume_alignment import misplaced

__all__ = ["unlike_the_others"]


def unlike_the_others(images: Images, again: Again) -> Iterator[Finding]:
    """Find shifted, turned, exchanged and inverted masks, negatives, saturated images, and images with extreme values.

    Args:
        images: Descriptions of all images.
        again: Reads a case once more.
    """
    fits, brightness = images.fits, images.brightness
    wrong = set(inverted(fits))
    for i in sorted(wrong):
        path = images.cases[i].label or images.cases[i].image
        message = f"mask `{path}` marks what is background in the other masks: foreground and background are exchanged"
        yield Finding("inverted_mask", "warning", path, message, "invert the mask, if the image confirms it")
    negative = [i for i in negatives(fits, images.volume_fits) if i not in wrong]
    for i in negative:
        yield _negative(images, i)
    misfitting: set[int] = set()
    for positions, finding in misfits(images, again, {*wrong, *negative}):
        misfitting |= positions
        yield finding
    in_planes = list(_shifted(images, fits, misfitting))
    yield from in_planes
    yield from _misplaced(images, {finding.file for finding in in_planes}, misfitting)
    for i in saturated(brightness):
        message = f"{brightness[i].at_top:.0%} of the pixels of {images.name(i)} have the largest value"
        hint = "details are lost there: export the image again with less exposure, or leave it out"
        yield Finding("saturated_image", "warning", images.cases[i].image, message, hint)
    for i in far_off(brightness):
        yield _extreme(images, i, brightness[i])


def _shifted(images: Images, fits: Sequence[Fit | None], told: Collection[int]) -> Iterator[Finding]:
    for i, (rows, columns) in shifted(fits):
        if i in told:
            continue
        ways = [
            f"{abs(length)} pixels too far {one if length > 0 else other}"
            for length, one, other in ((rows, "down", "up"), (columns, "right", "left"))
            if length
        ]
        where = " and ".join(ways)
        if i is None:
            case = images.cases[0]
            message = f"the masks of this data set seem to lie {where}, compared with the edges in their images"
        else:
            case = images.cases[i]
            message = f"the mask of {images.name(i)} seems to lie {where}, compared with the edges in the image"
        hint = "look at the mask over its image, and export it again at the right place"
        others = () if i is None or case.label is None else (case.image,)
        yield Finding("shifted_mask", "warning", case.label or case.image, message, hint, others)


def _misplaced(images: Images, known: set[Path | None], told: Collection[int]) -> Iterator[Finding]:
    """Find masks of volumes that are shifted along any axis, reversed, or have exchanged axes.

    Args:
        images: Descriptions of all images.
        known: Masks whose shift is known.
        told: Positions of masks whose fault is told.
    """
    for i, way, step in misplaced(images.volume_fits):
        case = images.cases[i]
        path = case.label or case.image
        if i in told or (path in known and case.label is not None):
            continue
        axis = f"its {AXES[way.axis]} axis"
        how = {
            "shift": f"lie {abs(way.amount) * step} voxels too far {'back' if way.amount > 0 else 'on'} along {axis}",
            "reversed": f"be reversed along {axis}",
            "exchanged": f"have its {AXES[way.axis]} and {AXES[way.amount % 3]} axis exchanged",
        }[way.kind]
        message = f"the mask of {images.name(i)} seems to {how}, compared with the image and with the other masks"
        hint = "look at the mask over its image, and export it again at the right place"
        others = () if case.label is None else (case.image,)
        yield Finding("shifted_mask", "warning", path, message, hint, others)


def _negative(images: Images, i: int) -> Finding:
    message = f"{images.name(i)} seems to be a negative of the other images: bright and dark are exchanged"
    hint = "invert its values, if its mask is right; a network takes the foreground for background there"
    return Finding("negative_image", "warning", images.cases[i].image, message, hint)


def _extreme(images: Images, i: int, about: Brightness) -> Finding:
    message = (
        f"{images.name(i)} holds values from {about.low:.4g} to {about.high:.4g}, but only 0.5 % of them exceed "
        f"{about.bright:.4g}: a few are far from all others"
    )
    hint = "set `intensity_range` of the data set, which clips them, or correct the pixels"
    return Finding("extreme_values", "warning", images.cases[i].image, message, hint)
