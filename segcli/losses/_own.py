"""Make a class or function of the user's own a loss."""

import inspect
from typing import Any

from torch import Tensor, nn

from segcli.core.errors import ConfigError
from segcli.core.own_code import Code, accepted, blame, blamed, called, of_contract, options_of, refuse_kind
from segcli.core.types import ConfigModel
from segcli.losses import Loss, MaskLoss

__all__ = ["adapted"]


def adapted(found: Any, code: Code) -> type[Loss]:
    """Make `found` a loss: a subclass of `Loss`, a module of PyTorch, or a function, called with logits and truth.

    Logits are `(B, K, *S)`. The truth is `(B, K, *S)` of 0 and 1 in float32 where every channel is a separate mask, or
    int64 classes `(B, *S)`. A loss that takes `valid`, `(B, 1, *S)` boolean, leaves out pixels that are False. One
    without it is refused as soon as a batch has such pixels. It returns a scalar.

    Raises:
        ConfigError: It is neither.
    """
    if inspect.isclass(found) and issubclass(found, Loss):
        kind: type[Loss] = of_contract(found, code)
        blame(kind, "forward", code)
        return kind
    if (inspect.isclass(found) and issubclass(found, nn.Module)) or inspect.isfunction(found):
        return _wrapped(found, code)
    raise refuse_kind(code, found, "a subclass of `Loss` or of `torch.nn.Module`, or a function")


def _wrapped(found: Any, code: Code) -> type[Loss]:
    is_class = inspect.isclass(found)
    takes = accepted(found.forward if is_class else found, ["valid"])

    class Own(MaskLoss):
        """A loss of the user's own."""

        Config = options_of(found, code) if is_class else options_of(found, code, given=2, program=("valid",))
        can_target = tuple(getattr(found, "can_target", MaskLoss.can_target))

        def __init__(self, config: ConfigModel) -> None:
            super().__init__()
            with blamed(code):
                self.own = called(found, config)

        def compute(self, logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
            """Compute the scalar loss."""
            truth = truth.to(logits.dtype) if truth.ndim == logits.ndim else truth.long()
            if not takes:
                _refuse_uncounted(valid, code)
            with blamed(code):
                value = self.own(logits, truth, **({"valid": valid} if takes else {}))
            if not isinstance(value, Tensor) or value.ndim:
                shape = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
                raise ConfigError(f"loss `{code.shown}` gives {shape}, expected a scalar tensor")
            if logits.requires_grad and not value.requires_grad:
                raise ConfigError(
                    f"loss `{code.shown}` has no gradient",
                    hint="compute it from the logits, without `detach` or `item`",
                )
            return value

    Own.__name__, Own.__doc__ = found.__name__, found.__doc__
    return Own


def _refuse_uncounted(valid: Tensor, code: Code) -> None:
    """Refuse pixels that do not count for a loss that cannot leave them out."""
    if hasattr(valid, "fake_mode"):  # a memory forecast has no values
        return
    if not valid.all():
        raise ConfigError(
            f"loss `{code.shown}` takes no `valid`, and some pixels of this batch do not count (padding, ignored, or "
            "outside the field of view)",
            hint="give it the argument `valid`, `(B, 1, *S)` boolean, and leave out pixels that are False",
        )
