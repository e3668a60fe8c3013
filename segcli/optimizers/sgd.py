"""Stochastic gradient descent with momentum."""

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from segcli.optimizers import OptimizerConfig, OptimizerFactory

__all__ = ["SGD"]


class SGD(OptimizerFactory):
    """Gradient descent with (Nesterov) momentum."""

    class Config(OptimizerConfig):
        """Keys of `optimizer: {type: sgd}`."""

        learning_rate: Annotated[float, Field(gt=0.0)] = 1e-2
        """Step size at the peak of the schedule."""
        momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
        """Share of the last step that goes into this one."""
        nesterov: bool = False
        """Look ahead by the momentum before taking the gradient."""

    def make(self, parameters: list[nn.Parameter], *, fused: bool) -> torch.optim.Optimizer:
        """The optimizer with this config."""
        config = self.config
        return torch.optim.SGD(
            parameters,
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.nesterov and config.momentum > 0,
            fused=fused,
        )
