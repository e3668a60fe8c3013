"""Leave out images that have no mask."""

from collections.abc import Sequence
from glob import escape

from segcli.planning.facts import Recognised
from segcli.planning.sides import INLINE

__all__ = ["leave_out"]


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
