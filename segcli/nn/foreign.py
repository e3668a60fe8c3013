"""Networks of other packages: made also where tensors have no values, and without layers that are never called."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily
from torch.func import functional_call

__all__ = ["least_multiple", "really", "without_unused"]

Made = TypeVar("Made", bound=nn.Module)
MOST = 8


def really(make: Callable[[], tuple[Made, int]]) -> tuple[Made, int]:
    """Make a network and find its stride, also where tensors have no values, as in a memory forecast.

    Encoders read values while they are made, such as the rates of stochastic depth. So the network is made with values,
    and those are taken away afterwards.
    """
    here = torch.empty(0)
    if not (isinstance(here, FakeTensor) or here.is_meta):
        return make()
    with unset_fake_temporarily(), torch._C.DisableTorchFunction(), torch.random.fork_rng(devices=[]):
        network, stride = make()
    done: dict[int, Tensor] = {}

    def emptied(value: Tensor) -> Tensor:
        if id(value) not in done:
            empty = torch.empty(value.shape, dtype=value.dtype)
            done[id(value)] = nn.Parameter(empty, value.requires_grad) if isinstance(value, nn.Parameter) else empty
        return done[id(value)]

    for module in network.modules():
        for owned in (module._parameters, module._buffers):
            owned.update({name: emptied(value) for name, value in owned.items() if value is not None})  # type: ignore[misc]
    return network, stride


def least_multiple(network: nn.Module, channels: tuple[int, int], stride: int) -> int:
    """Find the smallest number whose multiples all work as image sizes.

    Decoders may halve the features further than the encoder states, and attention may need a smallest size.

    Args:
        network: A network that maps `(B, channels[0], H, W)` to `(B, channels[1], H, W)`.
        channels: Channels of the image and of the mask.
        stride: Stride that the encoder states.

    Raises:
        ValueError: The network fails with sizes of `MOST` times the stride too.
    """
    multiple = stride
    while True:
        try:
            for height, width in ((1, 2), (3, 1)):
                _tried(network, channels, (height * multiple, width * multiple))
        except ValueError:
            if multiple >= MOST * stride:
                raise
            multiple *= 2
        else:
            return multiple


def without_unused(network: Made, channels: tuple[int, int], size: int) -> Made:
    """Take layers out that are never called, such as the last norm of an encoder that is made for classification.

    Args:
        network: A network as in `least_multiple`.
        channels: Channels of the image and of the mask.
        size: Height and width that the network takes.
    """
    called: set[nn.Module] = set()
    hooks = [each.register_forward_pre_hook(lambda module, _: called.add(module)) for each in network.modules()]
    try:
        found, weights = _tried(network, channels, (size, size))
    finally:
        for hook in hooks:
            hook.remove()
    found.sum().backward()  # type: ignore[no-untyped-call]
    unused = {name for name, value in weights.items() if value.grad is None}
    for path, module in list(network.named_modules()):
        own = [f"{path}.{name}" for name, _ in module.named_parameters(recurse=False)]
        # what is called stays, even if its output is dropped: the layers behind it need its shape
        if own and unused.issuperset(own) and module not in called and not list(module.children()):
            network.set_submodule(path, nn.Identity())
    return network


def _tried(network: nn.Module, channels: tuple[int, int], size: tuple[int, int]) -> tuple[Tensor, dict[str, Tensor]]:
    """Run images without values through the network; return the mask and the weights, which get gradients.

    Raises:
        ValueError: The network fails, or the mask has another size.
    """
    weights = {
        name: torch.empty_like(each, device="meta").requires_grad_() for name, each in network.named_parameters()
    }
    buffers = {name: torch.empty_like(each, device="meta") for name, each in network.named_buffers()}
    image = torch.empty((2, channels[0], *size), device="meta")
    shown, mode = "x".join(map(str, size)), network.training
    try:
        found = functional_call(network.eval(), {**weights, **buffers}, image)
    except Exception as error:  # of many kinds
        raise ValueError(f"an image of {shown} pixels fails: {error}") from error
    finally:
        network.train(mode)
    if found.shape != (2, channels[1], *size):
        raise ValueError(f"an image of {shown} pixels gives a mask of {'x'.join(map(str, found.shape[2:]))}")
    return found, weights
