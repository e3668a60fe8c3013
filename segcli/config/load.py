"""From YAML and `KEY=VALUE` to a checked run; all mistakes are told together."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from segcli.config.document import Document, Loc, Origin, Problem, parse_value, read_document
from segcli.config.messages import problems_of
from segcli.config.schema import Component, DatasetSection, LossPart, ModelSection, Run
from segcli.core.errors import ConfigError
from segcli.core.registry import DATASETS, LOSSES, METRICS, MODELS, OPTIMIZERS, SCHEDULERS, TASKS, Registry
from segcli.core.types import ConfigModel
from segcli.data.settings import DatasetSpec

__all__ = ["load_dataset", "load_run", "run_from_values"]

PATH_KEYS = ("root", "train", "val", "test")


def load_run(path: Path, overrides: Sequence[str] = ()) -> Run:
    """Read an experiment file, with its data-set file, and apply overrides.

    Args:
        path: The experiment file.
        overrides: `KEY=VALUE`, parsed as YAML, such as `data.image_size=[256,256]`.

    Raises:
        ConfigError: Every mistake, each with file, line, key, value and the nearest legal key.
    """
    document = read_document(path)
    parsed = [_parse_override(text) for text in overrides]
    for keys, value, text in parsed:
        if keys == ["dataset"]:
            _apply(document, keys, value, text)
    _inline_dataset(document, path)
    return _finish(document, [entry for entry in parsed if entry[0] != ["dataset"]], str(path))


def load_dataset(path: Path, overrides: Sequence[str] = (), *, whole_run: bool) -> DatasetSection:
    """The data set of an experiment file, or of a data-set file by itself.

    Args:
        path: Either kind of file; an experiment has the key `dataset`.
        overrides: `KEY=VALUE`, of the experiment or of the data set (`dataset.mean=[0.5]` or `mean=[0.5]`).
        whole_run: Also check the rest of the experiment.

    Raises:
        ConfigError: As `load_run`.
    """
    document = read_document(path)
    if "dataset" in document.values and whole_run:
        return load_run(path, overrides).dataset
    if "dataset" not in document.values:
        document.values = {"dataset": document.values}
        document.origins = {("dataset", *loc): origin for loc, origin in document.origins.items()}
    for keys, value, text in map(_parse_override, overrides):
        _apply(document, keys if keys[0] == "dataset" else ["dataset", *keys], value, text)
    _inline_dataset(document, path)
    document.values = {"dataset": document.values["dataset"]}
    problems = [*document.problems, *_check_components(document, {})]
    found: DatasetSection | None = None
    try:
        found = _DatasetAlone.model_validate({"dataset": document.values["dataset"]}).dataset
    except ValidationError as error:
        problems += problems_of(error, document, {}, _DatasetAlone)
    if problems or found is None:
        raise ConfigError(_listed(problems, str(path)))
    return found


class _DatasetAlone(ConfigModel):
    """What `load_dataset` validates."""

    dataset: DatasetSection


def run_from_values(values: dict[str, Any], overrides: Sequence[str] = (), *, source: str) -> Run:
    """Check a run that was resolved before, as a checkpoint or a run folder holds it.

    Raises:
        ConfigError: As `load_run`.
    """
    document = Document(deepcopy(values), {(key,): Origin(source) for key in values})
    return _finish(document, [_parse_override(text) for text in overrides], source)


def _finish(document: Document, overrides: list[tuple[list[str], Any, str]], source: str) -> Run:
    _expand(document.values)
    for keys, value, text in overrides:
        _apply(document, keys, value, text)
    _expand(document.values)
    _fill_from_task(document.values)
    problems = list(document.problems)
    typed = _canonical_loss(document.values)
    problems += _check_components(document, typed)
    run: Run | None = None
    try:
        run = Run.model_validate(document.values)
    except ValidationError as error:
        problems += problems_of(error, document, typed, Run)
    if run is not None and not problems:
        problems += _check_together(run, document)
    if problems:
        raise ConfigError(_listed(problems, source))
    assert run is not None
    return run


def _listed(problems: list[Problem], source: str) -> str:
    unique = {(problem.origin, problem.key): problem for problem in reversed(problems)}
    ordered = sorted(unique.values(), key=lambda problem: (not problem.origin.order[0], problem.origin.order))
    word = "problem" if len(ordered) == 1 else "problems"
    return "\n".join([f"{len(ordered)} {word} in `{source}`", *map(str, ordered)])


# ---- overrides


def _parse_override(text: str) -> tuple[list[str], Any, str]:
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise ConfigError(f"override `{text}` is not KEY=VALUE", hint="such as `training.epochs=20`")
    try:
        return key.split("."), parse_value(value), text
    except yaml.YAMLError:
        raise ConfigError(f"override `{text}`: the value is not valid YAML", hint="quote it for the shell") from None


def _apply(document: Document, keys: list[str], value: Any, text: str) -> None:
    """Set one key, leaving its neighbours; a section that is not there yet is made."""
    target = document.values
    loc: Loc = ()
    for key in keys[:-1]:
        loc = (*loc, key)
        below = target.get(key)
        if below is None:
            below = target[key] = {}
            document.origins.setdefault(loc, Origin(text))
        if not isinstance(below, dict):
            dotted = ".".join(map(str, loc))
            document.problems.append(Problem(Origin(text), dotted, f"is no section, it is `{below}`"))
            return
        target = below
    target[keys[-1]] = value
    here = (*loc, keys[-1])
    document.origins = {known: origin for known, origin in document.origins.items() if known[: len(here)] != here}
    document.origins[here] = Origin(text)


# ---- the data-set file


def _inline_dataset(document: Document, experiment: Path) -> None:
    """Put the keys of the data-set file in the place of its path, and make its paths absolute."""
    given = document.values.get("dataset")
    base = experiment
    if isinstance(given, str):
        base = _find_dataset(given, experiment, document.origin(("dataset",)))
        below = read_document(base)
        document.values["dataset"] = below.values
        document.origins |= {("dataset", *loc): origin for loc, origin in below.origins.items()}
        document.problems += [
            Problem(problem.origin, f"dataset.{problem.key}", problem.message, problem.hint)
            for problem in below.problems
        ]
    dataset = document.values.get("dataset")
    if isinstance(dataset, dict):
        _resolve_paths(dataset, base.parent)


def _find_dataset(given: str, experiment: Path, origin: Origin) -> Path:
    candidates = [experiment.parent / given, Path(given)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    looked = " and ".join(f"`{candidate}`" for candidate in dict.fromkeys(candidates))
    raise ConfigError(f"{origin.text}: no data-set file `{given}`", hint=f"looked for {looked}")


def _resolve_paths(dataset: dict[str, Any], folder: Path) -> None:
    """Absolute paths: beside the data-set file where that exists, else from the working folder."""
    paths = dataset.setdefault("paths", {})
    if not isinstance(paths, dict):
        return
    for key in PATH_KEYS:
        given = paths.get(key)
        if isinstance(given, str):
            beside = folder / given
            paths[key] = str((beside if beside.exists() else Path(given)).absolute())
    paths.setdefault("root", str(folder.absolute()))


# ---- short forms


def _expand(values: dict[str, Any]) -> None:
    """Write short forms out: `loss: dice`, `optimizer: adam`, `augmentation: medium`, `ema: 0.999`."""
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
    data = values.get("data")
    if isinstance(data, dict):
        augmentation = data.get("augmentation")
        if isinstance(augmentation, str):
            data["augmentation"] = {"preset": augmentation}
        elif isinstance(augmentation, bool):
            data["augmentation"] = {"enabled": augmentation}


def _fill_from_task(values: dict[str, Any]) -> None:
    """Loss and metrics that nobody named are those of the task."""
    dataset, training = values.get("dataset"), values.setdefault("training", {})
    if not isinstance(dataset, dict) or not isinstance(training, dict):
        return
    try:
        layout = DATASETS.load(str(dataset.get("format", "image_folders")))
        task = TASKS.load(str(dataset.get("task") or layout.default_task(dataset.get("num_classes", 1))))
    except ConfigError:
        return  # told with the other mistakes
    training.setdefault("loss", {"type": task.default_loss})
    training.setdefault("metrics", [{"type": name} for name in task.default_metrics])


def _as_type(section: dict[str, Any], key: str) -> None:
    if isinstance(section.get(key), str):
        section[key] = {"type": section[key]}


def _canonical_loss(values: dict[str, Any]) -> dict[Loc, Loc]:
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


# ---- components


@dataclass
class _Chosen:
    """A component as the user wrote it."""

    registry: Registry
    name: str
    name_loc: Loc
    loc: Loc
    section: dict[str, Any]
    own_keys: type[BaseModel]
    """Keys of the section that are not the component's."""


