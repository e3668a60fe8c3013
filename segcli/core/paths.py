"""Paths as users type them: `~` is the home folder, `$NAME` and `${NAME}` are variables of the environment."""

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePath

from segcli.core.errors import ConfigError

__all__ = [
    "BEGUN",
    "EXPERIMENTS",
    "OVERRIDE",
    "escaped",
    "exists",
    "expanded",
    "expanded_arguments",
    "has_escapes",
    "is_file",
]

EXPERIMENTS = Path("outputs") / "experiments"
"""Folder of the runs, below the working folder."""
BEGUN = "folds.yaml"
"""File in the folder of a cross-validation that tells how it was begun."""
VARIABLE = re.compile(r"\$(?:(?P<literal>\$)|(?P<name>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)\})", re.ASCII)
OVERRIDE = re.compile(r"[A-Za-z_][\w.]*=")
"""Beginning of an override, `KEY=`."""
DRIVE = re.compile(r"[A-Za-z]:")
OPTION = re.compile(r"--[a-z-]+=")


def expanded(text: str) -> str:
    """Replace `~` at the beginning, `$NAME` and `${NAME}`; `$$` stands for one `$`, any other `$` for itself.

    Raises:
        ValueError: A variable is not set; the message names it.

    Example:
        >>> expanded("runs$$/2$"), expanded("data")
        ('runs$/2$', 'data')
    """

    def value(found: re.Match[str]) -> str:
        name = found["name"] or found["braced"]
        if name is None:
            return "$"
        if name not in os.environ:
            raise ValueError(f"the variable `${name}` is not set; `$$` stands for a `$` in a name")
        return os.environ[name]

    home, slash, rest = text.partition("/") if text.startswith("~") else ("", "", text)
    return os.path.expanduser(home) + slash + VARIABLE.sub(value, rest)  # noqa: PTH111 - knows `~name`, too


def escaped(path: PurePath) -> str:
    """Write a path so that `expanded` gives it back, on every system.

    Example:
        >>> escaped(Path("a$b")), expanded(escaped(Path("a$b")))
        ('a$$b', 'a$b')
    """
    text = path.as_posix()
    return ("./" if text.startswith("~") else "") + text.replace("$", "$$")


def expanded_arguments(arguments: Sequence[str]) -> list[str]:
    """Expand the arguments of a command that name files, folders and runs.

    An argument that names an existing file stays as it is, because a shell may have listed it. The values of KEY=VALUE
    are expanded with the keys of a config.

    Raises:
        ConfigError: A variable is not set.
    """
    return [_argument(word) for word in arguments]


def _argument(word: str) -> str:
    option = OPTION.match(word)
    start = option.end() if option else 0
    value = word[start:]
    if OVERRIDE.match(word) or not (value.startswith("~") or "$" in value) or exists(Path(value)):
        return word
    try:
        return word[:start] + expanded(value)
    except ValueError as error:
        raise ConfigError(f"`{value}`: {error}", hint="set the variable, or name the path in full") from None


def exists(path: Path) -> bool:
    """Tell whether a typed path exists; a text that cannot be a file name does not."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or below a folder that cannot be read
        return False


def is_file(path: Path) -> bool:
    """Tell whether a typed path is a file, as `exists`."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def has_escapes(path: str) -> bool:
    r"""Tell whether YAML read the backslashes of a Windows path as escapes, as it does in double quotes.

    Example:
        >>> has_escapes("C:\\new"), has_escapes("C:\new"), has_escapes("a\tb")
        (False, True, False)
    """
    return DRIVE.match(path) is not None and not path.isprintable()
