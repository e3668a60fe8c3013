"""Ask about masks that can be read in two ways: as objects or classes, smoothed or not, white or black on the other."""

from collections.abc import Mapping
from typing import Any

from segcli.core.errors import DataError
from segcli.planning.facts import Classes, Option, Question
from segcli.planning.surveys import Survey

__all__ = ["objects", "outlined", "polarised", "refuse_smoothed", "smoothed_pair"]

MANY = 3
"""Numbers that occur only along outlines, from which smoothing is certain."""
FEW_PIXELS = 0.3
"""Largest share of the pixels that smoothing changes."""
MOSTLY = 0.6
"""Larger foreground that also fills most of the border may be the background."""
BORDER = 0.8
THOUSAND = 1000
"""Numbers of objects that hold their class as thousands."""


def objects(found: Survey) -> Classes:
    """Describe masks that number objects: every number is foreground.

    Raises:
        DataError: The numbers hold a class as well, as thousands.
    """
    numbers = sorted(value for value in found.values if value)
    thousands = {number // THOUSAND for number in numbers}
    if numbers[0] >= THOUSAND and 1 < len(thousands) <= 60 and max(number % THOUSAND for number in numbers) < 500:
        raise DataError(
            f"the masks number the objects of {len(thousands)} classes, which are the thousands: "
            f"{', '.join(map(str, numbers[:3]))} ...",
            hint="save the classes alone, or take every object as foreground with `mask_threshold=0`",
        )
    text = f"the masks number single objects, up to {found.most_values - 1} in one; every number is foreground"
    result = Classes(
        "binary",
        {"num_classes": 1, "mask_threshold": 0},
        {"mask_threshold": text},
        {"mask_threshold": "likely"},
        notes=["touching objects become one"],
    )
    if found.perhaps:
        several = Option("they are classes", ("mask_format=index",))
        every = Option("they number objects, and every number is foreground", ("mask_threshold=0",))
        words = f"The masks hold 1 to {numbers[-1]}, from top to bottom in each: what are these numbers?"
        result.questions.append(Question("mask_threshold", words, (every, several)))
        result.sure["mask_threshold"] = "guess"
    return result


def smoothed_pair(found: Survey) -> bool:
    """Tell whether smoothing of 0 and the largest number has left all numbers between them."""
    rest = found.values.keys() - {0, max(found.values)}
    return 0 in found.values and len(rest) >= MANY and rest <= found.between and found.between_share <= FEW_PIXELS


def refuse_smoothed(found: Survey) -> None:
    """Refuse masks of several classes or colours that were smoothed.

    Raises:
        DataError: Most of their numbers or colours occur only along outlines.
    """
    count = len(found.values or found.colours)
    solid = count - len(found.between)
    if len(found.between) < max(MANY, solid) or found.between_share > FEW_PIXELS or found.lossy:
        return
    what = "numbers" if found.values else "colours"
    raise DataError(
        f"{len(found.between)} of the {count} {what} in the masks occur only along outlines: smoothing has left them, "
        "and they are no classes",
        hint="export the masks without smoothing: nearest neighbour, no anti-aliasing",
    )


def outlined(result: Classes, found: Survey, given: Mapping[str, Any]) -> Classes:
    """Ask what a number is that lies only between 0 and the largest one, such as 128 around white objects."""
    numbers = sorted(found.values)
    is_white = numbers[0] == 0 and numbers[-1] > 64 and found.values[0] > found.values[numbers[-1]]
    if len(numbers) != 3 or not is_white or found.between != {numbers[1]}:
        return result
    middle, top = numbers[1:]
    classes = Option("a class", ("mask_format=index",))
    cut = Option(f"the outline of {top}, which belongs to it", (f"mask_threshold={middle - 1}",))
    drop = Option("the outline, which belongs to neither", (f"mask_threshold={middle}",))
    text = f"{middle} lies only along outlines in the masks: what is it?"
    result.questions.append(Question("mask_format", text, (classes, cut, drop)))
    result.sure["classes"] = "guess"
    return result


def polarised(result: Classes, found: Survey) -> Classes:
    """Ask which side is the object where most of the pixels, and of the border, are foreground."""
    share = 1 - found.values[0] / max(sum(found.values.values()), 1)
    if share < MOSTLY or found.border < BORDER:
        return result
    top = max(found.values)
    white = Option(f"{top} is the object", ("num_classes=1",))
    black = Option("0 is the object", ("mask_format=index", f"numbers=[{top}, 0]", "classes=[background, foreground]"))
    text = f"{share:.0%} of the pixels of the masks, and most of their border, are {top}: which is the object?"
    result.questions.append(Question("num_classes", text, (white, black)))
    result.sure["num_classes"] = "guess"
    return result
