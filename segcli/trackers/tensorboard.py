"""Event files for TensorBoard, in `tensorboard/` of the run folder."""

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from segcli.trackers import Tracker

__all__ = ["TensorBoard"]


class TensorBoard(Tracker):
    """Scalars by epoch."""

    def __init__(self, folder: Path, *, first_step: int) -> None:
        purge = first_step if first_step > 0 else None
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=purge)

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Record values by tag."""
        for tag, value in values.items():
            self.writer.add_scalar(tag, value, step)
        self.writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self.writer.close()
