"""Parts of a network that are sharded, and gathered again, as a whole."""

from collections.abc import Iterator

import torch
from torch import nn

__all__ = ["padded_share", "units"]

WHOLE = 2**20
"""A sequence of modules with fewer parameters than this is one unit."""


def units(network: nn.Module) -> dict[str, nn.Module]:
    """Return the units of a network by name: its stages.

    Each child of the network is a unit. Lists of modules and long sequences are no units, but their members are.
    Parameters of the network itself belong to no unit; they are sharded with the network.

    Example:
        >>> network = nn.Module()
        >>> network.pool = nn.MaxPool2d(2)
        >>> network.down = nn.ModuleList([nn.Conv2d(1, 2, 1), nn.Conv2d(2, 4, 1)])
        >>> network.head = nn.Sequential(nn.Conv2d(4, 1, 1))
        >>> list(units(network))
        ['down.0', 'down.1', 'head']
    """
    return {name: module for name, module in _units(network, "") if next(module.parameters(), None) is not None}


def _units(parent: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    for name, child in parent.named_children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict) or (
            isinstance(child, nn.Sequential) and sum(each.numel() for each in child.parameters()) >= WHOLE
        ):
            yield from _units(child, f"{prefix}{name}.")
        else:
            yield prefix + name, child


def padded_share(parameter: torch.Tensor, processes: int) -> int:
    """Return the bytes that each process keeps of a parameter: rows of the first axis, padded to the same number.

    Example:
        >>> padded_share(torch.zeros(5, 3), 2)
        36
    """
    rows = -(-parameter.shape[0] // processes)
    return rows * (parameter.numel() // max(parameter.shape[0], 1)) * parameter.element_size()
