"""Data that `segcli eval` scores: other data than the run's own, their fingerprint, and the names of results."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from segcli.config.load import load_dataset
from segcli.config.schema import Run
from segcli.config.sections import DatasetSection
from segcli.core.errors import ConfigError, DataError
from segcli.core.files import read_keys, shown
from segcli.core.names import printable, safe_name
from segcli.data.classes.class_list import class_names
from segcli.data.fingerprint import difference, fingerprint
from segcli.data.samples import Case
from segcli.datasets import Layout

__all__ = ["SCORES", "advice_on", "is_description", "look_at_data", "results_name", "with_other_data"]

FROM_RUN = ("num_channels", "num_classes", "task", "mean", "std", "image_size")
"""Keys of a data set that belong to the network, and that other data do not change."""
SCORES = "test_metrics.yaml"
"""File of the scores in the folder of the results."""
OWN_PLACE = re.compile(r"set `dataset\.paths\.\w+`(, or )?")
"""Advice to set the place of the run's own data."""


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
        other = DatasetSection.model_validate(run.dataset.kind.elsewhere(values, place))
        other.build()
    except ValidationError as error:
        raise DataError(
            f"`{shown(place)}` cannot be read like the data of the run: {error.errors()[0]['msg']}"
        ) from error
    return run.model_copy(update={"dataset": other})


@contextmanager
def advice_on(data: Path | None) -> Iterator[None]:
    """Let the errors of other data advise `--data`, because the keys of the run's own data do not name other data.

    Args:
        data: Folder or file with other data; the splits of a data-set file are named by its own keys.
    """
    try:
        yield
    except DataError as error:
        if data is not None and not is_description(data) and error.hint is not None:
            error.hint = OWN_PLACE.sub(
                lambda found: "name another folder with `--data`" + (", or set " if found[1] else ""), error.hint
            )
        raise


def _described(run: Run, file: Path) -> DatasetSection:
    """Read a data-set file, and check that its data fit the network of the run."""
    own, other = run.dataset, load_dataset(file, whole_run=False)
    facts = {
        "axes of an image": (own.kind.ndim, other.kind.ndim),
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
    header: Mapping[str, Any], split: str, cases: Sequence[Case], layout: Layout, folder: Path, *, own: bool
) -> tuple[str, list[str]]:
    """Compute the digest of the scored data, and write notes if they are not those that were seen before.

    Args:
        header: Header of the checkpoint.
        split: Split that is scored.
        cases: Cases of the split.
        layout: Layout of the data.
        folder: Folder of the results, which may hold results of other data.
        own: Whether these are the run's own data; other data have no earlier fingerprint.

    Raises:
        DataError: A file cannot be read.
    """
    now = fingerprint(cases, {case.id: layout.stratum(case) for case in cases})
    then = (header.get("dataset") or {}).get(split)
    kind = {"train": "training", "val": "validation"}.get(split, split)
    notes = []
    if own and isinstance(then, dict) and {"num_images", "digest"} <= then.keys():
        fact = difference(then, now, cases)
        notes += [] if fact is None else [f"the {kind} images are not those of the training run ({fact})"]
    before = read_keys(folder / SCORES).get("data_digest")
    if not notes and before not in (None, now["digest"]):
        notes.append(
            f"the {kind} images differ from those of the earlier results in `{shown(folder)}`, which are replaced "
            f"(`data_digest` {printable(str(before), 20)} then, {now['digest']} now)"
        )
    return now["digest"], notes
