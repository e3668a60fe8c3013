"""Short forms of YAML, each written out by the section that has it."""

from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from segcli.config.document import Document, Loc
from segcli.core.types import ConfigModel

__all__ = ["field_at", "section_in", "write_out", "written_out"]


def write_out(document: Document, schema: type[ConfigModel]) -> None:
    """Write out all short forms of a document."""
    document.values = written_out(document, schema, document.values)


def written_out(document: Document, annotation: Any, given: Any, loc: Loc = ()) -> Any:
    """Write out a value and all sections in it.

    Args:
        document: Takes note of sections that move, so that mistakes are blamed where the user typed them.
        annotation: Type of the value in the schema.
        given: The value as typed.
        loc: Place of the value.
    """
    section = section_in(annotation)
    if section is None:
        return given
    kind = get_origin(annotation)
    if kind is list:
        return _entries(document, section, given, loc)
    if kind is dict:
        return _named(document, section, given, loc)
    long = section.long_form(given)
    if not isinstance(long, dict):
        return long
    fields: dict[str, FieldInfo] = section.model_fields
    return {
        key: written_out(document, fields[key].annotation, value, (*loc, key)) if key in fields else value
        for key, value in long.items()
    }


def _entries(document: Document, section: type[ConfigModel], given: Any, loc: Loc) -> Any:
    if not isinstance(given, list):
        return given
    return [written_out(document, section, entry, (*loc, index)) for index, entry in enumerate(given)]


def _named(document: Document, section: type[ConfigModel], given: Any, loc: Loc) -> Any:
    named = section.named_form(given)
    if not isinstance(named, dict):
        return named
    reading = section.reading(given)
    if reading is not None:
        document.read_as(*reading)
    if named is not given:
        document.moved |= {(*loc, name): loc for name in named}
    return {name: written_out(document, section, part, (*loc, name)) for name, part in named.items()}


def section_in(annotation: Any) -> type[ConfigModel] | None:
    """Find the section in a type such as `EMA`, `list[MetricSection]` or `Fold | None`.

    Example:
        >>> section_in(list[int]) is None
        True
    """
    if isinstance(annotation, type) and issubclass(annotation, ConfigModel):
        return annotation
    inner = (section_in(argument) for argument in get_args(annotation))
    return next((found for found in inner if found is not None), None)


def field_at(annotation: Any, loc: Loc) -> Any:
    """Type of a key below a type of the schema; None where the schema has none, as for a component's own keys."""
    for key in loc:
        section = section_in(annotation)
        if section is None:
            return None
        if get_origin(annotation) in (dict, list):
            annotation = section
        else:
            field = section.model_fields.get(str(key))
            annotation = None if field is None else field.annotation
    return annotation
