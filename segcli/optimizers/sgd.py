"""Stochastic gradient descent with momentum."""

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from segcli.optimizers import OptimizerConfig, OptimizerFactory
from segcli.optimizers._eager import eager

__all__ = ["SGD"]


class SGD(OptimizerFactory):
    """Stochastic gradient descent with (Nesterov) momentum."""

    class Config(OptimizerConfig):
        """Keys of `optimizer: {type: sgd}`."""

        learning_rate: Annotated[float, Field(gt=0.0)] = 1e-2
        """Peak learning rate of the schedule."""
        momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
        """Momentum: share of the last step that is added to this one."""
        nesterov: bool = False
        """Use Nesterov momentum."""

    def make(self, parameters: list[nn.Parameter], *, fused: bool) -> torch.optim.Optimizer:
        """Make the optimizer with this config."""
        config = self.config
        return eager(torch.optim.SGD)(
            parameters,
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.nesterov and config.momentum > 0,
            fused=fused,
        )
