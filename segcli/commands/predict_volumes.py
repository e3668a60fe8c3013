"""The part of `segcli predict` that is about volumes: each answer in the format and geometry of its input."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from segcli.commands.predict_images import Converted, PredictOptions, files_of, read_ahead, targets_of
from segcli.core.errors import ConfigError, DataError
from segcli.core.files import remove_leftovers, write_text
from segcli.core.names import safe_name
from segcli.core.types import Array
from segcli.data.planes import Planes
from segcli.data.samples import Case, Sample
from segcli.engine.events import Listener
from segcli.engine.inference.predictor import InMemory, Pixels, Prediction, Predictor
from segcli.engine.stopping import StopSignal
from segcli.files import Picture, is_picture_folder, open_picture
from segcli.files.png import PNG
from segcli.report.results import Predicted

__all__ = ["predict_volumes"]

TABLE = "presence.csv"
COLUMNS = ("file", "case", "structure", "present", "volume", "unit")
Bands = Iterable[tuple[slice, Prediction]]


def predict_volumes(
    inputs: Sequence[str],
    opened: Callable[[], Predictor],
    options: PredictOptions,
    *,
    endings: Sequence[str],
    listener: Listener,
) -> Predicted:
    """Segment every case of volume files of any size, write masks and a table of what is present.

    A file or case that cannot be read is noted and passed over. PyTorch is loaded by what opens the network, or not at
    all.

    Args:
        inputs: Files, folders and globs.
        opened: Opens the network, once the inputs are found.
        options: What is written.
        endings: What names end in that are taken from a folder.
        listener: Hears what happens.

    Raises:
        DataError: No input is a volume.
        ConfigError: A result would overwrite a file, or an option is for 2D images.
        SegcliError: The network or the device fail.
    """
    if options.video is not None:
        raise ConfigError("`--video` is for 2D images", hint="leave it out; `--overlay` draws slices of a volume")
    files = files_of(inputs, endings, lambda path: is_picture_folder(path, 3))
    parts = opened()
    folder = options.folder(parts.name)
    targets = targets_of({path: parts.layout.answer_path(folder, path) for path in files}, options)
    done = Predicted(parts.name, parts.source, folder)
    table = _Table(folder / TABLE)
    if options.skip_existing:
        remove_leftovers(folder)
        table.keep()
        done.skipped.extend(str(path) for path, target in targets.items() if target.exists())
        files = [path for path, target in targets.items() if not target.exists()]
    cases = _cases(parts, files, done, listener)
    listener.stage("prediction", len(cases))
    work = _Work(parts, done, table, options, last={case.image: case for case in cases})
    with (
        StopSignal(),
        ThreadPoolExecutor(1, "read") as reader,
        ThreadPoolExecutor(1, "write") as writer,
    ):
        writing: tuple[Case, Future[None]] | None = None
        try:
            for case, reading in read_ahead(reader, cases, work.read):
                try:
                    volume = reading.result()
                    prediction = parts.predict(volume) if isinstance(volume, Sample) else None
                    _settled(writing, done, listener)  # one volume waits at most, whatever is slower
                    writing = None
                    if isinstance(volume, Picture):
                        work.write_large(case, volume)
                    else:
                        assert prediction is not None
                        bands = [(slice(0, volume.size[0]), prediction)]
                        writing = case, writer.submit(work.write, case, InMemory(volume.image), bands)
                except DataError as error:
                    _note(done, case.image, error, listener)
                listener.advance()
        finally:
            _settled(writing, done, listener)
    parts.layout.close_answers(folder)
    return done


def _settled(writing: tuple[Case, Future[None]] | None, done: Predicted, listener: Listener) -> None:
    """Wait for a volume to be written, and note it where it cannot be."""
    if writing is not None:
        case, future = writing
        try:
            future.result()
        except DataError as error:
            _note(done, case.image, error, listener)


def _cases(parts: Predictor, files: Sequence[Path], done: Predicted, listener: Listener) -> list[Case]:
    cases: list[Case] = []
    for path in files:
        try:
            cases += parts.layout.inputs(path)
        except DataError as error:
            _note(done, path, error, listener)
    return cases


def _note(done: Predicted, path: Path, error: DataError, listener: Listener) -> None:
    done.failed.append({"file": str(path), "message": error.message})
    listener.warn(error.message)


class _Work:
    """Reads cases and writes what is found in them.

    Args:
        parts: The network and what belongs to it.
        done: What was written.
        table: What is present.
        options: What is written.
        last: Last case of each file, after which the answers to all of them are whole.
    """

    def __init__(
        self, parts: Predictor, done: Predicted, table: "_Table", options: PredictOptions, *, last: dict[Path, Case]
    ) -> None:
        self.parts, self.done, self.table, self.options, self.last = parts, done, table, options, last

    def read(self, case: Case) -> Sample | Picture:
        """A volume, or what reads its parts where it is large."""
        if not self.parts.can_stream:
            return self.parts.layout.read_unlabelled(case)
        picture = open_picture(case.image, 3, case.index)
        try:
            if picture.is_large:
                picture.prepare(self.done.folder)
                return picture
            sample = Sample(self.parts.layout.converted(picture.read(), picture.path))
        except BaseException:
            picture.close()
            raise
        picture.close()
        return sample

    def write_large(self, case: Case, volume: Picture) -> None:
        """Predict and write a volume a few planes at a time."""
        try:
            pixels = Converted(volume, self.parts.layout)
            self.write(case, pixels, self.parts.bands(pixels, self.done.folder))
        finally:
            volume.close()

    def write(self, case: Case, pixels: Pixels, bands: Bands) -> None:
        """Write what is found in a case; the file with the answer has its name when all is there."""
        parts, folder = self.parts, self.done.folder
        written: dict[str, Any] = {
            "image": case.place,
            "mask": str(parts.layout.answer_path(folder, case.image)),
        }
        size = pixels.size
        found = _Found(parts)
        slices = Planes(size) if self.options.overlays else None
        with parts.layout.writing_answer(folder, case, size) as add_answer:
            with ExitStack() as stack:
                add: dict[str, Callable[[Array], None]] = {}
                for kind, channels in self._values().items():
                    path, values = parts.layout.writing_values(folder, case, kind, size, channels)
                    add[kind] = stack.enter_context(values)
                    written[kind] = str(path)
                for rows, prediction in bands:
                    answer = parts.task.decide(prediction.probs, parts.inference.threshold)
                    add_answer(answer)
                    found.add(answer, prediction)
                    if slices is not None:
                        slices.add(rows, answer)
                    if "probabilities" in add:
                        add["probabilities"](np.moveaxis(prediction.probs, 0, -1))
                    if "uncertainty" in add:
                        add["uncertainty"](prediction.uncertainty)
            if slices is not None:
                of_file = "" if case.index is None else f"{case.image.stem}_"
                path = folder / safe_name(f"{of_file}{case.id}_overlay.png")
                spacing = parts.layout.input_spacing(case)
                PNG.write(
                    path, slices.picture(pixels.read, parts.task.tinted, spacing, upright=parts.layout.is_upright(case))
                )
                written["overlay"] = str(path)
            written["share"] = found.shares()
            if parts.layout.overlaps:
                entry = self._presence(case, found)
                self.done.presence.append(entry)
                self.table.write(entry)
        self.done.written.append(written)
        if self.last[case.image] is case:
            parts.layout.close_answers(folder)

    def _values(self) -> dict[str, int]:
        """Kinds of values that are asked for, with their channels."""
        asked = {"probabilities": self.options.probabilities, "uncertainty": self.options.uncertainty}
        channels = {"probabilities": len(self.parts.task.classes), "uncertainty": 0}
        return {kind: channels[kind] for kind, is_asked in asked.items() if is_asked}

    def _presence(self, case: Case, found: "_Found") -> dict[str, Any]:
        spacing = self.parts.layout.input_spacing(case)
        size, unit = (1.0, "voxels") if spacing is None else (float(np.prod(spacing)), "mm³")
        present = found.voxels > 0 if found.present is None else found.present
        return {
            "case": case.id,
            "file": str(case.image),
            "structures": {
                name: {"present": bool(there), "volume": float(count) * size, "unit": unit}
                for name, there, count in zip(self.parts.task.classes, present, found.voxels, strict=True)
            },
        }


class _Found:
    """What was found so far in the planes of a case."""

    def __init__(self, parts: Predictor) -> None:
        self.task = parts.task
        self.overlaps = parts.layout.overlaps
        self.voxels = np.zeros(len(parts.task.classes), np.int64)
        """Of each structure."""
        self.present: Array | None = None
        self._shares: dict[str, float] = {}
        self._planes = 0

    def add(self, answer: Array, prediction: Prediction) -> None:
        """Count what is found in the next planes."""
        for name, share in self.task.shares(answer).items():
            self._shares[name] = self._shares.get(name, 0.0) + share * len(answer)
        self._planes += len(answer)
        if self.overlaps:
            self.voxels += answer.reshape(-1, answer.shape[-1]).sum(axis=0, dtype=np.int64)
        self.present = prediction.present

    def shares(self) -> dict[str, float]:
        """Share of the voxels that each class has."""
        return {name: total / self._planes for name, total in self._shares.items()}


class _Table:
    """One line for each structure of each case, written anew with each case."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[tuple[str, str], list[list[str]]] = {}

    def keep(self) -> None:
        """Take over the lines of a prediction that goes on."""
        if self.path.is_file():
            for row in list(csv.reader(io.StringIO(self.path.read_text(encoding="utf-8"))))[1:]:
                if len(row) == len(COLUMNS):
                    self.rows.setdefault((row[0], row[1]), []).append(row)

    def write(self, entry: dict[str, Any]) -> None:
        """Add a case, or replace what was known of it."""
        place = entry["file"], entry["case"]
        self.rows[place] = [
            [*place, name, str(int(found["present"])), f"{found['volume']:.6g}", found["unit"]]
            for name, found in entry["structures"].items()
        ]
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for rows in self.rows.values():
            writer.writerows(rows)
        write_text(self.path, stream.getvalue())
