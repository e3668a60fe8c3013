"""The number of parameters beside the number of samples."""

from collections.abc import Sequence
from dataclasses import replace

from segcli.config.schema import Run
from segcli.data.checks import Finding
from segcli.data.samples import Case
from segcli.datasets import Layout
from segcli.engine.assembly.components import freezing_of
from segcli.models import Network
from segcli.tasks import Task

__all__ = ["MOST", "count_samples", "many_parameters"]

MOST = 1000
"""Parameters for each training sample, above which a network overfits easily."""


def count_samples(cases: Sequence[Case]) -> int:
    """Count the samples; crops of one sample are one."""
    return len({case.part_of or case.id for case in cases})


def many_parameters(run: Run, network: Network, task: Task, layout: Layout, cases: Sequence[Case]) -> list[Finding]:
    """Find a network with very many parameters for the training samples, and tell the keys that lower their number.

    Only samples with one class each are counted: where every pixel has a class, a few images are many samples.

    Args:
        run: The run.
        network: Its network.
        task: Its task.
        layout: The data set, which may propose another crop.
        cases: Training cases.
    """
    samples = count_samples(cases)
    if task.has_pixels or not samples:
        return []
    learning = _learning(run, network)
    if learning <= MOST * samples:
        return []
    message = (
        f"model `{run.model.type}` has {learning:,} parameters that learn from {samples:,} training samples: "
        f"{learning / samples:,.0f} for each"
    )
    way = _way_out(run, network, learning, MOST * samples, layout.proposed_crop(cases))
    hint = f"a smaller network overfits less: {way}"
    return [Finding("many_parameters", "warning", None, message, hint)]


def _learning(run: Run, network: Network) -> int:
    """Count the parameters that learn in the last epoch; those that are never unfrozen do not."""
    last = run.training.epochs - 1
    frozen = network.frozen(last) | freezing_of(run).frozen(network.parameter_blocks(), last)
    return sum(parameter.numel() for name, parameter in network.named_parameters() if name not in frozen)


def _way_out(run: Run, network: Network, learning: int, most: int, crop: tuple[int, ...] | None) -> str:
    """Name the keys that lower the number of parameters."""
    config = run.model.kind.Config.model_validate(run.model.options)
    io = network.io if crop is None else replace(network.io, size=crop)
    proposal = type(network).sized(io, most, config)
    if proposal is not None and proposal[1] < learning:
        keys = [] if crop is None else [f"`dataset.crop_size: {list(crop)}`"]
        listed = " and ".join([*keys, *(f"`model.{key}: {value}`" for key, value in proposal[0].items())])
        return f"{listed} give {proposal[1]:,} parameters"
    sizes = [f"`model.{key}`" for key in type(config).model_fields if _is_size(getattr(config, key))]
    return f"lower {', '.join(sizes)}, or freeze layers" if sizes else "freeze layers with `training.freeze`"


def _is_size(value: object) -> bool:
    """Tell whether the value of a key is a whole number, or a list of them."""
    numbers = value if isinstance(value, list) else [value]
    return bool(numbers) and all(type(number) is int for number in numbers)
