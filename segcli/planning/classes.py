"""Derive the classes of a data set from what its masks store."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segcli.core.errors import DataError
from segcli.data.classes.colors import MAX_COLORS, RGB
from segcli.planning.doubts import objects, outlined, polarised, refuse_smoothed, smoothed_pair
from segcli.planning.facts import Classes, Option, Question, Sure
from segcli.planning.palettes import palette_of
from segcli.planning.surveys import Survey
from segcli.planning.tables import Named, named_in_tables

__all__ = ["classes_of"]

VOID_WORDS = re.compile(r"void|unlabel|ignore|unknown|not?[_ -]?data|undefined|outside")
VOID = 255
MOST_VOID = 0.4
"""Black with a larger share of the pixels is the background of objects, and no margin between classes."""
EXACT = ({1}, {255}, {65535})
BLACK: RGB = (0, 0, 0)
WHITE: RGB = (255, 255, 255)


def classes_of(found: Survey, tables: Sequence[Path], given: Mapping[str, Any], *, always_many: bool) -> Classes:
    """Derive classes from the numbers or colours of masks.

    Args:
        found: What the masks store.
        tables: Tables that may name the classes.
        given: Keys that the user has stated.
        always_many: Tells that the layout reads no masks of one class.

    Raises:
        DataError: The masks hold too many colours or a single value.
    """
    named = named_in_tables(tables)
    if found.colours and found.instances:
        varying = [levels for levels in zip(*found.colours, strict=True) if len(set(levels)) > 1]
        where = "in one colour channel" if len(varying) == 1 else "by their colours"
        raise DataError(
            f"the masks number single objects {where}, up to {found.most_values - 1} in one",
            hint="save masks of 0 and 255, or of one channel, whose numbers above 0 are then foreground",
        )
    numbers = {each.number for each in named if each.color is None}
    in_table = len(found.values) > 2 and found.values.keys() - {0, VOID} <= numbers
    stated = in_table or given.keys() & {"classes", "numbers", "mask_format"}  # they say that there are several
    if not (found.colours or always_many or stated) and (binary := _binary(found, given)) is not None:
        return binary
    if not stated:
        refuse_smoothed(found)
        if always_many and found.instances:
            raise DataError(
                f"the masks number single objects, up to {found.most_values - 1} in one, and frames have classes",
                hint="save masks of 0 and 1, or state `mask_format=index` if the numbers are classes",
            )
    result = _coloured(found, named, given) if found.colours else _numbered(found, named, given)
    if not found.is_whole:
        what = "colours" if found.colours else "numbers"
        result.notes.append(f"{found.seen} were read: `segcli data check` finds {what} of the others that are no class")
    return result


# ---- one class


def _binary(found: Survey, given: Mapping[str, Any]) -> Classes | None:
    """Describe masks of one class; None if they hold several."""
    keys: dict[str, Any] = {"num_classes": 1}
    values, top = set(found.values), max(found.values, default=0)
    if "mask_threshold" in given:
        return Classes("binary", keys)
    if found.instances or found.perhaps:
        return objects(found)
    tops = values - {0}
    if not tops:
        raise DataError(f"the masks are empty: {found.seen} hold nothing but 0", hint="check that they are masks")
    if len(values) == 1:
        raise DataError(
            f"the masks are full: {found.seen} hold nothing but {top}",
            hint="if their alpha channel marks the objects, save it as a grey image",
        )
    if (
        found.most_values <= 2
        and (tops in EXACT or (found.mixed_tops and tops <= {1, 255}))
        and not (found.lossy and top != VOID)
    ):
        reason = f"one mask: {found.seen} hold 0 and {' or '.join(map(str, sorted(tops)))}; {_share(found)} foreground"
        return polarised(Classes("binary", keys, {"num_classes": reason}), found)
    if len(tops) == 1 and 0 in values:
        keys["mask_threshold"] = top // 2
        reason = f"{found.seen} hold 0 and {top}; numbers above {top // 2} are foreground"
        return Classes("binary", keys, {"mask_threshold": reason})
    if smoothed_pair(found) or ((found.lossy or len(values) > 8) and top > 64 and _blurred(found, top)):
        keys["mask_threshold"] = top // 2
        why = "JPEG" if found.lossy else "smoothing"
        reason = (
            f"nearly all pixels are near 0 or near {top}; the values between come from {why} and are cut in the middle"
        )
        return Classes("binary", keys, {"mask_threshold": reason}, {"mask_threshold": "likely"})
    return None


def _share(found: Survey) -> str:
    share = 1 - found.values[0] / max(sum(found.values.values()), 1)
    return f"{share:.1%} of the pixels are"


def _blurred(found: Survey, top: int) -> bool:
    between = sum(count for value, count in found.values.items() if top // 8 < value < top - top // 8)
    return between <= 0.07 * sum(found.values.values())


# ---- several classes


def _numbered(found: Survey, named: Sequence[Named], given: Mapping[str, Any]) -> Classes:
    """Describe masks that hold the numbers of classes."""
    numbers = sorted(found.values)
    if found.lossy:
        raise DataError(
            "the masks of several classes are stored as JPEG, which changes the numbers of classes",
            hint="export them again, as PNG",
        )
    if len(numbers) > MAX_COLORS:
        raise DataError(
            f"the masks hold {len(numbers)} different numbers, more than the {MAX_COLORS} classes that are possible",
            hint="if they number objects, save masks of 0 and 255",
        )
    void = VOID if VOID in numbers and len(numbers) > 2 and numbers[-2] < VOID // 2 else None
    kept = [number for number in numbers if number != void]
    if len(kept) < 2:
        raise DataError(f"the masks hold one value, {kept[0]}, and no second class", hint="check that they are masks")
    if kept[0] < 0:
        raise DataError(
            f"the masks hold {kept[0]}, and classes have numbers from 0",
            hint="save pixels that do not count as 255, and classes from 0",
        )
    names = {
        each.number: each.name
        for each in named
        if (each.number is not None and each.color is None) or each.number in kept
    }
    stated = [names.get(number) or _name_of(number, found) for number in kept]
    keys: dict[str, Any] = {"mask_format": "index", "classes": _unlike(stated)}
    reason = f"numbers of {found.seen}" + ("" if names else "; rename the classes as you like, the order counts")
    reasons = {"classes": reason}
    sure: dict[str, Sure] = {"classes": "certain" if found.is_whole else "likely"}
    if kept != list(range(len(kept))):
        keys["numbers"] = kept
        reasons["numbers"] = "number of each of `classes` in the masks"
    if void is not None:
        keys["ignore"] = [{"name": "void", "number": void}]
        share = found.values[void] / sum(found.values.values())
        reasons["ignore"] = f"{void} ({share:.1%} of the pixels) marks pixels that nobody labelled, as is usual"
        sure["ignore"] = "likely"
    return outlined(Classes("multiclass", keys, reasons, sure), found, given)


def _name_of(number: int, found: Survey) -> str:
    if len(found.values) == 2 and number and 0 in found.values:
        return "foreground"
    is_most = number == 0 and found.values[0] >= max(found.values.values())
    return "background" if is_most else f"class_{number}"


def _coloured(found: Survey, named: Sequence[Named], given: Mapping[str, Any]) -> Classes:
    """Describe masks that hold the colours of classes."""
    colours = sorted(found.colours, key=lambda color: -found.colours[color])
    if len(colours) > MAX_COLORS:
        raise DataError(
            f"the masks hold {len(colours)} colours, more than the {MAX_COLORS} classes that are possible",
            hint="export the masks as PNG without smoothing",
        )
    table = {each.color: each.name for each in named if each.color is not None}
    if table and set(colours) <= table.keys():
        return _painted({color: table[color] for color in table}, "colours and names of the table", found, "certain")
    palette = palette_of(colours)
    if palette is not None:
        names = {color: name for color, name in palette.colours.items() if color in found.colours}
        return _painted(names, f"the colours are those of {palette.name}", found, "likely")
    ground = BLACK if BLACK in found.colours else WHITE
    names = {
        color: f"class_{number}" for number, color in enumerate((c for c in sorted(colours) if c != ground), start=1)
    }
    if ground == BLACK:
        return _with_black(names, found, given)
    if found.colours[WHITE] >= MOST_VOID * sum(found.colours.values()):
        names = {WHITE: "background", **names}
    return _painted(names, f"colours of {found.seen}; rename the classes as you like", found, "likely")


def _with_black(names: dict[RGB, str], found: Survey, given: Mapping[str, Any]) -> Classes:
    """Decide whether black is a class of its own, or marks pixels that nobody labelled."""
    share = found.colours[BLACK] / sum(found.colours.values())
    is_void = share < MOST_VOID and len(names) > 2
    if "ignore" in given:
        is_void = isinstance(given["ignore"], list) and "void" in given["ignore"]
    painted = {**names, BLACK: "void"} if is_void else {BLACK: "background", **names}
    result = _painted(painted, f"colours of {found.seen}; rename the classes as you like", found, "likely")
    if len(names) > 1:
        void = Option("they do not count", ("ignore=[void]",))
        background = Option("they are a class, the background", ("ignore=[]",))
        text = f"Black is {share:.0%} of the pixels of the masks: what are black pixels?"
        options = (void, background) if is_void else (background, void)
        result.questions.append(Question("ignore", text, options))
        result.sure["ignore"] = "guess"
    return result


def _painted(names: Mapping[RGB, str], reason: str, found: Survey, sure: Sure) -> Classes:
    """Write classes with their colours; those whose name says so do not count."""
    void = [name for name in names.values() if VOID_WORDS.search(name.lower())]
    keys: dict[str, Any] = {
        "mask_format": "rgb",
        "classes": [{"name": name, "color": list(color)} for color, name in names.items()],
    }
    reasons = {"classes": reason}
    if void:
        keys["ignore"] = void
        total = sum(found.colours.values())
        share = sum(found.colours[color] for color, name in names.items() if name in void) / total
        reasons["ignore"] = (
            f"{share:.1%} of the pixels, which nobody labelled: they count neither in the loss nor in scores"
        )
    return Classes("multiclass", keys, reasons, {"classes": sure})


def _unlike(names: Sequence[str]) -> list[str]:
    """Give each name once; a second one gets a number."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return result
