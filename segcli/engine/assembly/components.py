"""Components of a run, made from its checked config: network, losses, metrics, and what these settings imply."""

from typing import Any

from segcli.config.schema import Run
from segcli.core.errors import ConfigError
from segcli.core.registry import TASKS
from segcli.core.types import IOSpec
from segcli.datasets import Layout
from segcli.metrics import Metric
from segcli.models import Network
from segcli.nn.freezing import Freezing
from segcli.tasks import Task

__all__ = ["calibrated_outputs", "freezing_of", "make_losses", "make_metrics", "make_network"]


def make_network(run: Run, layout: Layout, task: Task) -> Network:
    """Make the network of a run, with random weights.

    Raises:
        ConfigError: The network does not fit the data set or the sizes of the run.
    """
    can_output = run.model.kind.can_output
    outputs = [*task.outputs, *(each for each in task.extras if each.name in can_output)]
    size = run.data.image_size or run.dataset.image_size or layout.case_size
    io = IOSpec(
        ndim=layout.ndim,
        in_channels=run.dataset.num_channels,
        outputs={each.name: each.channels for each in outputs},
        pixels=task.output if task.has_pixels else "mask",
        size=None if size is None else tuple(size),
    )
    network: Network = run.model.build(io=io)
    if network.needs_size and run.data.patch_size is not None:
        raise ConfigError(
            f"model `{run.model.type}` needs whole images of one size, and `data.patch_size` crops them",
            hint="leave `data.patch_size` out",
        )
    multiple = run.data.preprocessing.pad_to_multiple
    if multiple is not None and multiple % network.stride:
        raise ConfigError(
            f"`data.preprocessing.pad_to_multiple` is {multiple}, model `{run.model.type}` halves its input down to "
            f"1/{network.stride} and needs a multiple of {network.stride}",
            hint=f"set it to {-(-multiple // network.stride) * network.stride}, or leave it out",
        )
    return network


def freezing_of(run: Run) -> Freezing:
    """Return what the run freezes."""
    return Freezing(run.training.freeze, run.training.unfreeze_every)


def calibrated_outputs(run: Run) -> list[str]:
    """List the outputs that the losses of a run train to be calibrated probabilities."""
    losses = [(part, kind) for part, kind in run.losses.values() if part.weight > 0.0]
    return [output for part, kind in losses for output in kind.calibrates(kind.Config.model_validate(part.options))]


def make_losses(run: Run) -> list[tuple[float, Any]]:
    """Make the losses of a run with their weights, each named as in YAML."""
    output = TASKS.load(run.task_name).output
    made = []
    for name, (part, kind) in run.losses.items():
        loss = kind(kind.Config.model_validate(part.options))
        loss.name, loss.output = name, output
        made.append((part.weight, loss))
    return made


def make_metrics(run: Run) -> list[Metric]:
    """Make the metrics of a run, each named as in YAML."""
    task = TASKS.load(run.task_name)
    made = []
    for name, section in run.metrics.items():
        metric: Metric = section.build()
        metric.name = name
        metric.headline = task.headline or metric.headline
        metric.present_only = task.present_only
        metric.exclusive = task.target == "classes"
        metric.pool = task.pool or metric.pool
        made.append(metric)
    return made
