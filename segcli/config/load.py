"""Load a run from YAML and `KEY=VALUE`, one step after the other; all mistakes are reported together."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from segcli.config.agreement import check_root, check_together
from segcli.config.components import check_components
from segcli.config.dataset_file import expand_code, inline_dataset, resolve_code, resolve_paths
from segcli.config.document import Document, Origin, Problem, read_document
from segcli.config.fill import fill_dataset, fill_loss, fill_run
from segcli.config.messages import validated
from segcli.config.overrides import Override, apply_overrides, parse_overrides
from segcli.config.own_code import CodePermit
from segcli.config.processes import check_shards, check_slots
from segcli.config.schema import DatasetSection, Run
from segcli.config.shipped import located
from segcli.config.short_forms import write_out
from segcli.core.names import safe_name
from segcli.core.types import ConfigModel
from segcli.data.settings import DatasetSpec, numbers_fault

__all__ = ["dataset_from_values", "load_dataset", "load_for_check", "load_run", "run_from_values"]


class _DatasetAlone(ConfigModel):
    """Shape the values of a data set without a run."""

    dataset: DatasetSection


def load_run(path: Path, overrides: Sequence[str] = (), *, permit: CodePermit | None = None) -> Run:
    """Read an experiment file, with its data-set file, and apply overrides.

    Args:
        path: The experiment file, or the name of a shipped one.
        overrides: `KEY=VALUE`, parsed as YAML, such as `data.image_size=[256,256]`.
        permit: What may run of a config that lies in a run folder; one that the user wrote may name any file.

    Raises:
        CheckpointError: The config of a run folder names a file that may not run.
        ConfigError: Every mistake, each with file, line, key, value and the nearest legal key.
    """
    path = located(path)
    return _run_of(read_document(path), path, overrides, permit)


def run_from_values(
    values: dict[str, Any], overrides: Sequence[str] = (), *, source: str, permit: CodePermit | None = None
) -> Run:
    """Check a run that was resolved before, as a checkpoint or a run folder holds it; its name becomes a safe one.

    Raises:
        CheckpointError: It names a file that may not run.
        ConfigError: As `load_run`.
    """
    document = Document(deepcopy(values), {(key,): Origin(source) for key in values})
    if isinstance(values.get("name"), str):
        document.values["name"] = safe_name(values["name"])
    return _run(document, parse_overrides(overrides), source, permit or CodePermit())


def load_dataset(
    path: Path, overrides: Sequence[str] = (), *, whole_run: bool, numbers: list[Problem] | None = None
) -> DatasetSection:
    """Read the data set of an experiment file, or a data-set file by itself.

    Args:
        path: Either kind of file, or the name of a shipped one; an experiment has the key `dataset`.
        overrides: `KEY=VALUE`, of the experiment or of the data set (`dataset.mean=[0.5]` or `mean=[0.5]`).
        whole_run: Also check the rest of the experiment.
        numbers: As of `load_for_check`.

    Raises:
        ConfigError: As `load_run`.
    """
    path = located(path, datasets=True)
    document = read_document(path)
    if "dataset" not in document.values:
        document.values = {"dataset": document.values}
        document.origins = {("dataset", *loc): origin for loc, origin in document.origins.items()}
    elif whole_run:
        return _run_of(document, path, overrides, None).dataset
    wanted = parse_overrides(overrides, below="dataset")
    inline_dataset(document, path, wanted)
    data = document.values.get("data")
    chosen = data.get("channels") if isinstance(data, dict) else None
    if chosen is not None and isinstance(document.values["dataset"], dict):
        document.values["dataset"]["channels"] = chosen
    document.values = {"dataset": document.values["dataset"]}
    overrides_of_data = [override for override in wanted if not override.names_dataset]
    return _dataset(document, overrides_of_data, str(path), numbers)


def dataset_from_values(values: dict[str, Any], *, source: str) -> DatasetSection:
    """Check the keys of a data set that are in no file yet.

    Args:
        values: Keys as a data-set file holds them; paths are absolute.
        source: Words for them in messages.

    Raises:
        ConfigError: As `load_run`.
    """
    origins: dict[tuple[str | int, ...], Origin] = {("dataset", key): Origin(source) for key in values}
    return _dataset(Document({"dataset": deepcopy(values)}, origins), [], source)


def load_for_check(
    path: Path, overrides: Sequence[str] = (), *, numbers: list[Problem] | None = None
) -> tuple[DatasetSection, Run | None]:
    """Read a data-set file, or an experiment file with its data set; None in the place of the run of the former.

    Args:
        path: Either kind of file, or the name of a shipped one.
        overrides: As of `load_dataset`.
        numbers: Receives the problem of `mean` and `std` that do not fit, which are left out; default: refuse them.

    Raises:
        ConfigError: As `load_run`.
    """
    path = located(path, datasets=True)
    document = read_document(path)
    if "dataset" not in document.values:
        return load_dataset(path, overrides, whole_run=False, numbers=numbers), None
    run = _run_of(document, path, overrides, None, numbers)
    return run.dataset, run


def _run_of(
    document: Document,
    path: Path,
    overrides: Sequence[str],
    permit: CodePermit | None,
    numbers: list[Problem] | None = None,
) -> Run:
    wanted = parse_overrides(overrides)
    inline_dataset(document, path, wanted)
    return _run(document, [override for override in wanted if not override.names_dataset], str(path), permit, numbers)


def _run(
    document: Document,
    overrides: list[Override],
    source: str,
    permit: CodePermit | None,
    numbers: list[Problem] | None = None,
) -> Run:
    """Turn values as typed into a checked run."""
    write_out(document, Run)
    if permit is None:
        resolve_code(document)  # beside the file, before overrides change where its keys come from
    trained = deepcopy(document.values)
    apply_overrides(document, [override for override in overrides if not override.names_part_of_loss], Run)
    of_loss = [override for override in overrides if override.names_part_of_loss]
    if of_loss:
        # what they change is the loss that the run would have without them
        fill_loss(document, is_typed=permit is None)
        apply_overrides(document, of_loss, Run)
    expand_code(document, None if permit is None else overrides)
    if permit is not None:
        permit.check(document, source, trained=trained, overrides=overrides)
    resolve_paths(document)
    fill_run(document)
    check_components(document)
    _set_aside(document, numbers)
    run = validated(document, Run)
    run = None if run is None else run.without(document.left_out)
    if run is not None and not document.problems:
        check_together(run, document)
        check_shards(run, document)
        check_slots(run, document)
    document.refuse(source)
    assert run is not None
    return run.with_readings(document.readings)


def _dataset(
    document: Document, overrides: list[Override], source: str, numbers: list[Problem] | None = None
) -> DatasetSection:
    """Turn values as typed into a checked data set."""
    write_out(document, _DatasetAlone)
    apply_overrides(document, overrides, _DatasetAlone)
    expand_code(document, None)
    resolve_paths(document)
    fill_dataset(document)
    check_components(document)
    _set_aside(document, numbers)
    alone = validated(document, _DatasetAlone)
    if alone is not None:
        check_root(alone.dataset, document)
    document.refuse(source)
    assert alone is not None
    return alone.dataset


def _set_aside(document: Document, numbers: list[Problem] | None) -> None:
    """Leave out `mean` and `std` that do not fit, and note the problem, so that the rest can be checked."""
    values = document.values.get("dataset")
    if numbers is None or not isinstance(values, dict):
        return
    mean, std = stated = values.get("mean"), values.get("std")
    channels = values.get("num_channels", DatasetSpec.model_fields["num_channels"].default)
    if not all(each is None or isinstance(each, list) for each in stated) or not isinstance(channels, int):
        return
    fault = numbers_fault(mean, std, channels)
    if fault is not None:
        numbers.append(document.problem(("dataset",), fault))
        for key in ("mean", "std"):
            values.pop(key, None)
