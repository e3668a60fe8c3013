"""One shape for a key of an earlier pipeline: its names there, our key, and how its value is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

__all__ = ["Asked", "LeftOut", "Pipeline", "Row", "Sets", "Undecided", "by_name", "canonical"]

NEUTRAL_NAMES = (
    "training train trainer trainingparams trainparams hyperparameters hyperparams hparams solver args arguments "
    "config cfg "
    "params parameters general experiment exp run system hardware misc common global settings base runtime"
)
NEUTRAL = frozenset(NEUTRAL_NAMES.split())
"""Sections whose name says nothing about their keys."""
SECTIONS = {
    "data": "dataset datasets dataloader loader dataparams dataconfig",
    "model": "net network architecture modelparams modelconfig",
    "optimizer": "optim opt optimizerparams",
    "scheduler": "lrscheduler sched lrschedule schedulerparams",
    "loss": "criterion lossfn lossfunction losses",
    "lossweights": "lossweight",
    "augmentation": "augment augmentations aug transforms transform dataaugmentation",
    "earlystopping": "earlystop",
    "checkpoint": "ckpt checkpoints checkpointing saving save",
    "logging": "log logger tracking",
    "preprocessing": "preprocess normalization normalisation",
    "inference": "evaluation eval prediction predict testing",
}
"""Sections, and other names for them."""
SECTION_OF = {other: name for name, others in SECTIONS.items() for other in (name, *others.split())}


def canonical(key: str) -> str:
    """Bring a key into the form in which keys are compared: without case, `-` and `_`, with one name per section.

    Example:
        >>> canonical("train.Learning-Rate"), canonical("training.optim.lr"), canonical("lossWeights.dice")
        ('learningrate', 'optimizer.lr', 'lossweights.dice')
    """
    parts = [part.lower().replace("-", "").replace("_", "") for part in key.split(".")]
    above = [SECTION_OF.get(part, part) for part in parts[:-1]]
    known = [place for place, part in enumerate(above) if part in SECTIONS]
    above = above[known[-1] :] if known else above
    while above and above[0] in NEUTRAL:
        above = above[1:]
    return ".".join([*above, parts[-1]])


class Undecided(Exception):  # noqa: N818 - no error: the user decides
    """The value does not say enough; the text says what the user must decide."""


class LeftOut(Exception):  # noqa: N818 - no error
    """The value has no counterpart; the text gives the reason."""


@dataclass(frozen=True)
class Asked:
    """Holds what a value is read with."""

    key: str
    """The old key as typed."""
    ndim: int
    """Spatial axes of an image."""
    old: Mapping[str, Any] = field(default_factory=dict)
    """All old values by their keys in canonical form."""

    @property
    def name(self) -> str:
        """Last part of the key."""
        return self.key.rpartition(".")[2]

    def other(self, *keys: str) -> Any:
        """Find the value of the first of these old keys that is there; None without one."""
        found = (self.old[name] for name in map(canonical, keys) if name in self.old)
        return next(found, None)


@dataclass(frozen=True)
class Sets:
    """Several of our keys that one old value sets, and a remark on it."""

    values: dict[str, Any]
    note: str = ""


@dataclass(frozen=True)
class Row:
    """Tells what became of a key of an earlier pipeline."""

    old: str
    """Names that the key had, separated by blanks; `*` stands for any last part."""
    new: str = ""
    """Our key; empty without a counterpart. `~` begins a fact that `combining` turns into keys."""
    note: str = ""
    """Remark for the page; without a counterpart, the reason or the nearest way."""
    read: Callable[[Any, Asked], Any] | None = None
    """Reads the value; default: without a change."""
    keys: str = ""
    """Our keys on the page, if `new` does not say them."""
    mapping: bool = False
    """True if the value is a mapping that is read as a whole."""


def by_name(rows: tuple[Row, ...]) -> dict[str, Row]:
    """Sort rows by the canonical form of each name that the key had."""
    return {canonical(name): row for row in rows for name in row.old.split()}


@dataclass(frozen=True)
class Pipeline:
    """Describes an earlier pipeline."""

    title: str
    about: str
    """Purpose of the pipeline, in one sentence of the page."""
    format: str
    """Our data-set format."""
    ndim: int
    rows: tuple[Row, ...]
    signs: str
    """Names of networks and words in keys that only this pipeline had."""
    example: str
    """Command that started a training, or an old config, for the page."""
    model: str = "unet"
    """Network, if the old file names none."""
    loss: str = "dice"
    """Loss, if the old file names none."""

    @cached_property
    def table(self) -> dict[str, Row]:
        """Sort the rows by names."""
        return by_name(self.rows)
