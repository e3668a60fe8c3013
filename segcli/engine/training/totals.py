"""Loss sums and statistics of an epoch so far, collected without waiting for the device."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segcli.engine.inference.scores import Tally
from segcli.metrics import Metric, Scored

__all__ = ["Mark", "Totals"]

SUMS = "sums/"
"""Prefix of the loss sums among the saved statistics of an epoch."""


@dataclass(frozen=True)
class Mark:
    """How much had been collected at one moment."""

    sums: dict[str, Tensor]
    rows: dict[str, int]


class Totals:
    """Sums of losses and statistics of metrics over the batches of an epoch.

    Args:
        metrics: Metrics that training scores.
    """

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.sums: dict[str, Tensor] = {}
        self.tally = Tally(metrics)

    def add(self, losses: dict[str, Tensor], scored: Scored, count: int) -> None:
        """Add a batch of `count` images with its losses and its probabilities beside the truth."""
        for name, value in {**losses, "images": losses["loss"].new_tensor(1.0)}.items():
            amount = value.detach().float() * count
            self.sums[name] = self.sums[name] + amount if name in self.sums else amount
        self.tally.add(scored)

    def mark(self) -> Mark:
        """Remember how much was collected so far."""
        return Mark(dict(self.sums), self.tally.mark())

    def back_to(self, mark: Mark) -> None:
        """Forget what was collected after `mark`."""
        self.sums = dict(mark.sums)
        self.tally.back_to(mark.rows)

    def clear(self) -> None:
        """Begin a new epoch."""
        self.sums, self.tally = {}, Tally(self.tally.metrics)

    def losses(self) -> dict[str, float]:
        """Mean of each loss over the images; empty before the first batch."""
        images = float(self.sums.get("images", torch.tensor(0.0)))
        return {name: float(value) / images for name, value in self.sums.items() if name != "images" and images}

    def averages(self) -> dict[str, float]:
        """Mean of each loss, then the headline value of each metric."""
        return {**self.losses(), **self.tally.averages()}

    def state(self) -> dict[str, Tensor]:
        """Everything collected so far, by name, as it stands in a checkpoint."""
        return {**self.tally.state(), **{f"{SUMS}{name}": value for name, value in self.sums.items()}}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up what `state` gave."""
        self.sums = {name.removeprefix(SUMS): value for name, value in state.items() if name.startswith(SUMS)}
        self.tally.restore({name: value for name, value in state.items() if not name.startswith(SUMS)})
