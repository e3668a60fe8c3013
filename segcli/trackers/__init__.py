"""Trackers, one file each: they send the values of a run to other tools. This file holds the contract of all."""

from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from segcli.core.types import Array, ConfigModel

__all__ = ["Tracker"]


class Tracker:
    """Records a run. A tracker implements the methods that its tool supports; all others do nothing.

    Args:
        folder: Run folder.
        first_step: First epoch that will be recorded; values that an interrupted run recorded from this epoch on are
            discarded. None adds test scores to a finished run and discards nothing.
        config: The tracker's `Config` with its keys.
    """

    Config: ClassVar[type[ConfigModel]] = ConfigModel
    """Keys of `logging.trackers`."""
    begins_anew: ClassVar[bool] = False
    """True if each process begins a record of its own, so that a resumed run repeats the scalars of earlier epochs."""

    def __init__(self, folder: Path, *, first_step: int | None, config: Any = None) -> None: ...

    def begin(self, name: str, config: dict[str, Any]) -> None:
        """Receive the name of the run and its resolved config, before the first value of a training."""

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Record values of an epoch by tag, such as `train/loss`."""

    def comparisons(self, values: dict[str, dict[str, float]], step: int) -> None:
        """Record one chart per tag with several lines, by the name of the line, such as `train` and `val`."""

    def images(self, pictures: dict[str, Array], step: int) -> None:
        """Record 8-bit RGB images `(H, W, 3)` by tag."""

    def histograms(self, values: dict[str, Array], step: int) -> None:
        """Record the distribution of values `(N,)` by tag."""

    def graph(self, network: nn.Module, image: Tensor) -> None:
        """Record the structure of a network in evaluation mode, for an input `(1, C, *S)`."""

    def hyperparameters(self, values: dict[str, str | float | bool], metrics: dict[str, float], step: int) -> None:
        """Record hyperparameters by dotted key and final metrics by tag, at the end of a training."""

    def test_scores(self, values: dict[str, float], step: int) -> None:
        """Record test scores of an epoch's checkpoint by tag; they replace older test scores of the same epoch."""

    def close(self) -> None:
        """Write all values that are still in memory."""
