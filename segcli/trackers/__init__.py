"""Trackers, one file each: where the figures of a run go besides its own folder. The contract of all stands here."""

from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from segcli.core.types import Array, ConfigModel

__all__ = ["Tracker"]


class Tracker:
    """Records a run. A tracker implements what its place can show; the rest does nothing.

    Args:
        folder: Run folder.
        first_step: Epoch from which values will come; whatever an interrupted run recorded from there on is void. None
            adds test scores to a run that is over, and voids nothing.
        config: Keys of the tracker, of its `Config`.
    """

    Config: ClassVar[type[ConfigModel]] = ConfigModel
    """Keys of `logging.trackers`."""

    def __init__(self, folder: Path, *, first_step: int | None, config: Any = None) -> None: ...

    def begin(self, name: str, config: dict[str, Any]) -> None:
        """Hear the name of the run and its resolved config, before the first value of a training."""

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Record values by tag, such as `train/loss`, at an epoch."""

    def comparisons(self, values: dict[str, dict[str, float]], step: int) -> None:
        """Record several values by the name of their line, such as `train` and `val`, in one chart per tag."""

    def images(self, pictures: dict[str, Array], step: int) -> None:
        """Record RGB pictures `(H, W, 3)` of 8 bits by tag."""

    def histograms(self, values: dict[str, Array], step: int) -> None:
        """Record the distribution of values `(N,)` by tag."""

    def graph(self, network: nn.Module, image: Tensor) -> None:
        """Record the structure of a network in evaluation mode, for an input `(1, C, *S)`."""

    def hyperparameters(self, values: dict[str, str | float | bool], metrics: dict[str, float], step: int) -> None:
        """Record what was chosen, by dotted key, and what came of it, by tag; at the end of a training."""

    def test_scores(self, values: dict[str, float], step: int) -> None:
        """Record scores on the test split by tag, of the checkpoint of an epoch; they replace older ones of it."""

    def close(self) -> None:
        """Write out what is left."""
