"""Optimizers, one file each. This file holds the contract of every optimizer."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import nn

from segcli.core.types import ConfigModel, Share
from segcli.nn.shards import is_shard

__all__ = ["AdamConfig", "OptimizerConfig", "OptimizerFactory"]


class OptimizerConfig(ConfigModel):
    """Keys that all optimizers share."""

    other_keys: ClassVar[dict[str, str]] = {
        "lr": "learning_rate",
        "initial_lr": "learning_rate",
        "base_lr": "learning_rate",
        "l2": "weight_decay",
        "beta1": "betas",
        "beta2": "betas",
    }

    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-3
    """Peak learning rate of the schedule."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight decay: how strongly weights are pulled towards 0."""


class AdamConfig(OptimizerConfig):
    """Keys of the optimizers of the Adam family."""

    betas: Annotated[list[Share], Field(min_length=2, max_length=2)] = [0.9, 0.999]
    """Decay rates of the running means of gradients and of squared gradients."""
    eps: Annotated[float, Field(gt=0.0)] = 1e-8
    """Added to the denominator, so that it is never 0."""

    def arguments(self) -> dict[str, Any]:
        """Return the keys as arguments of PyTorch's optimizers."""
        return {
            "lr": self.learning_rate,
            "betas": (self.betas[0], self.betas[1]),
            "eps": self.eps,
            "weight_decay": self.weight_decay,
        }


class OptimizerFactory(ABC):
    """Makes the optimizer for a network's parameters."""

    Config: type[OptimizerConfig] = OptimizerConfig
    fuses_shards: ClassVar[bool] = False
    """True if PyTorch's fused kernel works on shards of parameters."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Build the optimizer for `parameters`; fused into one kernel if PyTorch has one for their device."""
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        fused = all(p.device.type in {"cpu", "cuda"} and p.is_floating_point() for p in trained)
        fused = fused and (self.fuses_shards or not any(map(is_shard, trained)))
        return self.make(trained, fused=fused)

    @abstractmethod
    def make(self, parameters: list[nn.Parameter], *, fused: bool) -> torch.optim.Optimizer:
        """Make the optimizer for `parameters`."""
