"""Weights & Biases, offline unless asked for otherwise: `wandb sync` uploads a run later."""

import math
import os
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # before the import: it would call home
import wandb

from segcli.core.files import plain
from segcli.core.types import Array, ConfigModel
from segcli.trackers import Tracker

__all__ = ["Wandb"]


class Wandb(Tracker):
    """Figures and pictures by epoch, and the config."""

    class Config(ConfigModel):
        """Keys of `trackers: [{type: wandb}]`."""

        project: str = "segcli"
        """Project that the run belongs to."""
        mode: Literal["offline", "online"] = "offline"
        """`offline` writes into the run folder only; `online` sends everything to the server as it comes."""

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
        """Each tag is a metric."""
        self.run.log({tag: float(value) for tag, value in values.items() if math.isfinite(value)}, step=step)

    def images(self, pictures: dict[str, Array], step: int) -> None:
        """Each tag is a picture."""
        self.run.log({tag: wandb.Image(picture) for tag, picture in pictures.items()}, step=step)

    def hyperparameters(self, values: dict[str, str | float | bool], metrics: dict[str, float], step: int) -> None:
        """What came of the run, as its summary."""
        self.is_finished = True
        self.run.summary.update({tag: float(value) for tag, value in metrics.items() if math.isfinite(value)})

    def close(self) -> None:
        """End the run."""
        if self.run is not None:
            self.run.finish(exit_code=0 if self.is_finished else 1)
            self.run = None
