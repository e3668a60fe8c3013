"""Find the components that a run chooses, with their places in the document."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from segcli.config.document import Document, Loc
from segcli.config.sections import Component, DatasetSection, LossPart, ModelSection, OptimizerSection, SchedulerSection
from segcli.core.registry import (
    AUGMENTATIONS,
    DATASETS,
    LOSSES,
    METRICS,
    MODELS,
    TRACKERS,
    Registry,
    label,
)

__all__ = ["Chosen", "chosen", "is_own_augmentation"]

LOSS: Loc = ("training", "loss")


@dataclass
class Chosen:
    """Hold a component as the user chose it."""

    registry: Registry
    name: str
    name_loc: Loc
    loc: Loc
    section: dict[str, Any]
    keys_beside: type[BaseModel]
    """Keys of the section that are not the component's own."""

    @property
    def own_file(self) -> tuple[Path, str] | None:
        """File and name of a component in a file of the user's own."""
        return self.registry.own_file(self.name)

    @property
    def dotted(self) -> str:
        """Key for overrides; a loss in a file goes by its own name."""
        return ".".join(label(str(key)) for key in self.loc)

    @property
    def in_list(self) -> bool:
        """Tell whether the section is an entry of a list, which no override reaches by its key."""
        return any(isinstance(key, int) for key in self.loc)

    def rename(self, document: Document, name: str) -> None:
        """Write another name of the component into the document."""
        if name == self.name:
            return
        if self.registry is LOSSES:
            loss = document.values["training"]["loss"]
            document.values["training"]["loss"] = {(name if key == self.name else key): loss[key] for key in loss}
            document.moved[(*LOSS, name)] = document.as_typed(self.loc)
            self.name_loc = self.loc = (*LOSS, name)
        else:
            self.section["format" if self.registry is DATASETS else "type"] = name
        self.name = name


def chosen(values: dict[str, Any]) -> Iterator[Chosen]:
    """Find each component that the values of a run choose, in their long form."""
    model, dataset, training, data = (values.get(key) for key in ("model", "dataset", "training", "data"))
    if isinstance(model, dict) and isinstance(model.get("type"), str):
        yield Chosen(MODELS, model["type"], ("model", "type"), ("model",), model, ModelSection)
    if isinstance(dataset, dict):
        name = dataset.get("format")
        if isinstance(name, str):
            yield Chosen(DATASETS, name, ("dataset", "format"), ("dataset",), dataset, DatasetSection)
    if isinstance(training, dict):
        yield from _chosen_in_training(training)
    if isinstance(data, dict):
        yield from _chosen_augmentations(data)
    logging = values.get("logging")
    trackers = logging.get("trackers") if isinstance(logging, dict) else None
    for index, entry in enumerate(trackers if isinstance(trackers, list) else []):
        if isinstance(entry, dict) and isinstance(entry.get("type"), str):
            here: Loc = ("logging", "trackers", index)
            yield Chosen(TRACKERS, entry["type"], here, here, entry, Component)


def _chosen_in_training(training: dict[str, Any]) -> Iterator[Chosen]:
    for key, kind in (("optimizer", OptimizerSection), ("scheduler", SchedulerSection)):
        section = training.get(key)
        if isinstance(section, dict) and isinstance(section.get("type"), str):
            loc: Loc = ("training", key)
            yield Chosen(kind.registry, section["type"], (*loc, "type"), loc, section, kind)
    loss = training.get("loss")
    if isinstance(loss, dict):
        for name, part in loss.items():
            if isinstance(part, dict):
                part_loc: Loc = ("training", "loss", name)
                yield Chosen(LOSSES, str(name), part_loc, part_loc, part, LossPart)
    metrics = training.get("metrics")
    if isinstance(metrics, list):
        for index, entry in enumerate(metrics):
            if isinstance(entry, dict) and isinstance(entry.get("type"), str):
                here: Loc = ("training", "metrics", index)
                yield Chosen(METRICS, entry["type"], here, here, entry, Component)


def _chosen_augmentations(data: dict[str, Any]) -> Iterator[Chosen]:
    """Find augmentations of the user's own; the others are checked by albumentations."""
    augmentation = data.get("augmentation")
    transforms = augmentation.get("transforms") if isinstance(augmentation, dict) else None
    for index, entry in enumerate(transforms if isinstance(transforms, list) else []):
        name = entry.get("type") if isinstance(entry, dict) else None
        if isinstance(name, str) and is_own_augmentation(name):
            here: Loc = ("data", "augmentation", "transforms", index)
            yield Chosen(AUGMENTATIONS, name, here, here, entry, Component)


def is_own_augmentation(name: str) -> bool:
    """Tell whether a transform is of a file of the user's own or of an installed package."""
    return AUGMENTATIONS.own_file(name) is not None or AUGMENTATIONS.package(name) is not None
