"""Scores a network on whole images, each at the size in which it is stored."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segcli.core.types import Array
from segcli.data.loader import Loaded
from segcli.data.samples import Case
from segcli.engine.assembly import Assembly
from segcli.engine.scores import Tally, by_class
from segcli.metrics import Scored, ScoredClasses

__all__ = ["Evaluation", "evaluate"]


@dataclass
class Evaluation:
    """Results of one pass over a split."""

    cases: list[Case]
    losses: dict[str, float]
    """`loss` and each of its parts, averaged over images."""
    tally: Tally
    confusion: Array | None = None
    """Pixels `(K, K)` by true and found class, where classes exclude each other."""

    def per_class(self, classes: Sequence[str]) -> dict[str, dict[str, float]]:
        """Headline of each metric for each class, `{metric: {class: value}}`; empty for a single mask."""
        if len(classes) == 1 or not self.cases:
            return {}
        return {
            metric.name: dict(zip(classes, by_class(metric, self.tally.statistics(metric)).tolist(), strict=True))
            for metric in self.tally.metrics
            if not metric.by_frequency
        }

    def remembered(self, count: int) -> dict[str, Any]:
        """What a run keeps of its best validation: the names of the cases at both ends, and the confusions.

        Args:
            count: Cases at each end.
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
        """`val_loss`, its parts and the headline of each metric, under the names that `monitor` uses."""
        return {f"val_{name}": value for name, value in {**self.losses, **self.tally.averages()}.items()}


def evaluate(
    parts: Assembly,
    network: nn.Module,
    batches: Iterable[Loaded],
    *,
    on_image: Callable[[Case, Tensor, Scored], None] | None = None,
    after_batch: Callable[[int], None] | None = None,
) -> Evaluation:
    """Predict and score every image.

    The loss is that of each image by itself, so that no value depends on how images are batched. Metrics compare
    with the mask as stored: prediction is unpadded and resized back, the truth is never resampled.

    Args:
        parts: The run's parts.
        network: The network to score.
        batches: Whole images with their truth.
        on_image: Hears each case with its probabilities `(K, *S)` at the stored size, and with both beside the truth.
        after_batch: Hears how many images were done.
    """
    network.eval()
    inferer = parts.inferer(network)
    tally = Tally(parts.metrics)
    cases: list[Case] = []
    losses: list[dict[str, Tensor]] = []
    matrices: list[Tensor] = []
    with torch.inference_mode():
        for loaded in batches:
            tensors = {name: tensor.to(parts.device, non_blocking=True) for name, tensor in loaded.tensors.items()}
            outputs = inferer.logits(tensors["image"].to(memory_format=parts.memory_format))
            batch = parts.task.targets(tensors)
            for index, case in enumerate(loaded.cases):
                one = slice(index, index + 1)
                given = {name: values[one] for name, values in outputs.items()}
                losses.append(parts.loss(given, {name: values[one] for name, values in batch.items()}))
                presence = parts.task.presence(given)
                restored = loaded.geometries[index].restore(given["mask"])
                probs = parts.cleaned(parts.task.probabilities(restored, presence))
                truth = parts.task.targets(
                    {
                        name: torch.from_numpy(values)[None].to(parts.device)
                        for name, values in loaded.stored_maps[index].items()
                    }
                )
                scored = parts.scored(probs, truth, presence=presence, spacing=parts.layout.spacing(case))
                tally.add(scored)
                if isinstance(scored, ScoredClasses):
                    matrices.append(scored.matrix[0])
                cases.append(case)
                if on_image is not None:
                    on_image(case, probs[0], scored)
            if after_batch is not None:
                after_batch(len(loaded.cases))
    names = losses[0] if losses else {}
    averages = {name: float(torch.stack([entry[name] for entry in losses]).cpu().double().mean()) for name in names}
    confusion = torch.stack(matrices).sum(0).cpu().numpy() if matrices else None
    return Evaluation(cases, averages, tally, confusion)