def _chosen(values: dict[str, Any]) -> Iterator[_Chosen]:
    model, dataset, training = (values.get(key) for key in ("model", "dataset", "training"))
    if isinstance(model, dict) and isinstance(model.get("type"), str):
        yield _Chosen(MODELS, model["type"], ("model", "type"), ("model",), model, ModelSection)
    if isinstance(dataset, dict):
        name = dataset.setdefault("format", "image_folders")
        if isinstance(name, str):
            yield _Chosen(DATASETS, name, ("dataset", "format"), ("dataset",), dataset, DatasetSpec)
    if not isinstance(training, dict):
        training = values["training"] = {} if training is None else training
    if isinstance(training, dict):
        yield from _chosen_in_training(training)


def _chosen_in_training(training: dict[str, Any]) -> Iterator[_Chosen]:
    for key, registry, default in (("optimizer", OPTIMIZERS, "adam"), ("scheduler", SCHEDULERS, "cosine")):
        section = training.setdefault(key, {})
        if isinstance(section, dict) and isinstance(section.setdefault("type", default), str):
            loc: Loc = ("training", key)
            yield _Chosen(registry, section["type"], (*loc, "type"), loc, section, Component)
    loss = training.get("loss")
    if isinstance(loss, dict):
        for name, part in loss.items():
            if isinstance(part, dict):
                part_loc: Loc = ("training", "loss", name)
                yield _Chosen(LOSSES, name, part_loc, part_loc, part, LossPart)
    metrics = training.get("metrics")
    if isinstance(metrics, list):
        for index, entry in enumerate(metrics):
            if isinstance(entry, dict) and isinstance(entry.get("type"), str):
                here: Loc = ("training", "metrics", index)
                yield _Chosen(METRICS, entry["type"], here, here, entry, Component)


