"""Results for volumes: masks in the format and geometry of their input, and a table of present structures."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from segcli.commands.answers import PredictOptions
from segcli.commands.answers.pixels import Found, PixelAnswers
from segcli.core.errors import ConfigError
from segcli.core.names import safe_name
from segcli.core.spreadsheet import read_cells, write_cells
from segcli.core.types import Array
from segcli.data.classes.lettering import legend_below
from segcli.data.planes import Planes
from segcli.data.samples import Case
from segcli.engine.events import Listener
from segcli.engine.inference.prediction import Prediction
from segcli.engine.inference.predictor import Overrides, Predictor
from segcli.files.png import PNG

__all__ = ["VolumeAnswers"]

TABLE = "presence.csv"
PART = "presence.process"
"""Begin of the name of the table of another process, until the first one has its rows."""
COLUMNS = ("file", "case", "structure", "present", "volume", "unit", "probability", "confidence")
EARLIER = COLUMNS[:-2]
"""Columns of tables of an earlier version."""


class VolumeAnswers(PixelAnswers):
    """Writes the masks of every case of volume files, plane by plane."""

    ndim = 3
    notes_writing = True

    @classmethod
    def refuse(cls, overrides: Overrides, options: PredictOptions) -> None:
        """Refuse options for 2D images."""
        if options.video is not None:
            raise ConfigError(
                "`--video` is for 2D images", hint="remove the option; `--overlay` draws slices of a volume"
            )
        if options.page is not None:
            raise ConfigError(
                "`--page` is for 2D images", hint="remove the option; the pages of a volume are its planes"
            )
        if options.fov is not None:
            raise ConfigError("`--fov` is for 2D images", hint="remove the option; volumes have no field of view")

    # ---- the plan

    def jobs(self, listener: Listener) -> list[Case]:
        """Plan the results; with `--skip-existing`, keep the rows of the existing table."""
        self.table = _Table(self.folder, 0 if self.world is None else self.world.rank)
        cases = super().jobs(listener)
        if self.options.skip_existing:
            self.table.keep()
        self.last = {case.image: case for case in cases}
        """Last case of each file; after it, the results of the file are complete."""
        return cases

    def target(self, path: Path) -> Path:
        """Name the mask after the volume."""
        return self.parts.layout.answer_path(self.folder, path)

    def beside(self, case: Case) -> dict[str, Path]:
        """Name the requested files of a case."""
        values = self._values().items()
        paths = {kind: self.parts.layout.values_path(self.folder, case, kind, channels) for kind, channels in values}
        if self.options.overlays:
            of_file = "" if case.index is None else f"{case.image.stem}_"
            paths["overlay"] = self.folder / safe_name(f"{of_file}{case.id}_overlay.png")
        return paths

    def shared(self) -> dict[str, Path]:
        """Name the table."""
        return {"the table of structures": self.folder / TABLE} if self.parts.layout.overlaps else {}

    def _values(self) -> dict[str, int]:
        """Return the requested kinds of values with their channels."""
        asked = {"probabilities": self.options.probabilities, "uncertainty": self.options.uncertainty}
        channels = {"probabilities": len(self.parts.task.classes), "uncertainty": 0}
        return {kind: channels[kind] for kind, is_asked in asked.items() if is_asked}

    # ---- a volume

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Leave no file that lacks cases, whatever ends the prediction."""
        try:
            yield
        finally:
            self.parts.layout.drop_answers()

    def write_found(self, case: Case, found: Found) -> None:
        """Write the prediction of a case; the mask gets its final name after everything is written."""
        parts, pixels, paths = self.parts, found.pixels, self.beside(case)
        tally = _Tally(parts)
        slices = Planes(pixels.size) if "overlay" in paths else None
        with parts.layout.writing_answer(self.folder, case, pixels.size) as add_answer:
            with ExitStack() as stack:
                add: dict[str, Callable[[Array], None]] = {}
                for kind, channels in self._values().items():
                    values = parts.layout.writing_values(paths[kind], case, pixels.size, channels)
                    add[kind] = stack.enter_context(values)
                for rows, prediction in found.bands:
                    answer = parts.decided(prediction)
                    add_answer(answer)
                    tally.add(answer, prediction)
                    if slices is not None:
                        slices.add(rows, answer)
                    if "probabilities" in add:
                        add["probabilities"](np.moveaxis(prediction.probs, 0, -1))
                    if "uncertainty" in add:
                        add["uncertainty"](prediction.uncertainty)
            if slices is not None:
                spacing, upright = parts.layout.input_spacing(case), parts.layout.is_upright(case)
                picture = slices.picture(pixels.read, parts.task.tinted, spacing, upright=upright)
                PNG.write(paths["overlay"], legend_below(picture, *parts.task.legend(tally.shares())))
            if parts.layout.overlaps:
                entry = self._presence(case, tally)
                self.done.presence.append(entry)
                self.table.write(entry)
        files = {kind: str(path) for kind, path in {"mask": self.target(case.image), **paths}.items()}
        self.done.written.append({"image": case.place, **files, "share": tally.shares()})
        if self.last[case.image] is case:
            parts.layout.close_answers(self.folder)

    def close(self) -> None:
        """Give files of many cases their final names, even if their last case failed."""
        self.parts.layout.close_answers(self.folder)

    def join(self, states: Sequence[dict[str, Any]], jobs: Sequence[Case]) -> None:
        """Take over the results, and put the rows of the table into the order of the cases."""
        super().join(states, jobs)
        order = {(str(case.image), case.id): index for index, case in enumerate(jobs)}
        presence = [entry for state in states for entry in state["presence"]]
        self.done.presence[:] = sorted(presence, key=lambda entry: order[entry["file"], entry["case"]])

    def finish(self) -> None:
        """Write the rows of other processes, too."""
        if self.world is not None and self.done.presence:
            self.table.write_anew(self.done.presence)
        self.table.remove_parts()

    def _presence(self, case: Case, tally: "_Tally") -> dict[str, Any]:
        spacing = self.parts.layout.input_spacing(case)
        size, unit = (1.0, "voxels") if spacing is None else (float(np.prod(spacing)), "mm³")
        assert tally.last is not None
        present, certainty = tally.last.there(tally.voxels > 0), tally.last.certainty
        return {
            "case": case.id,
            "file": str(case.image),
            "structures": {
                name: {
                    "present": there,
                    "volume": float(count) * size,
                    "unit": unit,
                    **{key: float(values[index]) for key, values in certainty.items()},
                }
                for index, (name, there, count) in enumerate(
                    zip(self.parts.task.classes, present, tally.voxels, strict=True)
                )
            },
        }


