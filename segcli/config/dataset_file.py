"""Replace the path of the data-set file by its keys, and make paths absolute."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segcli.config.chosen import chosen
from segcli.config.document import Document, Loc, Origin, Problem, files_of_folder, read_document
from segcli.config.overrides import Override
from segcli.config.own_code import is_typed
from segcli.config.shipped import dataset_file
from segcli.core.addresses import is_address
from segcli.core.errors import ConfigError
from segcli.core.foreign_paths import of_windows
from segcli.core.paths import exists, expanded, has_escapes, is_file

__all__ = ["expand_code", "find_dataset", "inline_dataset", "resolve_code", "resolve_paths"]

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
    origin = document.origin(("dataset",))
    try:
        given = expanded(given)
    except ValueError as error:
        raise ConfigError(f"{origin.text}: `{given}`: {error}") from None
    file = find_dataset(given, experiment, origin)
    below = read_document(file)
    document.dataset_folder = file.parent
    document.values["dataset"] = below.values
    document.origins |= {("dataset", *loc): origin for loc, origin in below.origins.items()}
    document.problems += [
        Problem(problem.origin, f"dataset.{problem.key}", problem.message, problem.hint) for problem in below.problems
    ]


def find_dataset(given: str, experiment: Path, origin: Origin) -> Path:
    """Find the data-set file that an experiment names.

    Args:
        given: The path as written.
        experiment: The experiment file.
        origin: Where it was written, for messages.

    Raises:
        ConfigError: There is no such file.
    """
    shipped = dataset_file(given, experiment)
    candidates = [experiment.parent / given, Path(given), *([] if shipped is None else [shipped])]
    for candidate in candidates:
        if is_file(candidate):
            return candidate
    folder = next((candidate for candidate in candidates if exists(candidate) and candidate.is_dir()), None)
    if folder is not None:
        message = f"{origin.text}: data set `{given}` is a folder, not a data-set file"
        raise ConfigError(message, hint=files_of_folder(folder))
    foreign = of_windows(given)
    if foreign is not None:
        raise ConfigError(f"{origin.text}: {foreign[0]}", hint=foreign[1])
    looked = " and ".join(f"`{candidate}`" for candidate in dict.fromkeys(candidates))
    raise ConfigError(f"{origin.text}: no data-set file `{given}`", hint=f"looked for {looked}")


def resolve_paths(document: Document) -> None:
    """Make paths absolute: beside the file that names them where they exist there, else from the working folder."""
    dataset, model = document.values.get("dataset"), document.values.get("model")
    resolve_code(document)
    if isinstance(model, dict):
        _resolve_weights(model, document.origin(("model", "weights")).folder)
    if not isinstance(dataset, dict):
        return
    classes = document.origin(("dataset", "classes_file")).folder
    _refuse_foreign(document, ("dataset", "classes_file"), dataset.get("classes_file"), classes)
    _resolve_classes(dataset, classes)
    if document.dataset_folder is not None:
        dataset.setdefault("paths", {})
    paths = dataset.get("paths")
    if not isinstance(paths, dict):
        return
    for key in PATH_KEYS:
        if isinstance(paths.get(key), str) and not is_address(paths[key]):
            folder = document.origin(("dataset", "paths", key)).folder
            _refuse_foreign(document, ("dataset", "paths", key), paths[key], folder)
            paths[key] = _absolute(paths[key], folder)
    if document.dataset_folder is not None:
        paths.setdefault("root", document.dataset_folder.absolute())


def _refuse_foreign(document: Document, loc: Loc, given: object, folder: Path | None) -> None:
    """Note a Windows path as a problem on another system, except in stored values that are not needed."""
    foreign = of_windows(given, folder=folder) if isinstance(given, str) else None
    if foreign is not None and document.dataset_folder is not None:
        document.problems.append(document.problem(loc, *foreign))


def _absolute(given: str, folder: Path | None) -> Path | str:
    """Make a path absolute; one with an unknown variable or read escapes stays text, which the schema refuses."""
    if has_escapes(given):
        return given
    try:
        path = Path(expanded(given))
    except ValueError:
        return given
    beside = path if folder is None else folder / path
    return (beside if exists(beside) else path).absolute()


def expand_code(document: Document, overrides: Sequence[Override] | None) -> None:
    """Expand `~` and variables in the paths of files of the user's own code, as the user typed them.

    Args:
        document: Values with overrides.
        overrides: Only what these name is typed by the user; None if all is.
    """
    for each in list(chosen(document.values)):
        if each.own_file is None or not (overrides is None or is_typed(each, overrides)):
            continue
        try:
            each.rename(document, expanded(each.name))
        except ValueError as error:
            document.problems.append(document.problem(each.name_loc, str(error)))


def resolve_code(document: Document) -> None:
    """Resolve the paths of files of the user's own code; the registry looks for others from the working folder."""
    for each in list(chosen(document.values)):
        folder = document.origin(document.as_typed(each.name_loc)).folder
        if each.own_file is None or folder is None or each.name in document.left_out:
            continue
        file, _, kind = each.name.rpartition(":")
        if is_file(folder / file):
            each.rename(document, f"{(folder / file).absolute()}:{kind}")


def _resolve_weights(model: dict[str, Any], folder: Path | None) -> None:
    """Make the path of weights absolute that lie beside the file that names them; a run is looked up later."""
    weights = model.get("weights")
    if folder is None or not isinstance(weights, str) or is_address(weights):
        return
    try:
        path = folder / expanded(weights)
    except ValueError:
        return  # the schema refuses it
    if is_file(path):
        model["weights"] = path.absolute()


def _resolve_classes(dataset: dict[str, Any], folder: Path | None) -> None:
    """Resolve the path of the table of classes; the format looks for others itself."""
    table = dataset.get("classes_file")
    try:
        path = Path(expanded(table)) if isinstance(table, str) and not is_address(table) else None
    except ValueError:
        return  # the schema refuses it
    if path is not None:
        beside = path if folder is None else folder / path
        dataset["classes_file"] = beside.absolute() if is_file(beside) else path
