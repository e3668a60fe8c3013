"""Fill in missing keys that follow from the data set's files, its format and the task."""

from copy import deepcopy
from typing import Any

from segcli.config.components import compared_digest
from segcli.config.dataset_file import resolve_paths
from segcli.config.document import Document, Problem
from segcli.config.sections import DatasetSection, OptimizerSection, SchedulerSection
from segcli.core.errors import ConfigError
from segcli.core.registry import DATASETS, TASKS

__all__ = ["fill_dataset", "fill_loss", "fill_run"]


def fill_dataset(document: Document) -> Any:
    """Fill in keys of the data set that follow from its other keys and files; returns the layout that knows them."""
    dataset = document.values.get("dataset")
    if not isinstance(dataset, dict):
        return None
    _fill_channels(document, dataset)
    name = dataset.setdefault("format", DatasetSection.model_fields["format"].default)
    try:
        digest = compared_digest(DATASETS, str(name), dataset)
        if digest is None:
            return None
        layout = DATASETS.load(str(name), digest=digest or None)
    except ConfigError:
        return None  # the check of components tells it
    changes, mistakes = layout.completed(dataset)
    dataset.update(changes)
    for key, message, hint in mistakes:
        document.problems.append(document.problem(("dataset", key), message, hint))
    return layout


def _fill_channels(document: Document, dataset: dict[str, Any]) -> None:
    """Give the channels of the section `data` to the data set, which reads the files, and count them."""
    data = document.values.get("data")
    chosen = data.get("channels") if isinstance(data, dict) else None
    if chosen is not None:
        typed = document.origins.get(("dataset", "channels"))
        if typed is not None and typed.text.startswith("dataset.channels=") and dataset.get("channels") != chosen:
            message = f"has no effect, because `data.channels` is {chosen}"
            document.problems.append(Problem(typed, "dataset.channels", message, "set `data.channels` instead"))
        dataset["channels"] = chosen
        document.origins[("dataset", "channels")] = document.origin(("data", "channels"))
        document.moved[("dataset", "channels")] = ("data", "channels")
    if isinstance(dataset.get("channels"), list) and "num_channels" not in dataset and "color" not in dataset:
        dataset["num_channels"] = len(dataset["channels"])


def fill_loss(document: Document, *, is_typed: bool) -> None:
    """Fill in the default loss of the task, and nothing else, where none is set.

    Args:
        document: Values without overrides of the loss.
        is_typed: The user typed the values; a layout that a stored config names is not imported yet.
    """
    training = document.values.setdefault("training", {})
    if training is None:
        training = document.values["training"] = {}
    if not isinstance(training, dict) or training.get("loss") is not None:
        return
    dataset = document.values.get("dataset")
    if not is_typed and isinstance(dataset, dict) and DATASETS.own_file(dataset.get("format")) is not None:
        return
    tried = Document(deepcopy(document.values), document.origins, dataset_folder=document.dataset_folder)
    resolve_paths(tried)
    layout = fill_dataset(tried)
    task = None if layout is None else _task(tried.values["dataset"], layout)
    if task is not None:
        training["loss"] = {task.default_loss: {}}


def fill_run(document: Document) -> None:
    """Fill in keys of the data set, and those of the run that follow from them."""
    layout, values = fill_dataset(document), document.values
    if values.get("training") is None:
        values["training"] = {}
    training = values["training"]
    if not isinstance(training, dict):
        return
    for key, section in (("optimizer", OptimizerSection), ("scheduler", SchedulerSection)):
        chosen = training.setdefault(key, {})
        if isinstance(chosen, dict):
            chosen.setdefault("type", section.model_fields["type"].default)
    task = None if layout is None else _task(values["dataset"], layout)
    if task is not None:
        training.setdefault("loss", {task.default_loss: {}})
        training.setdefault("metrics", [{"type": name} for name in task.default_metrics])
        _fill_from_layout(values, layout)


def _task(dataset: dict[str, Any], layout: Any) -> Any:
    """Find the task, as stated or as the format has it; None where there is no such task."""
    try:
        return TASKS.load(str(dataset.get("task") or layout.default_task(dataset.get("num_classes", 1))))
    except ConfigError:
        return None  # the check of keys that go together tells it


def _fill_from_layout(values: dict[str, Any], layout: Any) -> None:
    """Fill in the tile, the field of view and the normalisation that suit images of this format."""
    data, inference = values.setdefault("data", {}), values.setdefault("inference", {})
    if isinstance(data, dict) and isinstance(inference, dict):
        patch = data.get("patch_size") if layout.ndim == 3 else None
        tile = layout.default_tile
        inference.setdefault("tile", patch or (None if tile is None else list(tile)))
        if inference.get("fov") is None:
            inference["fov"] = "auto" if values["dataset"].get("fov_folder") else "none"
        preprocessing = data.setdefault("preprocessing", {})
        if isinstance(preprocessing, dict) and values["dataset"].get("mean") is None:
            preprocessing.setdefault("normalize", layout.normalizes)
