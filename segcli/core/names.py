"""Safe file names from names in files: the content of a file never decides where something is written."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from segcli.core.platform import WINDOWS

__all__ = [
    "LONGEST",
    "composed",
    "existing",
    "fits",
    "printable",
    "safe_name",
    "safe_path",
    "visible",
    "without_affixes",
]

LONGEST = 224
"""Longest name in bytes of UTF-8; file systems allow 255, and temporary names are longer than final names."""
SEPARATORS = "/\\" + ('<>:"|?*' if WINDOWS else "")
TURNS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Invisible characters that change the writing direction and can make a name look like another one."""
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
"""Names that Windows reserves for devices, with any suffix."""
ENDING = re.compile(r"(\.[A-Za-z0-9]{1,8}){1,2}$")


def safe_name(text: str) -> str:
    """Convert any text to a single path component; equal texts give equal names.

    A text that is a safe name stays as it is. In any other text unsafe characters are replaced, and a digest of the
    text is added, so that two texts never give the same name. The suffix is kept.

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
    """Tell if a character splits a path, controls a terminal, or cannot be written."""
    return letter in SEPARATORS or letter in TURNS or unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"}


def safe_path(folder: Path, name: str) -> Path:
    """Return the path of `name` below `folder`; parts between slashes become folders with safe names.

    Example:
        >>> safe_path(Path("out"), "Video_000/0001.png").as_posix()
        'out/Video_000/0001.png'
    """
    return folder.joinpath(*map(safe_name, name.split("/")))


def composed(text: str) -> str:
    """Return a name in the normal form of Unicode in which names are compared.

    A Mac leaves names in another form in archives: they look equal, but their bytes differ.

    Example:
        >>> composed("u\N{COMBINING DIAERESIS}") == "\N{LATIN SMALL LETTER U WITH DIAERESIS}"
        True
    """
    return unicodedata.normalize("NFC", text)


def existing(folder: Path, name: str) -> Path:
    """Find the entry of a folder whose name is `name` in any form of Unicode; `folder / name` if there is none."""
    path = folder / name
    if name.isascii() or path.exists():
        return path
    for part in Path(name).parts:
        try:
            same = (entry for entry in folder.iterdir() if composed(entry.name) == composed(part))
            folder = next(same, folder / part)
        except OSError:
            return path
    return folder if folder.exists() else path


def fits(name: str, patterns: Sequence[str]) -> bool:
    """Tell whether a name in normal form fits one of some patterns with wildcards.

    Example:
        >>> fits("case_4d", ["*_3d", "*_4d"]), fits("case", ["Case"])
        (True, False)
    """
    return any(fnmatchcase(name, composed(pattern)) for pattern in patterns)


def without_affixes(stem: str, prefix: str, suffixes: Sequence[str]) -> str | None:
    """Return a stem without its prefix and the first suffix that it has; None if it lacks them.

    Example:
        >>> without_affixes("img_07_training", "img_", ["_test", "_training"])
        '07'
    """
    prefix = composed(prefix)
    suffix = next((each for each in map(composed, suffixes) if stem.endswith(each)), None)
    if suffix is None or not stem.startswith(prefix) or len(prefix) + len(suffix) > len(stem):
        return None
    return stem[len(prefix) : len(stem) - len(suffix)]


def visible(text: str) -> str:
    r"""Escape characters that control a terminal, change the writing direction or cannot be written; keep line ends.

    Example:
        >>> print(visible("caf\u00e9 \x1b[31m"))
        café \x1b[31m
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in "\n\t" else ascii(letter)[1:-1] for letter in text)


def printable(text: str, longest: int = 60) -> str:
    """Prepare a text for a message: escape control characters and cut it to `longest` characters."""
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 3]}..."
