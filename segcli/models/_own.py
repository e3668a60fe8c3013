"""Make a class or function of the user's own a network."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from segcli.core.errors import ConfigError
from segcli.core.own_code import Code, arguments, blamed, of_contract, options_of, refuse_kind
from segcli.core.types import ConfigModel, IOSpec
from segcli.models import Network

__all__ = ["adapted"]

PROGRAM = ("in_channels", "out_channels", "num_classes", "ndim")
"""Constructor arguments that the program fills in."""
LEAST = 32
"""Smallest size along each axis, in pixels, of the image that tests a new network."""


def adapted(found: Any, code: Code) -> type[Network]:
    """Make `found` a network: a subclass of `Network` or of `torch.nn.Module`, or a function that makes a module.

    A module is built from the keys beside `type`, and from `in_channels`, `out_channels` (or `num_classes`) and `ndim`
    if its constructor takes them. It must return logits `(B, K, *S)`, or a dict with these under `mask` or `out`. If it
    has an attribute `stride`, each image size must be a multiple of it.

    Raises:
        ConfigError: It is neither.
    """
    if inspect.isclass(found) and issubclass(found, Network):
        kind: type[Network] = of_contract(found, code)
        return kind
    if inspect.isfunction(found) or (inspect.isclass(found) and issubclass(found, nn.Module)):
        return _wrapped(found, code)
    raise refuse_kind(code, found, "a subclass of `torch.nn.Module`, or a function that makes one")


def _wrapped(found: Any, code: Code) -> type[Network]:
    """Wrap any `nn.Module` class, or a function that makes a module, as a `Network` class."""
    signature = inspect.signature(found)

    class Own(Network):
        Config = options_of(found, code, program=PROGRAM)
        can_ndim = tuple(getattr(found, "can_ndim", (2, 3)))

        def __init__(self, config: ConfigModel, *, io: IOSpec) -> None:
            super().__init__(io)
            classes = io.outputs.get(io.pixels, 1)
            program = dict(zip(PROGRAM, (io.in_channels, classes, classes, io.ndim), strict=True))
            with blamed(code):
                self.network = found(**arguments(config, signature, program))
            self.stride = _stride(self.network, code)
            _try_out(self, code.shown)

        def forward(self, image: Tensor) -> dict[str, Tensor]:
            """Return the outputs of the module by name."""
            outputs: Any = self.network(image)
            if not isinstance(outputs, dict):
                return {self.io.pixels: outputs}
            if self.io.pixels in outputs:
                return outputs
            # of TorchVision, which gives more beside `out` in training
            name = next((name for name in ("mask", "out") if name in outputs), None)
            return outputs if name is None else {self.io.pixels: outputs[name]}

    Own.__name__, Own.__doc__ = found.__name__, found.__doc__
    return Own


def _stride(network: Any, code: Code) -> int:
    stride = getattr(network, "stride", 1)
    if not isinstance(stride, int) or stride < 1:
        raise ConfigError(f"`{code.shown}` has the `stride` {stride!r}, expected a whole number of at least 1")
    return stride


@torch.no_grad()
def _try_out(network: Network, shown: str) -> None:
    """Run one image through the network, so that a wrong shape is found before the training.

    Raises:
        ConfigError: The network fails, or its output has a wrong shape.
    """
    io, length = network.io, network.stride * -(-LEAST // network.stride)
    image = torch.zeros(1, io.in_channels, *[length] * io.ndim)
    size = "x".join([str(length)] * io.ndim)
    network.eval()
    try:
        outputs = network(image)
    except Exception as error:
        raise ConfigError(
            f"`{shown}` fails on an image of {size} pixels ({type(error).__name__}: {error})",
            hint="image sizes are multiples of the attribute `stride` of the network, 1 if it has none",
        ) from error
    network.train()
    expected = {name: (1, channels, *image.shape[2:]) for name, channels in io.outputs.items()}
    found = {name: tuple(value.shape) for name, value in outputs.items() if isinstance(value, Tensor)}
    if {name: found.get(name) for name in expected} != expected:
        raise ConfigError(f"`{shown}` gives {found} for an image of {size} pixels, expected {expected}")
