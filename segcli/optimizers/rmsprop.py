"""RMSprop.

Source: Tieleman and Hinton, "Lecture 6.5: RMSprop", COURSERA: Neural Networks for Machine Learning, 2012 (no paper).
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from segcli.optimizers import OptimizerConfig, OptimizerFactory
from segcli.optimizers._eager import eager

__all__ = ["RMSprop"]


class RMSprop(OptimizerFactory):
    """RMSprop: gradients are divided by the root of their running mean square."""

    class Config(OptimizerConfig):
        """Keys of `optimizer: {type: rmsprop}`."""

        alpha: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.99
        """Decay rate of the running mean of squared gradients."""
        eps: Annotated[float, Field(gt=0.0)] = 1e-8
        """Added to the denominator, so that it is never 0."""
        momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
        """Momentum: share of the last step that is added to this one."""
        centered: bool = False
        """Divide by the standard deviation of the gradients instead of their root mean square."""

    def make(self, parameters: list[nn.Parameter], *, fused: bool) -> torch.optim.Optimizer:
        """Make the optimizer with this config; PyTorch has no fused kernel for it, and takes all tensors at once."""
        config, on_gpu = self.config, any(parameter.device.type == "cuda" for parameter in parameters)
        return eager(torch.optim.RMSprop)(
            parameters,
            lr=config.learning_rate,
            alpha=config.alpha,
            eps=config.eps,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            centered=config.centered,
            foreach=on_gpu,  # stated, so that the memory forecast takes the same way
        )
