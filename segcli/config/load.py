"""Load a run from YAML and `KEY=VALUE`, one step after the other; all mistakes are told together."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from segcli.config.agreement import ROOT_HINT, check_together
from segcli.config.components import check_components
from segcli.config.dataset_file import inline_dataset, resolve_paths
from segcli.config.document import Document, Origin, Problem, read_document
from segcli.config.fill import fill_dataset, fill_run
from segcli.config.messages import problems_of
from segcli.config.overrides import Override, apply_overrides, parse_overrides
from segcli.config.schema import DatasetSection, Run
from segcli.config.short_forms import written_out
from segcli.core.errors import ConfigError
from segcli.core.types import ConfigModel

__all__ = ["load_dataset", "load_run", "run_from_values"]

Shape = TypeVar("Shape", bound=ConfigModel)


class _DatasetAlone(ConfigModel):
    """Shape the values of a data set without a run."""

    dataset: DatasetSection


def load_run(path: Path, overrides: Sequence[str] = ()) -> Run:
    """Read an experiment file, with its data-set file, and apply overrides.

    Args:
        path: The experiment file.
        overrides: `KEY=VALUE`, parsed as YAML, such as `data.image_size=[256,256]`.

    Raises:
        ConfigError: Every mistake, each with file, line, key, value and the nearest legal key.
    """
    document = read_document(path)
    return _run(*_with_dataset(document, path, parse_overrides(overrides)), str(path))


def run_from_values(values: dict[str, Any], overrides: Sequence[str] = (), *, source: str) -> Run:
    """Check a run that was resolved before, as a checkpoint or a run folder holds it.

    Raises:
        ConfigError: As `load_run`.
    """
    document = Document(deepcopy(values), {(key,): Origin(source) for key in values})
    return _run(document, parse_overrides(overrides), source)


def load_dataset(path: Path, overrides: Sequence[str] = (), *, whole_run: bool) -> DatasetSection:
    """Read the data set of an experiment file, or a data-set file by itself.

    Args:
        path: Either kind of file; an experiment has the key `dataset`.
        overrides: `KEY=VALUE`, of the experiment or of the data set (`dataset.mean=[0.5]` or `mean=[0.5]`).
        whole_run: Also check the rest of the experiment.

    Raises:
        ConfigError: As `load_run`.
    """
    document = read_document(path)
    if "dataset" not in document.values:
        document.values = {"dataset": document.values}
        document.origins = {("dataset", *loc): origin for loc, origin in document.origins.items()}
    elif whole_run:
        return _run(*_with_dataset(document, path, parse_overrides(overrides)), str(path)).dataset
    document, others = _with_dataset(document, path, parse_overrides(overrides, below="dataset"))
    document.values = {"dataset": document.values["dataset"]}
    return _dataset(document, others, str(path))


def _with_dataset(document: Document, path: Path, overrides: list[Override]) -> tuple[Document, list[Override]]:
    """Put the data-set file in its place, which an override may name; the other overrides are still to apply."""
    apply_overrides(document, [override for override in overrides if override.keys == ("dataset",)], Run)
    inline_dataset(document, path)
    return document, [override for override in overrides if override.keys != ("dataset",)]


def _run(document: Document, overrides: list[Override], source: str) -> Run:
    """Turn values as typed into a checked run."""
    _overridden(document, overrides, Run)
    fill_run(document)
    run = _checked(document, Run)
    if run is not None and not document.problems:
        document.problems += check_together(run, document)
    return _unless_mistaken(run, document, source)


def _dataset(document: Document, overrides: list[Override], source: str) -> DatasetSection:
    """Turn values as typed into a checked data set."""
    _overridden(document, overrides, _DatasetAlone)
    fill_dataset(document)
    alone = _checked(document, _DatasetAlone)
    if alone is not None and alone.dataset.paths.root is None:
        loc = ("dataset", "paths", "root")
        document.problems.append(Problem(document.origin(loc), ".".join(loc), "is not set", ROOT_HINT))
    return _unless_mistaken(alone, document, source).dataset


def _overridden(document: Document, overrides: list[Override], schema: type[ConfigModel]) -> None:
    """Write short forms out, lay overrides over the long form, and make paths absolute."""
    document.values = written_out(document, schema, document.values)
    apply_overrides(document, overrides, schema)
    resolve_paths(document)


def _checked(document: Document, schema: type[Shape]) -> Shape | None:
    """Check components, then the shape; None where the shape is wrong."""
    document.problems += check_components(document)
    try:
        return schema.model_validate(document.values)
    except ValidationError as error:
        document.problems += problems_of(error, document, schema)
        return None


def _unless_mistaken(found: Shape | None, document: Document, source: str) -> Shape:
    """Return what was found.

    Raises:
        ConfigError: There are problems; it lists all of them, those of files by line.
    """
    if found is not None and not document.problems:
        return found
    unique = {(problem.origin, problem.key): problem for problem in reversed(document.problems)}
    ordered = sorted(unique.values(), key=lambda problem: (not problem.origin.order[0], problem.origin.order))
    word = "problem" if len(ordered) == 1 else "problems"
    raise ConfigError("\n".join([f"{len(ordered)} {word} in `{source}`", *map(str, ordered)]))
