"""Learning rates of parts of a network: `training.optimizer.rates`."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from segcli.nn.freezing import first_match, refuse_unmatched, span

__all__ = ["RATE", "described_rates", "factors_of", "split_groups"]

RATE = "rate_factor"
"""Key of an optimizer's parameter group: factor of the scheduled learning rate."""


def factors_of(network: nn.Module, rates: Mapping[str, float], modules: Sequence[str]) -> dict[str, float]:
    """Return the factor of each parameter, by name; the first pattern that matches counts.

    Args:
        network: The network.
        rates: Factors by pattern.
        modules: Names of modules, for the hint.

    Raises:
        ConfigError: A pattern matches no parameter.
    """
    names = [name for name, _ in network.named_parameters()]
    refuse_unmatched("training.optimizer.rates", rates, names, modules)
    return {name: rates[pattern] if (pattern := first_match(name, rates)) else 1.0 for name in names}


def split_groups(optimizer: torch.optim.Optimizer, network: nn.Module, factors: Mapping[str, float]) -> None:
    """Split each parameter group of an optimizer by factor; the other settings of a group stay.

    The optimizer's state is not touched, because it is kept by parameter.
    """
    factor = {id(parameter): factors[name] for name, parameter in network.named_parameters()}
    groups = []
    for group in optimizer.param_groups:
        for value in dict.fromkeys(factor[id(each)] for each in group["params"]):
            members = [each for each in group["params"] if factor[id(each)] == value]
            groups.append({**group, "params": members, RATE: value, "lr": group["lr"] * value})
    optimizer.param_groups = groups


def described_rates(network: nn.Module, rates: Mapping[str, float], modules: Sequence[str]) -> list[str]:
    """Return a line for each factor: the layers and the number of their parameters; none without factors.

    Raises:
        ConfigError: As `factors_of`.
    """
    if not rates:
        return []
    factors = factors_of(network, rates, modules)
    sizes = {name: each.numel() for name, each in network.named_parameters()}
    lines = []
    for value in dict.fromkeys(factors.values()):
        names = [name for name, factor in factors.items() if factor == value]
        count = sum(sizes[name] for name in names)
        lines.append(f"learning rate times {value:g}: {span(names)}, {len(names)} tensors with {count:,} parameters")
    return lines
