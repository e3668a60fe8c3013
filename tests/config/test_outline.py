"""Keys read from the source code are those of the classes themselves."""

from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from segcli.config.outline import Section, component, keys_of
from segcli.config.schema import Run
from segcli.core.errors import ConfigError
from segcli.core.registry import DATASETS, LOSSES, METRICS, MODELS, OPTIMIZERS, SCHEDULERS, TRACKERS


def words(annotation: Any) -> list[str]:
    """Words that a type lists, as pydantic sees it."""
    if annotation is bool:
        return ["true", "false"]
    kind, inside = get_origin(annotation), get_args(annotation)
    if kind is Literal:
        return [str(each).lower() if isinstance(each, bool) else str(each) for each in inside]
    inside = inside[:1] if kind is Annotated else inside
    return [word for each in inside for word in words(each)] if kind not in (type, None) else []


def sections(model: type[BaseModel], outline: Section) -> int:
    """Compare a section and those below it; returns how many keys were compared."""
    keys = keys_of(outline)
    assert list(keys) == list(model.model_fields)
    count = len(keys)
    for name, field in model.model_fields.items():
        assert list(keys[name].words) == list(dict.fromkeys(words(field.annotation))), (outline, name)
        assert keys[name].is_list == any(get_origin(kind) is list for kind in kinds(field.annotation)), (outline, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            assert keys[name].section is not None, (outline, name)
            count += sections(field.annotation, keys[name].section)
    return count


def kinds(annotation: Any) -> list[Any]:
    """Members of a union, without what is noted beside them."""
    if get_origin(annotation) is Annotated:
        return kinds(get_args(annotation)[0])
    if get_origin(annotation) in (UnionType, Union):
        return [kind for each in get_args(annotation) for kind in kinds(each)]
    return [annotation]


def test_the_keys_of_a_run_are_read_as_they_are():
    assert sections(Run, Section("config.schema", "Run")) > 100


@pytest.mark.parametrize("room", [MODELS, LOSSES, METRICS, OPTIMIZERS, SCHEDULERS, DATASETS, TRACKERS])
def test_the_keys_of_each_component_are_read_as_they_are(room):
    for name in room.names():
        try:
            kind = room.load(name)
        except ConfigError:
            continue  # a package of an extra that is not installed
        outline = component(room, name)
        if outline is None:
            assert not kind.Config.model_fields, name
        else:
            sections(kind.Config, outline)
