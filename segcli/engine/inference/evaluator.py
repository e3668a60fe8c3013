"""Evaluation: scores a network on whole images, each at its stored size."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segcli.core.types import Array, Batch, Outputs
from segcli.data.field_of_view import Field
from segcli.data.loader import Loaded
from segcli.data.samples import Case, Geometry
from segcli.engine.assembly import Assembly
from segcli.engine.inference.scores import Tally, by_class
from segcli.engine.inference.torch_arrays import resized
from segcli.metrics import Scored, ScoredClasses

__all__ = ["Answer", "Evaluation", "evaluate"]


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
        values = metric.over_classes(self.tally.statistics(metric)) * (1 if metric.higher_is_better else -1)
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


class _Joined:
    """Collects the probabilities of crops by their sample."""

    def __init__(self) -> None:
        self.cases: dict[str, Case] = {}
        self.probs: dict[str, list[Tensor]] = {}
        self.truth: dict[str, Batch] = {}

    def add(self, case: Case, probs: Tensor, truth: Batch) -> None:
        """Add one case."""
        if case.part_of is not None:
            self.cases.setdefault(case.part_of, replace(case, id=case.part_of))
            self.probs.setdefault(case.part_of, []).append(probs)
            self.truth.setdefault(case.part_of, truth)

    def evaluation(self, parts: Assembly) -> Evaluation | None:
        """Score the mean probabilities of each sample; None if no case is a crop."""
        if not self.cases:
            return None
        tally, answers, matrices = Tally(parts.metrics), [], []
        for name, truth in self.truth.items():
            mean = torch.stack(self.probs[name]).mean(0)
            scored = parts.scored(mean, truth)
            tally.add(scored)
            assert isinstance(scored, ScoredClasses)
            matrices.append(scored.matrix[0])
            answers.append(Answer(mean[0].cpu().numpy(), int(scored.true_class), len(self.probs[name])))
        confusion = torch.stack(matrices).sum(0).cpu().numpy()
        return Evaluation(list(self.cases.values()), {}, tally, confusion, answers)


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
        self.cases: list[Case] = []
        self.losses: list[dict[str, Tensor]] = []
        self.matrices: list[Tensor] = []
        self.answers: list[tuple[Tensor, Tensor]] = []
        self.joined = _Joined()

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
        self.losses.append(parts.loss(outputs, batch))
        presence, logits = task.presence(outputs), outputs[task.output]
        if task.has_pixels:
            logits = geometry.restore(logits, resized)
        probs = parts.cleaned(task.probabilities(logits, presence), self.field_of(case))
        truth = task.targets({name: torch.from_numpy(values)[None].to(parts.device) for name, values in stored.items()})
        scored = parts.scored(probs, truth, outputs=outputs, spacing=self.spacing_of(case))
        self.tally.add(scored)
        self.cases.append(case)
        if scored.matrix is not None:
            self.matrices.append(scored.matrix[0])
        if not task.has_pixels:
            self.answers.append((probs[0], truth[task.output][0]))
            self.joined.add(case, probs, truth)
        return scored

    def evaluation(self) -> Evaluation:
        """Average the losses over images and sum the confusion matrices."""
        names = self.losses[0] if self.losses else {}
        return Evaluation(
            cases=self.cases,
            losses={
                name: float(torch.stack([losses[name] for losses in self.losses]).cpu().double().mean())
                for name in names
            },
            tally=self.tally,
            confusion=torch.stack(self.matrices).sum(0).cpu().numpy() if self.matrices else None,
            answers=[Answer(probs.cpu().numpy(), int(index)) for probs, index in self.answers],
            whole=self.joined.evaluation(self.parts),
            word=self.parts.layout.whole,
        )


def evaluate(
    parts: Assembly,
    network: nn.Module,
    batches: Iterable[Loaded],
    *,
    on_image: Callable[[Case, Tensor, Scored], None] | None = None,
    after_batch: Callable[[int], None] | None = None,
    spacing_of: Callable[[Case], tuple[float, ...] | None] | None = None,
    field_of: Callable[[Case], Field | None] | None = None,
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
    """
    network.eval()
    inferer = parts.inferer(network)
    scores = _Scores(parts, spacing_of or parts.layout.spacing, field_of or parts.field_of)
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
    return scores.evaluation()


def _single(values: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    """Cut one image out of a batch."""
    return {name: value[index : index + 1] for name, value in values.items()}
