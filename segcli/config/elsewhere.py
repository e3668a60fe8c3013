"""Find the place of a key that was typed in a section that does not have it."""

import sys
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from segcli.config.document import Loc
from segcli.config.schema import Run
from segcli.config.sections import Component, DatasetSection, LossPart
from segcli.config.short_forms import section_in
from segcli.core.errors import ConfigError
from segcli.core.registry import DATASETS, LOSSES, Registry

__all__ = ["place_of"]

COMMON = {"enabled", "type", "weight", "name", "sha256"}
"""Keys of so many sections that their places say nothing."""
OF_THE_PROGRAM = {"fold"}
"""Sections that no user writes."""
MOST = 3
"""Places that are listed."""


def place_of(loc: Loc, values: dict[str, Any]) -> str | None:
    """Say where a key belongs, as a hint; None if no section of the run has it.

    Args:
        loc: Place where the key was typed.
        values: Values of the run in their long form, which choose the components.

    Example:
        >>> place_of(("epochs",), {})
        'it belongs in the section `training`: `training.epochs`'
    """
    key = str(loc[-1])
    if key in COMMON:
        return None
    found = list(dict.fromkeys(place for name, place in _places(Run, values, ()) if name == key and place != loc))
    if not found:
        return None
    dotted = [f"`{'.'.join(place)}`" for place in found[:MOST]]
    if len(found) > 1:
        return f"there are {', '.join(dotted[:-1])} and {dotted[-1]}"
    if found[0][-1] != key:
        return f"it is called {dotted[0]}"
    section, file = ".".join(found[0][:-1]), ""
    if loc[0] == "dataset" and found[0][0] != "dataset":
        file = " of the experiment file"
    return (
        f"it belongs in the section `{section}`{file}: {dotted[0]}"
        if section
        else f"it belongs at the top{file}: {dotted[0]}"
    )


def _places(model: type[BaseModel], values: Any, loc: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """List all keys of a section, and of those below it, by their own and by other names, with their places."""
    given = values if isinstance(values, dict) else {}
    yield from _named(model, loc)
    if issubclass(model, Component | DatasetSection):
        registry, word = (DATASETS, "format") if issubclass(model, DatasetSection) else (model.registry, "type")
        yield from _named(_keys_of(registry, given.get(word, model.model_fields[word].default)), loc)
    for key, field in model.model_fields.items():
        section, below = section_in(field.annotation), given.get(key)
        if section is None or key in OF_THE_PROGRAM or isinstance(below, list):
            continue
        if section is LossPart:
            for name, part in (below if isinstance(below, dict) else {}).items():
                yield from _named(_keys_of(LOSSES, name), (*loc, key, str(name)))
                yield from _places(LossPart, part, (*loc, key, str(name)))
        else:
            yield from _places(section, below, (*loc, key))


def _named(model: type[BaseModel] | None, loc: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """List the keys of one model, by their own names and by other names."""
    keys = [] if model is None else [key for key in model.model_fields if key not in OF_THE_PROGRAM]
    yield from ((key, (*loc, key)) for key in keys)
    others: dict[str, str] = getattr(model, "other_keys", {})
    yield from ((name, (*loc, key)) for name, key in others.items() if key in keys)


def _keys_of(registry: Registry, name: Any) -> type[BaseModel] | None:
    """Find the keys of a component of ours that is imported; a message is not worth importing one."""
    try:
        if not isinstance(name, str) or registry.is_foreign(name):
            return None
        if f"segcli.{registry.room}.{registry.canonical(name)}" not in sys.modules:
            return None
        keys: type[BaseModel] = registry.load(name).Config
    except ConfigError:
        return None
    return keys
