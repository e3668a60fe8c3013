"""Types of keys in plain words, from the JSON schema of a section."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any, get_args

import yaml
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from segcli.core.descriptions import description_of
from segcli.core.files import plain

__all__ = ["Row", "in_words", "rows_of"]


@dataclass(frozen=True)
class Row:
    """One key in plain words."""

    key: str
    type: str
    default: str
    """As YAML has it; empty if nothing follows from leaving the key out, `required` if it must be set."""
    about: str

    def as_dict(self) -> dict[str, Any]:
        """Return the row as plain values."""
        return asdict(self)


def rows_of(model: type[BaseModel], prefix: str = "", given: Any = None) -> Iterator[Row]:
    """Describe every key of a section and of the sections below it.

    Args:
        model: The section.
        prefix: What stands before each key, such as `training.`.
        given: The section as it is when nobody sets it; its values are the defaults.
    """
    for name, field in model.model_fields.items():
        below, value = field.annotation, field.get_default(call_default_factory=True)
        value = getattr(given, name, value)
        if isinstance(below, type) and issubclass(below, BaseModel) and not get_args(below):
            yield from rows_of(below, f"{prefix}{name}.", value if isinstance(value, BaseModel) else None)
        else:
            about = " ".join((description_of(model, name) or "").split())
            yield Row(f"{prefix}{name}", in_words(_schema(field)), _default(value), about)


def _schema(field: FieldInfo) -> dict[str, Any]:
    annotated: Any = field.annotation
    for each in field.metadata:
        annotated = Annotated[annotated, each]
    return TypeAdapter(annotated).json_schema()


def in_words(schema: dict[str, Any]) -> str:
    """Describe the values that a JSON schema allows.

    Example:
        >>> in_words({"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2})
        'list of whole numbers of at least 1 (2 or more)'
        >>> in_words({"anyOf": [{"enum": ["auto", True]}, {"type": "null"}]})
        'auto, true or null'
    """
    words = list(dict.fromkeys(_kinds(schema)))
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _kinds(schema: dict[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        yield "section"
    elif "anyOf" in schema:
        for each in schema["anyOf"]:
            yield from _kinds(each)
    elif "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        yield from (str(each).lower() if isinstance(each, bool) else str(each) for each in values)
    else:
        yield _kind(schema)


def _kind(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if kind == "array":
        return _list(schema)
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"names with {_plural(in_words(inner))}" if isinstance(inner, dict) else "section"
    if kind in ("integer", "number"):
        return ("whole number" if kind == "integer" else "number") + _limits(schema)
    words = {"boolean": "true or false", "string": "text", "null": "null"}
    return "path" if schema.get("format") == "path" else words.get(str(kind), "any value")


def _limits(schema: dict[str, Any]) -> str:
    lowest, highest = schema.get("minimum"), schema.get("maximum")
    if lowest is not None and highest is not None:
        return f" from {lowest:g} to {highest:g}"
    names = {
        "minimum": "of at least",
        "exclusiveMinimum": "above",
        "maximum": "of at most",
        "exclusiveMaximum": "below",
    }
    found = [f"{words} {schema[name]:g}" for name, words in names.items() if name in schema]
    return f" {' and '.join(found)}" if found else ""


def _list(schema: dict[str, Any]) -> str:
    entries = _plural(in_words(schema.get("items", {})))
    least, most = schema.get("minItems"), schema.get("maxItems")
    if least == most:
        return f"list of {entries}" if least is None else f"list of {least} {entries}"
    if least is None or most is None:
        return f"list of {entries} ({f'{least} or more' if most is None else f'up to {most}'})"
    return f"list of {entries} ({least} to {most})"


def _plural(words: str) -> str:
    """Write the plural of a type.

    Example:
        >>> _plural("number above 0"), _plural("text"), _plural("true or false")
        ('numbers above 0', 'texts', 'true or false')
    """
    for one in ("whole number", "number", "text", "section", "path", "any value"):
        if words.startswith(one):
            return f"{one}s{words[len(one) :]}"
    return words


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, dict):
        value = {key: each.model_dump() if isinstance(each, BaseModel) else each for key, each in value.items()}
    text: str = yaml.safe_dump(plain(value), default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n...\n").strip()
