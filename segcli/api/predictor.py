"""Prediction of arrays with a trained run."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from segcli.api.named import AnyPath, AnyRun, as_path, located, paths, refuse_wrong_share
from segcli.commands.arrays import ArrayPredictor, Prediction
from segcli.core.errors import ConfigError
from segcli.engine.events import Silent
from segcli.engine.export.formats import FORMATS
from segcli.engine.inference.predictor import Overrides

if TYPE_CHECKING:
    from segcli.engine.events import Listener
    from segcli.engine.inference.predictor import Predictor as Engine

__all__ = ["Predictor"]

SMALLEST_TILE = 32


class Predictor:
    """Predicts arrays as `segcli predict` predicts files, to the same bits.

    A predictor keeps its network in memory. It may be used by several threads, which take turns.

    Args:
        source: Name or folder of a run, a checkpoint or ONNX file, or the loaded or trained run; several of them are
            averaged; None is the newest run.
        checkpoint: `best`, `last` or the number of an epoch; default: the best.
        threshold: Smallest probability of the foreground; default: the value of the run.
        tta: Test-time augmentation on or off; default: the value of the run.
        tile: Side of the tiles into which larger images are cut; default: the value of the run.
        fov: `auto` estimates the field of view of photographs, `none` takes the whole image; default: the value of
            the run.
        model_files: Python files of the user's own code that may run.
        listener: Receives notices.

    Raises:
        ConfigError: An option is wrong, or the networks do not fit together.
        CheckpointError: There is no such run or file, or it cannot be used.
        DeviceError: The device of the run does not exist.
    """

    def __init__(
        self,
        source: AnyRun | Sequence[AnyRun] = None,
        *,
        checkpoint: str | int | None = None,
        threshold: float | None = None,
        tta: bool | None = None,
        tile: int | None = None,
        fov: Literal["auto", "none"] | None = None,
        model_files: Sequence[AnyPath] = (),
        listener: Listener | None = None,
    ) -> None:
        refuse_wrong_share("threshold", threshold)
        if tile is not None and tile < SMALLEST_TILE:
            raise ConfigError(f"`tile={tile}` is too small", hint=f"give {SMALLEST_TILE} or more")
        if fov not in ("auto", "none", None):
            raise ConfigError(f"`fov={fov!r}` is not `auto`, `none` or None", hint="give a mask to `predict` instead")
        sources: Sequence[AnyRun] = [source] if isinstance(source, str) or not isinstance(source, Sequence) else source
        if not sources:
            raise ConfigError("no network to predict with", hint="name a run")
        overrides = Overrides(threshold=threshold, tile=tile, tta=tta)
        members = _opened(sources, checkpoint, overrides, model_files, listener or Silent())
        self._predictor = ArrayPredictor(members, fov=fov)
        self._turn = threading.Lock()

    @property
    def name(self) -> str:
        """Name of the run."""
        return self._predictor.parts.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes or structures, in the order of the channels of `Prediction.probabilities`."""
        return self._predictor.parts.task.classes

    @property
    def threshold(self) -> float:
        """Smallest probability of the foreground; without effect where classes exclude each other."""
        return self._predictor.parts.inference.threshold

    def predict(self, image: Any, *, fov: Any = None) -> Prediction:
        """Predict an image or a volume.

        Args:
            image: Array `(H, W)`, `(H, W, C)`, `(D, H, W)` or `(D, H, W, C)` with the values of the stored images, such
                as uint8 from 0 to 255 for 8-bit files. It is not changed.
            fov: Mask `(H, W)` of the field of view, outside of which the mask is empty; default: the setting of
                the predictor.

        Raises:
            DataError: The array does not fit the network, or the mask does not fit the image.
            DeviceError: The memory of the device is exhausted.
        """
        with self._turn:
            return self._predictor.predict(image, fov)

    def __repr__(self) -> str:
        return f"Predictor({self.name!r}, classes={self.classes})"


def _opened(
    sources: Sequence[AnyRun],
    checkpoint: str | int | None,
    overrides: Overrides,
    model_files: Sequence[AnyPath],
    listener: Listener,
) -> list[Engine]:
    """Open exported files, which need no PyTorch, and runs."""
    files = [as_path(each) for each in sources if isinstance(each, str | os.PathLike)]
    exports = [file for file in files if file.suffix.lower() in FORMATS]
    if exports:
        from segcli.engine.inference.exported_predictor import of_exported

        if len(exports) < len(sources) or checkpoint is not None or model_files:
            raise ConfigError(
                f"`{exports[0]}` is the network: `checkpoint`, `model_files` and runs cannot be combined with it",
                hint="give exported files alone, or runs alone",
            )
        return [of_exported(file, overrides) for file in exports]

    from segcli.api.callers_state import callers_state
    from segcli.config.own_code import PREDICTING, CodePermit
    from segcli.engine.inference.checkpoint_predictor import of_checkpoint

    permit = CodePermit(paths(model_files), listener.notice, PREDICTING)
    with callers_state():
        members = [of_checkpoint(located(each, checkpoint).for_prediction(), overrides, permit) for each in sources]
    permit.refuse_unused()
    for text in dict.fromkeys(each.notice for each in members if each.notice is not None):
        listener.notice(text)
    return members
