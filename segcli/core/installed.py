"""Components of installed packages: entry points of the group `segcli.components`.

An entry point is `NAME = "package.module:Class"`, or `KIND.NAME`, where KIND is `model`, `loss`, `metric`, `optimizer`,
`scheduler`, `format`, `tracker` or `augmentation`. Without KIND the section of the config that names it decides, and
the class must fit. Only metadata of packages are read here; a package is imported when a config names its component.
"""

import sys
from functools import cache
from typing import TYPE_CHECKING

from segcli.core.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["GROUP", "entry_of", "offered", "same_name", "source_of"]

GROUP = "segcli.components"


def same_name(name: str) -> str:
    """Normalise a name for comparison: without case, `-`, `_`, `+` and blanks.

    Example:
        >>> same_name("SA-UNet") == same_name("sa_unet")
        True
    """
    return "".join(letter for letter in name.lower().replace("+", "plus") if letter.isalnum())


def entry_of(kind: str, name: str) -> "EntryPoint | None":
    """Find the entry point of a component without importing it; None if no installed package offers it.

    Raises:
        ConfigError: Two packages offer it.
    """
    found = offered(kind).get(same_name(name), [])
    sources = sorted({source_of(entry) for entry in found})
    if len(sources) > 1:
        raise ConfigError(
            f"the packages {' and '.join(f'`{source}`' for source in sources)} both offer a {kind} `{name}`",
            hint="uninstall one of them",
        )
    return found[0] if found else None


def offered(kind: str) -> "dict[str, list[EntryPoint]]":
    """Map the normalised names that installed packages offer for a kind to their entry points."""
    return _offered(kind, tuple(sys.path))


@cache
def _entries(path: tuple[str, ...]) -> "list[EntryPoint]":
    """List what all installed packages offer; reading it for each kind again took a tenth of a short command."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - a TAB does not wait for it

    return list(entry_points(group=GROUP))


@cache
def _offered(kind: str, path: tuple[str, ...]) -> "dict[str, list[EntryPoint]]":
    found: dict[str, list[EntryPoint]] = {}
    for entry in _entries(path):
        stated, _, name = entry.name.rpartition(".")
        if stated in ("", kind):
            found.setdefault(same_name(name), []).append(entry)
    return found


def source_of(entry: "EntryPoint") -> str:
    """Name the package of an entry point and its version."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.module
