"""The file or folder that a mistyped path probably means."""

from contextlib import suppress
from itertools import islice
from pathlib import Path

from segcli.core.errors import nearest

__all__ = ["folders_in", "meant", "near_path"]

MOST = 2000
"""Names of a folder that are compared."""
LISTED = 5
"""Folders that are listed."""


def near_path(path: Path) -> Path | None:
    """Find the file or folder that a path means in which names are misspelt; None when nothing is close.

    Args:
        path: Path of nothing that exists.
    """
    found = Path(path.anchor)
    try:
        for part in path.parts[len(found.parts) :]:
            close = part if (found / part).exists() else _sibling(found, part)
            if close is None:
                return None
            found /= close
        return found if found.exists() else None  # a link may lead nowhere
    except OSError:
        return None


def _sibling(folder: Path, name: str) -> str | None:
    return nearest(name, [entry.name for entry in islice(folder.iterdir(), MOST) if entry.name[0] != "."])


def meant(path: Path) -> str | None:
    """Ask whether a path means a similar one, as a hint; None when nothing is close."""
    close = near_path(path)
    return None if close is None else f"did you mean `{close}`?"


def folders_in(folder: Path) -> str:
    """List the folders in a folder, as the end of a hint; empty if there are none."""
    names: list[str] = []
    with suppress(OSError):  # such as one that may be entered, but not listed
        names = sorted(each.name for each in folder.iterdir() if each.name[0] != "." and each.is_dir())
    more = ", ..." if len(names) > LISTED else ""
    return f"; `{folder}` has {', '.join(f'`{name}`' for name in names[:LISTED])}{more}" if names else ""
