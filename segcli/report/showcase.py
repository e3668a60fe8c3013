"""Draw the best and the worst cases of an evaluation for a report.

They are known only when all cases are scored. Until then the predictions of a few candidates are kept at a small size.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from segcli.core.types import Array, Mask
from segcli.data.cache import Resizing
from segcli.data.classes.painting import compared
from segcli.data.loader import EvaluationLoader
from segcli.data.planes import plane_name
from segcli.data.samples import Case, resize
from segcli.engine.assembly import Assembly, assemble, load_weights
from segcli.engine.checkpoint import read_checkpoint
from segcli.engine.inference.evaluator import evaluate
from segcli.engine.runtime import out_of_memory
from segcli.engine.training.panels import panel_size, side_by_side, still_of
from segcli.metrics import Metric, Scored
from segcli.nn.shards import is_shard
from segcli.report.pictures import CasePicture

__all__ = ["Showcase", "Shown", "per_case", "shown_again"]

KEPT = 1024
"""Pixels of the longer side of a prediction that is kept."""
DRAWN = 288
"""Pixels of the longer side of a picture: with noise in every pixel, 240 KiB as PNG."""
PANELS = ("image", "truth", "prediction")


@dataclass(frozen=True)
class Shown:
    """Pictures of the worst and the best cases."""

    worst: list[CasePicture]
    """Worst cases, the worst first."""
    best: list[CasePicture]
    """Best cases, the best first; no case is in both lists."""


@dataclass(frozen=True)
class _Kept:
    """Candidate for the report; of a volume only the slice that is shown."""

    position: int
    value: float
    case: Case
    answer: Array
    depth: int | None
    depths: int


class Showcase:
    """Receives every case and keeps the worst and the best.

    Args:
        parts: Parts of the run; its first metric orders the cases.
        count: Number of worst cases, and of best cases.
    """

    def __init__(self, parts: Assembly, count: int) -> None:
        self.parts = parts
        self.count = count
        self.sign = 1.0 if parts.metrics[0].higher_is_better else -1.0
        self.worst: list[_Kept] = []
        self.best: list[_Kept] = []
        self.heard = 0

    def hear(self, case: Case, probs: Tensor, scored: Scored) -> None:
        """Receive a case with its probabilities `(K, *S)`.

        Cases with an undefined score are left out, and so are cases with one class `(K)` for the whole image.
        """
        if probs.ndim < 3:
            return
        position, value = self.heard, per_case(self.parts.metrics[0], scored)
        self.heard += 1
        if math.isnan(value):
            return
        is_bad = len(self.worst) < self.count or self._goodness(value) < self._goodness(self.worst[-1].value)
        is_good = len(self.best) < self.count or self._goodness(value) > self._goodness(self.best[-1].value)
        if not (is_bad or is_good):
            return
        kept = self._kept(position, value, case, probs, scored)
        if is_bad:
            self.worst = sorted([*self.worst, kept], key=self._order)[: self.count]
        if is_good:
            self.best = sorted([*self.best, kept], key=self._reverse_order)[: self.count]

    @property
    def kept(self) -> list[_Kept]:
        """List the candidates so far."""
        return [*self.worst, *self.best]

    def join(self, kept: Iterable[_Kept], position_of: Mapping[Case, int]) -> None:
        """Choose from the candidates of all processes, of which each has heard some of the cases.

        Args:
            kept: `kept` of each process, one after another.
            position_of: Position of each case among all cases.
        """
        every = list({case.position: case for case in (_moved(each, position_of) for each in kept)}.values())
        self.worst = sorted(every, key=self._order)[: self.count]
        self.best = sorted(every, key=self._reverse_order)[: self.count]

    def shown(self) -> Shown:
        """Draw the cases that were kept; if they are few, the worse half is shown as the worst."""
        kept = sorted({entry.position: entry for entry in [*self.worst, *self.best]}.values(), key=self._order)
        worst, best = self.worst, self.best
        if len(kept) < len(worst) + len(best):
            half = -(-len(kept) // 2)
            worst, best = kept[:half], kept[half:][::-1]
        return Shown([self._drawn(entry) for entry in worst], [self._drawn(entry) for entry in best])

    def _goodness(self, value: float) -> float:
        return self.sign * value

    def _order(self, kept: _Kept) -> tuple[float, int]:
        return self._goodness(kept.value), kept.position

    def _reverse_order(self, kept: _Kept) -> tuple[float, int]:
        return -self._goodness(kept.value), kept.position

    def _kept(self, position: int, value: float, case: Case, probs: Tensor, scored: Scored) -> _Kept:
        depth, depths = None, 1
        if probs.ndim == 4:
            depth, depths = _depth(scored), probs.shape[1]
            probs = probs[:, depth]
        answer = self.parts.task.decide(probs.float().cpu().numpy(), self.parts.run.inference.threshold)
        small = resize(answer, panel_size(answer.shape[:2], KEPT), labels=True)
        return _Kept(position, value, case, small, depth, depths)

    def _drawn(self, kept: _Kept) -> CasePicture:
        task = self.parts.task
        still = still_of(self.parts, kept.case, depth=kept.depth, largest=KEPT)
        masks = _compared_masks(still.truth, kept.answer, exclude=task.target == "classes")
        photo = np.where(still.valid[:, :, None], still.photo, 0)
        right, missed, false = (mask & still.valid for mask in masks)
        mistakes = compared(photo, right, missed, false, task.mistakes)
        pictures = dict(zip(PANELS, side_by_side(task, still, kept.answer), strict=True)) | {"mistakes": mistakes}
        size = _drawn_size(mistakes.shape[:2], self.parts.layout.spacing(kept.case))
        upright = self.parts.layout.is_upright(kept.case)
        place = "" if kept.depth is None else plane_name(0, kept.depth, kept.depths, upright=upright)
        return CasePicture(
            name=self.parts.layout.shown(kept.case),
            value=kept.value,
            panels={name: _turned(_reduced(picture, size), upright=upright) for name, picture in pictures.items()},
            place=place,
        )


def _moved(kept: _Kept, position_of: Mapping[Case, int]) -> _Kept:
    return replace(kept, position=position_of[kept.case])


def shown_again(parts: Assembly, checkpoint: Path, cases: Sequence[Case]) -> Shown:
    """Predict a few cases with the weights of a checkpoint and draw them; the network keeps these weights.

    A network of which this process has only a share is made again, as a whole.

    Raises:
        SegcliError: The checkpoint or a file cannot be read, or the device fails.
    """
    if any(map(is_shard, parts.network.parameters())):
        parts = assemble(parts.run)
    load_weights(parts.network, read_checkpoint(checkpoint), checkpoint)
    showcase = Showcase(parts, -(-len(cases) // 2))
    loader = EvaluationLoader(
        Resizing(parts.layout, parts.pipeline),
        parts.pipeline,
        cases,
        [parts.pipeline.network_size(parts.layout.size(case)) for case in cases],
        batch_size=1,
        num_workers=0,
        pin_memory=False,
    )
    try:
        evaluate(parts, parts.network, loader, on_image=showcase.hear)
    except (RuntimeError, MemoryError) as error:
        raise out_of_memory(error) or loader.explained(error) or error from error
    finally:
        loader.close()
    return showcase.shown()


def per_case(metric: Metric, scored: Scored) -> float:
    """Compute a metric for one case, averaged over classes as in tables; NaN where it is not defined."""
    return float(metric.over_classes(metric.statistics(scored).cpu().numpy())[0])


def _depth(scored: Scored) -> int:
    """Find the slice of a volume with the most mistakes, or else with the largest true mask."""
    for voxels in ((scored.found ^ scored.truth) & scored.valid, scored.truth & scored.valid):
        slices = voxels[0].sum(dim=(0, 2, 3))
        if bool(slices.any()):
            return int(slices.argmax())
    return len(slices) // 2


def _compared_masks(truth: Array, found: Array, *, exclude: bool) -> tuple[Mask, Mask, Mask]:
    """Find the pixels of a prediction `(H, W)` or `(H, W, K)` that are right, missed and false.

    Where classes exclude each other, every wrong pixel is marked as missed, and no other pixel is marked.
    """
    if exclude:
        none = np.zeros(truth.shape, bool)
        return none, truth != found, none
    there, seen = truth > 0, found > 0
    masks = there & seen, there & ~seen, seen & ~there
    axes = tuple(range(2, truth.ndim))
    right, missed, false = (np.any(mask, axis=axes) for mask in masks)
    return right, missed, false


def _drawn_size(size: tuple[int, ...], spacing: tuple[float, ...] | None) -> tuple[int, ...]:
    """Compute the size of a picture with square pixels, if the spacing is known.

    Example:
        >>> _drawn_size((40, 40), (1.0, 2.0, 1.0)), _drawn_size((1000, 500), None)
        ((80, 40), (288, 144))
    """
    if spacing is None:
        return panel_size(size, DRAWN)
    lengths = [length * step / min(spacing[-2:]) for length, step in zip(size, spacing[-2:], strict=True)]
    return panel_size(tuple(round(length) for length in lengths), DRAWN)


def _turned(picture: Array, *, upright: bool) -> Array:
    """Turn a slice of a patient so that the head or the front is at the top."""
    return np.ascontiguousarray(np.rot90(picture)) if upright else picture


def _reduced(picture: Array, size: tuple[int, ...]) -> Array:
    """Resize a picture: averages of areas when it shrinks, repeated pixels when it grows."""
    if picture.shape[0] >= size[0] and picture.shape[1] >= size[1]:
        return resize(picture, size)
    stretched: Array = cv2.resize(picture, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
    return stretched