class _Tally:
    """Counts the predicted voxels in the planes of a case."""

    def __init__(self, parts: Predictor) -> None:
        self.task = parts.task
        self.overlaps = parts.layout.overlaps
        self.voxels = np.zeros(len(parts.task.classes), np.int64)
        """Voxels of each structure."""
        self.last: Prediction | None = None
        """Prediction of the last planes; its presence is that of the whole case."""
        self._shares: dict[str, float] = {}
        self._planes = 0

    def add(self, answer: Array, prediction: Prediction) -> None:
        """Count the voxels of the next planes."""
        for name, share in self.task.shares(answer).items():
            self._shares[name] = self._shares.get(name, 0.0) + share * len(answer)
        self._planes += len(answer)
        if self.overlaps:
            self.voxels += answer.reshape(-1, answer.shape[-1]).sum(axis=0, dtype=np.int64)
        self.last = prediction

    def shares(self) -> dict[str, float]:
        """Return the share of the voxels of each class."""
        return {name: total / self._planes for name, total in self._shares.items()}


class _Table:
    """Keeps one row for each structure of each case; the file is rewritten after each case."""

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self.folder = folder
        self.path = folder / (f"{PART}{rank}.csv" if rank else TABLE)
        """Table of this process."""
        self.kept: dict[tuple[str, str], list[list[str]]] = {}
        """Rows of an earlier prediction."""
        self.rows: dict[tuple[str, str], list[list[str]]] = {}

    @property
    def _parts(self) -> list[Path]:
        """List the tables of other processes; some are left over if a prediction was killed."""
        return sorted(self.folder.glob(f"{PART}*.csv"))

    def keep(self) -> None:
        """Keep the rows of an existing table."""
        for path in (self.folder / TABLE, *self._parts):
            for row in read_cells(path)[1:] if path.is_file() else ():
                if len(row) in (len(EARLIER), len(COLUMNS)):
                    padded = [*row, *[""] * (len(COLUMNS) - len(row))]
                    self.kept.setdefault((row[0], row[1]), []).append(padded)
        self.rows = dict(self.kept)

    def write(self, entry: dict[str, Any]) -> None:
        """Add a case, or replace its rows."""
        self._add(entry)
        write_cells(self.path, [COLUMNS, *(row for rows in self.rows.values() for row in rows)])

    def write_anew(self, entries: Sequence[dict[str, Any]]) -> None:
        """Write the rows of the cases of all processes."""
        self.rows = dict(self.kept)
        for entry in entries:
            self._add(entry)
        write_cells(self.path, [COLUMNS, *(row for rows in self.rows.values() for row in rows)])

    def remove_parts(self) -> None:
        """Remove the tables of other processes, whose rows are in this one."""
        for path in self._parts:
            path.unlink(missing_ok=True)

    def _add(self, entry: dict[str, Any]) -> None:
        place = entry["file"], entry["case"]
        self.rows[place] = [
            [*place, name, str(int(found["present"])), f"{found['volume']:.10g}", found["unit"], *_certainty(found)]
            for name, found in entry["structures"].items()
        ]


def _certainty(found: dict[str, Any]) -> list[str]:
    """Write probability and confidence; a cell is empty if the network does not give the number."""
    return [f"{found[key]:.4f}" if key in found else "" for key in ("probability", "confidence")]
