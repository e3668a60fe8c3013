"""Names out of files as parts of paths: what a file says never decides where something is written."""

import hashlib
import re
import sys
import unicodedata
from pathlib import Path

__all__ = ["LONGEST", "printable", "safe_name", "safe_path"]

LONGEST = 224
"""Bytes of a name, in UTF-8; file systems take 255, and temporary files have longer names than what they become."""
SEPARATORS = "/\\" + ('<>:"|?*' if sys.platform == "win32" else "")
TURNS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Letters without a shape that turn the direction of writing, so that a name reads as another one."""
DEVICES = frozenset(
    {
        "con",
        "prn",
        "aux",
        "nul",
        "conin$",
        "conout$",
        *(f"{port}{n}" for port in ("com", "lpt") for n in "123456789¹²³"),
    }
)
"""Names that Windows keeps for devices, with any ending."""
ENDING = re.compile(r"(\.[A-Za-z0-9]{1,8}){1,2}$")


def safe_name(text: str) -> str:
    """Make any text a single part of a path, the same for the same text.

    A text that can be one stays as it is. Of any other, what cannot stand in a name is replaced, and a digest of the
    text follows, so that two texts never become one name. The ending is kept.

    Example:
        >>> safe_name("Übung_01"), safe_name("case 7.nii.gz")
        ('Übung_01', 'case 7.nii.gz')
        >>> safe_name("../../x.png")
        '_.._x-4ace7cad.png'
    """
    name = "".join("_" if _is_unsafe(letter) else letter for letter in text)
    name = re.sub(r"^[\s.]+|[\s.]+$", "", name)
    if name.partition(".")[0].rstrip().lower() in DEVICES:
        name = f"_{name}"
    if name == text and name and len(name.encode()) <= LONGEST:
        return name
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    ending = ENDING.search(name)
    end = f"-{digest}{ending.group() if ending else ''}"
    body = name[: ending.start()] if ending else name
    return (body.encode()[: LONGEST - len(end)].decode(errors="ignore") or "unnamed") + end


def _is_unsafe(letter: str) -> bool:
    """Whether a letter cuts a path, steers a terminal, or cannot be written at all."""
    return letter in SEPARATORS or letter in TURNS or unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"}


def safe_path(folder: Path, name: str) -> Path:
    """Give the path of `name` below `folder`; parts between slashes are folders, each a safe name.

    Example:
        >>> safe_path(Path("out"), "Video_000/0001.png").as_posix()
        'out/Video_000/0001.png'
    """
    return folder.joinpath(*map(safe_name, name.split("/")))


def printable(text: str, longest: int = 60) -> str:
    """Give a text for a message: what steers a terminal as its escape, and not more than `longest` letters."""
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 3]}..."
