"""Image, truth and prediction of a few validation images, side by side."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from segcli.core.types import Array, Mask
from segcli.data.classes.lettering import legend_below
from segcli.data.classes.painting import overlay
from segcli.data.images import as_rgb
from segcli.data.samples import Case, resize
from segcli.engine.assembly import Assembly
from segcli.tasks import Task

__all__ = ["Panels", "Still", "panel_size", "picked", "side_by_side", "still_of"]

COUNT = 4
LARGEST = 512
"""Longer side of a panel in pixels; larger images are downsampled."""
GAP = 4
GREY = 128
"""Grey value between panels."""
OUTSIDE = 64
"""Grey value of mask pixels that do not count, such as those outside the field of view."""


def picked(cases: Sequence[Case], count: int = COUNT) -> list[Case]:
    """Choose a few cases, evenly spaced because neighbours are often frames of one sequence.

    Example:
        >>> picked(range(10))
        [0, 3, 6, 9]
    """
    if len(cases) <= count:
        return list(cases)
    return [cases[round(position * (len(cases) - 1) / (count - 1))] for position in range(count)]


@dataclass(frozen=True)
class Still:
    """Image, truth and valid pixels of a case at panel size; they never change during a training."""

    photo: Array
    truth: Array
    valid: Mask
    depth: int | None
    """Index of the slice of a volume that is shown; None in 2D."""


class Panels:
    """Keeps the last prediction of each chosen image at panel size, until it is drawn or replaced.

    Args:
        parts: The run's parts.
        cases: Validation cases.
    """

    def __init__(self, parts: Assembly, cases: Sequence[Case]) -> None:
        self.parts = parts
        self.chosen = {case.id: case for case in picked(cases)}
        self.stills: dict[str, Still] = {}
        self.probs: dict[str, Tensor] = {}

    def wants(self, case: Case) -> bool:
        """Tell if the image of this case will be shown."""
        return case.id in self.chosen

    def hear(self, case: Case, probs: Tensor) -> None:
        """Keep the probabilities `(K, *S)` of a chosen image, without waiting for the device."""
        if case.id not in self.stills:
            self.stills[case.id] = still_of(self.parts, case)
        still = self.stills[case.id]
        flat = probs if still.depth is None else probs[:, still.depth]
        if flat.shape[1:] != still.truth.shape[:2]:
            flat = F.interpolate(flat[None], size=still.truth.shape[:2], mode="nearest-exact")[0]
        self.probs[case.id] = flat

    def join(self, others: Iterable[dict[str, Tensor]]) -> None:
        """Take over the predictions of other processes, by the names of their cases."""
        for name, probs in (each for other in others for each in other.items()):
            if name not in self.stills:
                self.stills[name] = still_of(self.parts, self.chosen[name])
            self.probs[name] = probs

    def drawn(self) -> dict[str, Array]:
        """Draw image, truth and prediction, `(H, 3 W + gaps, 3)`, of each image with a prediction."""
        limit = self.parts.run.inference.threshold
        pictures = {}
        for name, probs in sorted(self.probs.items()):
            still = self.stills[name]
            found = self.parts.task.decide(probs.float().cpu().numpy(), limit)
            photo, truth, prediction = side_by_side(self.parts.task, still, found)
            gap = np.full((len(photo), GAP, 3), GREY, np.uint8)
            pictures[name] = np.concatenate([photo, gap, truth, gap, prediction], axis=1)
        return pictures

    def overlays(self) -> dict[str, Array]:
        """Draw truth (left) and prediction (right) as overlays on each image with a prediction, and a legend below."""
        task, limit = self.parts.task, self.parts.run.inference.threshold
        pictures = {}
        for name, probs in sorted(self.probs.items()):
            still = self.stills[name]
            found = task.decide(probs.float().cpu().numpy(), limit)
            gap = np.full((len(still.photo), GAP, 3), GREY, np.uint8)
            (truth, known), (colours, shown) = task.tinted(still.truth), task.tinted(found)
            sides = [overlay(still.photo, truth, known & still.valid), gap, overlay(still.photo, colours, shown)]
            pictures[name] = legend_below(np.concatenate(sides, axis=1), task.classes, task.colors)
        return pictures


def still_of(parts: Assembly, case: Case, *, depth: int | None = None, largest: int = LARGEST) -> Still:
    """Read a case from its file, so that it is shown as stored and not as normalised for the network.

    Args:
        parts: The run's parts.
        case: A case with its truth.
        depth: Slice of a volume; the slice with the most foreground when left out.
        largest: Longest side in pixels.
    """
    sample = parts.layout.read(case)
    maps = {"valid": np.ones(sample.size, np.uint8), **sample.maps}
    truth = parts.task.answer(maps[parts.task.output])
    image, valid = sample.image, maps["valid"]
    if sample.image.ndim == 4:
        if depth is None:
            depth = int((truth > 0).reshape(len(truth), -1).sum(axis=1).argmax())
        image, truth, valid = image[depth], truth[depth], valid[depth]
    size = panel_size(truth.shape[:2], largest)
    return Still(
        photo=resize(as_rgb(image), size),
        truth=resize(truth, size, labels=True),
        valid=resize(valid, size, labels=True) > 0,
        depth=depth,
    )


def side_by_side(task: Task, still: Still, found: Array) -> tuple[Array, Array, Array]:
    """Draw image, truth and prediction, each `(H, W, 3)`; pixels that do not count are dark or grey."""
    counts = still.valid[:, :, None]
    truth, prediction = (
        np.where(counts, task.painted(mask), OUTSIDE).astype(np.uint8) for mask in (still.truth, found)
    )
    return np.where(counts, still.photo, still.photo // 3), truth, prediction


def panel_size(size: tuple[int, ...], largest: int = LARGEST) -> tuple[int, ...]:
    """Return the size, or a smaller one of the same aspect ratio if it is too large.

    Example:
        >>> panel_size((300, 400)), panel_size((2000, 1000))
        ((300, 400), (512, 256))
    """
    scale = min(largest / max(size), 1.0)
    return tuple(max(round(length * scale), 1) for length in size)
