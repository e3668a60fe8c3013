"""A GPU that is not there: tensors without data that behave as if they lay on one.

PyTorch's own fake tensors do nearly all of it. Two things are added: PyTorch built without CUDA lacks a "device guard",
which operators ask for although nothing is to be switched, and a step that reads values (`item`, `numpy`) gets zeros.
"""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

from segcli.core.errors import DeviceError
from segcli.engine.vram.kernels import attention

__all__ = ["GPU", "Stepping", "placed", "stand_in"]

GPU = torch.device("cuda:0")
REGISTRY = "_ZN3c104impl26device_guard_impl_registryE"
"""`c10::impl::device_guard_impl_registry`: one pointer for each kind of device, CPU first, CUDA second."""
READS = {
    Tensor.item: 0.0,
    Tensor.__float__: 0.0,
    Tensor.__int__: 0,
    Tensor.__index__: 0,
    Tensor.__bool__: False,
}
"""What a tensor without data gives where its value is read."""


@contextmanager
def stand_in() -> Iterator[FakeTensorMode]:
    """Within, tensors are made without data, on the CPU or on `GPU`.

    Raises:
        DeviceError: This build of PyTorch does not let itself be led on.
    """
    with ExitStack() as stack:
        rng = torch.get_rng_state()
        stack.callback(lambda: torch.set_rng_state(rng))
        if not torch.cuda.is_available():
            stack.enter_context(_guard())
            # autocast and the loss scaler look for a GPU themselves
            stack.enter_context(patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False))
            stack.enter_context(patch("torch.cuda.is_bf16_supported", lambda *_, **__: True))
        yield stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))


@contextmanager
def _guard() -> Iterator[None]:
    """Let the guard of the CPU, which does nothing, stand in for CUDA's."""
    suffix = "dylib" if sys.platform == "darwin" else "so"
    library = Path(torch.__file__).parent / "lib" / f"libc10.{suffix}"
    try:
        registry = (ctypes.c_void_p * 2).in_dll(ctypes.CDLL(str(library)), REGISTRY)
    except (OSError, ValueError) as error:
        raise DeviceError(
            f"PyTorch {torch.__version__} on this machine cannot stand in for a GPU ({error})",
            hint="forecast on Linux or macOS, or on a machine with a GPU",
        ) from error
    before = registry[1]
    registry[1] = registry[0]
    try:
        yield
    finally:
        registry[1] = before


def placed(network: nn.Module, memory_format: torch.memory_format) -> nn.Module:
    """The network with its weights in this layout; `Module.to` cannot do it without data."""
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


class Stepping(TorchFunctionMode):
    """Redirects what cannot run without data or without a GPU.

    Args:
        run_backward: Does the backward pass of a loss.
    """

    def __init__(self, run_backward: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.run_backward = run_backward
        self.reads = 0
        """How often a value was read."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function of PyTorch, or what stands in for it."""
        kwargs = kwargs or {}
        if func is torch.nn.functional.scaled_dot_product_attention and args[0].device.type == "cuda":
            return attention(*args, **kwargs)
        if func is Tensor.backward:
            return self.run_backward(args[0])
        if func in READS:
            self.reads += 1
            return READS[func]
        if func is Tensor.numpy:
            return np.zeros(args[0].shape, torch.empty(0, dtype=args[0].dtype, device="meta").to("cpu").numpy().dtype)
        if func is Tensor.tolist:
            return np.zeros(args[0].shape).tolist()
        return func(*args, **kwargs)
