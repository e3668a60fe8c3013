"""Make a class or function of the user's own an optimizer."""

import inspect
from typing import Any

import torch
from torch import nn

from segcli.core.errors import ConfigError
from segcli.core.own_code import Code, accepted, arguments, blamed, of_contract, options_of, refuse_kind
from segcli.optimizers import OptimizerConfig, OptimizerFactory

__all__ = ["adapted"]

PROGRAM = ("lr", "weight_decay")


def adapted(found: Any, code: Code) -> type[OptimizerFactory]:
    """Make `found` an optimizer: a subclass of `OptimizerFactory` or of `torch.optim.Optimizer`, or a function.

    An optimizer of PyTorch and a function are called with the parameters, `lr` (the key `learning_rate`),
    `weight_decay` if they take it, and the other keys beside `type`. The state may hold tensors and numbers, which
    checkpoints store.

    Raises:
        ConfigError: It is neither, or its step needs a closure.
    """
    if inspect.isclass(found) and issubclass(found, OptimizerFactory):
        kind: type[OptimizerFactory] = of_contract(found, code, contract=OptimizerFactory)
        return kind
    is_class = inspect.isclass(found) and issubclass(found, torch.optim.Optimizer)
    if not (is_class or inspect.isfunction(found)) or not accepted(found, ["lr"]):
        accepts = "a subclass of `OptimizerFactory` or `torch.optim.Optimizer`, or a function, and takes `lr`"
        raise refuse_kind(code, found, accepts)
    closure = inspect.signature(found.step).parameters.get("closure") if is_class else None
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ConfigError(f"the step of optimizer `{code.shown}` needs a `closure`, which segcli does not provide")
    return _wrapped(found, code)


def _wrapped(found: Any, code: Code) -> type[OptimizerFactory]:
    signature = inspect.signature(found)

    class Own(OptimizerFactory):
        """An optimizer of the user's own."""

        Config = options_of(found, code, given=1, program=PROGRAM, base=OptimizerConfig)  # type: ignore[assignment]

        def make(self, parameters: list[nn.Parameter], *, fused: bool) -> torch.optim.Optimizer:
            """Make the optimizer with the keys of the user."""
            program = {"lr": self.config.learning_rate, "weight_decay": self.config.weight_decay}
            if self.config.weight_decay and "weight_decay" not in signature.parameters:
                raise ConfigError(f"optimizer `{code.shown}` has no argument `weight_decay`", hint="leave the key out")
            with blamed(code):
                made = found(parameters, **arguments(self.config, signature, program))
            if not isinstance(made, torch.optim.Optimizer):
                raise ConfigError(f"`{code.shown}` gives no `torch.optim.Optimizer`")
            return made

    Own.__name__, Own.__doc__ = found.__name__, found.__doc__
    return Own
