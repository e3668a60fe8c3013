"""Leave out images that have no mask."""

from collections.abc import Iterable, Sequence
from glob import escape

from segcli.core.errors import DataError
from segcli.planning.facts import Recognised
from segcli.planning.pairs import NUMBERS
from segcli.planning.sides import INLINE

__all__ = ["leave_out", "refuse_other_zeros"]


def leave_out(found: Recognised, names: Sequence[str], count: int, mask: str, *, by_name: bool = True) -> int:
    """State `exclude` for images without a mask if they are few enough to name; returns the number of the others.

    Args:
        found: Its keys get `exclude`, and its notes the number.
        names: Names of the images without a mask.
        count: Number of all images.
        mask: Word for a mask.
        by_name: Name the images; else a note says that they are there.
    """
    if not names:
        return count
    if len(names) > INLINE or not by_name:
        found.notes.append(f"{len(names)} of {count} images have no {mask}: `data check` names them")
        return count
    patterns = [*found.keys.get("exclude", []), *map(escape, names)]
    found.state("exclude", patterns, f"images without a {mask}, and other files that are not used")
    found.notes.append(f"{len(names)} of {count} images have no {mask} and are left out with `exclude`")
    return count - len(names)


def refuse_other_zeros(images: Iterable[str], masks: Iterable[str], mask: str) -> None:
    """Refuse images without a mask whose number a mask without an image has with other zeros in front.

    Args:
        images: Stems of the images without a mask.
        masks: Stems of the masks without an image.
        mask: Word for a mask.

    Raises:
        DataError: There is such a pair, which would be left out.
    """
    spare = {tuple(map(int, NUMBERS.findall(stem))): stem for stem in masks}
    for stem in images:
        numbers = NUMBERS.findall(stem)
        other = spare.get(tuple(map(int, numbers))) if numbers else None
        if other is not None and NUMBERS.findall(other) != numbers:
            raise DataError(
                f"image `{stem}` and {mask} `{other}` have one number with different zeros in front",
                hint="rename the files so that an image and its mask write their number alike",
            )
