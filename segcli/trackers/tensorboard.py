"""TensorBoard tracker: event files in `tensorboard/` of the run folder.

Lines in the same chart are separate runs for TensorBoard, in the sub-folders `train`, `val` and `test`.
`SummaryWriter.add_scalars` would make a sub-folder for each line of each chart, and would show the values of an
interrupted run beside those of the resumed run. So these writers are managed here.
"""

import io
import threading
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer import event_file_writer
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import Tensor, nn
from torch.utils.tensorboard import FileWriter, SummaryWriter
from torch.utils.tensorboard.summary import hparams, scalar

from segcli.core.files import replacing
from segcli.core.types import Array
from segcli.trackers import Tracker

__all__ = ["TensorBoard"]

EVENTS = "events.out.tfevents.*"
HPARAMS = ".hparams"
"""Suffix of the event file that holds the hyperparameters."""
TEST = "test"


class TensorBoard(Tracker):
    """Scalars, images, histograms, the network graph, hyperparameters and test scores as event files."""

    def __init__(self, folder: Path, *, first_step: int | None, config: Any = None) -> None:
        self.folder = folder / "tensorboard"
        self.first_step = first_step
        if first_step is not None:
            for path in sorted(self.folder.rglob(EVENTS)):
                if first_step == 1:  # what a run killed in its first epoch left, perhaps in the midst of the graph
                    path.unlink()
                elif path.parent.name != TEST and not path.name.endswith(HPARAMS):
                    _cut(path, first_step)
        self.is_new = not any(self.folder.glob(EVENTS))
        self.writers: dict[str, SummaryWriter] = {}
        threading.excepthook = _without_writers
        if first_step is not None:
            self._writer()  # a folder that cannot be written shows at once

    def _writer(self, line: str = "") -> SummaryWriter:
        """Open the writer of the run or of one line; this discards newer values of an interrupted run."""
        if line not in self.writers:
            self.writers[line] = SummaryWriter(str(self.folder / line), purge_step=self.first_step)
        return self.writers[line]

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Record one chart per tag."""
        for tag, value in values.items():
            self._writer().add_scalar(tag, value, step)
        self._writer().flush()

    def comparisons(self, values: dict[str, dict[str, float]], step: int) -> None:
        """Record one chart per tag with several lines."""
        for tag, lines in values.items():
            for line, value in lines.items():
                self._writer(line).add_scalar(tag, value, step)
        for writer in self.writers.values():
            writer.flush()

    def images(self, pictures: dict[str, Array], step: int) -> None:
        """Record one image per tag, with a slider over the epochs."""
        for tag, picture in pictures.items():
            self._writer().add_image(tag, picture, step, dataformats="HWC")
        self._writer().flush()

    def histograms(self, values: dict[str, Array], step: int) -> None:
        """Record one histogram per tag."""
        for tag, entries in values.items():
            self._writer().add_histogram(tag, entries, step)
        self._writer().flush()

    def graph(self, network: nn.Module, image: Tensor) -> None:
        """Trace the network and record its graph, only once per run folder."""
        if not self.is_new:
            return
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # tracer warnings: shapes become constants, which is fine for a drawing
            # `add_graph` would trace it a second time, to compare; a strict trace refuses a dict of outputs
            trace: Any = torch.jit.trace(network, image, strict=False, check_trace=False)  # type: ignore[no-untyped-call]
            self._writer().add_graph(trace, image, use_strict_trace=False)
        self._writer().flush()

    def hyperparameters(self, values: dict[str, str | float | bool], metrics: dict[str, float], step: int) -> None:
        """Write hyperparameters to a separate event file, which is replaced when the run is trained further.

        TensorBoard shows the oldest hyperparameters of a folder, and `SummaryWriter.add_hparams` would start a new run
        named by the current time.
        """
        outdated = list(self.folder.glob(f"{EVENTS}{HPARAMS}"))
        # PyTorch would store a boolean as a number
        legible = {key: str(value).lower() if isinstance(value, bool) else value for key, value in values.items()}
        writer = FileWriter(str(self.folder), filename_suffix=HPARAMS)
        for summary in hparams(legible, dict(metrics)):  # type: ignore[no-untyped-call]
            writer.add_summary(summary, step)
        for tag, value in metrics.items():
            writer.add_summary(scalar(tag, value), step)  # type: ignore[no-untyped-call]
        writer.close()
        for path in outdated:
            path.unlink()

    def test_scores(self, values: dict[str, float], step: int) -> None:
        """Write test scores to the sub-folder `test`, whose single file is rewritten with the scores of all epochs."""
        folder = self.folder / TEST
        before = sorted(folder.glob(EVENTS))
        scores = {**_scalars(folder), **{(step, tag): value for tag, value in values.items()}}
        # The purge is needed by an open TensorBoard that has read the old file.
        with SummaryWriter(str(folder), purge_step=min(epoch for epoch, _ in scores)) as writer:
            for (epoch, tag), value in sorted(scores.items()):
                writer.add_scalar(tag, value, epoch)
        for path in before:
            path.unlink()

    def close(self) -> None:
        """Close the event files."""
        for writer in self.writers.values():
            writer.close()


def _cut(path: Path, first_step: int) -> None:
    """Remove the events of an interrupted run from an epoch on, and an event that was written in part only.

    TensorBoard can discard them, too, but only if its files sort by time: not after a clock was set back.
    """
    records = list(RawEventFileLoader(str(path)).Load())
    events = [Event.FromString(record) for record in records]
    kept = [
        record
        for record, event in zip(records, events, strict=True)
        if event.step < first_step and not event.HasField("session_log")  # which would discard values of other files
    ]
    with replacing(path) as temporary, temporary.open("wb") as stream:
        writer = RecordWriter(stream)
        for record in kept:
            writer.write(record)


def _without_writers(failure: threading.ExceptHookArgs) -> None:
    """Print no traceback of a thread that writes events: the next write raises the same error, which is reported."""
    if type(failure.thread).__module__ != event_file_writer.__name__:
        threading.__excepthook__(failure)


def _scalars(folder: Path) -> dict[tuple[int, str], float]:
    """Read the values in the event files of a folder by epoch and tag."""
    if not folder.is_dir():
        return {}
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {(event.step, tag): event.value for tag in events.Tags()["scalars"] for event in events.Scalars(tag)}
