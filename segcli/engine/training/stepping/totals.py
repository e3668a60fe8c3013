"""Loss sums and metric statistics of the current epoch, collected without waiting for the device."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segcli.engine.inference.scores import Tally
from segcli.metrics import Metric, Scored

__all__ = ["Mark", "Totals", "joined"]

SUMS = "sums/"
"""Prefix of the loss sums in the saved state of an epoch."""


@dataclass(frozen=True)
class Mark:
    """Position in the collected data at one moment, to go back to."""

    sums: dict[str, Tensor]
    rows: dict[str, int]


class Totals:
    """Sums of losses and statistics of metrics over the batches of an epoch.

    Args:
        metrics: Metrics that are computed in training.
    """

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.sums: dict[str, Tensor] = {}
        self.tally = Tally(metrics)

    def add(self, losses: dict[str, Tensor], scored: Scored, count: int) -> None:
        """Add a batch of `count` images with its losses, and its predictions with the truth."""
        self.add_losses(losses, count)
        self.tally.add(scored)

    def add_losses(self, losses: dict[str, Tensor], count: int) -> None:
        """Add the losses of a batch of `count` images."""
        for name, value in {**losses, "images": losses["loss"].new_ones(())}.items():
            amount = value.detach().float() * count
            self.sums[name] = self.sums[name] + amount if name in self.sums else amount

    def mark(self) -> Mark:
        """Mark the current position."""
        return Mark(dict(self.sums), self.tally.mark())

    def back_to(self, mark: Mark) -> None:
        """Remove everything that was added after `mark`."""
        self.sums = dict(mark.sums)
        self.tally.back_to(mark.rows)

    def clear(self) -> None:
        """Remove everything, for a new epoch."""
        self.sums, self.tally = {}, Tally(self.tally.metrics)

    def losses(self) -> dict[str, float]:
        """Compute the mean of each loss over the images, by name; empty before the first batch."""
        images = float(self.sums.get("images", torch.tensor(0.0)))
        names = sorted(self.sums.keys() - {"images"})  # a checkpoint keeps no order
        return {name: float(self.sums[name]) / images for name in names if images}

    def averages(self) -> dict[str, float]:
        """Compute the mean of each loss, then the headline value of each metric."""
        return {**self.losses(), **self.tally.averages()}

    def state(self) -> dict[str, Tensor]:
        """Return all collected tensors by their names in a checkpoint."""
        return {**self.tally.state(), **{f"{SUMS}{name}": value for name, value in self.sums.items()}}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore the tensors that `state` returned."""
        self.sums = {name.removeprefix(SUMS): value for name, value in state.items() if name.startswith(SUMS)}
        self.tally.restore({name: value for name, value in state.items() if not name.startswith(SUMS)})

    def joined(self, states: Sequence[dict[str, Tensor]]) -> "Totals":
        """Join what several processes have collected, as `state` returns it."""
        whole = Totals(self.tally.metrics)
        whole.restore(joined(states))
        return whole


def joined(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Join what several processes have collected: loss sums are added, statistics of images follow each other."""
    names = dict.fromkeys(name for state in states for name in state)
    found = {name: [state[name] for state in states if name in state] for name in names}
    return {
        name: torch.stack(values).sum(0) if name.startswith(SUMS) else torch.cat(values)
        for name, values in found.items()
    }
