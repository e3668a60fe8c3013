"""What commands come to: plain values, for tables and for `--json`."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segcli.core.files import plain
from segcli.core.types import Array
from segcli.data.checks import Finding
from segcli.engine.export.description import Difference
from segcli.report.classes import Row

if TYPE_CHECKING:
    from segcli.metrics import Score

__all__ = [
    "Checked",
    "CrossValidated",
    "Evaluated",
    "Exported",
    "FoldScore",
    "Predicted",
    "SplitDrawn",
    "SplitSummary",
    "Stats",
    "Trained",
]


class Result:
    """Result of a command; its subclasses are dataclasses."""

    def values(self) -> dict[str, Any]:
        """List the fields."""
        return vars(self)

    def as_dict(self) -> dict[str, Any]:
        """Give the values as JSON and YAML know them, for `--json`."""
        values: dict[str, Any] = plain(self.values())
        return values


@dataclass(frozen=True)
class SplitSummary:
    """What a split consists of."""

    split: str
    num_images: int
    sizes: dict[str, int]
    """Number of images of each size, such as `512x512`."""
    foreground_share: float
    """Share of foreground pixels inside the field of view; NaN where no mask could be read, or for several classes."""
    class_shares: dict[str, float]
    """Share of each class in the pixels that count; empty for one mask."""
    present: dict[str, int] = field(default_factory=dict)
    """Cases in which each structure is present, where structures may be absent."""
    groups: dict[str, int] = field(default_factory=dict)
    """Cases of each scenario, where the data set has some."""


@dataclass(frozen=True)
class Checked(Result):
    """Findings and the splits they are about."""

    dataset: str
    splits: list[SplitSummary]
    findings: list[Finding]

    @property
    def has_errors(self) -> bool:
        """Whether training would fail or learn something wrong."""
        return any(finding.severity == "error" for finding in self.findings)

    def values(self) -> dict[str, Any]:
        """List the splits and the findings."""
        splits = [{**vars(entry), "foreground_share": _or_none(entry.foreground_share)} for entry in self.splits]
        return {
            "dataset": self.dataset,
            "splits": splits,
            "findings": [finding.as_dict() for finding in self.findings],
        }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


@dataclass(frozen=True)
class Stats(Result):
    """Figures of the training split, ready for the data-set file."""

    dataset: str
    num_images: int
    mean: list[float]
    std: list[float]
    foreground_share: float
    class_shares: dict[str, float]
    """Share of each class in the pixels that count; empty for one mask."""
    class_weights: dict[str, dict[str, float]]
    """Weight of each class by each scheme of `class_weights`; empty for one mask."""
    sizes: dict[str, int]

    def yaml(self) -> str:
        """Lines to paste into the data-set file."""

        def numbers(values: list[float]) -> str:
            return f"[{', '.join(f'{value:.4f}' for value in values)}]"

        return f"mean: {numbers(self.mean)}\nstd: {numbers(self.std)}"

    def values(self) -> dict[str, Any]:
        """List the fields; an undefined share is None."""
        return {**vars(self), "foreground_share": _or_none(self.foreground_share)}


@dataclass(frozen=True)
class SplitDrawn(Result):
    """A split that was drawn and written."""

    dataset: str
    file: Path
    unit: str
    """What was shared out: `image`, `sequence` or `frame`."""
    names: dict[str, list[str]]
    num_images: dict[str, int]
    moved: int | None
    """Names that an earlier split file had on another side; None where there was none."""


@dataclass(frozen=True)
class Trained(Result):
    """What a training has come to."""

    run: str
    folder: Path
    epochs: int
    monitor: str
    best: float | None
    best_epoch: int | None
    early: bool
    """Whether early stopping ended it."""
    done_before: bool = False
    """Whether there was nothing left to do."""
    report: Path | None = None
    """HTML report, where one was written."""


@dataclass(frozen=True)
class FoldScore:
    """One figure over the folds of a cross-validation."""

    name: str
    values: list[float]
    """Of each fold."""
    mean: float
    sd: float
    """Standard deviation of the folds, as of a sample (divided by one less than their number)."""


@dataclass(frozen=True)
class CrossValidated(Result):
    """What the folds of a cross-validation come to."""

    run: str
    folder: Path
    folds: list[Path]
    """Run folder of each."""
    last: list[FoldScore]
    """Validations of the last epoch of each fold."""
    best: list[FoldScore]
    """Validations of the best epoch of each fold, chosen on the very images that they score."""

    def values(self) -> dict[str, Any]:
        """List the content of `cross_validation.yaml`."""

        def by_name(scores: list[FoldScore]) -> dict[str, Any]:
            return {score.name: {"mean": score.mean, "sd": score.sd, "folds": score.values} for score in scores}

        return {
            "run": self.run,
            "folder": self.folder,
            "folds": self.folds,
            "last_epoch": by_name(self.last),
            "best_epoch": by_name(self.best),
        }


@dataclass(frozen=True)
class Evaluated(Result):
    """Scores of a run on a split, and where they were written."""

    run: str
    split: str
    checkpoint: Path
    epoch: int
    folder: Path
    threshold: float | None
    """None where each pixel belongs to the most probable class."""
    num_images: int
    losses: dict[str, float]
    scores: "list[Score]"
    images: list[str]
    ranked_by: str
    """Metric that orders the worst images."""
    predictions: Path | None
    level: float
    """Of the intervals."""
    resamples: int
    """Of the bootstrap behind them."""
    classes: tuple[str, ...]
    """Names of the channels of the mask."""
    confusion: Array | None = None
    """Pixels `(K, K)` by true class (row) and found class (column), where classes exclude each other."""
    notes: list[str] = field(default_factory=list)
    groups: dict[str, dict[str, float]] = field(default_factory=dict)
    """Number of images and headline of each metric by scenario, where the data set has some."""
    image_groups: list[str | None] = field(default_factory=list)
    """Scenario of each image."""
    report: Path | None = None
    """HTML report."""
    whole: "Evaluated | None" = None
    """The same for what images are parts of, such as the sample of a crop."""
    word: str | None = None
    """What those are called."""
    files: list[str] = field(default_factory=list)
    """Further files in the folder."""
    unit: str = "pixels"
    """What has a class, and is counted in `confusion`."""
    answers: list[Row] = field(default_factory=list)
    """Of a run that finds one class for each image: that of each image, or of what images are parts of."""
    mistakes: list[tuple[Row, Array]] = field(default_factory=list)
    """Those that are wrong, the most confident first, each with a slice `(H, W)` as stored."""

    def worst(self, count: int = 5) -> list[int]:
        """Positions of the images with the worst score; undefined ones are left out."""
        chosen = next(entry for entry in self.scores if entry.name == self.ranked_by)
        sign = 1.0 if chosen.higher_is_better else -1.0
        defined = [index for index, value in enumerate(chosen.per_image) if not math.isnan(value)]
        return sorted(defined, key=lambda index: sign * chosen.per_image[index])[:count]

    def summary(self) -> dict[str, Any]:
        """Content of `test_metrics.yaml`."""
        return {
            "experiment": self.run,
            "checkpoint": str(self.checkpoint),
            "epoch": self.epoch,
            "split": self.split,
            f"num_{self.split}_images": self.num_images,
            "threshold": self.threshold,
            "losses": self.losses,
            "average_metrics": {entry.name: entry.value for entry in self.scores},
            "scope": {entry.name: entry.scope for entry in self.scores},
            "mean_over_images": {entry.name: entry.mean for entry in self.scores},
            "over_all_pixels": {entry.name: entry.pooled for entry in self.scores},
            "num_defined": {entry.name: entry.num_images for entry in self.scores},
            "confidence_intervals": {
                entry.name: {"low": entry.interval[0], "high": entry.interval[1]}
                for entry in self.scores
                if entry.interval is not None
            },
            "confidence": {
                "level": self.level,
                "method": f"percentile bootstrap over images, {self.resamples} resamples",
            },
            **({"per_scenario": self.groups} if self.groups else {}),
            "per_class": {name: self._of_class(index) for index, name in enumerate(self.classes)},
            "notes": self.notes,
            **({} if self.whole is None else {f"per_{self.word}": self.whole.of_wholes()}),
        }

    def of_wholes(self) -> dict[str, Any]:
        """The part of `test_metrics.yaml` about samples, whose answers are means over crops."""
        told = self.summary()
        keys = ("average_metrics", "confidence_intervals", "per_class")
        return {"num": self.num_images, **{key: told[key] for key in keys}}

    def _of_class(self, index: int) -> dict[str, Any]:
        """Scores of one class; `null` where the truth has no pixel of it."""
        found: dict[str, Any] = {entry.name: entry.per_class[index].value for entry in self.scores}
        if len(self.classes) > 1:
            found["num_defined"] = {entry.name: entry.per_class[index].num_images for entry in self.scores}
            limits = {entry.name: entry.per_class[index].interval for entry in self.scores}
            found["confidence_intervals"] = {
                name: {"low": pair[0], "high": pair[1]} for name, pair in limits.items() if pair is not None
            }
        if self.confusion is not None:
            for kind, axis in (("true", 1), ("found", 0)):
                found[f"{kind}_{self.unit}"] = int(self.confusion.sum(axis=axis)[index])
        return found

    def per_image(self) -> list[dict[str, Any]]:
        """Content of `per_image_metrics.yaml`."""
        return [
            {
                "image": image,
                **({"scenario": self.image_groups[index]} if self.groups else {}),
                **{entry.name: entry.per_image[index] for entry in self.scores},
            }
            for index, image in enumerate(self.images)
        ]

    def values(self) -> dict[str, Any]:
        """List the content of both YAML files, the folder and the report."""
        return {**self.summary(), "folder": self.folder, "report": self.report, "per_image": self.per_image()}


@dataclass(frozen=True)
class Predicted(Result):
    """What was written."""

    run: str
    checkpoint: Path
    folder: Path
    written: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)
    """Tables with all answers, where these are no pictures."""
    skipped: list[str] = field(default_factory=list)
    """Images whose mask was there."""
    presence: list[dict[str, Any]] = field(default_factory=list)
    """Of each case with structures that may be absent: whether each is present, its volume, and in which file."""


@dataclass(frozen=True)
class Exported(Result):
    """A network in a file, and how far it is from the original."""

    run: str
    checkpoint: Path
    file: Path
    card: Path
    format: str
    precision: str
    baked: str | None
    """Format of the images that the file normalises itself; None where it takes normalised ones."""
    size_mib: float
    tolerance: float | None
    """Largest difference that was borne; None where Dice decided."""
    differences: list[Difference]
    dice: dict[str, float] | None
    """On the validation images, of the checkpoint and of the exported file, where weights have 8 bits."""

    def values(self) -> dict[str, Any]:
        """List the fields, and those of each difference."""
        return {**vars(self), "differences": [vars(entry) for entry in self.differences]}
