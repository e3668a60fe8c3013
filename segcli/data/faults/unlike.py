"""Findings on images and masks that differ from the others of the data set."""

from collections.abc import Iterator, Sequence

from segcli.data.checks import Finding
from segcli.data.faults.alignment import inverted, shifted
from segcli.data.faults.brightness import far_off, saturated
from segcli.data.faults.seen import Seen

__all__ = ["unlike_the_others"]


def unlike_the_others(images: Sequence[Seen]) -> Iterator[Finding]:
    """Find shifted and inverted masks, saturated images, and images with extreme values."""
    fits = [each.fit for each in images]
    turned_over = set(inverted(fits))
    for i in sorted(turned_over):
        path = images[i].case.label or images[i].case.image
        message = f"mask `{path}` marks what is background in the other masks: foreground and background are exchanged"
        yield Finding("inverted_mask", "warning", path, message, "invert the mask, if the image confirms it")
    yield from _shifted(images)
    for i in saturated([each.brightness for each in images]):
        message = f"{images[i].brightness.at_top:.0%} of the pixels of {images[i].name} have the largest value"
        hint = "details are lost there: export the image again with less exposure, or leave it out"
        yield Finding("saturated_image", "warning", images[i].case.image, message, hint)
    for i in far_off([each.brightness for each in images]):
        yield _extreme(images[i])


def _shifted(images: Sequence[Seen]) -> Iterator[Finding]:
    for i, (rows, columns) in shifted([each.fit for each in images]):
        ways = [
            f"{abs(length)} pixels too far {one if length > 0 else other}"
            for length, one, other in ((rows, "down", "up"), (columns, "right", "left"))
            if length
        ]
        where = " and ".join(ways)
        if i is None:
            case = images[0].case
            message = f"the masks of this data set seem to lie {where}, compared with the edges in their images"
        else:
            case = images[i].case
            message = f"the mask of {images[i].name} seems to lie {where}, compared with the edges in the image"
        hint = "look at the mask over its image, and export it again at the right place"
        others = () if i is None or case.label is None else (case.image,)
        yield Finding("shifted_mask", "warning", case.label or case.image, message, hint, others)


def _extreme(image: Seen) -> Finding:
    about = image.brightness
    message = (
        f"{image.name} holds values from {about.low:.4g} to {about.high:.4g}, but only 0.5 % of them exceed "
        f"{about.bright:.4g}: a few are far from all others"
    )
    hint = "set `intensity_range` of the data set, which clips them, or correct the pixels"
    return Finding("extreme_values", "warning", image.case.image, message, hint)
