"""Check of the training batches: their number, their sizes, and that the network can train on the smallest."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from segcli.config.schema import Run
from segcli.core.errors import ConfigError, SegcliError
from segcli.core.registry import TASKS
from segcli.data.loader import batch_sizes
from segcli.data.pipeline import Pipeline
from segcli.data.samples import Case, padded_size
from segcli.datasets import Layout
from segcli.engine.assembly.components import make_network
from segcli.models import Network
from segcli.nn.norms_only import NormsOnly

__all__ = ["check_batches", "one_value", "stride_of"]

Sizes = dict[tuple[int, ...], Case]
"""Sizes at which training images reach the network, each with the first case of that size."""


def check_batches(run: Run, layout: Layout, cases: Sequence[Case]) -> None:
    """Make sure, before the first epoch, that each batch of an epoch can be made and trained on.

    Raises:
        ConfigError: There is no batch, images that share a batch differ in size, or a norm gets a single value.
    """
    data = run.data
    if data.fit_batch_size:
        return  # the batch size is not known yet
    count = len(cases) * data.patches_per_image
    batches = batch_sizes(count, data)
    if not batches:
        raise ConfigError(
            f"an epoch has no batch: it has {_images(count)}, and `data.drop_last` leaves out a batch of fewer than "
            f"{data.batch_size}",
            hint=f"leave out `data.drop_last`, or set `data.batch_size={count}`",
        )
    fixed = data.patch_size or data.image_size or run.dataset.image_size or layout.case_size
    alone = run.model.options.get("norm", "batch") != "batch"  # other images of the batch do not help such a norm
    if batches[-1] > 1 and (fixed or data.batch_size == 1) and not alone:
        return
    network = _without_memory(run, layout)
    if network is None:
        return  # a network that needs values; the first step tells
    sizes = _sizes(run, network, layout, cases)
    _check_one_size(run, sizes)
    if alone:
        _check_one_value_of_image(run, network, sizes)
    elif batches[-1] == 1:
        _check_one_value(run, network, sizes, count)


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _without_memory(run: Run, layout: Layout) -> Network | None:
    """Make the network with tensors that have a size but no memory; None if it needs values."""
    try:
        with torch.device("meta"):
            return make_network(run, layout, TASKS.load(run.task_name)(run.dataset.spec, run.class_offsets))
    except SegcliError:
        raise
    except Exception:  # whatever a network of the user's own does
        return None


def stride_of(run: Run, layout: Layout) -> int | None:
    """Tell of which number the sizes of the images must be multiples; None for a network that needs values.

    Raises:
        ConfigError: The network cannot be made.
    """
    network = _without_memory(run, layout)
    return None if network is None else network.stride


def _sizes(run: Run, network: Network, layout: Layout, cases: Sequence[Case]) -> Sizes:
    pipeline = Pipeline(run.data, run.dataset.spec, stride=network.stride)
    if run.data.patch_size is not None:
        return {padded_size(tuple(run.data.patch_size), pipeline.multiple): cases[0]}
    fixed = pipeline.image_size or layout.case_size
    if fixed is not None:
        return {pipeline.network_size(fixed): cases[0]}
    sizes: Sizes = {}
    for case in cases:
        sizes.setdefault(pipeline.network_size(layout.size(case)), case)
    return sizes


def _check_one_size(run: Run, sizes: Sizes) -> None:
    """Make sure that images which share a batch have one size."""
    if run.data.batch_size > 1 and len(sizes) > 1:
        examples = " and ".join(f"`{case.place}` {_shown(size)}" for size, case in list(sizes.items())[:2])
        raise ConfigError(
            f"training images differ in size ({examples}) and cannot share a batch of {run.data.batch_size}",
            hint="set `data.image_size` to resize them, `data.patch_size` to train on crops, or `data.batch_size=1`",
        )


def _shown(size: Iterable[int]) -> str:
    return "x".join(map(str, size))


def _check_one_value(run: Run, network: Network, sizes: Sizes, count: int) -> None:
    """Make sure that every norm gets more than one value per channel."""
    small = next((size for size in sorted(sizes) if not _trains(network, 1, size)), None)
    if small is None:
        return
    which = "every batch" if run.data.batch_size == 1 else "the last batch of an epoch"
    ways = _ways_out(run, network, small, count, one_size=len(sizes) == 1)
    raise ConfigError(
        f"{which} has 1 image of {_shown(small)}, and model `{run.model.type}` reduces it to one value per channel, "
        "which is too few for a batch norm",
        hint=f"set {' or '.join(f'`{way}`' for way in ways)}" if ways else "take larger images, or more of them",
    )


def _check_one_value_of_image(run: Run, network: Network, sizes: Sizes) -> None:
    """Make sure that a norm of single images gets more than one value."""
    small = next((size for size in sorted(sizes) if not _trains(network, 1, size)), None)
    if small is not None:
        key = "patch_size" if run.data.patch_size else "image_size"
        raise ConfigError(
            f"model `{run.model.type}` reduces images of {_shown(small)} to one value per channel, which is "
            f"too few for `model.norm: {run.model.options.get('norm')}`",
            hint=f"set a larger `data.{key}`, or `model.norm=group`",
        )


def _ways_out(run: Run, network: Network, small: tuple[int, ...], count: int, *, one_size: bool) -> list[str]:
    """Find changes of one key after which every batch can be trained on."""
    data, ways = run.data, []

    def works(**changes: Any) -> bool:
        changed = data.model_copy(update=changes)
        batches = batch_sizes(count * changed.patches_per_image // data.patches_per_image, changed)
        return bool(batches) and (batches[-1] > 1 and _trains(network, batches[-1], small))

    others = sorted(range(2, count + 1), key=lambda size: (abs(size - data.batch_size), size)) if one_size else []
    size = next((size for size in others if works(batch_size=size)), None)
    ways += [] if size is None else [f"data.batch_size={size}"]
    ways += ["data.drop_last=true"] if data.batch_size > 1 and works(drop_last=True) else []
    ways += ["data.patches_per_image=2"] if not ways and works(patches_per_image=2) else []
    larger = [2 * length for length in small]
    if not network.needs_size and _trains(network, 1, larger):
        ways.append(f"data.{'patch_size' if data.patch_size else 'image_size'}=[{', '.join(map(str, larger))}]")
    return ways


def _trains(network: Network, images: int, size: Sequence[int]) -> bool:
    """Tell whether the network in training mode takes so many images of this size, as far as norms go."""
    try:
        with torch.no_grad(), NormsOnly():
            network.train()(torch.empty(images, network.io.in_channels, *size, device="meta"))
    except ValueError as error:
        return one_value(error) is None
    except Exception:  # whatever a network of the user's own does without values
        return True
    return True


def one_value(error: Exception) -> ConfigError | None:
    """Turn PyTorch's error about a norm of a single value into a message; None for any other error."""
    if not (isinstance(error, ValueError) and str(error).startswith("Expected more than 1 ")):
        return None
    return ConfigError(
        f"a norm of the network gets one value per channel, which is too few ({error})",
        hint="set a larger `data.batch_size` or `data.image_size` (or `data.patch_size`), or `data.drop_last=true`",
    )
