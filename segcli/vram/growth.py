"""Which blocks of a simulation grow with the batch or the image, as far as a single simulation shows it."""

from collections.abc import Iterator

import numpy as np

from segcli.core.types import Array
from segcli.vram.recorder import Log

__all__ = ["FIXED", "OPTIMIZER", "growing"]

FIXED = ("parameters", "buffers", "gradients", "optimizer", "ema", "workspace", "buckets", "gathered")
"""Kinds of memory that do not grow with the image."""
OPTIMIZER = "training/optimizer"
"""Stage whose blocks do not grow."""


def growing(log: Log, still: tuple[str, ...]) -> Array:
    """Guess which blocks grow; a search only begins with the guess.

    Args:
        log: The simulation.
        still: How the names of the stages begin whose blocks do not grow.
    """
    grows = np.array([block.kind not in FIXED and not block.like_weight for block in log.blocks], dtype=bool)
    grows[list(_begun_in(log, still))] = False
    return grows


def _begun_in(log: Log, stages: tuple[str, ...]) -> Iterator[int]:
    """Yield the numbers of blocks that were allocated in stages whose names begin in this way."""
    ends = [*(moment.first_event for moment in log.moments[1:]), len(log.events)]
    for moment, end in zip(log.moments, ends, strict=True):
        if moment.stage.startswith(stages):
            yield from (event for event in log.events[moment.first_event : end] if event >= 0)
