"""Sizes of the training images for `segcli data stats`, and keys that follow from them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from segcli.core.registry import MODELS
from segcli.core.types import IOSpec
from segcli.data.samples import Case
from segcli.datasets import Layout
from segcli.tasks import Task

__all__ = ["Shapes", "shapes"]


@dataclass(frozen=True)
class Shapes:
    """Sizes of images, before and after they are cut into crops."""

    sizes: dict[str, int]
    """Number of images of each size; of a format that cuts crops, number of crops."""
    true_sizes: dict[str, int]
    """Number of images of each size as stored, before they are cut into crops."""
    padding_share: float
    """Share of the pixels of all crops that are padding."""
    proposal: dict[str, Any]
    """Keys that fit the images, such as `crop_size`, and `model` with keys of a network; empty if there are none."""


def shapes(layout: Layout, task: Task, cases: Sequence[Case]) -> Shapes:
    """Describe the sizes of training images, and propose keys that fit them.

    Args:
        layout: The data set.
        task: Its task.
        cases: Training cases; one at least.
    """
    cuts = {case: layout.before_cropping(case) for case in cases}
    wholes = {case.part_of or case: whole for case, (whole, _) in cuts.items()}
    sizes = [layout.size(case) for case in cases]
    kept = sum(prod(part) for _, part in cuts.values()) / sum(map(prod, sizes))
    crop = layout.proposed_crop(cases)
    proposal: dict[str, Any] = {} if crop is None else {"crop_size": list(crop)}
    if not task.has_pixels:
        proposal |= _network(layout, task, crop or layout.case_size, cases)
    return Shapes(_counted(sizes), _counted(wholes.values()), 1.0 - kept, proposal)


def _network(layout: Layout, task: Task, size: tuple[int, ...] | None, cases: Sequence[Case]) -> dict[str, Any]:
    """Propose a network for volumes of one class each."""
    from segcli.engine.capacity import MOST, count_samples  # noqa: PLC0415 - other data sets need no PyTorch

    kind = MODELS.load("vgg3d")
    if size is None or layout.ndim not in kind.can_ndim:
        return {}
    io = IOSpec(layout.ndim, layout.spec.num_channels, {each.name: each.channels for each in task.outputs}, size=size)
    proposal = kind.sized(io, MOST * count_samples(cases))
    return {} if proposal is None else {"model": {"type": "vgg3d", **proposal[0]}}


def _counted(sizes: Any) -> dict[str, int]:
    return dict(Counter("x".join(map(str, size)) for size in sizes))
