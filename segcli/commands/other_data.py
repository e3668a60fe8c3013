"""Data that `segcli eval` scores: other data than the run's own, their fingerprint, and the names of results."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from segcli.config.load import load_dataset
from segcli.config.schema import Run
from segcli.config.sections import DatasetSection
from segcli.core.errors import ConfigError, DataError
from segcli.core.files import shown
from segcli.core.names import safe_name
from segcli.core.registry import DATASETS
from segcli.data.classes.class_list import class_names
from segcli.data.fingerprint import difference, fingerprint
from segcli.data.samples import Case
from segcli.datasets import Layout

__all__ = ["is_description", "look_at_data", "results_name", "with_other_data"]

FROM_RUN = ("num_channels", "num_classes", "task", "mean", "std", "image_size")
"""Keys of a data set that belong to the network, and that other data do not change."""


def is_description(place: Path) -> bool:
    """Tell whether a path names a data-set file instead of the data."""
    return place.suffix.lower() in (".yaml", ".yml")


def with_other_data(run: Run, place: Path) -> Run:
    """Replace the data set of a run by other data, which are converted and normalised like those of the training.

    Args:
        run: The run.
        place: Folder or file with cases in the layout of the run's data set, all of which become the split `test`; or a
            data-set file, whose splits stay.

    Raises:
        ConfigError: The data-set file is wrong, or its data do not fit the network.
        DataError: There are no such data.
    """
    place = place.expanduser().absolute()
    if not place.exists():
        raise DataError(f"no folder or file `{shown(place)}`", hint="give the data with `--data FOLDER_OR_FILE`")
    if is_description(place):
        return run.model_copy(update={"dataset": _described(run, place)})
    values = {**run.dataset.model_dump(), "name": shown(place)}
    try:
        other = DatasetSection.model_validate(DATASETS.load(run.dataset.format).elsewhere(values, place))
        other.build()
    except ValidationError as error:
        raise DataError(
            f"`{shown(place)}` cannot be read like the data of the run: {error.errors()[0]['msg']}"
        ) from error
    return run.model_copy(update={"dataset": other})


def _described(run: Run, file: Path) -> DatasetSection:
    """Read a data-set file, and check that its data fit the network of the run."""
    own, other = run.dataset, load_dataset(file, whole_run=False)
    facts = {
        "axes of an image": (DATASETS.load(own.format).ndim, DATASETS.load(other.format).ndim),
        "task": (own.task_name, other.task_name),
        "channels": (own.num_channels, other.num_channels),
        "number of classes": (own.num_classes, other.num_classes),
        "names of the classes": (class_names(own.spec), class_names(other.spec)),
    }
    for what, (ours, theirs) in facts.items():
        if ours != theirs:
            raise ConfigError(
                f"`{shown(file)}` does not fit run `{run.name}`: {what} {_listed(theirs)} instead of {_listed(ours)}",
                hint="score data of the same kind as those of the training",
            )
    return other.model_copy(update={key: getattr(own, key) for key in FROM_RUN})


def _listed(value: Any) -> str:
    return f"`{', '.join(map(str, value))}`" if isinstance(value, list | tuple) else f"`{value}`"


def results_name(run: str, split: str, *, data: Path | None = None, mark: str = "") -> str:
    """Name the folder of results so that other data, another split and another checkpoint replace nothing.

    Args:
        run: Name of the run.
        split: Split that is scored.
        data: Other data than the run's own.
        mark: End of the name that tells the checkpoint.

    Example:
        >>> results_name("exp", "val", mark="_last"), results_name("exp", "test", data=Path("data/other"))
        ('exp_val_last', 'exp_on_data_other')
    """
    place = "" if data is None else f"_on_{'_'.join(part for part in Path(shown(data)).parts if part.strip('/.'))}"
    return safe_name(f"{run}{place}{'' if split == 'test' else f'_{split}'}{mark}")


def look_at_data(
    header: Mapping[str, Any], split: str, cases: Sequence[Case], layout: Layout, *, own: bool
) -> tuple[str, list[str]]:
    """Compute the digest of the scored data, and write a note if they are not those that the training saw.

    Args:
        header: Header of the checkpoint.
        split: Split that is scored.
        cases: Cases of the split.
        layout: Layout of the data.
        own: Whether these are the run's own data; other data have no earlier fingerprint.

    Raises:
        DataError: A file cannot be read.
    """
    now = fingerprint(cases, {case.id: layout.stratum(case) for case in cases})
    then = (header.get("dataset") or {}).get(split)
    if not own or not isinstance(then, dict) or not {"num_images", "digest"} <= then.keys():
        return now["digest"], []
    fact = difference(then, now, cases)
    kind = {"train": "training", "val": "validation"}.get(split, split)
    return now["digest"], [] if fact is None else [f"the {kind} images are not those of the training run ({fact})"]
