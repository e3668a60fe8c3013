"""AdamW.

Paper: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, https://arxiv.org/abs/1711.05101.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from segcli.optimizers import AdamConfig, OptimizerFactory
from segcli.optimizers._eager import eager

__all__ = ["AdamW"]


class AdamW(OptimizerFactory):
    """Adam with decoupled weight decay."""

    fuses_shards = True

    class Config(AdamConfig):
        """Keys of `optimizer: {type: adamw}`."""

        weight_decay: Annotated[float, Field(ge=0.0)] = 0.01
        """Weight decay: how strongly weights are pulled towards 0."""

    def make(self, parameters: list[nn.Parameter], *, fused: bool) -> torch.optim.Optimizer:
        """Make the optimizer with this config."""
        return eager(torch.optim.AdamW)(parameters, **self.config.arguments(), fused=fused)
