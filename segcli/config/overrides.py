"""Overrides of single keys, `KEY=VALUE` on the command line, laid over the long form of a run.

An override means the same whether a file was typed in short forms or stored with every key.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from segcli.config.document import Document, Loc
from segcli.config.sections import Component, LossPart
from segcli.config.short_forms import field_at, written_out
from segcli.core.errors import ConfigError
from segcli.core.files import plain
from segcli.core.registry import LOSSES, Registry, label
from segcli.core.strict_yaml import Unreadable, parse, said_with_hint
from segcli.core.types import ConfigModel

__all__ = ["Override", "apply_overrides", "parse_overrides"]

LOSS = ("training", "loss")


@dataclass(frozen=True)
class Override:
    """Set one key."""

    keys: tuple[str, ...]
    value: Any
    text: str
    """`KEY=VALUE` as typed, which a mistake is blamed on."""

    @property
    def names_dataset(self) -> bool:
        """Say whether it sets the data set as a whole, such as the path of its file."""
        return self.keys == ("dataset",)

    @property
    def names_part_of_loss(self) -> bool:
        """Say whether it sets a key below the loss."""
        return self.keys[:2] == LOSS and len(self.keys) > len(LOSS)


def parse_overrides(texts: Sequence[str], *, below: str | None = None) -> list[Override]:
    """Parse `KEY=VALUE`, the value as YAML.

    Args:
        texts: Overrides as typed.
        below: Section that all of them belong to, and whose name may be left out.

    Raises:
        ConfigError: One of them is not `KEY=VALUE`, or its value is no YAML.
    """
    return [_parsed(text, below) for text in texts]


def _parsed(text: str, below: str | None) -> Override:
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise ConfigError(f"override `{text}` is not KEY=VALUE", hint="such as `training.epochs=20`")
    keys = _keys(key)
    if below is not None and keys[0] != below:
        keys = (below, "channels") if keys == ("data", "channels") else (below, *keys)
    try:
        return Override(keys, parse(value), text)
    except Unreadable as error:
        raise ConfigError(f"override `{text[:200]}`: {error.problem}") from None
    except yaml.YAMLError as error:
        mended = said_with_hint(error)[1] if isinstance(error, yaml.MarkedYAMLError) else None
        hint = mended or "quote it for the shell"
        raise ConfigError(f"override `{text}`: the value is not valid YAML", hint=hint) from None


def _keys(key: str) -> tuple[str, ...]:
    """Split a key at its dots, except within a loss `path/to/file.py:Name`.

    Example:
        >>> _keys("training.loss.a/my.loss.py:Sharp.alpha")
        ('training', 'loss', 'a/my.loss.py:Sharp', 'alpha')
    """
    file, sign, rest = key.partition(".py:")
    head = ".".join(LOSS) + "."
    if not sign or not file.startswith(head):
        return tuple(key.split("."))
    name, *below = rest.split(".")
    return (*LOSS, f"{file.removeprefix(head)}.py:{name}", *below)


def apply_overrides(document: Document, overrides: Sequence[Override], schema: type[ConfigModel]) -> None:
    """Set each key in the order in which they were typed, leaving its neighbours.

    Args:
        document: Its values are in their long form.
        overrides: What to set.
        schema: Shape of the values.
    """
    for override in overrides:
        loc = _loc(document.values, override.keys)
        section = document.section_around(loc, override.text)
        if section is not None:
            document.typed_anew(loc, override.text)
            _set(document, section, loc, override.value, schema)


def _loc(values: dict[str, Any], keys: tuple[str, ...]) -> Loc:
    """Find the place of a key in the long form: a loss of one part lends its name to the keys of that part."""
    training = values.get("training")
    loss = training.get("loss") if isinstance(training, dict) else None
    if keys[:2] != LOSS or len(keys) == len(LOSS) or not isinstance(loss, dict):
        return keys
    files = [name for name in loss if LOSSES.own_file(name)]
    known = [name for name in files if keys[2] == label(name) or f"/{name}".endswith(f"/{keys[2]}")]
    if len(known) == 1:  # its own name is enough
        return (*LOSS, known[0], *keys[3:])
    if len(loss) != 1:
        return keys
    (name,) = loss
    in_part = keys[2] not in (name, "type") and LossPart.takes(name, keys[2])
    return (*LOSS, name, *keys[2:]) if in_part else keys


def _set(document: Document, section: dict[str, Any], loc: Loc, value: Any, schema: type[ConfigModel]) -> None:
    """Set a key in its section, as if the section had been typed with this key alone."""
    key, shape = str(loc[-1]), field_at(schema, loc[:-1])
    if loc[:-1] == LOSS and isinstance(section.get(key), dict) and _is_number(value):
        value = {**section[key], "weight": float(value)}  # the number alone is the weight; the keys of the part stay
    added = {key: value}
    if loc == (*LOSS, "type") and len(section) > 1:
        _refuse_type_of_sum(document, section, value)
        return
    if loc == (*LOSS, "type"):  # another loss in the place of the only part, with the keys of that part
        (name,) = section if len(section) == 1 else (None,)
        kept = section[name] if name is not None else dict(section)
        added |= _without_defaults(LOSSES, name, kept, LossPart) if isinstance(kept, dict) else {}
        section.clear()
    elif key == "type" and isinstance(shape, type) and issubclass(shape, Component):
        name = section.get("type", shape.model_fields["type"].default)
        kept = _without_defaults(shape.registry, name, section, shape)
        section.clear()
        section |= kept
    elif key != "enabled" and section.get("enabled") is False and _turns_on(shape):
        section["enabled"] = True
    section |= written_out(document, shape, added, loc[:-1])


def _refuse_type_of_sum(document: Document, section: dict[str, Any], value: Any) -> None:
    """Report that a sum of losses has no `type`, with both commands that may be meant."""
    parts = " and ".join(f"`{name}`" for name in section)
    document.problems.append(
        document.problem(
            (*LOSS, "type"),
            f"the loss is the sum of {parts}, which has no `type`",
            f"write `training.loss={value}` for this loss alone, or `training.loss.{value}=1.0` to add it to the sum",
        )
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _without_defaults(
    registry: Registry, name: Any, section: dict[str, Any], beside: type[ConfigModel]
) -> dict[str, Any]:
    """Leave out the component's own keys with their defaults, which a stored config has and another component lacks."""
    try:
        if not isinstance(name, str) or registry.own_file(name) is not None:
            return dict(section)  # a user's file is imported only after it is permitted
        own = registry.load(name).Config.model_fields
    except ConfigError:
        return dict(section)  # the check of components tells it
    defaults = {key: plain(field.get_default(call_default_factory=True)) for key, field in own.items()}
    return {
        key: value
        for key, value in section.items()
        if key in beside.model_fields or key not in defaults or plain(value) != defaults[key]
    }


def _turns_on(shape: Any) -> bool:
    """Tell whether a section is on as soon as one of its keys is typed, such as `training.ema`."""
    field = getattr(shape, "model_fields", {}).get("enabled")
    return field is not None and field.default is True
