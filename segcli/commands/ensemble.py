"""Several networks as one predictor, which gives the mean of their probabilities. This module does not load PyTorch."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from segcli.core.errors import ConfigError
from segcli.core.types import Array
from segcli.engine.inference.predictor import Predictor

__all__ = ["ensemble"]


def ensemble(members: Sequence[Predictor]) -> Predictor:
    """Join several networks into one, which gives the mean of their probabilities.

    Threshold, tiles and the reading of images are those of the first network. The field of view of images is that of
    the first network with one, as `PixelAnswers.agree` chooses.

    Raises:
        ConfigError: The networks differ in their images or in their classes.
    """
    first = members[0]
    if len(members) == 1:
        return first
    for other in members[1:]:
        for what, of in AGREE.items():
            if of(other) != of(first):
                raise ConfigError(
                    f"`{first.source}` and `{other.source}` differ in {what} ({of(first)} and {of(other)})",
                    hint="all networks of an ensemble must be trained on the same kind of images and classes",
                )

    def forward(images: Array) -> dict[str, Array]:
        outputs = [member.forward(images) for member in members]
        names = dict.fromkeys(name for given in outputs for name in given)
        return {name: np.concatenate([given[name] for given in outputs if name in given], axis=1) for name in names}

    pipeline = copy.copy(first.pipeline)
    pipeline.multiple = math.lcm(*(member.pipeline.multiple for member in members))
    batch_size = min(member.batch_size for member in members)
    name = "+".join(dict.fromkeys(member.name for member in members))
    tasks = tuple(member.task for member in members)
    return replace(
        first,
        name=name,
        pipeline=pipeline,
        forward=forward,
        batch_size=batch_size,
        joins_small=all(member.joins_small for member in members),
        members=tasks,
    )


AGREE: dict[str, Callable[[Predictor], Any]] = {
    "the task": lambda member: type(member.task).__name__,
    "the classes": lambda member: list(member.task.classes),
    "the channels of images": lambda member: len(member.pipeline.mean),
    "`image_size`": lambda member: member.pipeline.image_size,
    "`data.preprocessing.normalize`": lambda member: member.pipeline.settings.preprocessing.normalize,
    "`mean`": lambda member: member.pipeline.mean.tolist(),
    "`std`": lambda member: member.pipeline.std.tolist(),
    "the number of axes": lambda member: member.layout.ndim,
    "who normalises the image": lambda member: "the file" if member.takes_stored else "segcli",
}
"""Properties that all networks of an ensemble must share."""
