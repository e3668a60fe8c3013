"""Results of commands as plain values, for tables and for `--json`."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segcli.core.files import plain, yaml_text
from segcli.data.moments import rounded

if TYPE_CHECKING:
    from segcli.core.types import Array
    from segcli.data.checks import Finding
    from segcli.engine.export.description import Difference
    from segcli.metrics import Score
    from segcli.report.classes import Row
    from segcli.report.presence import Judgement

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
    """Images and classes of one split."""

    split: str
    num_images: int
    sizes: dict[str, int]
    """Number of images of each size, such as `512x512`."""
    foreground_share: float
    """Share of foreground in the valid pixels; NaN for several classes, or if no mask could be read."""
    class_shares: dict[str, float]
    """Share of each class in the valid pixels; empty for one mask."""
    present: dict[str, int] = field(default_factory=dict)
    """Number of cases in which each structure is present; empty unless structures may be absent."""
    groups: dict[str, int] = field(default_factory=dict)
    """Number of cases of each scenario; empty for data sets without scenarios."""


@dataclass(frozen=True)
class Checked(Result):
    """Result of `data check`: the splits and the findings."""

    dataset: str
    splits: list[SplitSummary]
    findings: "list[Finding]"
    measured: tuple[list[float], list[float]] | None = None
    """Mean and standard deviation of the training images; None where nothing is normalised by them."""
    states_numbers: bool = True
    """True if the data set states `mean` and `std`."""
    counted: str = "valid pixels"
    """Names what the classes have shares of: `valid pixels`, or `images` with one class each."""

    @property
    def has_errors(self) -> bool:
        """True if a finding is an error: training would fail or learn something wrong."""
        return any(finding.severity == "error" for finding in self.findings)

    @property
    def has_warnings(self) -> bool:
        """True if a finding is a warning: training would work, but probably not as meant."""
        return any(finding.severity == "warning" for finding in self.findings)

    def values(self) -> dict[str, Any]:
        """List the splits and the findings."""
        splits = [{**vars(entry), "foreground_share": _or_none(entry.foreground_share)} for entry in self.splits]
        return {
            "dataset": self.dataset,
            "splits": splits,
            "measured": None if self.measured is None else dict(zip(("mean", "std"), self.measured, strict=True)),
            "findings": [finding.as_dict() for finding in self.findings],
        }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


@dataclass(frozen=True)
class Stats(Result):
    """Statistics of the training split, ready for the data-set file."""

    dataset: str
    num_images: int
    mean: list[float]
    std: list[float]
    foreground_share: float
    class_shares: dict[str, float]
    """Share of each class in the valid pixels; empty for one mask."""
    class_weights: dict[str, dict[str, float]]
    """Class weights by scheme (`class_weights` of the loss), then by class; empty for one mask."""
    sizes: dict[str, int]
    """Number of images of each size; of a format that cuts crops, number of crops."""
    true_sizes: dict[str, int]
    """Number of images of each size as stored, before they are cut into crops."""
    padding_share: float
    """Share of the pixels of all crops that are padding."""
    proposal: dict[str, Any]
    """Keys that fit the images: `crop_size`, and `model` with keys of a network; empty if there are none."""
    percentiles: dict[str, list[float]] = field(default_factory=dict)
    """Percentiles of each channel, on the scale of `mean`, of pixels at equal distances."""
    spacing: dict[str, int] = field(default_factory=dict)
    """Number of images of each spacing in millimetres."""
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Number, length and pixels of the objects of each class (5th, 50th and 95th percentile), in some of the masks."""

    def yaml(self) -> str:
        """Write the lines to paste into the data-set file, with the digits that a training keeps."""
        mean, std = rounded(self.mean, self.std)
        return yaml_text({"mean": mean, "std": [value or 1.0 for value in std]}).rstrip()

    def values(self) -> dict[str, Any]:
        """List the fields; an undefined share is None."""
        return {**vars(self), "foreground_share": _or_none(self.foreground_share)}


@dataclass(frozen=True)
class SplitDrawn(Result):
    """Result of `data split`: the splits and their file."""

    dataset: str
    file: Path
    unit: str
    """Unit that was drawn: `image`, `sequence` or `frame`."""
    names: dict[str, list[str]]
    num_images: dict[str, int]
    moved: int | None
    """Number of names that an earlier split file had in another split; None without an earlier file."""


@dataclass(frozen=True)
class Trained(Result):
    """Result of a training."""

    run: str
    folder: Path
    epochs: int
    monitor: str
    best: float | None
    best_epoch: int | None
    early: bool
    """True if early stopping ended the training."""
    done_before: bool = False
    """True if the run was already finished."""
    report: Path | None = None
    """HTML report; None if it was not written."""


@dataclass(frozen=True)
class FoldScore:
    """Loss or metric over the folds of a cross-validation."""

    name: str
    values: list[float]
    """Value of each fold."""
    mean: float
    sd: float
    """Sample standard deviation over the folds (divided by K - 1)."""


