"""Paths that were written on Windows, on another system."""

import re
from pathlib import Path

from segcli.core.paths import exists
from segcli.core.platform import WINDOWS

__all__ = ["of_windows"]

DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")
"""Beginning of a path with a drive, or of a network folder of Windows."""


def of_windows(text: str, *, folder: Path | None = None, windows: bool = WINDOWS) -> tuple[str, str] | None:
    r"""Say that a path is written as on Windows, on another system; None if it is not, or leads somewhere.

    Args:
        text: The path as typed.
        folder: Folder from which the path may lead somewhere, beside the working folder.
        windows: This system is Windows.

    Returns:
        The message and the hint.

    Example:
        >>> of_windows(r"data\images", windows=False)
        ('`data\\images` separates folders by `\\`, as only Windows does', 'write `data/images`, also for Windows')
    """
    if windows or not ("\\" in text or DRIVE.match(text)) or exists(Path(text)) or exists((folder or Path()) / text):
        return None
    if DRIVE.match(text):
        return f"`{text}` is a path of Windows, and this system has no drives", "give the path on this machine"
    proper = text.replace("\\", "/")
    return (
        f"`{text}` separates folders by `\\`, as only Windows does",
        f"write `{proper}`, also for Windows",
    )
