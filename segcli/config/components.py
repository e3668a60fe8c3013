"""Check the components that a run chooses: their names and their own keys."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from segcli.config.document import Document, Loc, Problem
from segcli.config.messages import problems_of
from segcli.config.sections import Component, DatasetSection, LossPart, ModelSection, OptimizerSection, SchedulerSection
from segcli.core.errors import ConfigError
from segcli.core.registry import DATASETS, LOSSES, METRICS, MODELS, TRACKERS, Registry

__all__ = ["check_components"]


@dataclass
class _Chosen:
    """Hold a component as the user chose it."""

    registry: Registry
    name: str
    name_loc: Loc
    loc: Loc
    section: dict[str, Any]
    keys_beside: type[BaseModel]
    """Keys of the section that are not the component's own."""


def _chosen(values: dict[str, Any]) -> Iterator[_Chosen]:
    model, dataset, training = (values.get(key) for key in ("model", "dataset", "training"))
    if isinstance(model, dict) and isinstance(model.get("type"), str):
        yield _Chosen(MODELS, model["type"], ("model", "type"), ("model",), model, ModelSection)
    if isinstance(dataset, dict):
        name = dataset.get("format")
        if isinstance(name, str):
            yield _Chosen(DATASETS, name, ("dataset", "format"), ("dataset",), dataset, DatasetSection)
    if isinstance(training, dict):
        yield from _chosen_in_training(training)
    logging = values.get("logging")
    trackers = logging.get("trackers") if isinstance(logging, dict) else None
    for index, entry in enumerate(trackers if isinstance(trackers, list) else []):
        if isinstance(entry, dict) and isinstance(entry.get("type"), str):
            here: Loc = ("logging", "trackers", index)
            yield _Chosen(TRACKERS, entry["type"], here, here, entry, Component)


def _chosen_in_training(training: dict[str, Any]) -> Iterator[_Chosen]:
    for key, kind in (("optimizer", OptimizerSection), ("scheduler", SchedulerSection)):
        section = training.get(key)
        if isinstance(section, dict) and isinstance(section.get("type"), str):
            loc: Loc = ("training", key)
            yield _Chosen(kind.registry, section["type"], (*loc, "type"), loc, section, kind)
    loss = training.get("loss")
    if isinstance(loss, dict):
        for name, part in loss.items():
            if isinstance(part, dict):
                part_loc: Loc = ("training", "loss", name)
                yield _Chosen(LOSSES, str(name), part_loc, part_loc, part, LossPart)
    metrics = training.get("metrics")
    if isinstance(metrics, list):
        for index, entry in enumerate(metrics):
            if isinstance(entry, dict) and isinstance(entry.get("type"), str):
                here: Loc = ("training", "metrics", index)
                yield _Chosen(METRICS, entry["type"], here, here, entry, Component)


def _blame_other_file(document: Document, chosen: _Chosen, digest: str) -> None:
    """Blame the file of a user's own component that has other bytes than the run was trained with; nothing ran."""
    loc: Loc = (*chosen.loc, "sha256")
    key, path = ".".join(map(str, loc)), chosen.name.rpartition(":")[0]
    document.problems.append(
        document.problem(
            loc,
            f"the file is not the one that the run was trained with: `{path}` has the SHA-256 `{digest}`, not "
            f"`{chosen.section['sha256']}`",
            f"put the old file back; `train`, `eval`, `export` and `profile-memory` take it as it is with "
            f"`{key}={digest}`",
        )
    )


def check_components(document: Document) -> None:
    """Check each component's name and its own keys; write canonical names and all defaults into the values."""
    renamed: dict[str, str] = {}
    for chosen in list(_chosen(document.values)):
        try:
            canonical = chosen.registry.canonical(chosen.name)
            digest = chosen.registry.digest(canonical)
            if digest is not None and chosen.section.setdefault("sha256", digest) != digest:
                _blame_other_file(document, chosen, digest)
                continue
            kind = chosen.registry.load(canonical, digest=digest)
        except ConfigError as error:
            document.problems.append(document.problem(chosen.name_loc, error.message, error.hint))
            continue
        if chosen.registry.read_as(chosen.name) is not None:
            document.read_as(chosen.name, canonical)
        if chosen.registry is LOSSES:
            _note_loss(document, chosen, canonical, renamed)
        else:
            chosen.section["format" if chosen.registry is DATASETS else "type"] = canonical
        document.problems += _check_own_keys(document, chosen, kind)
    training = document.values.get("training")
    if not isinstance(training, dict):
        return
    if isinstance(training.get("loss"), dict):
        training["loss"] = {renamed.get(name, name): part for name, part in training["loss"].items()}
    _rename_monitored(document, training.get("early_stopping"))


def _note_loss(document: Document, chosen: _Chosen, canonical: str, renamed: dict[str, str]) -> None:
    """Remember our name of a part of the loss; refuse a second part of the same loss, which would replace the first."""
    first = next((name for name, ours in renamed.items() if ours == canonical), None)
    renamed[chosen.name] = canonical
    if first is not None:
        message = f"is the loss `{canonical}`, as `{first}` is"
        document.problems.append(document.problem(chosen.name_loc, message, "remove one of the two"))


def _rename_monitored(document: Document, stopping: Any) -> None:
    """Give the monitored metric our name, such as `val_mean_iou` for `val_miou`."""
    monitor = stopping.get("monitor") if isinstance(stopping, dict) else None
    if not isinstance(monitor, str) or not monitor.startswith("val_"):
        return
    ours = METRICS.read_as(monitor.removeprefix("val_"))
    if ours is not None:
        document.read_as(monitor, f"val_{ours}")
        stopping["monitor"] = f"val_{ours}"


def _check_own_keys(document: Document, chosen: _Chosen, kind: Any) -> list[Problem]:
    section = chosen.keys_beside
    shared = section.shared(kind) if issubclass(section, Component) else set()
    beside = set(section.model_fields) - shared
    options = {key: value for key, value in chosen.section.items() if key not in beside}
    try:
        checked = kind.Config.model_validate(options)
    except ValidationError as error:
        return problems_of(error, document, kind.Config, loc=chosen.loc, beside=section, options=options)
    chosen.section.update(checked.model_dump(mode="python"))
    return []
