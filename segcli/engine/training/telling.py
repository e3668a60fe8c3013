"""What a training tells about its progress: to the listener, and to `memory.csv`."""

import math
import time
from typing import Any

import torch

from segcli.data.loader import TrainLoader
from segcli.engine.events import EpochDone, Listener, StepDone
from segcli.engine.memory import MemoryLog, memory_of
from segcli.engine.training.monitor import Monitor
from segcli.engine.training.pace import Pace
from segcli.engine.training.snapshot import Progress

__all__ = ["Telling"]


class Telling:
    """Tells of steps and epochs.

    Args:
        listener: Receives the progress.
        memory: Log of memory figures; None in a process that writes nothing.
        train: Loader of training batches.
        epochs: Number of epochs of the training.
        device: Device of the training.
        val_interval: Epochs between two validations; None without a validation split.
    """

    def __init__(
        self,
        listener: Listener,
        memory: MemoryLog | None,
        train: TrainLoader,
        epochs: int,
        device: torch.device,
        *,
        val_interval: int | None,
    ) -> None:
        self.listener = listener
        self.memory = memory
        self.train = train
        self.epochs = epochs
        self.device = device
        self.pace = Pace(epochs=epochs, batches=len(train), val_interval=val_interval)

    def epoch_begins(self) -> None:
        """Begin to watch time and memory of an epoch."""
        self.pace.epoch_begins()
        if self.memory is not None:
            self.memory.epoch_begins()

    def stage_over(self, progress: Progress, stage: str, started: float) -> None:
        """Note the end of an epoch's training or validation; write its memory. The epoch began at `started`."""
        if stage == "train":
            self.pace.training_over()
        else:
            self.pace.validation_over()
        if self.memory is not None:
            self.memory.close_stage(**self._place(progress, stage, started))

    def step(self, progress: Progress, values: dict[str, float], images_per_s: float, started: float) -> None:
        """Tell of the current step."""
        memory = memory_of(self.device)
        if self.memory is not None:
            self.memory.note(memory, **self._place(progress, "train", started))
        self.listener.step(
            StepDone(
                epoch=progress.epoch + 1,
                epochs=self.epochs,
                batch=progress.batch,
                batches=len(self.train),
                values={"loss": math.nan, **values},
                images_per_s=images_per_s,
                memory=memory,
                remaining_s=self.pace.remaining_s(progress),
            )
        )

    def epoch(
        self,
        progress: Progress,
        entry: dict[str, Any],
        monitor: Monitor,
        *,
        elapsed_s: float,
        improved: bool,
        notes: list[str],
    ) -> None:
        """Tell of an epoch that is over, with its entry in the history."""
        self.pace.epoch_over()
        self.listener.epoch(
            EpochDone(
                epoch=progress.epoch,
                epochs=self.epochs,
                train=entry["train"],
                val=entry["val"],
                learning_rate=entry["learning_rate"],
                elapsed_s=elapsed_s,
                remaining_s=self.pace.remaining_s(progress),
                improved=improved,
                patience_left=monitor.patience_left if entry["val"] else None,
                notes=notes,
                per_class=entry.get("val_per_class", {}),
            )
        )

    def _place(self, progress: Progress, stage: str, started: float) -> dict[str, Any]:
        """Return the position in the run as columns of `memory.csv`."""
        elapsed_s = progress.elapsed_s + time.monotonic() - started
        return {"elapsed_s": elapsed_s, "epoch": progress.epoch + 1, "batch": progress.batch, "stage": stage}
