"""State of an optimizer as tensors of a checkpoint, so that a resumed training takes exactly the same steps."""

from typing import Any

import torch
from torch import Tensor, nn

from segcli.core.errors import ConfigError
from segcli.nn.rates import RATE
from segcli.nn.shards import take_share, whole
from segcli.nn.tensor_files import below

__all__ = ["optimizer_tensors", "restore_optimizer"]

NUMBER = "=number"
"""End of the name of a number, which is stored as a tensor of one element."""
GROUP = "optimizer/group "
"""Begin of the names of numbers that belong to a group of parameters."""


def optimizer_tensors(optimizer: torch.optim.Optimizer, network: nn.Module) -> dict[str, Tensor]:
    """Return the state by its names in a checkpoint: tensors, and the numbers that an own optimizer may hold.

    Raises:
        ConfigError: The state holds something else.
    """
    tensors: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        # sorted, because all processes gather shares in one order, and a file may give the keys in any
        for key, value in sorted(optimizer.state.get(parameter, {}).items()):
            tensors |= _stored(f"optimizer/{name}/{key}", value, optimizer)
    for index, group in enumerate(optimizer.param_groups):
        for key, value in group.items():
            changes = isinstance(value, bool | int | float) and value != optimizer.defaults.get(key)
            if changes and key not in ("lr", "initial_lr", RATE):  # the rate follows from the step
                tensors |= _stored(f"{GROUP}{index}/{key}", value, optimizer)
    return tensors


def _stored(name: str, value: Any, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    if value is None:
        return {}
    if isinstance(value, Tensor):
        return {name: whole(value)}
    if isinstance(value, bool | int | float):
        return {f"{name}{NUMBER}": torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None)}
    raise ConfigError(
        f"optimizer `{type(optimizer).__name__}` keeps {type(value).__name__} `{name.rpartition('/')[2]}` in its "
        "state, which no checkpoint can hold",
        hint="keep tensors and numbers only",
    )


def restore_optimizer(optimizer: torch.optim.Optimizer, network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load the tensors that `optimizer_tensors` returned."""
    for name, parameter in network.named_parameters():
        state = below(tensors, f"optimizer/{name}/")
        if state:
            optimizer.state[parameter] = _restored(parameter, state, is_fused=bool(optimizer.defaults.get("fused")))
    for index, group in enumerate(optimizer.param_groups):
        for key, value in below(tensors, f"{GROUP}{index}/").items():
            group[key.removesuffix(NUMBER)] = value.item()


def _restored(parameter: nn.Parameter, state: dict[str, Tensor], *, is_fused: bool) -> dict[str, Any]:
    restored: dict[str, Any] = {}
    for key, value in state.items():
        if key.endswith(NUMBER):
            restored[key.removesuffix(NUMBER)] = value.item()
        elif value.shape == parameter.shape:
            restored[key] = torch.empty_like(parameter)
            take_share(restored[key], value)
        else:
            # fused kernels keep the step count on the device of the parameter
            restored[key] = value.to(parameter.device if is_fused else "cpu")
    return restored
