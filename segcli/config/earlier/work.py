"""State of a translation: our keys so far, and the remarks on old keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from segcli.config.earlier.row import Pipeline
from segcli.core.errors import ConfigError
from segcli.core.registry import Registry

__all__ = ["Remark", "Work", "keys_of"]


@dataclass(frozen=True)
class Remark:
    """Says something about a key."""

    key: str
    """An old key, or one of ours that is missing."""
    value: Any
    text: str


@dataclass
class Work:
    """Holds our keys as far as they are known, and what was remarked."""

    pipeline: Pipeline
    old: Mapping[str, Any]
    """Old values by their keys in canonical form."""
    ours: dict[str, Any] = field(default_factory=dict)
    """Values by our dotted keys."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Values of `~` keys, by their names without `~`."""
    source: dict[str, str] = field(default_factory=dict)
    """Old key that set each of our keys, and each fact with its `~`."""
    left_out: list[Remark] = field(default_factory=list)
    undecided: list[Remark] = field(default_factory=list)

    def set(self, new: str, value: Any, old: str) -> None:
        """Set one of our keys, or a fact; a key that two old keys set differently is remarked."""
        store, name = (self.facts, new[1:]) if new.startswith("~") else (self.ours, new)
        before = self.source.get(new)
        if name in store and before is not None and store[name] != value and {} not in (store[name], value):
            text = f"`{before}` and `{old}` are one key here, with different values; `{old}` was taken"
            self.undecided.append(Remark(old, value, text))
        if name not in store or value != {}:
            store[name] = value
        self.source[new] = old

    def fact(self, name: str) -> Any:
        """Take a fact; None without it."""
        return self.facts.pop(name, None)

    def ask(self, key: str, text: str, value: Any = None) -> None:
        """Remark what the user must decide."""
        self.undecided.append(Remark(key, value, text))

    def drop(self, key: str, reason: str) -> None:
        """Take one of our keys out again, and say why."""
        value = self.ours.pop(key, None)
        self.left_out.append(Remark(self.source.get(key, key), value, reason))

    def below(self, section: str) -> dict[str, Any]:
        """Find our keys of a section, by the rest of their names."""
        start = f"{section}."
        return {key.removeprefix(start): value for key, value in self.ours.items() if key.startswith(start)}


def keys_of(registry: Registry, name: Any) -> set[str] | None:
    """Find the keys of a component; None if it is not known or a file of the user."""
    if registry.own_file(name) is not None:
        return None
    try:
        return set(registry.load(str(name)).Config.model_fields)
    except ConfigError:
        return None
