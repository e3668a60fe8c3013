"""Optimizers of PyTorch that do not load its compiler.

PyTorch decorates the methods of its optimizers for `torch.compile`, and the decorators import `torch._dynamo` at their
first call. This takes longer than `import torch` itself, and only a compiled optimizer needs it, which is nowhere made.
"""

import inspect
from functools import cache
from typing import Any, TypeVar, cast

import torch

__all__ = ["eager"]

Kind = TypeVar("Kind", bound=type[torch.optim.Optimizer])
DECORATED = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
"""Methods that PyTorch hides from its compiler."""


def eager(kind: Kind) -> Kind:
    """Make a class of optimizers that takes the same steps as `kind`, through the functions below the decorators.

    A version of PyTorch that does not decorate them is used as it is. Hooks and the profiler see each step as always.
    """
    known: Any = kind  # a class can be hashed, which mypy denies
    return cast("Kind", _made(known))


@cache
def _made(kind: Any) -> type[torch.optim.Optimizer]:
    below = {name: inspect.unwrap(getattr(kind, name)) for name in DECORATED}
    plain = inspect.unwrap(kind.step)

    def step(self: torch.optim.Optimizer, closure: Any = None) -> Any:
        with torch.set_grad_enabled(bool(self.defaults.get("differentiable"))):
            return plain(self, closure)

    return type(kind.__name__, (kind,), {"__doc__": kind.__doc__, "__module__": __name__, **below, "step": step})
