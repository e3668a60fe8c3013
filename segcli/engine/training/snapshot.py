"""Complete state of a run, so that a resumed run continues as if it had never stopped."""

from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from segcli.engine.checkpoint import Checkpoint

__all__ = ["Progress", "Snapshot"]


@dataclass
class Progress:
    """Progress of a run."""

    epoch: int = 0
    """Number of completed epochs, validation included."""
    batch: int = 0
    """Number of batches of the current epoch that are done."""
    step: int = 0
    """Number of optimizer steps since the start."""
    skipped: int = 0
    """Number of batches of the current epoch that were skipped because their loss was not finite."""
    elapsed_s: float = 0.0
    """Seconds of training in all processes so far."""
    finished: bool = False
    """True if the last epoch is over, or early stopping has stopped the run."""


@dataclass
class Snapshot:
    """State of a run between two optimizer steps."""

    config: dict[str, Any]
    progress: Progress
    stepper: dict[str, Tensor]
    """Weights, averaged (EMA) weights and optimizer state: `model/`, `ema/`, `optimizer/`."""
    random: dict[str, Tensor]
    """State of all random generators."""
    tally: dict[str, Tensor]
    """Metric statistics and loss sums of the current epoch."""
    scaler: dict[str, Any] = field(default_factory=dict)
    scheduler: dict[str, Any] = field(default_factory=dict)
    monitor: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    best_validation: dict[str, Any] = field(default_factory=dict)
    """`Evaluation.remembered` of the best validation; empty before the first validation."""
    warnings: list[str] = field(default_factory=list)
    """Warnings so far, for the report."""
    dataset: dict[str, Any] = field(default_factory=dict)
    """Fingerprint of the training data; order and random numbers depend on the list of cases."""

    def to_checkpoint(self) -> Checkpoint:
        """Convert the snapshot to a checkpoint."""
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
            "warnings": self.warnings,
            "dataset": self.dataset,
        }
        random = {f"random/{name}": value for name, value in self.random.items()}
        tally = {f"progress/{name}": value for name, value in self.tally.items()}
        return Checkpoint(header, {**self.stepper, **random, **tally})

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "Snapshot":
        """Restore the snapshot from a checkpoint."""
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
            best_validation=header.get("best_validation", {}),  # missing in checkpoints of older versions
            warnings=header.get("warnings", []),
            dataset=header["dataset"],
        )
