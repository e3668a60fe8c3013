"""JSON schema of an experiment file and of a data-set file, for editors."""

import re
from typing import Any

from pydantic import BaseModel, TypeAdapter

from segcli.config.schema import Run
from segcli.config.sections import (
    DatasetSection,
    MetricSection,
    ModelSection,
    OptimizerSection,
    SchedulerSection,
    TrackerSection,
)
from segcli.core.descriptions import Described
from segcli.core.installed import offered
from segcli.core.registry import DATASETS, LOSSES, TRACKERS, Registry, same_name

__all__ = ["json_schema"]

Schema = dict[str, Any]
OWN_FILE = r"\.py:"
"""Pattern of the name of a component in a file of the user's."""
SECTIONS = (ModelSection, OptimizerSection, SchedulerSection, MetricSection, TrackerSection)
SHORT: dict[str, list[Schema]] = {
    "Augmentation": [{"type": "boolean"}, {"$ref": "#/$defs/Augmentation/properties/preset"}],
    "EMA": [{"type": "boolean"}, {"type": "number"}],
    "ClassSpec": [{"type": "string"}],
    "SchedulerSection": [{"type": "null"}],
    "DatasetSection": [{"type": "string", "description": "Path of a data-set file."}],
    "Training": [{"type": "null"}],
}
"""Short forms of sections beside their keys."""


def json_schema() -> Schema:
    """Describe both kinds of files; a file with the key `dataset` is an experiment.

    Components bring their own keys, by the name that is chosen.
    """
    run = Run.model_json_schema(ref_template="#/$defs/{model}", schema_generator=Described)
    defs: Schema = run.pop("$defs")
    for section in SECTIONS:
        defs[section.__name__] = _component(section, section.registry, defs)
    defs["DatasetSection"] = _chosen(defs["DatasetSection"], "format", DATASETS, defs, beside=DatasetSection)
    defs["DataSettings"]["properties"]["batch_size"] = _or(
        defs["DataSettings"]["properties"]["batch_size"], {"const": "auto"}
    )
    training = defs["Training"]["properties"]
    training["loss"] = _loss(training["loss"], defs)
    training["freeze"] = _or(training["freeze"], {"type": "string"}, {"type": "array", "items": {"type": "string"}})
    defs["Run"] = run
    _add_short_forms(defs)
    described: Schema = _untitled(
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "description": "An experiment file of segcli, or a data-set file.",
            "type": "object",
            "if": {"required": ["dataset"]},
            "then": {"$ref": "#/$defs/Run"},
            "else": {"$ref": "#/$defs/DatasetSection"},
            "$defs": dict(sorted(defs.items())),
        }
    )
    return described


def _untitled(values: Any) -> Any:
    """Leave out the titles, which repeat the names of the keys."""
    if isinstance(values, list):
        return [_untitled(each) for each in values]
    if not isinstance(values, dict):
        return values
    return {key: _untitled(each) for key, each in values.items() if key != "title" or not isinstance(each, str)}


def _or(schema: Schema, *others: Schema) -> Schema:
    """Allow other values, too; what editors show of the schema stays outside."""
    shown: Schema = {key: schema[key] for key in ("default", "description", "title") if key in schema}
    return {**shown, "anyOf": [{key: value for key, value in schema.items() if key not in shown}, *others]}


def _add_short_forms(defs: Schema) -> None:
    """Let each reference to a section with short forms allow them."""
    for name, forms in SHORT.items():
        for holder in list(defs.values()):
            for key, schema in holder.get("properties", {}).items():
                if schema.get("$ref") == f"#/$defs/{name}":
                    holder["properties"][key] = _or(schema, *forms)
                elif schema.get("items", {}).get("$ref") == f"#/$defs/{name}":
                    schema["items"] = _or(schema["items"], *forms)


def _component(section: Any, registry: Registry, defs: Schema) -> Schema:
    """Describe a section that chooses a component: its name alone, or with keys."""
    full = _chosen(defs[section.__name__], "type", registry, defs, beside=section)
    return _or(full, _name(registry))


def _name(registry: Registry) -> Schema:
    """Describe the names of a room in any spelling; editors offer the usual one."""
    patterns = [{"pattern": _spelling(registry, name)} for name in registry.names()]
    patterns += [{"pattern": f"^{_letters(name)}$"} for name in sorted(offered(registry.key))]
    return {"type": "string", "anyOf": [{"enum": list(registry.names())}, *patterns, {"pattern": OWN_FILE}]}


def _spelling(registry: Registry, name: str) -> str:
    """Write the pattern of a component's names, also of PyTorch and other packages: in any case and with any signs."""
    others = sorted(other for other, stem in registry.aliases.items() if stem == name)
    return rf"^([A-Za-z_]\w*\.)*({'|'.join(_letters(each) for each in (name, *others))})$"


def _letters(name: str) -> str:
    letters = same_name(name).replace("plus", "+")
    each = (r"(\+|[pP][lL][uU][sS])" if letter == "+" else _either(letter) for letter in letters)
    return f"[-_ ]*{'[-_ ]*'.join(each)}[-_ +]*"


def _either(letter: str) -> str:
    return f"[{letter}{letter.upper()}]" if letter.isalpha() else re.escape(letter)


def _chosen(section: Schema, key: str, registry: Registry, defs: Schema, *, beside: Any) -> Schema:
    """Add the keys of each component, which count where its name is chosen."""
    properties = section["properties"]
    properties[key] = {**properties[key], **_name(registry)}
    default = beside.model_fields[key].default
    branches = []
    # the packages of trackers are optional: what is installed here must not decide on the schema
    for name in registry.names() if registry is not TRACKERS else ():
        own = _own_keys(registry, name, defs)
        chosen: Schema = {"properties": {key: {"pattern": _spelling(registry, name)}}}
        if name != default:
            chosen["required"] = [key]
        # in a schema, further keys are refused only where all others stand beside
        keys = {**dict.fromkeys(properties, True), **own}
        branches.append({"if": chosen, "then": {"properties": keys, "additionalProperties": False}})
    return {**section, "allOf": branches} if branches else section


def _own_keys(registry: Registry, name: str, defs: Schema) -> Schema:
    """Describe the keys of a component itself; its sections become definitions of the whole."""
    found = TypeAdapter(registry.load(name).Config).json_schema(
        ref_template=f"#/$defs/{registry.room}.{name}.{{model}}", schema_generator=Described
    )
    for below, schema in found.get("$defs", {}).items():
        defs[f"{registry.room}.{name}.{below}"] = schema
    return dict(found.get("properties", {}))


def _loss(schema: Schema, defs: Schema) -> Schema:
    """Describe a loss: its name, a loss with its keys, or a sum of parts by weight."""
    shared: Schema = defs.pop("LossPart")["properties"]
    own = {name: _own_keys(LOSSES, name, defs) for name in LOSSES.names()}
    parts = {
        _spelling(LOSSES, name): {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "object", "properties": {**shared, **keys}, "additionalProperties": False},
            ]
        }
        for name, keys in own.items()
    }
    total = {"type": "object", "minProperties": 1, "patternProperties": parts, "additionalProperties": False}
    named = {"type": "object", "required": ["type"], "properties": {"type": _name(LOSSES), **shared}}
    single = _chosen(named, "type", LOSSES, defs, beside=_NamedLoss)
    shown: Schema = {key: schema[key] for key in ("default", "description") if key in schema}
    return {**shown, "anyOf": [_name(LOSSES), single, {**total, "properties": dict.fromkeys(own, True)}]}


class _NamedLoss(BaseModel):
    """A loss by its name; no loss is the default."""

    type: str
