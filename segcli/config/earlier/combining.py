"""Make our keys out of what several old keys say together."""

from typing import Any

from segcli.config.earlier.folders import combine_folders
from segcli.config.earlier.losses import combine_loss
from segcli.config.earlier.work import Remark, Work, keys_of
from segcli.config.schema import DatasetSection, ModelSection, Run
from segcli.core.files import plain
from segcli.core.names import safe_name
from segcli.core.registry import DATASETS, MODELS, OPTIMIZERS, SCHEDULERS, Registry

__all__ = ["combine"]

FIRST = (
    *("dataset.name", "dataset.format", "dataset.paths.root", "model.type"),
    *("training.epochs", "training.optimizer.type", "training.scheduler.type"),
)
"""Keys that stand first in their section."""


def combine(work: Work, name: str) -> dict[str, Any]:
    """Complete our keys, and return them as an experiment with its data set in place.

    Args:
        work: What the old keys say one by one.
        name: Name of the run, if the old values have none.
    """
    _name(work, name)
    _sizes(work)
    combine_folders(work)
    _network(work)
    combine_loss(work)
    _optimizer(work)
    _schedule(work)
    _stopping(work)
    _augmentation(work)
    work.ours["dataset.format"] = work.ours.get("dataset.format", work.pipeline.format)
    for section, registry, beside in (
        ("model", MODELS, ModelSection),
        ("training.optimizer", OPTIMIZERS, None),
        ("training.scheduler", SCHEDULERS, None),
        ("dataset", DATASETS, DatasetSection),
    ):
        _fit(work, section, registry, set(beside.model_fields) if beside else {"type"})
    for fact, value in work.facts.items():
        work.ask(work.source[f"~{fact}"], "it says too little alone", value)
    return _nested(work)


def _name(work: Work, name: str) -> None:
    given = work.ours.get("name")
    work.ours["name"] = safe_name(str(given if given not in (None, "") else name))
    if given in (None, ""):
        work.ask("name", f"the old file names no run; `{work.ours['name']}` was taken from the file")
    elif work.ours["name"] != given:
        work.ask("name", f"`{work.ours['name']}` was made of it, because a run has a folder of its name", given)
    work.ours.setdefault("dataset.name", work.ours["name"])


def _sizes(work: Work) -> None:
    height, width = work.fact("height"), work.fact("width_px")
    if height is not None and width is not None:
        work.set("data.image_size", [height, width], "image_height, image_width")
    elif height is not None or width is not None:
        work.ask("data.image_size", "height or width is missing: set both, `[height, width]`")


def _network(work: Work) -> None:
    kind = work.ours.get("model.type")
    if kind is None:
        kind = work.ours["model.type"] = work.pipeline.model
        work.ask("model.type", f"`{kind}` was taken, the usual network of this pipeline")
    width, levels, features = work.fact("width"), work.fact("levels"), work.fact("features")
    width = features if width is None else width
    if isinstance(width, list):
        work.set("model.depths", width, work.source.get("~features", work.source.get("~width", "model.features")))
    elif width is not None:
        usual = _usual_levels(kind)
        if usual is None:
            work.ask("model.depths", f"one width does not say the channels of `{kind}`; set `model.depths`", width)
            return
        if levels is None:
            work.ask("model.depths", f"the number of levels is not stated; `{kind}` usually has {usual}", width)
        depths = [int(width) * 2**level for level in range(int(levels or usual))]
        work.set("model.depths", depths, work.source.get("~width", "model.features"))
    elif levels is not None:
        work.ask("model.depths", "the width of the first level is missing; set `model.depths`", levels)


def _usual_levels(kind: str) -> int | None:
    """Count the levels of a network whose width doubles from level to level."""
    if MODELS.own_file(kind) is not None:
        return None
    field = MODELS.load(kind).Config.model_fields.get("depths")
    depths = field.get_default(call_default_factory=True) if field is not None else []
    return len(depths) if depths and depths == [depths[0] * 2**level for level in range(len(depths))] else None


def _optimizer(work: Work) -> None:
    own = work.below("training.optimizer")
    if own and "type" not in own:
        work.ours["training.optimizer.type"] = "adam"
        work.ask("training.optimizer.type", "the old file names no optimizer; `adam` was taken")


def _schedule(work: Work) -> None:
    own, last = work.below("training.scheduler"), work.fact("t_max")
    if own and "type" not in own:
        if "scheduler" not in " ".join(remark.key for remark in work.undecided):
            work.ask("training.scheduler.type", f"no schedule is named for {', '.join(own)}; set its `type`")
        for key in own:
            work.drop(f"training.scheduler.{key}", "no schedule is named")
    epochs = work.ours.get("training.epochs")
    if last is not None and last == epochs:
        work.left_out.append(Remark(work.source["~t_max"], last, "`cosine` ends with the last step"))
    elif last is not None:
        text = (
            f"`cosine` ends with the last step, after {epochs if epochs is not None else 50} epochs, not after {last:g}"
        )
        work.ask(work.source["~t_max"], text, last)


def _stopping(work: Work) -> None:
    patience = work.fact("patience")
    if patience is not None:
        plateau = work.ours.get("training.scheduler.type") == "plateau"
        if plateau and "training.scheduler.patience" not in work.ours:
            work.set("training.scheduler.patience", patience, "patience")
            work.ask(
                "patience", "taken for `plateau`; of early stopping, it is `training.early_stopping.patience`", patience
            )
        else:
            work.set("training.early_stopping.patience", patience, "patience")
            work.ours.setdefault("training.early_stopping.enabled", True)
    monitored = work.ours.get("training.early_stopping.monitor")
    metric = str(monitored).removeprefix("val_")
    names = [entry["type"] if isinstance(entry, dict) else entry for entry in work.ours.get("training.metrics", [])]
    if monitored not in (None, "val_loss") and metric not in names:
        work.ours["training.metrics"] = [*work.ours.get("training.metrics", []), metric]
        work.ask("training.metrics", f"`{metric}` was added, because the best checkpoint follows from it")


def _augmentation(work: Work) -> None:
    made = [work.facts.pop(name) for name in list(work.facts) if name.startswith("transform.")]
    if made:
        work.ours["data.augmentation.transforms"] = [*work.ours.get("data.augmentation.transforms", []), *made]
    own = work.below("data.augmentation")
    if own == {"enabled": True}:
        work.ask("data.augmentation.preset", "the old file does not say which; choose `light`, `medium` or `heavy`")


def _fit(work: Work, section: str, registry: Registry, beside: set[str]) -> None:
    """Take out keys that the chosen component lacks."""
    word = "format" if registry is DATASETS else "type"
    name = work.ours.get(f"{section}.{word}")
    keys = keys_of(registry, name) if name is not None else None
    if keys is None:
        return
    for key in work.below(section):
        if key.partition(".")[0] not in keys | beside:
            work.drop(f"{section}.{key}", f"{registry.word} `{name}` has no key `{key}`")


def _nested(work: Work) -> dict[str, Any]:
    for key in [key for key, value in work.ours.items() if not isinstance(value, dict) and work.below(key)]:
        work.ask(key, "it is a section with keys here", work.ours.pop(key))
    order = list(Run.model_fields)
    values: dict[str, Any] = {}
    for key in sorted(work.ours, key=lambda key: (order.index(key.partition(".")[0]), _place(key))):
        section = values
        *above, last = key.split(".")
        for name in above:
            section = section.setdefault(name, {})
        section[last] = plain(work.ours[key])
    return values


def _place(key: str) -> int:
    """Put the keys that choose a component before its own keys."""
    return FIRST.index(key) if key in FIRST else len(FIRST)
