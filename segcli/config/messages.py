"""Describe the problems that pydantic finds: key, value, and the nearest legal key."""

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from segcli.config.document import MOST_TOLD, Document, Loc, Problem
from segcli.config.elsewhere import place_of
from segcli.core.errors import nearest

__all__ = ["problems_of", "validated"]

Shape = TypeVar("Shape", bound=BaseModel)

WORDS: dict[str, str] = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "dict_type": "must be a section with keys",
    "model_type": "must be a section with keys",
    "model_attributes_type": "must be a section with keys",
    "path_type": "must be a path",
    "finite_number": "must be a finite number",
}
LIMITS: dict[str, tuple[str, str]] = {
    "greater_than_equal": ("ge", "must be at least {}"),
    "greater_than": ("gt", "must be greater than {}"),
    "less_than_equal": ("le", "must be at most {}"),
    "less_than": ("lt", "must be less than {}"),
    "too_short": ("min_length", "must have at least {} entries"),
    "too_long": ("max_length", "must have at most {} entries"),
    "string_pattern_mismatch": ("pattern", "must match `{}`"),
}


def validated(document: Document, schema: type[Shape]) -> Shape | None:
    """Validate the values; returns None and the problems if they do not fit the schema."""
    try:
        return schema.model_validate(document.values)
    except ValidationError as error:
        document.problems += problems_of(error, document, schema)
        return None


def problems_of(
    error: ValidationError,
    document: Document,
    model: type[BaseModel],
    *,
    loc: Loc = (),
    beside: type[BaseModel] | None = None,
    options: Any = None,
) -> list[Problem]:
    """List the problems in the order of the keys, one per key.

    Args:
        error: What pydantic raised.
        document: Values and origins.
        model: The model that was validated.
        loc: Where its values stand in the document.
        beside: Model of further keys that are legal in the same section.
        options: The validated values; those of the document when left out.
    """
    values = document.values if options is None else options
    problems: dict[Loc, Problem] = {}
    kinds: dict[Loc, str] = {}
    for number, detail in enumerate(error.errors()):
        below = _existing(detail["loc"], values, missing=detail["type"] == "missing")
        # To look for the nearest key of many wrong ones would take long, and few of them are listed.
        near = [_model_at(model, below[:-1]), *([beside] if len(below) == 1 else [])] if number < MOST_TOLD else []
        kind = kinds.setdefault(below, detail["type"])
        if below not in problems or (kind == "literal_error" and detail["type"] == "value_error"):
            # of a word or a path, what is wrong with the path says more than the list of words
            place = place_of((*loc, *below), document.values) if near and detail["type"] == "extra_forbidden" else None
            problems[below] = document.problem((*loc, *below), *_message(detail, below, near, place))
    return list(problems.values())


def _existing(loc: Loc, values: Any, *, missing: bool) -> Loc:
    """Keep the part of pydantic's location that exists in the values; union members add names of their own."""
    kept: list[str | int] = []
    for position, step in enumerate(loc):
        within = isinstance(values, list) and isinstance(step, int) and step < len(values)
        if within or (isinstance(values, dict) and step in values):
            values = values[step]
        elif not (missing and position == len(loc) - 1):
            break
        kept.append(step)
    return tuple(kept)


def _model_at(model: Any, loc: Loc) -> Any:
    """Find the model of the keys at a place below `model`."""
    for step in loc:
        fields = getattr(model, "model_fields", {})
        model = _model_within(fields[step].annotation) if step in fields else model
    return model


def _model_within(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_model_within(argument) for argument in getattr(annotation, "__args__", ()))
    return next((found for found in inner if found is not None), None)


def _message(detail: Any, loc: Loc, near: Sequence[Any], place: str | None) -> tuple[str, str | None]:
    kind, value, context = detail["type"], detail.get("input"), detail.get("ctx", {})
    if kind == "extra_forbidden":
        return "unknown key", _way_out(str(loc[-1]), near, place)
    if kind == "missing":
        return "required key is missing", None
    if kind == "value_error":
        return str(context.get("error", detail["msg"])), None
    if kind == "literal_error":
        expected = str(context["expected"]).replace("True", "true").replace("False", "false")
        choices = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
        close = nearest(str(value), choices)
        hint = f"did you mean `{close}`?" if close else None
        return f"must be one of {', '.join(choices)}, got {_shown(value)}", hint
    if kind in LIMITS:
        name, words = LIMITS[kind]
        got = f", got {_shown(value)}"
        return words.format(context.get(name)) + got, None
    words = WORDS.get(kind, detail["msg"][:1].lower() + detail["msg"][1:])
    return f"{words}, got {_shown(value)}", None


def _way_out(key: str, near: Sequence[Any], place: str | None) -> str | None:
    """Advise on an unknown key: our name of it, what to do without it, its place, the nearest key, or all keys."""
    legal = [name for model in near for name in getattr(model, "model_fields", {})]
    elsewhere: dict[str, str] = {
        name: advice for model in near for name, advice in getattr(model, "other_keys", {}).items()
    }
    advice = elsewhere.get(key, "")
    if " " in advice:
        return advice
    if advice not in legal and place is not None:
        return place
    close = advice if advice in legal else nearest(key, legal)
    if close is not None:
        return f"did you mean `{close}`?"
    return f"legal keys: {', '.join(sorted(set(legal)))}" if legal else None


def _yaml_word(value: bool | None) -> str:
    """Write true, false and null as YAML does."""
    return "null" if value is None else str(value).lower()


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return f"`{_yaml_word(value)}`"
    if isinstance(value, int | float):
        return str(value)
    text = repr(value) if isinstance(value, str) else str(value)
    return f"`{text if len(text) <= 60 else text[:57] + '...'}`"
