"""Simulated GPU: fake tensors without data that behave as if they were on a GPU.

PyTorch's fake tensors do nearly all of it. Two things are added. PyTorch built without CUDA has no "device guard",
which operators need although there is no device to switch. And a step that reads values (`item`, `numpy`) gets zeros.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode

from segcli.core.collector import resting
from segcli.core.errors import DeviceError
from segcli.core.platform import LIBRARY_ENDING
from segcli.engine.runtime import random_state, restore_random_state
from segcli.vram.kernels import attention

__all__ = ["GPU", "Stepping", "placed", "stand_in"]

GPU = torch.device("cuda:0")
REGISTRY = "_ZN3c104impl26device_guard_impl_registryE"
"""Symbol of `c10::impl::device_guard_impl_registry`: one pointer per device type, CPU first, CUDA second."""
READS = {
    Tensor.item: 0.0,
    Tensor.__float__: 0.0,
    Tensor.__int__: 0,
    Tensor.__index__: 0,
    Tensor.__bool__: False,
}
"""Replacement values when the value of a fake tensor is read."""


MAKERS = {torch.tensor, torch.as_tensor}


class _Stand(FakeTensorMode):  # type: ignore[no-untyped-call]  # PyTorch states no types
    """Fake tensors that are not hidden from PyTorch's compiler, which costs time at each operator."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator on tensors without data."""
        return self.dispatch(func, types, args, kwargs or {})


@contextmanager
def stand_in() -> Iterator[FakeTensorMode]:
    """Make all tensors in this context without data, on the CPU or on `GPU`.

    Raises:
        DeviceError: This build of PyTorch cannot simulate a GPU.
    """
    with ExitStack() as stack:
        stack.enter_context(resting())
        here = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        stack.callback(restore_random_state, random_state(here), here)
        if not torch.cuda.is_available():
            stack.enter_context(_guard())
            # autocast and the loss scaler check for a GPU themselves
            stack.enter_context(patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False))
            stack.enter_context(patch("torch.cuda.is_bf16_supported", lambda *_, **__: True))
        yield stack.enter_context(_Stand(allow_non_fake_inputs=True))


@contextmanager
def _guard() -> Iterator[None]:
    """Use the device guard of the CPU, which does nothing, also for CUDA."""
    library = Path(torch.__file__).parent / "lib" / f"libc10.{LIBRARY_ENDING}"
    try:
        registry = (ctypes.c_void_p * 2).in_dll(ctypes.CDLL(str(library)), REGISTRY)
    except (OSError, ValueError) as error:
        raise DeviceError(
            f"PyTorch {torch.__version__} on this machine cannot simulate a GPU ({error})",
            hint="forecast on Linux or macOS, or on a machine with a GPU",
        ) from error
    before = registry[1]
    registry[1] = registry[0]
    try:
        yield
    finally:
        registry[1] = before


def placed(network: nn.Module, memory_format: torch.memory_format) -> nn.Module:
    """Convert the weights of the network to a memory layout; `Module.to` cannot do this without data."""
    ndim = {torch.channels_last: 4, torch.channels_last_3d: 5}.get(memory_format)
    done: dict[int, nn.Parameter] = {}
    for module in network.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.ndim == ndim:
                if id(parameter) not in done:
                    moved = parameter.detach().contiguous(memory_format=memory_format)
                    done[id(parameter)] = nn.Parameter(moved, requires_grad=parameter.requires_grad)
                module._parameters[name] = done[id(parameter)]
    return network


def _made(values: Any, dtype: torch.dtype | None, device: torch.device) -> Tensor:
    """Make a tensor of these values on the device; in inference mode PyTorch would need a real device for the copy."""
    array = np.asarray(values)
    if dtype is None:
        dtype = torch.get_default_dtype() if array.dtype.kind == "f" else torch.from_numpy(array).dtype
    return torch.zeros(array.shape, dtype=dtype, device=device)


class Stepping(TorchFunctionMode):
    """Replaces functions that cannot run without data or without a GPU.

    Args:
        run_backward: Runs the backward pass of a loss.
    """

    def __init__(self, run_backward: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.reads = 0
        """Number of times a value was read."""
        self.instead: dict[Any, Callable[..., Any]] = {
            Tensor.backward: lambda loss, **_: run_backward(loss),
            Tensor.__deepcopy__: _copied,
            Tensor.to: _moved,
            Tensor.new_tensor: lambda like, values, dtype=None, device=None: _made(
                values, dtype or like.dtype, device or like.device
            ),
            Tensor.numpy: lambda tensor: np.zeros(tensor.shape, str(tensor.dtype).removeprefix("torch.")),
            Tensor.tolist: lambda tensor: np.zeros(tensor.shape).tolist(),
        }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function of PyTorch, or its replacement."""
        kwargs = kwargs or {}
        if func is torch.nn.functional.scaled_dot_product_attention and args[0].device.type == "cuda":
            return attention(*args, **kwargs)
        if func in READS:
            self.reads += 1
            return READS[func]
        if func in MAKERS and kwargs.get("device") is not None and not isinstance(args[0], Tensor):
            return _made(args[0], kwargs.get("dtype"), torch.device(kwargs["device"]))
        return self.instead.get(func, func)(*args, **kwargs)


def _copied(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    """Copy a tensor in place of `deepcopy`, which needs the address of the data."""
    memo[id(tensor)] = copy = tensor.detach().clone()
    return copy


def _moved(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Move a tensor in place of `to`, which would really move a tensor with a single number."""
    if isinstance(tensor, FakeTensor):
        tensor.constant = None
    return tensor.to(*args, **kwargs)
