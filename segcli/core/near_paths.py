"""The file or folder that a mistyped path probably means."""

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
    except OSError:
        return None
    return found


def _sibling(folder: Path, name: str) -> str | None:
    return nearest(name, [entry.name for entry in islice(folder.iterdir(), MOST) if entry.name[0] != "."])


def meant(path: Path) -> str | None:
    """Ask whether a path means a similar one, as a hint; None when nothing is close."""
    close = near_path(path)
    return None if close is None else f"did you mean `{close}`?"


def folders_in(folder: Path) -> str:
    """List the folders in a folder, as the end of a hint; empty if there are none."""
    names = sorted(each.name for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []
    shown = [f"`{name}`" for name in names if name[0] != "."]
    more = ", ..." if len(shown) > LISTED else ""
    return f"; `{folder}` has {', '.join(shown[:LISTED])}{more}" if shown else ""
