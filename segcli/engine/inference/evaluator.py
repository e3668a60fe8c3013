"""Evaluation: scores a network on whole images, each at its stored size."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from segcli.core.types import Array, Batch, Outputs
from segcli.data.field_of_view import Field
from segcli.data.loader import EvaluationLoader, Loaded
from segcli.data.samples import Case, Geometry
from segcli.engine.assembly import Assembly
from segcli.engine.inference.kept.figures import PROBS, Figures
from segcli.engine.inference.scores import Tally, by_class, per_image
from segcli.engine.inference.torch_arrays import resized
from segcli.metrics import Scored, ScoredClasses
from segcli.nn.shared_probs import sharing

if TYPE_CHECKING:
    from segcli.engine.world import World

__all__ = ["Answer", "Evaluation", "evaluate"]

MOST_WAITING = 16
"""Largest number of images whose figures stay on a GPU, so that it is waited for once for all of them."""


@dataclass
class Evaluation:
    """Holds the results of one pass over a split."""

    cases: list[Case]
    losses: dict[str, float]
    """`loss` and each of its parts, averaged over images."""
    tally: Tally
    confusion: Array | None = None
    """Confusion matrix `(K, K)` of pixels (or images), true class by predicted class; only if classes exclude each
    other."""
    answers: list["Answer"] = field(default_factory=list)
    """Predictions of cases that have one class for the whole image."""
    whole: "Evaluation | None" = None
    """Results of whole samples if cases are crops of them; a sample has the mean probabilities of its crops."""
    word: str | None = None
    """Word for such a whole, for example `sample`."""

    def per_class(self, classes: Sequence[str]) -> dict[str, dict[str, float]]:
        """Compute the main value of each metric for each class, `{metric: {class: value}}`; empty for a single mask."""
        if len(classes) == 1 or not self.cases:
            return {}
        return {
            metric.name: dict(zip(classes, by_class(metric, self.tally.statistics(metric)).tolist(), strict=True))
            for metric in self.tally.metrics
            if not metric.by_frequency
        }

    def remembered(self, count: int) -> dict[str, Any]:
        """Summarise the best validation for the run: names of the best and worst cases, and the confusion matrix.

        Args:
            count: Number of the best cases, and of the worst.
        """
        if not self.tally.metrics:
            return {}
        metric = self.tally.metrics[0]
        values = per_image(metric, self.tally.statistics(metric)) * (1 if metric.higher_is_better else -1)
        order = [int(index) for index in np.argsort(values, kind="stable") if not np.isnan(values[index])]
        chosen = order if len(order) <= 2 * count else [*order[:count], *order[-count:]]
        return {
            "ranked_by": metric.name,
            "cases": [self.cases[index].id for index in chosen],
            "confusion": None if self.confusion is None else self.confusion.tolist(),
        }

    def averages(self) -> dict[str, float]:
        """Return `val_loss`, its parts and the main value of each metric, by the names that `monitor` uses."""
        values = {**self.losses, **self.tally.averages()}
        if self.whole is not None:
            values |= {f"{self.word}_{name}": value for name, value in self.whole.tally.averages().items()}
        return {f"val_{name}": value for name, value in values.items()}


@dataclass(frozen=True)
class Answer:
    """Holds the class probabilities of a whole image, and its true class."""

    probs: Array
    """`(K)`."""
    truth: int
    parts: int = 1
    """Number of crops whose probabilities were averaged."""

    @property
    def found(self) -> int:
        """Return the most probable class; of equals, the first."""
        return int(self.probs.argmax())


@dataclass(frozen=True)
class _Image:
    """Holds everything that is averaged over images, of one image; tensors stay on the device."""

    case: Case
    losses: dict[str, Tensor]
    statistics: dict[str, Tensor]
    """Statistics `(1, K, n)` of metrics, by their name."""
    matrix: Tensor | None
    """Confusion matrix `(K, K)`, if classes exclude each other."""
    probs: Tensor | None
    """Probabilities `(1, K)` of a whole image; None for masks."""
    truth: Batch
    """True class of a whole image; empty for masks."""


class _Scores:
    """Collects losses, statistics and answers over the images of a split, one by one.

    Args:
        parts: Parts of the run.
        spacing_of: Gives the millimetres between the pixels of a case.
        field_of: Gives the field of view of a case.
    """

    def __init__(
        self,
        parts: Assembly,
        spacing_of: Callable[[Case], tuple[float, ...] | None],
        field_of: Callable[[Case], Field | None],
    ) -> None:
        self.parts = parts
        self.field_of = field_of
        self.spacing_of = spacing_of
        self.tally = Tally(parts.metrics)
        self.figures = Figures(parts.metrics)
        self.waiting: list[_Image] = []
        """Images whose figures are still on the device."""
        self.most_waiting = 1 if parts.device.type == "cpu" else MOST_WAITING

    def add(self, case: Case, outputs: Outputs, batch: Batch, geometry: Geometry, stored: dict[str, Array]) -> Scored:
        """Score one image.

        Args:
            case: The image.
            outputs: Raw outputs for it, each `(1, K, *S)` or `(1, K)`.
            batch: Targets at the size that the network sees, for the loss.
            geometry: Way back to the stored size.
            stored: Truth at the stored size, for the metrics.

        Returns:
            Probabilities `(1, K, *S)` beside the truth, at the stored size.
        """
        parts, task = self.parts, self.parts.task
        if parts.device.type == "cpu":
            outputs = {name: sharing(values.contiguous()) for name, values in outputs.items()}
        losses = parts.loss(outputs, batch)
        presence, logits = task.presence(outputs), outputs[task.output]
        if task.has_pixels:
            logits = geometry.restore(logits, resized)
        probs = parts.cleaned(task.probabilities(logits, presence), self.field_of(case))
        truth = task.targets({name: torch.from_numpy(values)[None].to(parts.device) for name, values in stored.items()})
        scored = parts.scored(probs, truth, outputs=outputs, spacing=self.spacing_of(case))
        statistics, matrix = self.tally.of(scored), None if scored.matrix is None else scored.matrix[0]
        whole = (None, {}) if task.has_pixels else (probs, truth)
        self.waiting.append(_Image(case, losses, statistics, matrix, *whole))
        if len(self.waiting) == self.most_waiting:
            self.settle()
        return scored

    def settle(self) -> None:
        """Take the figures of the last images from the device."""
        for image in self.waiting:
            self.figures.add(
                image.case,
                losses=_on_host(image.losses),
                statistics=_on_host(image.statistics),
                matrix=None if image.matrix is None else image.matrix.cpu().numpy(),
                whole={} if image.probs is None else {PROBS: image.probs.cpu().numpy(), **_on_host(image.truth)},
            )
        self.waiting = []

    def evaluation(self) -> Evaluation:
        """Average the losses over images."""
        figures = self.figures
        return Evaluation(
            cases=figures.cases,
            losses={name: float(values.double().mean()) for name, values in figures.losses().items()},
            tally=figures.tally(self.tally),
            confusion=figures.matrix,
            answers=_answers(figures, self.parts.task.output),
            whole=_of_samples(figures, self.parts),
            word=self.parts.layout.whole,
        )


def _on_host(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}


def _answers(figures: Figures, output: str) -> list[Answer]:
    """List the answers for whole images; none for masks."""
    if not figures.whole:
        return []
    probs, truth = figures.whole[PROBS], figures.whole[output]
    return [Answer(each, int(true)) for each, true in zip(probs, truth, strict=True)]


def _of_samples(figures: Figures, parts: Assembly) -> Evaluation | None:
    """Score the mean probabilities of the crops of each sample; None if no case is a crop."""
    crops: dict[str, list[int]] = {}
    for index, case in enumerate(figures.cases):
        if case.part_of is not None and figures.whole:
            crops.setdefault(case.part_of, []).append(index)
    if not crops:
        return None
    of_samples, answers = Figures(parts.metrics), []
    tally = Tally(parts.metrics)
    for name, indices in crops.items():
        maps = {key: torch.from_numpy(rows[indices]).to(parts.device) for key, rows in figures.whole.items()}
        mean = maps.pop(PROBS)[:, None].mean(0)
        scored = parts.scored(mean, {key: rows[:1] for key, rows in maps.items()})
        assert isinstance(scored, ScoredClasses)
        case, matrix = replace(figures.cases[indices[0]], id=name), scored.matrix[0].cpu().numpy()
        of_samples.add(case, losses={}, statistics=_on_host(tally.of(scored)), matrix=matrix, whole={})
        answers.append(Answer(mean[0].cpu().numpy(), int(scored.true_class), len(indices)))
    return Evaluation(of_samples.cases, {}, of_samples.tally(tally), of_samples.matrix, answers)


def evaluate(
    parts: Assembly,
    network: nn.Module,
    batches: Iterable[Loaded],
    *,
    on_image: Callable[[Case, Tensor, Scored], None] | None = None,
    after_batch: Callable[[int], None] | None = None,
    spacing_of: Callable[[Case], tuple[float, ...] | None] | None = None,
    field_of: Callable[[Case], Field | None] | None = None,
    when_done: Callable[[], None] | None = None,
    world: "World | None" = None,
) -> Evaluation:
    """Predict and score every image.

    The loss is computed for each image by itself, so that no value depends on how images are batched. Metrics compare
    with the mask as stored: the padding of a prediction is cut off and its size restored; the truth is never resampled.

    Args:
        parts: Parts of the run.
        network: The network to score.
        batches: Whole images with their truth.
        on_image: Called with each case, its probabilities `(K, *S)` at the stored size, and prediction and truth.
        after_batch: Hears the number of images of each batch when it is done.
        spacing_of: Returns the millimetres between the pixels of a case; default: that of the layout.
        field_of: Returns the field of view of a case; nothing is predicted outside. Default: that of the parts.
        when_done: Called when this process has scored its images, before it exchanges results with others.
        world: Processes that share out the batches of an `EvaluationLoader`; each calls `on_image` and `after_batch`
            for its own images, and all return the same evaluation. Default: this process predicts every image.
    """
    network.eval()
    inferer = parts.inferer(network)
    scores = _Scores(parts, spacing_of or parts.layout.spacing, field_of or parts.field_of)
    positions: list[int] = []
    if world is not None and world.size > 1:
        assert isinstance(batches, EvaluationLoader)
        share = world.shares(batches.costs)[world.rank]
        positions, batches = batches.positions(share), batches.only(share)
    with torch.inference_mode():
        for loaded in batches:
            tensors = {name: tensor.to(parts.device, non_blocking=True) for name, tensor in loaded.tensors.items()}
            outputs = inferer.logits(tensors["image"].to(memory_format=parts.memory_format))
            targets = parts.task.targets(tensors)
            for index, case in enumerate(loaded.cases):
                scored = scores.add(
                    case,
                    _single(outputs, index),
                    _single(targets, index),
                    loaded.geometries[index],
                    loaded.stored_maps[index],
                )
                if on_image is not None:
                    on_image(case, scored.probs[0], scored)
            if after_batch is not None:
                after_batch(len(loaded.cases))
        scores.settle()
        if when_done is not None:
            when_done()
        if world is not None and world.size > 1:
            scores.figures = scores.figures.shared(world, positions)
    return scores.evaluation()


def _single(values: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    """Cut one image out of a batch."""
    return {name: value[index : index + 1] for name, value in values.items()}
