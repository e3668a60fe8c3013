"""Weights & Biases tracker, offline by default: `wandb sync` uploads a run later."""

import math
import os
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # before the import, which would send usage data
import wandb

from segcli.core.files import plain
from segcli.core.types import Array, ConfigModel
from segcli.trackers import Tracker

__all__ = ["Wandb"]


class Wandb(Tracker):
    """Metrics and images by epoch, and the config."""

    begins_anew = True

    class Config(ConfigModel):
        """Keys of `trackers: [{type: wandb}]`."""

        project: str = "segcli"
        """Project that the run belongs to."""
        mode: Literal["offline", "online"] = "offline"
        """`offline` writes to the run folder only; `online` sends all values to the server at once."""

    def __init__(self, folder: Path, *, first_step: int | None, config: Any = None) -> None:
        self.folder = folder
        self.config: Wandb.Config = config or self.Config()
        self.run: Any = None
        self.is_finished = False

    def begin(self, name: str, config: dict[str, Any]) -> None:
        """Start the run with its config."""
        settings = self.config
        self.run = wandb.init(
            project=settings.project, name=name, dir=str(self.folder), mode=settings.mode, config=plain(config)
        )

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Record each tag as a metric."""
        self.run.log({tag: float(value) for tag, value in values.items() if math.isfinite(value)}, step=step)

    def images(self, pictures: dict[str, Array], step: int) -> None:
        """Record each tag as an image."""
        self.run.log({tag: wandb.Image(picture) for tag, picture in pictures.items()}, step=step)

    def hyperparameters(self, values: dict[str, str | float | bool], metrics: dict[str, float], step: int) -> None:
        """Record the final metrics in the summary of the run."""
        self.is_finished = True
        self.run.summary.update({tag: float(value) for tag, value in metrics.items() if math.isfinite(value)})

    def close(self) -> None:
        """End the run."""
        if self.run is not None:
            self.run.finish(exit_code=0 if self.is_finished else 1)
            self.run = None
