"""Replace the path of the data-set file by its keys, and make paths absolute."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segcli.config.document import Document, Origin, Problem, read_document
from segcli.config.overrides import Override
from segcli.core.addresses import is_address
from segcli.core.errors import ConfigError

__all__ = ["inline_dataset", "resolve_paths"]

PATH_KEYS = ("root", "train", "val", "test")


def inline_dataset(document: Document, experiment: Path, overrides: Sequence[Override]) -> None:
    """Replace the path of the data-set file, which an override may name, by its keys.

    Raises:
        ConfigError: There is no such file, or it is no YAML.
    """
    for override in overrides:
        if override.names_dataset:
            document.typed_anew(override.keys, override.text)
            document.values["dataset"] = override.value
    given = document.values.get("dataset")
    document.dataset_folder = experiment.parent
    if not isinstance(given, str):
        return
    file = _find(given, experiment, document.origin(("dataset",)))
    below = read_document(file)
    document.dataset_folder = file.parent
    document.values["dataset"] = below.values
    document.origins |= {("dataset", *loc): origin for loc, origin in below.origins.items()}
    document.problems += [
        Problem(problem.origin, f"dataset.{problem.key}", problem.message, problem.hint) for problem in below.problems
    ]


def _find(given: str, experiment: Path, origin: Origin) -> Path:
    candidates = [experiment.parent / given, Path(given)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    looked = " and ".join(f"`{candidate}`" for candidate in dict.fromkeys(candidates))
    raise ConfigError(f"{origin.text}: no data-set file `{given}`", hint=f"looked for {looked}")


def resolve_paths(document: Document) -> None:
    """Make paths absolute: beside the file that names them where they exist there, else from the working folder."""
    dataset, model = document.values.get("dataset"), document.values.get("model")
    if isinstance(model, dict):
        _resolve_network(model, document.origin(("model", "type")).folder)
    if not isinstance(dataset, dict):
        return
    _resolve_classes(dataset, document.origin(("dataset", "classes_file")).folder)
    if document.dataset_folder is not None:
        dataset.setdefault("paths", {})
    paths = dataset.get("paths")
    if not isinstance(paths, dict):
        return
    for key in PATH_KEYS:
        if isinstance(paths.get(key), str) and not is_address(paths[key]):
            paths[key] = _absolute(paths[key], document.origin(("dataset", "paths", key)).folder)
    if document.dataset_folder is not None:
        paths.setdefault("root", str(document.dataset_folder.absolute()))


def _absolute(given: str, folder: Path | None) -> str:
    beside = Path(given) if folder is None else folder / given
    return str((beside if beside.exists() else Path(given)).absolute())


def _resolve_network(model: dict[str, Any], folder: Path | None) -> None:
    """Resolve the path of a user's own network; the registry looks for others from the working folder."""
    name = model.get("type")
    if folder is not None and isinstance(name, str) and ".py:" in name:
        file, _, kind = name.rpartition(":")
        if (folder / file).is_file():
            model["type"] = f"{(folder / file).absolute()}:{kind}"


def _resolve_classes(dataset: dict[str, Any], folder: Path | None) -> None:
    """Resolve the path of the table of classes; the format looks for others itself."""
    table = dataset.get("classes_file")
    if folder is not None and isinstance(table, str) and (folder / table).is_file():
        dataset["classes_file"] = str((folder / table).absolute())
