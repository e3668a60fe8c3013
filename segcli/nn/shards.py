"""Networks of which each process holds a share (`training.strategy: fsdp`), with PyTorch's FSDP2.

A unit of the network is gathered before it runs and freed afterwards. Gradients of all processes are added while the
backward pass runs, and each process keeps its share of them and of the optimizer's state: some rows of each tensor.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from segcli.core.errors import ConfigError
from segcli.nn.units import units

__all__ = ["gathered", "is_shard", "load_whole", "own_share", "shard", "take_share", "whole"]


def is_shard(tensor: Tensor) -> bool:
    """Tell whether this process has only a share of a tensor."""
    return hasattr(tensor, "full_tensor")


def own_share(tensor: Tensor) -> Tensor:
    """Return the share of this process, or the tensor itself if it is not shared."""
    local: Tensor = tensor.to_local() if is_shard(tensor) else tensor  # type: ignore[attr-defined]
    return local


def whole(tensor: Tensor) -> Tensor:
    """Gather a tensor from all processes, which must all be here; one that is not shared stays as it is."""
    gathered: Tensor = tensor.full_tensor() if is_shard(tensor) else tensor  # type: ignore[attr-defined]
    return gathered


@torch.no_grad()
def take_share(tensor: Any, values: Tensor) -> None:
    """Copy whole values into a tensor, or into the share of this process."""
    if not is_shard(tensor):
        tensor.copy_(values)
        return
    size, rank = tensor.device_mesh.size(), tensor.device_mesh.get_local_rank()
    rows = torch.chunk(values, size)  # as FSDP cuts it: the last processes may have none
    if rank < len(rows):
        tensor.to_local().copy_(rows[rank])


def shard(network: nn.Module, device: torch.device, size: int, *, compiles: bool = False) -> None:
    """Leave each process its share of the weights; all processes have the same weights before.

    Args:
        network: Network with its weights on the device.
        device: Device of this process.
        size: Number of processes.
        compiles: Compile each unit with `torch.compile`.

    Raises:
        ConfigError: This PyTorch is too old.
    """
    from torch.distributed.device_mesh import init_device_mesh  # noqa: PLC0415 - a training alone does without
    from torch.distributed.fsdp import FSDPModule, fully_shard  # noqa: PLC0415

    if not hasattr(FSDPModule, "set_force_sum_reduction_for_comms"):
        raise ConfigError(
            f"`training.strategy: fsdp` needs PyTorch 2.8 or newer, this is {torch.__version__}",
            hint="install a newer PyTorch, or set `training.strategy=ddp`",
        )
    mesh = init_device_mesh(device.type, (size,))
    modules = units(network)
    if compiles:
        for module in modules.values():
            module.compile()
    for module in [*modules.values(), network]:
        module.register_forward_hook(_without_views)
        sharded: Any = fully_shard(module, mesh=mesh, reshard_after_forward=True)
        # each process weighs its own images, so that the gradients are added
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)


def _without_views(module: nn.Module, inputs: Any, outputs: Any) -> Any:
    """Copy outputs that are views: an operation in place on one would cut off the hook that gathers the unit again."""
    return tree_map_only(Tensor, lambda each: each if each._base is None else each.clone(), outputs)


@contextmanager
def gathered(network: nn.Module) -> Iterator[None]:
    """Hold the whole network in each process: in this context they run it when and as often as they want."""
    from torch.distributed.fsdp import FSDPModule  # noqa: PLC0415

    modules = [module for module in network.modules() if isinstance(module, FSDPModule)]
    for module in modules:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:
        for module in modules:
            module.set_reshard_after_forward(True, recurse=False)
            module.reshard()


def load_whole(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load a state dict of whole tensors into a network, of which this process may have a share.

    Raises:
        RuntimeError: Tensors are missing or have another shape.
    """
    own = network.state_dict()
    wrong = sorted(own.keys() ^ tensors.keys()) or [name for name in own if own[name].shape != tensors[name].shape]
    if wrong:
        raise RuntimeError(f"`{wrong[0]}` is missing, unknown or of another shape")
    for name, value in own.items():
        take_share(value, tensors[name])
