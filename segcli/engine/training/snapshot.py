"""Complete state of a run, so that a resumed run continues as if it had never stopped."""

import re
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from segcli.engine.checkpoint import Checkpoint
from segcli.engine.training.stepping.totals import joined

__all__ = ["OfRank", "Progress", "Snapshot"]

OF_RANK = re.compile(r"rank\d+/")
"""Beginning of the names of state that another process than the first one has."""


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
class OfRank:
    """State that each process has for itself."""

    random: dict[str, Tensor]
    tally: dict[str, Tensor]


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
    others: list["OfRank"] = field(default_factory=list)
    """What processes 1, 2 and so on have besides; all else is the same in all of them."""
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
        others = {
            f"{room}/rank{rank}/{name}": value
            for rank, other in enumerate(self.others, 1)
            for room, values in (("random", other.random), ("progress", other.tally))
            for name, value in values.items()
        }
        return Checkpoint(header, {**self.stepper, **random, **tally, **others})

    @property
    def processes(self) -> int:
        """Number of processes that the state comes from."""
        return 1 + len(self.others)

    def random_of(self, rank: int) -> dict[str, Tensor] | None:
        """Return the state of the random generators of a process; None if there was no such process."""
        states = [self.random, *(other.random for other in self.others)]
        return states[rank] if rank < len(states) else None

    def tally_of(self, rank: int, size: int) -> dict[str, Tensor]:
        """Return the statistics for one of `size` processes; the first one takes all if their number has changed."""
        tallies = [self.tally, *(other.tally for other in self.others)]
        if len(tallies) == size:
            return tallies[rank]
        return {} if rank else joined(tallies)

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
            random=_first(checkpoint.below("random")),
            tally=_first(checkpoint.below("progress")),
            others=_others(checkpoint),
            scaler=header["scaler"],
            scheduler=header["scheduler"],
            monitor=header["early_stopping"],
            history=header["history"],
            best_validation=header.get("best_validation", {}),  # missing in checkpoints of older versions
            warnings=header.get("warnings", []),
            dataset=header["dataset"],
        )


def _first(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in values.items() if not OF_RANK.match(name)}


def _others(checkpoint: Checkpoint) -> list[OfRank]:
    others: list[OfRank] = []
    while random := checkpoint.below(f"random/rank{len(others) + 1}"):
        others.append(OfRank(random, checkpoint.below(f"progress/rank{len(others) + 1}")))
    return others
