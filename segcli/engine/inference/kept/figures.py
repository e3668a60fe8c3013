"""Figures of the images of an evaluation, which are averaged in the end; they take a few KiB for each image."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from segcli.core.types import Array
from segcli.data.samples import Case
from segcli.engine.inference.kept.columns import Columns
from segcli.engine.inference.kept.histograms import Histograms
from segcli.engine.inference.scores import Tally
from segcli.metrics import HistogramMetric, Metric

if TYPE_CHECKING:
    from segcli.engine.world import World

__all__ = ["PROBS", "Figures"]

PROBS = "probs"
"""Name of the probabilities of whole images."""
LOSS, STATISTICS, WHOLE = "loss/", "statistics/", "whole/"


class Figures:
    """Collects the figures of images.

    Args:
        metrics: Metrics whose statistics are collected.
    """

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.cases: list[Case] = []
        self.matrix: Array | None = None
        """Sum of the confusion matrices; None if classes do not exclude each other."""
        self.columns = Columns()
        self.histograms: dict[str, Histograms] = {}
        """Histograms in little memory, in place of large statistics, by the name of these."""
        large: dict[str, list[HistogramMetric]] = {}
        for metric in metrics:
            if isinstance(metric, HistogramMetric):
                large.setdefault(metric.statistics_name, []).append(metric)
        for name, kinds in large.items():
            self.histograms[name] = Histograms(kinds)

    def add(
        self,
        case: Case,
        *,
        losses: Mapping[str, Array],
        statistics: Mapping[str, Array],
        matrix: Array | None,
        whole: Mapping[str, Array],
    ) -> None:
        """Add an image.

        Args:
            case: The image.
            losses: Loss and its parts.
            statistics: Statistics `(1, K, n)` of metrics, by their name.
            matrix: Confusion matrix `(K, K)`, if classes exclude each other.
            whole: Probabilities `(1, K)` and truth of an image that has one class; empty for masks.
        """
        self.cases.append(case)
        for name, histograms in self.histograms.items():
            histograms.add(statistics[name], case.group)
        small = {name: rows for name, rows in statistics.items() if name not in self.histograms}
        self.columns.append(
            {
                **{f"{LOSS}{name}": value[None] for name, value in losses.items()},
                **{f"{STATISTICS}{name}": rows for name, rows in small.items()},
                **{f"{WHOLE}{name}": rows for name, rows in whole.items()},
            }
        )
        if matrix is not None:
            self.matrix = np.zeros_like(matrix) if self.matrix is None else self.matrix
            self.matrix += matrix

    def shared(self, world: "World", positions: Sequence[int]) -> "Figures":
        """Give the figures to the other processes and take theirs; returns those of all, in the order of the cases.

        Args:
            world: The processes.
            positions: Position in the split of each image that this process scored.
        """
        every = world.gathered((positions, self))
        order = np.argsort([position for places, _ in every for position in places])
        others, whole = [figures for _, figures in every], Figures(())
        cases = [case for figures in others for case in figures.cases]
        whole.cases = [cases[index] for index in order]
        whole.columns = Columns.joined([figures.columns for figures in others], order)
        for name in self.histograms:
            whole.histograms[name] = Histograms.joined([figures.histograms[name] for figures in others], order)
        matrices = [figures.matrix for figures in others if figures.matrix is not None]
        whole.matrix = np.sum(matrices, axis=0) if matrices else None
        return whole

    def tally(self, tally: Tally) -> Tally:
        """Put the statistics into an empty tally; returns it."""
        if self.cases:
            tally.restore({name: self._tensor(STATISTICS, name) for name in self.columns.names(STATISTICS)})
            tally.histograms = self.histograms
        return tally

    def losses(self) -> dict[str, Tensor]:
        """Return the losses of all images, `(N)` each."""
        return {name: self._tensor(LOSS, name) for name in self.columns.names(LOSS)}

    @property
    def whole(self) -> dict[str, Array]:
        """Return probabilities and truth `(N, ...)` of images that have one class; empty for masks."""
        return {name: self.columns[f"{WHOLE}{name}"] for name in self.columns.names(WHOLE)}

    def _tensor(self, kind: str, name: str) -> Tensor:
        return torch.from_numpy(self.columns[f"{kind}{name}"])
