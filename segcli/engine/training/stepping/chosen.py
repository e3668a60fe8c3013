"""The kind of training step that a run asks for."""

from collections.abc import Callable

from segcli.engine.assembly import Assembly
from segcli.engine.training.stepping.exact import ExactStep
from segcli.engine.training.stepping.step import HalvingStep, TrainingStep
from segcli.engine.world import World

__all__ = ["training_step"]


def training_step(parts: Assembly, warn: Callable[[str], None], world: World | None = None) -> TrainingStep:
    """Make the step that the run's `training.reduce` and `debug.on_oom` ask for."""
    if parts.run.training.reduce == "exact":
        return ExactStep(parts, world=world)
    if parts.run.debug.on_oom == "halve":
        return HalvingStep(parts, warn, world=world)
    return TrainingStep(parts, world=world)
