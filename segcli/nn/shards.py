"""Tensors of which each process holds a share of the rows (`training.strategy: fsdp`)."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["is_shard", "own_share", "take_share", "whole"]


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
