"""Results for whole images: a table of classes with probabilities."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segcli.commands.answers import Answers, Cost, PredictOptions
from segcli.core.errors import ConfigError, DataError
from segcli.core.types import Array
from segcli.data.samples import Case
from segcli.engine.events import Listener
from segcli.engine.inference.predictor import Overrides, Predictor
from segcli.report.classes import Row, write_answers

__all__ = ["ClassAnswers"]

TABLE = "predictions.csv"


@dataclass(frozen=True)
class _Sample:
    """Names a sample by its file or folder, with the crops of each network."""

    image: Path
    name: str
    crops: list[list[Case]]
    """Crops for each network; empty for a network that does not find the sample."""


class ClassAnswers(Answers):
    """Predicts the class of every sample that the inputs name.

    The probabilities are averaged over the crops of a sample, and then over the networks; each network reads samples
    with its own settings. A sample that cannot be read is recorded and skipped.
    """

    def agree(self) -> str:
        """Refuse networks with different classes."""
        first, self.rows = self.members[0], list[Row]()
        for member in self.members[1:]:
            if member.task.classes != first.task.classes:
                raise ConfigError(
                    f"`{first.source}` and `{member.source}` differ in the classes ({', '.join(first.task.classes)} "
                    f"and {', '.join(member.task.classes)})",
                    hint="average only runs with the same classes",
                )
        return "+".join(dict.fromkeys(member.name for member in self.members))

    @classmethod
    def refuse(cls, overrides: Overrides, options: PredictOptions) -> None:
        """Refuse options that apply only to masks."""
        asked = {
            "--threshold": overrides.threshold is not None,
            "--tile": overrides.tile is not None,
            "--overlay": options.overlays,
            "--video": options.video is not None,
            "--uncertainty": options.uncertainty,
            "--fov": options.fov is not None,
            "--skip-existing": options.skip_existing,
            "--page": options.page is not None,
        }
        for name, is_asked in asked.items():
            if is_asked:
                raise ConfigError(
                    f"`{name}` is for masks, but this run predicts one class for each image",
                    hint=f"remove the option; `{TABLE}` has all probabilities",
                )

    def jobs(self, listener: Listener) -> list[_Sample]:
        """Find the samples; refuse to replace an existing table."""
        target = self.done.folder / TABLE
        if target.exists() and not self.options.overwrite:
            raise ConfigError(
                f"`{target}` exists", hint="replace it with `--overwrite`, or give another folder with `--out`"
            )
        found = [_samples(member, self.inputs) for member in self.members]
        return [_Sample(*key, [samples.get(key, []) for samples in found]) for key in found[0]]

    def read(self, job: _Sample) -> None:
        """Read nothing yet, because all crops together may not fit in memory."""

    def find(self, job: _Sample, given: None) -> Array:
        """Average the probabilities `(K)` of a sample."""
        each = [_mean(member, job, crops) for member, crops in zip(self.members, job.crops, strict=True)]
        probs: Array = np.mean(each, axis=0)
        return probs

    def write(self, job: _Sample, found: Array) -> None:
        """Add a row to the table."""
        classes = self.members[0].task.classes
        row = Row(job.name, found, len(job.crops[0]))
        self.rows.append(row)
        probs = dict(zip(classes, map(float, found), strict=True))
        self.done.written.append({"image": str(job.image), "class": classes[row.found], "probabilities": probs})

    def cost(self, job: _Sample) -> Cost:
        """Count the crops that the networks see."""
        return Cost(sum(map(len, job.crops)))

    def key(self, job: _Sample) -> Hashable:
        """Return the file and the name of a sample."""
        return str(job.image), job.name

    def key_of(self, entry: dict[str, Any]) -> Hashable:
        """Return the file and the name of the sample."""
        return entry["image"], entry["sample"]

    def state(self, planned: int) -> dict[str, Any]:
        """Return results and rows."""
        written = [{**entry, "sample": row.name} for entry, row in zip(self.done.written, self.rows, strict=True)]
        return {**super().state(planned), "written": written, "rows": self.rows}

    def join(self, states: Sequence[dict[str, Any]], jobs: Sequence[_Sample]) -> None:
        """Take over results and rows."""
        super().join(states, jobs)
        rows: dict[Hashable, Row] = {}
        for state in states:
            rows |= {self.key_of(entry): row for entry, row in zip(state["written"], state["rows"], strict=True)}
        self.rows = [rows[self.key_of(entry)] for entry in self.done.written]
        for entry in self.done.written:
            del entry["sample"]

    def finish(self) -> None:
        """Write the table."""
        if self.rows:
            first, target = self.members[0], self.done.folder / TABLE
            write_answers(target, self.rows, first.task.classes, first.layout.whole or "image")
            self.done.tables.append(target)


def _samples(parts: Predictor, inputs: Sequence[str]) -> dict[tuple[Path, str], list[Case]]:
    """Find the crops of each sample that the inputs name, by its file or folder and its name.

    Raises:
        DataError: An input contains no sample.
    """
    samples: dict[tuple[Path, str], list[Case]] = {}
    for text in inputs:
        found = parts.layout.inputs(Path(text)) if Path(text).exists() else []
        if not found:
            raise DataError(
                f"no samples in `{text}`", hint="name a folder of samples, the folder of one sample, or a TIFF stack"
            )
        for case in found:
            samples.setdefault((case.image, case.part_of or case.id), []).append(case)
    return samples


def _mean(member: Predictor, sample: _Sample, crops: list[Case]) -> Array:
    """Average the probabilities `(K)` of the crops of a sample.

    Raises:
        DataError: The sample cannot be read, or this network does not find it.
    """
    if not crops:
        raise DataError(
            f"`{member.source}` finds no sample `{sample.name}` in `{sample.image}`, but the first network does"
        )
    probs: Array = np.mean([member.of_whole(member.layout.read_unlabelled(case)) for case in crops], axis=0)
    return probs
