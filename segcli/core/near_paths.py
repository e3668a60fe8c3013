"""The file or folder that a mistyped path probably means."""

from itertools import islice
from pathlib import Path

from segcli.core.errors import nearest

__all__ = ["meant", "near_path"]

MOST = 2000
"""Names of a folder that are compared."""


def near_path(path: Path) -> Path | None:
    """Find the file or folder that a path means in which names are misspelt; None when nothing is close.

    Args:
        path: Path of nothing that exists.
    """
    found = Path(path.anchor)
    try:
        for part in path.parts[len(found.parts) :]:
            if not (found / part).exists():
                names = [entry.name for entry in islice(found.iterdir(), MOST) if entry.name[0] != "."]
                close = nearest(part, names)
                if close is None:
                    return None
                part = close
            found /= part
    except OSError:
        return None
    return found


def meant(path: Path) -> str | None:
    """Ask whether a path means a similar one, as a hint; None when nothing is close."""
    close = near_path(path)
    return None if close is None else f"did you mean `{close}`?"