@dataclass(frozen=True)
class CrossValidated(Result):
    """Result of a cross-validation."""

    run: str
    folder: Path
    folds: list[Path]
    """Run folder of each fold."""
    last: list[FoldScore]
    """Validation scores of the last epoch of each fold."""
    best: list[FoldScore]
    """Validation scores of the best epoch of each fold; too good, because the same images chose the epoch."""

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
    """Scores of a run on a split, and the files with them."""

    run: str
    split: str
    checkpoint: Path
    epoch: int
    folder: Path
    threshold: float | None
    """Threshold of the foreground; None where each pixel gets the most probable class."""
    num_images: int
    losses: dict[str, float]
    scores: "list[Score]"
    images: list[str]
    ranked_by: str
    """Metric by which images are ordered."""
    predictions: Path | None
    level: float
    """Confidence level of the intervals."""
    resamples: int
    """Number of bootstrap resamples behind the intervals."""
    classes: tuple[str, ...]
    """Names of the classes, in the order of the mask's channels."""
    data: str | None = None
    """Other data than the run's own, as the user named them."""
    digest: str | None = None
    """Digest of the content of the scored files."""
    confusion: "Array | None" = None
    """Counts `(K, K)` by true class (row) and predicted class (column); None unless classes exclude each other."""
    notes: list[str] = field(default_factory=list)
    presence: "list[Judgement]" = field(default_factory=list)
    """Presence of each structure in each case, true and predicted; empty unless structures may be absent."""
    groups: dict[str, dict[str, float]] = field(default_factory=dict)
    """Number of images and value of each metric by scenario; empty without scenarios."""
    image_groups: list[str | None] = field(default_factory=list)
    """Scenario of each image."""
    report: Path | None = None
    """HTML report."""
    whole: "Evaluated | None" = None
    """The same scores for samples, where the images are crops of samples."""
    word: str | None = None
    """Word for a sample, such as `nucleus`."""
    files: list[str] = field(default_factory=list)
    """More files in the folder."""
    unit: str = "pixels"
    """Unit that is counted in `confusion`, such as `pixels`."""
    answers: "list[Row]" = field(default_factory=list)
    """Predicted class of each image, or of each sample; empty unless the task is `classification`."""
    mistakes: "list[tuple[Row, Array]]" = field(default_factory=list)
    """Wrong predictions, the most confident first, each with a slice `(H, W)` as stored."""
    example: Path | None = None
    """Scored image, or the folder of these, on which a prediction can be tried."""
    units: dict[str, str] = field(default_factory=dict)
    """Unit of each metric that has one, such as `mm`."""

    def worst(self, count: int = 5) -> list[int]:
        """Find the positions of the images with the worst score; undefined scores are left out."""
        chosen = next(entry for entry in self.scores if entry.name == self.ranked_by)
        sign = 1.0 if chosen.higher_is_better else -1.0
        defined = [index for index, value in enumerate(chosen.per_image) if not math.isnan(value)]
        return sorted(defined, key=lambda index: sign * chosen.per_image[index])[:count]

    @property
    def scored(self) -> str:
        """Name what was scored: the split, and the data if they are not the run's own."""
        return f"split {self.split}" if self.data is None else f"{self.data} (split {self.split})"

    def summary(self) -> dict[str, Any]:
        """Give the content of `test_metrics.yaml`."""
        return {
            "experiment": self.run,
            "checkpoint": str(self.checkpoint),
            "epoch": self.epoch,
            "split": self.split,
            **({} if self.data is None else {"data": self.data}),
            "data_digest": self.digest,
            f"num_{self.split}_images": self.num_images,
            "threshold": self.threshold,
            "losses": self.losses,
            "average_metrics": {entry.name: entry.value for entry in self.scores},
            "scope": {entry.name: entry.scope for entry in self.scores},
            "mean_over_images": {entry.name: entry.mean for entry in self.scores},
            **({"units": self.units} if self.units else {}),
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
        """Give the part of `test_metrics.yaml` about samples, whose probabilities are means over crops."""
        summary = self.summary()
        keys = ("average_metrics", "confidence_intervals", "per_class")
        return {"num": self.num_images, **{key: summary[key] for key in keys}}

    def _of_class(self, index: int) -> dict[str, Any]:
        """Give the scores of one class; `null` where the truth has no pixel of the class."""
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
        """Give the content of `per_image_metrics.yaml`."""
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
    """Result of `predict`: files that were written, skipped or failed."""

    run: str
    checkpoint: Path
    folder: Path
    written: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)
    """Tables with all predicted classes; empty for tasks with masks."""
    skipped: list[str] = field(default_factory=list)
    """Images that already had a mask (`--skip-existing`)."""
    presence: list[dict[str, Any]] = field(default_factory=list)
    """Entry for each case whose structures may be absent: file, presence and volume of each structure."""


@dataclass(frozen=True)
class Exported(Result):
    """Result of `export`: the file, and its difference from the original network."""

    run: str
    checkpoint: Path
    file: Path
    card: Path
    format: str
    precision: str
    baked: str | None
    """Data type of the images that the file normalises itself; None if it takes normalised images."""
    size_mib: float
    tolerance: float | None
    """Largest difference that was accepted; None for `--int8`, which is judged by Dice."""
    differences: "list[Difference]"
    dice: dict[str, float] | None
    """Dice on the validation images, of the checkpoint and of the exported file; only for `--int8`."""
    example: Path | None = None
    """Image of the data set, or the folder of these, on which a prediction can be tried."""

    def values(self) -> dict[str, Any]:
        """List the fields but the example, and those of each difference."""
        values = {name: value for name, value in vars(self).items() if name != "example"}
        return {**values, "differences": [vars(entry) for entry in self.differences]}
