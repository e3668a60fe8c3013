"""Choice of the threshold of a mask on validation images."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from segcli.core.types import Array
from segcli.data.postprocess import Postprocess
from segcli.data.samples import Case
from segcli.engine.assembly import Assembly
from segcli.engine.events import Listener, Relay
from segcli.engine.inference.evaluator import evaluate
from segcli.engine.inference.scores import pooled
from segcli.engine.world import World
from segcli.metrics import HistogramMetric
from segcli.metrics.auc import AUC
from segcli.metrics.dice import Dice

__all__ = ["best_threshold"]

CANDIDATES = [percent / 100 for percent in range(1, 100)]


def best_threshold(parts: Assembly, cases: Sequence[Case], listener: Listener, world: World | None = None) -> float:
    """Find the threshold, in steps of 0.01, with the best Dice over all pixels of these images.

    Args:
        parts: Parts of the run.
        cases: The images.
        listener: Receives progress.
        world: Processes that share out the images, and find the same threshold. Default: this process alone.

    Raises:
        SegcliError: An image cannot be read, or the device fails.
    """
    scores = AUC(AUC.Config())
    scores.name = "auc"
    world = world or World.alone()
    relay = Relay(world, listener)
    listener.stage("threshold", len(cases))
    loader = parts.evaluation_loader(cases, parts.source(cases, listener))
    try:
        found = evaluate(
            replace(_uncleaned(parts), metrics=[scores]),
            parts.network,
            loader,
            after_batch=relay.advance,
            when_done=relay.wait,
            world=world,
        )
    except (RuntimeError, MemoryError) as error:
        raise loader.explained(error) or error from error
    finally:
        loader.close()
    return _best(pooled(found.tally.statistics(scores)))


def _uncleaned(parts: Assembly) -> Assembly:
    """Remove `inference.postprocess`, because it depends on the threshold."""
    inference = parts.run.inference.model_copy(update={"postprocess": Postprocess()})
    return replace(parts, run=parts.run.model_copy(update={"inference": inference}))


def _best(counts: Array) -> float:
    """Choose the candidate with the best Dice, averaged over classes; of equals, the one nearest to 0.5."""
    dice = Dice(Dice.Config())
    none = np.zeros(counts.shape[:-1])

    def value(threshold: float) -> float:
        tp, fp, fn = (entry.astype(float) for entry in HistogramMetric.counts_from(counts, threshold))
        return float(np.nanmean(dice.from_counts(tp, fp, fn, none)))

    return max(CANDIDATES, key=lambda threshold: (value(threshold), -abs(threshold - 0.5)))
