"""Adam.

Paper: Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, https://arxiv.org/abs/1412.6980.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from segcli.core.types import Share
from segcli.optimizers import OptimizerConfig, OptimizerFactory

__all__ = ["Adam"]


class Adam(OptimizerFactory):
    """Adam, with weight decay added to the gradient."""

    class Config(OptimizerConfig):
        """Keys of `optimizer: {type: adam}`."""

        betas: Annotated[list[Share], Field(min_length=2, max_length=2)] = [0.9, 0.999]
        """Decay of the running mean of gradients and of their squares."""
        eps: Annotated[float, Field(gt=0.0)] = 1e-8
        """Added to the denominator."""

    def make(self, parameters: list[nn.Parameter], *, fused: bool) -> torch.optim.Optimizer:
        """The optimizer with this config."""
        config = self.config
        return torch.optim.Adam(
            parameters,
            lr=config.learning_rate,
            betas=(config.betas[0], config.betas[1]),
            eps=config.eps,
            weight_decay=config.weight_decay,
            fused=fused,
        )
