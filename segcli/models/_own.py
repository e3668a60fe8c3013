"""A user's own network in one file, chosen by `model: {type: path/to/file.py:ClassName, ...}`.

A checkpoint holds no code. It stores the path and the SHA-256 of the file, and only a file with this digest is run: the
file is read once, its digest is compared, and the very same bytes are executed. `config/own_network.py` decides which
configs may name a file.
"""

import hashlib
import inspect
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from pydantic import ConfigDict, create_model, model_validator
from torch import Tensor, nn

from segcli.core.errors import ConfigError, nearest
from segcli.core.types import ConfigModel, IOSpec
from segcli.models import Network

__all__ = ["own_model"]

PROGRAM = ("in_channels", "out_channels", "num_classes", "ndim")
"""Constructor arguments that the program fills in."""
LEAST = 32
"""Smallest size along each axis, in pixels, of the image that tests a new network."""


@cache
def own_model(path: Path, name: str, digest: str) -> type[Network]:
    """Load a class from a user's file and make it a `Network`.

    A subclass of `Network` is used as it is. Any other `torch.nn.Module` is built from the keys beside `type`, and from
    `in_channels`, `out_channels` (or `num_classes`) and `ndim` if its constructor takes them. It must return logits
    `(B, K, *S)`, or a dict with these logits under `mask`. If it has an attribute `stride`, each image size must be a
    multiple of it.

    Raises:
        ConfigError: The file has another digest, there is no such class, or the file cannot be imported.
    """
    module = _imported(path, digest)
    kind = getattr(module, name, None)
    if not (inspect.isclass(kind) and issubclass(kind, nn.Module)):
        known = [key for key, value in vars(module).items() if inspect.isclass(value) and issubclass(value, nn.Module)]
        close = nearest(name, known)
        hint = f"did you mean `{close}`?" if close else f"it has {', '.join(known) or 'none'}"
        raise ConfigError(f"`{path}` has no network `{name}`", hint=hint)
    return _ours(kind, digest) if issubclass(kind, Network) else _wrapped(kind, digest, f"{path.name}:{name}")


def _imported(path: Path, digest: str) -> ModuleType:
    """Run the bytes of the file as a module; never use a cached compiled copy."""
    code = path.read_bytes()
    if hashlib.sha256(code).hexdigest() != digest:
        raise ConfigError(f"`{path}` changed while it was checked", hint="start again")
    module = ModuleType(f"segcli_own_{digest[:16]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look up their module
    try:
        exec(compile(code, str(path), "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        del sys.modules[module.__name__]
        raise ConfigError(f"`{path}` cannot be imported ({type(error).__name__}: {error})") from error
    return module


def _remembering(base: type[ConfigModel], digest: str) -> type[ConfigModel]:
    """Add the digest of the file to the config keys of a network."""
    return create_model(base.__name__, __base__=base, sha256=(str, digest))


def _ours(kind: type[Network], digest: str) -> type[Network]:
    config: type[ConfigModel] = getattr(kind, "Config", ConfigModel)
    return type(kind.__name__, (kind,), {"Config": _remembering(config, digest), "__doc__": kind.__doc__})


def _wrapped(kind: type[nn.Module], digest: str, shown: str) -> type[Network]:
    """Wrap any `nn.Module` class as a `Network` class."""
    signature = inspect.signature(kind)

    class Arguments(ConfigModel):
        model_config = ConfigDict(extra="allow")

        @model_validator(mode="after")
        def _fit(self) -> "Arguments":
            try:
                signature.bind(**_arguments(self, signature, IOSpec(2, 1, {"mask": 1})))
            except TypeError as error:
                raise ValueError(f"`{shown}` cannot be made from these keys: {error}") from None
            return self

    class Own(Network):
        Config = _remembering(Arguments, digest)
        can_ndim = tuple(getattr(kind, "can_ndim", (2, 3)))

        def __init__(self, config: ConfigModel, *, io: IOSpec) -> None:
            super().__init__(io)
            self.network = kind(**_arguments(config, signature, io))
            self.stride = int(getattr(self.network, "stride", 1))
            _try_out(self, shown)

        def forward(self, image: Tensor) -> dict[str, Tensor]:
            """Return the outputs of the module by name."""
            outputs: Any = self.network(image)
            return outputs if isinstance(outputs, dict) else {self.io.pixels: outputs}

    Own.__name__, Own.__doc__ = kind.__name__, kind.__doc__
    return Own


def _arguments(config: ConfigModel, signature: inspect.Signature, io: IOSpec) -> dict[str, Any]:
    given = {key: value for key, value in (config.model_extra or {}).items() if key != "sha256"}
    classes = io.outputs.get(io.pixels, 1)
    program = dict(zip(PROGRAM, (io.in_channels, classes, classes, io.ndim), strict=True))
    return {**{key: value for key, value in program.items() if key in signature.parameters}, **given}


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
