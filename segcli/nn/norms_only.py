"""Play a network on sizes alone, where norms are only asked whether they get enough values."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

__all__ = ["NormsOnly"]


class NormsOnly(TorchFunctionMode):
    """Lets norms check the size of their input and return it as it is.

    For a tensor without memory, PyTorch would compose them of Python functions that import its compiler for a second.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Replace a norm by its check; call any other function."""
        check = _CHECKS.get(func)
        if check is None or not args[0].is_meta:
            return func(*args, **(kwargs or {}))
        check(*args, **(kwargs or {}))
        return args[0]


def _batch_norm(
    x: Tensor,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    *_: Any,
    **__: Any,
) -> None:
    if training:
        F._verify_batch_size(x.size())  # type: ignore[attr-defined]  # its stub leaves it out


def _instance_norm(
    x: Tensor,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    *_: Any,
    **__: Any,
) -> None:
    if use_input_stats:
        F._verify_spatial_size(x.size())  # type: ignore[attr-defined]  # its stub leaves it out


_CHECKS: dict[Callable[..., Any], Callable[..., None]] = {F.batch_norm: _batch_norm, F.instance_norm: _instance_norm}
