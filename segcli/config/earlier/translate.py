"""Translate old values key by key, and say of each what became of it."""

from dataclasses import dataclass, field
from typing import Any

from segcli.config.earlier.combining import combine
from segcli.config.earlier.pipelines import PIPELINES, recognised
from segcli.config.earlier.reading import Old
from segcli.config.earlier.row import Asked, LeftOut, Pipeline, Row, Sets, Undecided, by_name, canonical
from segcli.config.earlier.shared import SHARED
from segcli.config.earlier.work import Remark, Work, keys_of
from segcli.config.schema import DatasetSection, Run
from segcli.config.short_forms import field_at
from segcli.core.errors import ConfigError, nearest
from segcli.core.registry import DATASETS

__all__ = ["Change", "Translation", "takes_mapping", "translate"]

SHARED_TABLE = by_name(SHARED)
MAPPINGS = {name for pipeline in PIPELINES.values() for name, row in pipeline.table.items() if row.mapping}
"""Names of keys whose values are read as a whole."""
OPEN_SECTIONS = ("model", "dataset", "training.optimizer", "training.scheduler")
"""Sections whose keys belong to the component that they choose."""
OUR_SECTIONS = {
    "model": ("model",),
    "optimizer": ("training.optimizer",),
    "scheduler": ("training.scheduler",),
    "data": ("data", "dataset"),
    "augmentation": ("data.augmentation",),
    "preprocessing": ("data.preprocessing",),
    "earlystopping": ("training.early_stopping",),
    "checkpoint": ("checkpoint",),
    "logging": ("logging",),
    "inference": ("inference",),
    "": ("training", "data"),
}
"""Section in canonical form -> our sections that may have the same key."""


@dataclass(frozen=True)
class Change:
    """Tells what became of an old key."""

    old: str
    value: Any
    new: str
    """Our keys; empty for a fact that other keys were made of."""
    note: str = ""


@dataclass
class Translation:
    """Holds the keys of segcli, and what became of each old key."""

    pipeline: str
    signs: list[str]
    """Old keys and names by which the pipeline was recognised; empty if the user named it."""
    values: dict[str, Any]
    """Keys of an experiment, with the data set in place."""
    changes: list[Change] = field(default_factory=list)
    left_out: list[Remark] = field(default_factory=list)
    """Old keys without a counterpart, with the reason."""
    undecided: list[Remark] = field(default_factory=list)
    """Keys that the user must decide on or fill in."""


def translate(old: Old, pipeline: str | None, name: str) -> Translation:
    """Translate what an earlier pipeline was started with.

    Args:
        old: What it was started with.
        pipeline: Name of the pipeline; None recognises it.
        name: Name of the run, if the old values have none.

    Raises:
        ConfigError: The pipeline is not recognised, or no key is known.
    """
    values = {canonical(key): value for key, value in old.values.items()}
    chosen, signs = (pipeline, []) if pipeline else recognised(values)
    if chosen not in PIPELINES:
        raise ConfigError(f"there is no pipeline `{chosen}`", hint=f"one of {', '.join(PIPELINES)}")
    work = Work(PIPELINES[chosen], values)
    changes = [change for key in old.values if (change := _translated(work, key, old.values[key])) is not None]
    if not changes:
        raise ConfigError("none of its keys is known", hint=f"is it the config of a training? Read as `{chosen}`")
    work.undecided += [Remark(word, None, "not understood: neither a key nor a file") for word in old.unclear]
    return Translation(chosen, signs, combine(work, name), changes, work.left_out, work.undecided)


def takes_mapping(key: str) -> bool:
    """Tell whether the value of an old key may be a mapping that is read as a whole."""
    return canonical(key) in MAPPINGS


def _translated(work: Work, key: str, value: Any) -> Change | None:
    row = find_row(work.pipeline, key)
    if row is None:
        return _kept(work, key, value)
    try:
        if not row.new and row.read is None:
            raise LeftOut(row.note)
        read = value if row.read is None else row.read(value, Asked(key, work.pipeline.ndim, work.old))
    except LeftOut as reason:
        work.left_out.append(Remark(key, value, str(reason)))
        return Change(key, value, "")
    except Undecided as question:
        work.undecided.append(Remark(key, value, str(question)))
        return Change(key, value, "")
    sets = read if isinstance(read, Sets) else Sets({_exact(work.pipeline, key, row.new): read})
    for new, entry in sets.values.items():
        work.set(new, entry, key)
    ours = [new for new in sets.values if not new.startswith("~")]
    if ours == [key] and sets.values[key] == value:
        return Change(key, value, key)
    shown = row.keys.removeprefix("none").partition(":")[0] or row.new.partition("~")[0]
    return Change(key, value, ", ".join(ours) or shown, sets.note)


def _exact(pipeline: Pipeline, key: str, new: str) -> str:
    """Keep a key of the data-set file there, where the experiment has the same key."""
    return key if new == f"data.{key.removeprefix('dataset.')}" and _is_ours(pipeline, key) else new


def find_row(pipeline: Pipeline, key: str) -> Row | None:
    """Find the row of an old key: the pipeline's own rows come first."""
    plain = canonical(key)
    section, _, rest = plain.partition(".")
    candidates = [plain, rest] if section == "data" and rest else [plain]
    for table in (pipeline.table, SHARED_TABLE):
        for candidate in candidates:
            above, dot, _ = candidate.rpartition(".")
            found = table.get(candidate) or (table.get(f"{above}.*") if dot else None)
            if found is not None:
                return found
    return None


def _kept(work: Work, key: str, value: Any) -> Change:
    """Keep a key that is one of ours, there or in the same section of ours, and tell of any other."""
    section, name = canonical(key).rpartition(".")[0], key.rpartition(".")[2]
    candidates = [key, *(f"{ours}.{name}" for ours in OUR_SECTIONS.get(section, ()))]
    found = next((candidate for candidate in candidates if _is_ours(work.pipeline, candidate)), None)
    if found is not None:
        work.set(found, value, key)
        return Change(key, value, found)
    known = [old for row in (*work.pipeline.rows, *SHARED) for old in row.old.split()]
    close = nearest(name, [entry.rpartition(".")[2] for entry in known])
    work.left_out.append(Remark(key, value, "unknown key" + (f"; `{close}` is known" if close else "")))
    return Change(key, value, "")


def _is_ours(pipeline: Pipeline, key: str) -> bool:
    """Tell whether a key is one of ours; a component's own keys are checked when the component is known."""
    section, _, name = key.rpartition(".")
    if section == "dataset":
        return name in DatasetSection.model_fields or name in (keys_of(DATASETS, pipeline.format) or ())
    of_loss = section.startswith("training.loss.") and section.count(".") == 2
    return section in OPEN_SECTIONS or of_loss or field_at(Run, tuple(key.split("."))) is not None
