"""Short forms of YAML, written out before anything is checked."""

from typing import Any

from segcli.config.document import Document, Loc, Problem
from segcli.core.errors import ConfigError
from segcli.core.registry import DATASETS, TASKS

__all__ = ["canonical_loss", "expand", "fill_from_data", "fill_from_task"]


def expand(values: dict[str, Any]) -> None:
    """Write short forms out, such as `loss: dice`, `augmentation: medium`, `ema: 0.999`, `batch_size: auto`."""
    _as_type(values, "model")
    training = values.get("training")
    if isinstance(training, dict):
        for key in ("optimizer", "scheduler", "loss"):
            _as_type(training, key)
        if training.get("scheduler", "") is None:
            training["scheduler"] = {"type": "constant"}
        metrics = training.get("metrics")
        if isinstance(metrics, list):
            training["metrics"] = [{"type": entry} if isinstance(entry, str) else entry for entry in metrics]
        if isinstance(training.get("ema"), float):
            training["ema"] = {"decay": training["ema"]}
        elif isinstance(training.get("ema"), bool):
            training["ema"] = {"enabled": training["ema"]}
    logging = values.get("logging")
    if isinstance(logging, dict) and isinstance(logging.get("trackers"), list):
        logging["trackers"] = [{"type": e} if isinstance(e, str) else e for e in logging["trackers"]]
    data = values.get("data")
    if isinstance(data, dict):
        if data.get("batch_size") == "auto":
            data |= {"batch_size": 1, "fit_batch_size": True}
        augmentation = data.get("augmentation")
        if isinstance(augmentation, str):
            data["augmentation"] = {"preset": augmentation}
        elif isinstance(augmentation, bool):
            data["augmentation"] = {"enabled": augmentation}


def fill_from_data(document: Document) -> None:
    """Keys of the data set that follow from its other keys and files, as its format knows."""
    dataset = document.values.get("dataset")
    if not isinstance(dataset, dict):
        return
    try:
        layout = DATASETS.load(str(dataset.get("format", "image_folders")))
    except ConfigError:
        return  # told with the other mistakes
    changes, mistakes = layout.completed(dataset)
    dataset.update(changes)
    for key, message, hint in mistakes:
        document.problems.append(Problem(document.origin(("dataset", key)), f"dataset.{key}", message, hint))


def fill_from_task(values: dict[str, Any]) -> None:
    """Loss and metrics that nobody named are those of the task."""
    dataset, training = values.get("dataset"), values.setdefault("training", {})
    if not isinstance(dataset, dict) or not isinstance(training, dict):
        return
    try:
        layout = DATASETS.load(str(dataset.get("format", "image_folders")))
        task = TASKS.load(str(dataset.get("task") or layout.default_task(dataset.get("num_classes", 1))))
    except ConfigError:
        return  # told with the other mistakes
    _fill_from_layout(values, layout)
    training.setdefault("loss", {"type": task.default_loss})
    training.setdefault("metrics", [{"type": name} for name in task.default_metrics])


def _fill_from_layout(values: dict[str, Any], layout: Any) -> None:
    """Tile and normalisation that suit images of this format."""
    data, inference = values.setdefault("data", {}), values.setdefault("inference", {})
    if isinstance(data, dict) and isinstance(inference, dict):
        patch = data.get("patch_size") if layout.ndim == 3 else None
        tile = layout.default_tile
        inference.setdefault("tile", patch or (None if tile is None else list(tile)))
        preprocessing = data.setdefault("preprocessing", {})
        if isinstance(preprocessing, dict) and values["dataset"].get("mean") is None:
            preprocessing.setdefault("normalize", layout.normalizes)


def _as_type(section: dict[str, Any], key: str) -> None:
    if isinstance(section.get(key), str):
        section[key] = {"type": section[key]}


def canonical_loss(values: dict[str, Any]) -> dict[Loc, Loc]:
    """Write the loss as parts `{name: {weight, ...}}`; returns where each rewritten part was typed."""
    training = values.get("training")
    loss = training.get("loss") if isinstance(training, dict) else None
    if not isinstance(training, dict) or not isinstance(loss, dict):
        return {}
    if "type" in loss:
        name = str(loss["type"])
        training["loss"] = {name: {key: value for key, value in loss.items() if key != "type"}}
        return {("training", "loss", name): ("training", "loss")}
    for name, part in loss.items():
        if isinstance(part, int | float) and not isinstance(part, bool):
            loss[name] = {"weight": float(part)}
    return {}
