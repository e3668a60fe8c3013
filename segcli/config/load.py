"""From YAML and `KEY=VALUE` to a checked run; all mistakes are told together."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from segcli.config.agreement import ROOT_HINT, check_together
from segcli.config.components import check_components
from segcli.config.document import Document, Loc, Origin, Problem, parse_value, read_document
from segcli.config.messages import problems_of
from segcli.config.own_network import NetworkPermit
from segcli.config.schema import DatasetSection, Run
from segcli.config.short_forms import canonical_loss, expand, fill_from_data, fill_from_task
from segcli.core.addresses import is_address
from segcli.core.errors import ConfigError
from segcli.core.types import ConfigModel

__all__ = ["load_dataset", "load_run", "run_from_values"]

PATH_KEYS = ("root", "train", "val", "test")


def load_run(path: Path, overrides: Sequence[str] = (), *, permit: NetworkPermit | None = None) -> Run:
    """Read an experiment file, with its data-set file, and apply overrides.

    Args:
        path: The experiment file.
        overrides: `KEY=VALUE`, parsed as YAML, such as `data.image_size=[256,256]`.
        permit: What may run of a config that lies in a run folder; one that the user wrote may name any file.

    Raises:
        CheckpointError: The config of a run folder names a file that may not run.
        ConfigError: Every mistake, each with file, line, key, value and the nearest legal key.
    """
    document = read_document(path)
    parsed = [_parse_override(text) for text in overrides]
    for keys, value, text in parsed:
        if keys == ["dataset"]:
            _apply(document, keys, value, text)
    _inline_dataset(document, path)
    expand(document.values)
    if permit is None:
        _resolve_model(document, path.parent)
    return _finish(document, [entry for entry in parsed if entry[0] != ["dataset"]], str(path), permit)


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
    fill_from_data(document)
    problems = [*document.problems, *check_components(document, {})]
    found: DatasetSection | None = None
    try:
        found = _DatasetAlone.model_validate({"dataset": document.values["dataset"]}).dataset
    except ValidationError as error:
        problems += problems_of(error, document, {}, _DatasetAlone)
    if found is not None and found.paths.root is None:
        loc = ("dataset", "paths", "root")
        problems.append(Problem(document.origin(loc), "dataset.paths.root", "is not set", ROOT_HINT))
    if problems or found is None:
        raise ConfigError(_listed(problems, str(path)))
    return found


class _DatasetAlone(ConfigModel):
    """What `load_dataset` validates."""

    dataset: DatasetSection


def run_from_values(
    values: dict[str, Any], overrides: Sequence[str] = (), *, source: str, permit: NetworkPermit | None = None
) -> Run:
    """Check a run that was resolved before, as a checkpoint or a run folder holds it.

    Raises:
        CheckpointError: It names a file that may not run.
        ConfigError: As `load_run`.
    """
    document = Document(deepcopy(values), {(key,): Origin(source) for key in values})
    return _finish(document, [_parse_override(text) for text in overrides], source, permit or NetworkPermit())


def _finish(
    document: Document, overrides: list[tuple[list[str], Any, str]], source: str, permit: NetworkPermit | None
) -> Run:
    expand(document.values)
    trained = deepcopy(document.values.get("model"))
    for keys, value, text in overrides:
        _apply(document, keys, value, text)
    expand(document.values)
    if permit is not None:
        is_typed = any(keys in (["model"], ["model", "type"]) for keys, _, __ in overrides)
        permit.check(document.values.get("model"), source, trained=trained, typed=is_typed)
    if isinstance(document.values.get("dataset"), dict):
        _resolve_paths(document.values["dataset"], Path.cwd())  # those of overrides
    fill_from_data(document)
    fill_from_task(document.values)
    problems = list(document.problems)
    typed = canonical_loss(document.values)
    problems += check_components(document, typed)
    run: Run | None = None
    try:
        run = Run.model_validate(document.values)
    except ValidationError as error:
        problems += problems_of(error, document, typed, Run)
    if run is not None and not problems:
        problems += check_together(run, document)
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
        _resolve_classes(dataset, base.parent)
        paths = dataset.setdefault("paths", {})
        if isinstance(paths, dict):
            paths.setdefault("root", str(base.parent.absolute()))


def _find_dataset(given: str, experiment: Path, origin: Origin) -> Path:
    candidates = [experiment.parent / given, Path(given)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    looked = " and ".join(f"`{candidate}`" for candidate in dict.fromkeys(candidates))
    raise ConfigError(f"{origin.text}: no data-set file `{given}`", hint=f"looked for {looked}")


def _resolve_model(document: Document, folder: Path) -> None:
    """Absolute path of a user's own network: beside the experiment file where that exists."""
    model = document.values.get("model")
    name = model.get("type") if isinstance(model, dict) else None
    if isinstance(model, dict) and isinstance(name, str) and ".py:" in name:
        file, _, kind = name.rpartition(":")
        if (folder / file).is_file():
            model["type"] = f"{(folder / file).absolute()}:{kind}"


def _resolve_paths(dataset: dict[str, Any], folder: Path) -> None:
    """Absolute paths: beside the data-set file where that exists, else from the working folder."""
    paths = dataset.get("paths")
    if not isinstance(paths, dict):
        return
    for key in PATH_KEYS:
        given = paths.get(key)
        if isinstance(given, str) and not is_address(given):
            beside = folder / given
            paths[key] = str((beside if beside.exists() else Path(given)).absolute())


def _resolve_classes(dataset: dict[str, Any], folder: Path) -> None:
    """Absolute path of the table of classes beside the data-set file; elsewhere, its format looks for it."""
    table = dataset.get("classes_file")
    if isinstance(table, str) and (folder / table).is_file():
        dataset["classes_file"] = str((folder / table).absolute())
