"""Adam.

Paper: Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, https://arxiv.org/abs/1412.6980.
"""

import torch
from torch import nn

from segcli.optimizers import AdamConfig, OptimizerFactory
from segcli.optimizers._eager import eager

__all__ = ["Adam"]


class Adam(OptimizerFactory):
    """Adam; weight decay is added to the gradient (L2 regularisation)."""

    fuses_shards = True

    class Config(AdamConfig):
        """Keys of `optimizer: {type: adam}`."""

    def make(self, parameters: list[nn.Parameter], *, fused: bool) -> torch.optim.Optimizer:
        """Make the optimizer with this config."""
        return eager(torch.optim.Adam)(parameters, **self.config.arguments(), fused=fused)
