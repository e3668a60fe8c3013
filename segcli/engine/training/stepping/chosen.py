"""The kind of training step that a run asks for."""

from collections.abc import Callable

from segcli.engine.assembly import Assembly
from segcli.engine.events import Listener
from segcli.engine.training.stepping.compiled import TellingForward
from segcli.engine.training.stepping.exact import ExactStep
from segcli.engine.training.stepping.step import HalvingStep, TrainingStep
from segcli.engine.world import World

__all__ = ["training_step"]


def training_step(parts: Assembly, listener: Listener, world: World | None = None) -> TrainingStep:
    """Make the step that the run's `training.reduce` and `debug.on_oom` ask for.

    Args:
        parts: Parts of the run.
        listener: Told when batches are split, and what `torch.compile` has made of the network.
        world: Processes that share each batch; default: this one alone.
    """
    step = _step(parts, listener.warn, world)
    if parts.run.training.compile and not step.stepper.is_sharded:
        step.stepper.forward = TellingForward(step.stepper.forward, listener.notice)
    return step


def _step(parts: Assembly, warn: Callable[[str], None], world: World | None) -> TrainingStep:
    if parts.run.training.reduce == "exact":
        return ExactStep(parts, world=world)
    if parts.run.debug.on_oom == "halve":
        return HalvingStep(parts, warn, world=world)
    return TrainingStep(parts, world=world)
