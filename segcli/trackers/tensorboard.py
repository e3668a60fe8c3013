"""Event files for TensorBoard, in `tensorboard/` of the run folder.

Lines that share a chart are runs of their own to TensorBoard, in the sub-folders `train`, `val` and `test`.
`SummaryWriter.add_scalars` would make a sub-folder for each line of each chart, and would show what an interrupted run
had recorded there beside what the resumed one records: these writers are managed here instead.
"""

import io
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.tensorboard import FileWriter, SummaryWriter
from torch.utils.tensorboard.summary import hparams, scalar

from segcli.core.types import Array
from segcli.trackers import Tracker

__all__ = ["TensorBoard"]

EVENTS = "events.out.tfevents.*"
HPARAMS = ".hparams"
"""End of the name of the event file that holds the hyper-parameters."""
TEST = "test"


class TensorBoard(Tracker):
    """Everything that a tracker may be given."""

    def __init__(self, folder: Path, *, first_step: int | None, config: Any = None) -> None:
        self.folder = folder / "tensorboard"
        self.first_step = first_step
        self.is_new = not any(self.folder.glob(EVENTS))
        self.writers: dict[str, SummaryWriter] = {}
        if first_step is not None:
            self._writer()  # a folder that cannot be written is told at once

    def _writer(self, line: str = "") -> SummaryWriter:
        """Writer of the run itself, or of a line beside it; opening it voids what an interrupted run had recorded."""
        if line not in self.writers:
            self.writers[line] = SummaryWriter(str(self.folder / line), purge_step=self.first_step)
        return self.writers[line]

    def scalars(self, values: dict[str, float], step: int) -> None:
        """One chart per tag."""
        for tag, value in values.items():
            self._writer().add_scalar(tag, value, step)
        self._writer().flush()

    def comparisons(self, values: dict[str, dict[str, float]], step: int) -> None:
        """One chart per tag with several lines."""
        for tag, lines in values.items():
            for line, value in lines.items():
                self._writer(line).add_scalar(tag, value, step)
        for writer in self.writers.values():
            writer.flush()

    def images(self, pictures: dict[str, Array], step: int) -> None:
        """One picture per tag, with a slider over the epochs."""
        for tag, picture in pictures.items():
            self._writer().add_image(tag, picture, step, dataformats="HWC")
        self._writer().flush()

    def histograms(self, values: dict[str, Array], step: int) -> None:
        """One histogram per tag."""
        for tag, entries in values.items():
            self._writer().add_histogram(tag, entries, step)
        self._writer().flush()

    def graph(self, network: nn.Module, image: Tensor) -> None:
        """Trace the network, once in the life of a run folder."""
        if not self.is_new:
            return
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # of the tracer: shapes become constants, which a drawing may
            self._writer().add_graph(network, image, use_strict_trace=False)  # strict refuses a dict of outputs
        self._writer().flush()

    def hyperparameters(self, values: dict[str, str | float | bool], metrics: dict[str, float], step: int) -> None:
        """In an event file of its own, which is replaced when the run is trained further.

        TensorBoard believes the oldest hyper-parameters of a folder, and `SummaryWriter.add_hparams` would begin a
        run named by the time.
        """
        outdated = list(self.folder.glob(f"{EVENTS}{HPARAMS}"))
        # PyTorch takes a truth value for a number
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
        """In the sub-folder `test`, whose one file is written anew with the scores of other epochs."""
        folder = self.folder / TEST
        before = sorted(folder.glob(EVENTS))
        scores = {**_scalars(folder), **{(step, tag): value for tag, value in values.items()}}
        # The purge is for a TensorBoard that is open and has read the old file.
        with SummaryWriter(str(folder), purge_step=min(epoch for epoch, _ in scores)) as writer:
            for (epoch, tag), value in sorted(scores.items()):
                writer.add_scalar(tag, value, epoch)
        for path in before:
            path.unlink()

    def close(self) -> None:
        """Close the event files."""
        for writer in self.writers.values():
            writer.close()


def _scalars(folder: Path) -> dict[tuple[int, str], float]:
    """Values in the event files of a folder by epoch and tag."""
    if not folder.is_dir():
        return {}
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {(event.step, tag): event.value for tag in events.Tags()["scalars"] for event in events.Scalars(tag)}
