"""Descriptions of the keys of a config: the strings below its fields, read from the source where they are shown.

Pydantic would read them whenever a class is made, which is at the start of every command.
"""

import ast
import inspect
import textwrap
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

__all__ = ["Described", "description_of"]


def description_of(model: type[BaseModel], name: str) -> str | None:
    """Return what stands below a field in the source, of the model or of the class that it has the field from.

    Example:
        >>> from segcli.core.types import ConfigModel
        >>> description_of(ConfigModel, "missing") is None
        True
    """
    stated = model.model_fields[name].description if name in model.model_fields else None
    return stated or _descriptions(model).get(name)


class Described(GenerateJsonSchema):
    """JSON schema with the descriptions of all keys."""

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        """Describe a model; what a field states itself counts."""
        found = super().model_schema(schema)
        for name, values in found.get("properties", {}).items():
            text = description_of(schema["cls"], name)
            if text is not None:
                values.setdefault("description", text)
        return found


@cache
def _descriptions(model: type[BaseModel]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, BaseModel) and each is not BaseModel:
            found |= _own(each)
    return found


@cache
def _own(model: type[BaseModel]) -> dict[str, str]:
    """Read the strings below the fields that a class itself declares; none where its source is not at hand."""
    try:
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    except (OSError, TypeError):
        return {}
    assert isinstance(node, ast.ClassDef)
    found = {}
    for field, below in zip(node.body, node.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = inspect.cleandoc(text)
    return found
