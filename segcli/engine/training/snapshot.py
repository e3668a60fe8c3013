"""Everything a run must remember to go on as if it had never stopped."""

from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from segcli.engine.checkpoint import Checkpoint

__all__ = ["Progress", "Snapshot"]


@dataclass
class Progress:
    """How far a run has come."""

    epoch: int = 0
    """Epochs that are over, validation included."""
    batch: int = 0
    """Batches of the present epoch that were trained."""
    step: int = 0
    """Optimizer steps in all."""
    skipped: int = 0
    """Batches of the present epoch left out because their loss was not finite."""
    elapsed_s: float = 0.0
    """Seconds of training in all processes so far."""
    finished: bool = False
    """Whether the last epoch is over, or early stopping has stopped the run."""


@dataclass
class Snapshot:
    """State of a run between two optimizer steps."""

    config: dict[str, Any]
    progress: Progress
    stepper: dict[str, Tensor]
    """Weights, averaged weights and optimizer state: `model/`, `ema/`, `optimizer/`."""
    random: dict[str, Tensor]
    """State of all random generators."""
    tally: dict[str, Tensor]
    """Statistics and loss sums of the present epoch."""
    scaler: dict[str, Any] = field(default_factory=dict)
    scheduler: dict[str, Any] = field(default_factory=dict)
    monitor: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    best_validation: dict[str, Any] = field(default_factory=dict)
    """What `Evaluation.remembered` gave of the best validation; empty before there is one."""
    dataset: dict[str, Any] = field(default_factory=dict)
    """Fingerprint of the training data; order and randomness depend on the list of cases."""

    def to_checkpoint(self) -> Checkpoint:
        """As a file holds it."""
        header = {
            "config": self.config,
            "classes": ["foreground"] if self.config["dataset"]["num_classes"] == 1 else None,
            "preprocessing": {
                "image_size": self.config["data"]["image_size"] or self.config["dataset"]["image_size"],
                "mean": self.config["dataset"]["mean"],
                "std": self.config["dataset"]["std"],
                **self.config["data"]["preprocessing"],
            },
            "progress": asdict(self.progress),
            "scaler": self.scaler,
            "scheduler": self.scheduler,
            "early_stopping": self.monitor,
            "history": self.history,
            "best_validation": self.best_validation,
            "dataset": self.dataset,
        }
        random = {f"random/{name}": value for name, value in self.random.items()}
        tally = {f"progress/{name}": value for name, value in self.tally.items()}
        return Checkpoint(header, {**self.stepper, **random, **tally})

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "Snapshot":
        """As it was captured."""
        header = checkpoint.header
        return cls(
            config=header["config"],
            progress=Progress(**header["progress"]),
            stepper={
                name: value
                for name, value in checkpoint.tensors.items()
                if name.startswith(("model/", "ema/", "optimizer/"))
            },
            random=checkpoint.below("random"),
            tally=checkpoint.below("progress"),
            scaler=header["scaler"],
            scheduler=header["scheduler"],
            monitor=header["early_stopping"],
            history=header["history"],
            best_validation=header.get("best_validation", {}),  # not there in runs that had no report yet
            dataset=header["dataset"],
        )