def _check_components(document: Document, typed: dict[Loc, Loc]) -> list[Problem]:
    """Check each component's name and its own keys; write canonical names and all defaults into the values."""
    problems = []
    renamed: dict[str, str] = {}
    for chosen in list(_chosen(document.values)):
        try:
            canonical = chosen.registry.canonical(chosen.name)
            kind = chosen.registry.load(canonical)
        except ConfigError as error:
            loc = _as_typed(chosen.name_loc, typed)
            key = ".".join(map(str, loc))
            problems.append(Problem(document.origin(loc), key, error.message, error.hint))
            continue
        if chosen.registry is LOSSES:
            renamed[chosen.name] = canonical
        elif chosen.registry is DATASETS:
            chosen.section["format"] = canonical
        else:
            chosen.section["type"] = canonical
        own = set(chosen.own_keys.model_fields)
        options = {key: value for key, value in chosen.section.items() if key not in own}
        try:
            checked = kind.Config.model_validate(options)
        except ValidationError as error:
            problems += problems_of(error, document, typed, kind.Config, loc=chosen.loc, beside=own, options=options)
        else:
            chosen.section.update(checked.model_dump(mode="python"))
    training = document.values.get("training")
    if isinstance(training, dict) and isinstance(training.get("loss"), dict):
        training["loss"] = {renamed.get(name, name): part for name, part in training["loss"].items()}
    return problems


def _as_typed(loc: Loc, typed: dict[Loc, Loc]) -> Loc:
    for canonical, written in typed.items():
        if loc[: len(canonical)] == canonical:
            return (*written, *loc[len(canonical) :])
    return loc


# ---- what must agree


def _check_together(run: Run, document: Document) -> list[Problem]:
    """Keys that are right by themselves and cannot work together."""
    problems = []

    def wrong(loc: Loc, message: str, hint: str | None = None) -> None:
        problems.append(Problem(document.origin(loc), ".".join(map(str, loc)), message, hint))

    try:
        task = TASKS.load(run.task_name)
    except ConfigError as error:
        wrong(("dataset", "task" if run.dataset.task else "num_classes"), error.message, error.hint)
        return problems
    model, dataset = run.model, run.dataset
    if model.in_channels not in (None, dataset.num_channels):
        wrong(("model", "in_channels"), f"is {model.in_channels}, the data set has {dataset.num_channels} channels")
    outputs = task(dataset.num_classes).outputs
    if model.out_channels not in (None, next(iter(outputs.values()))):
        wrong(
            ("model", "out_channels"),
            f"is {model.out_channels}, the data set with `num_classes: {dataset.num_classes}` needs "
            f"{next(iter(outputs.values()))}",
        )
    if model.final_activation not in (None, "none", task.activation):
        wrong(
            ("model", "final_activation"),
            f"is `{model.final_activation}`, task `{run.task_name}` has `{task.activation}`",
        )
    _check_sizes(run, wrong)
    _check_monitor(run, wrong)
    if run.data.preprocessing.normalize is True and dataset.mean is None:
        wrong(
            ("dataset", "mean"),
            "is missing, and `data.preprocessing.normalize` needs it",
            "`segcli data stats` prints `mean` and `std`; or set `data.preprocessing.normalize=per_image`",
        )
    return problems


def _check_sizes(run: Run, wrong: Any) -> None:
    ndim = DATASETS.load(run.dataset.format).ndim
    for loc, size in (
        (("dataset", "image_size"), run.dataset.image_size),
        (("data", "image_size"), run.data.image_size),
        (("data", "patch_size"), run.data.patch_size),
        (("inference", "tile"), run.inference.tile),
    ):
        if size is not None and len(size) != ndim:
            wrong(loc, f"has {len(size)} sizes, images of format `{run.dataset.format}` have {ndim} axes")


def _check_monitor(run: Run, wrong: Any) -> None:
    monitor = run.training.early_stopping.monitor
    if monitor is None:
        return
    legal = ["val_loss", *(f"val_{metric.type}" for metric in run.training.metrics)]
    legal += [f"val_loss_{name}" for name in run.training.loss if len(run.training.loss) > 1]
    if monitor not in legal:
        loc = ("training", "early_stopping", "monitor")
        wrong(
            loc,
            f"`{monitor}` is not computed in this run",
            f"one of {', '.join(legal)}, or add it to `training.metrics`",
        )
