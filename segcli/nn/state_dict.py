"""Weights of other programs: state dicts from files, with the usual prefixes and wrappers removed."""

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from safetensors.torch import load
from torch import Tensor

from segcli.core.errors import CheckpointError, ConfigError
from segcli.nn.tensor_files import OWN_PREFIXES, matches, metadata

__all__ = ["Fit", "Sha256", "fitted", "for_channels", "read_state_dict", "read_tensors"]

HINT = "give a state dict of tensors: a `.safetensors` of segcli, or a `.pt` saved with `torch.save(net.state_dict())`"
WRAPPERS = ("state_dict", "model_state_dict")
PREFIXES = ("module.", "_orig_mod.")
"""Prefixes that DataParallel and `torch.compile` add to every name."""
NAMES_SHOWN = 4
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""SHA-256 of a file, as `sha256sum` prints it."""


def read_state_dict(path: Path, *, sha256: str | None = None) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint by their names in the network; no code in the file is run.

    Accepted are a plain state dict, one under `state_dict` or `model_state_dict`, names that begin with `module.`, and
    safetensors written by segcli, from which averaged (EMA) weights are preferred.

    Args:
        path: The file.
        sha256: SHA-256 that the file must have; None for any.

    Raises:
        ConfigError: There is no such file.
        CheckpointError: The file holds no weights, or others than stated.
    """
    if not path.is_file():
        raise ConfigError(f"no file `{path}` with pretrained weights", hint="set `model.weights`")
    return _bare(read_tensors(path, hint=HINT, within=WRAPPERS, sha256=sha256))


def read_tensors(path: Path, *, hint: str, within: Sequence[str] = (), sha256: str | None = None) -> dict[str, Tensor]:
    """Read the tensors of a file by name; no code in the file is run.

    The checksums in the file are compared: those that segcli writes, and those of each part of a file of PyTorch.

    Args:
        path: A `.safetensors`, or a file written by `torch.save`.
        hint: Hint of the error message: what the file must be.
        within: Keys; the tensors may be in a dict under one of them.
        sha256: SHA-256 that the file must have; None for any.

    Raises:
        CheckpointError: The file holds no tensors, is damaged, or is another one than stated.
    """
    if sha256 is not None:
        _refuse_other(path, sha256)
    try:
        content, fault = _of_safetensors(path) if path.suffix == ".safetensors" else _of_pytorch(path)
    except Exception as error:  # many kinds of exceptions: a damaged archive, code in a pickle
        raise CheckpointError(f"`{path}` holds no weights ({str(error).strip()[:80]})", hint=hint) from error
    if fault is not None:
        raise CheckpointError(f"the weights in `{path}` are damaged ({fault})", hint="copy the file again")
    for key in within:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"`{path}` holds no state dict of tensors", hint=hint)
    return dict(content)


def _refuse_other(path: Path, sha256: str) -> None:
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise CheckpointError(
            f"the SHA-256 of `{path}` is {found}, but `model.weights_sha256` is {sha256}",
            hint="copy the file again, or correct the key if you trust this file",
        )


def _of_safetensors(path: Path) -> tuple[Any, str | None]:
    """Read the tensors; return a fault if they are not those that segcli wrote."""
    with path.open("rb") as stream:
        found = metadata(stream)
        stream.seek(0)
        tensors = load(stream.read())
    return tensors, None if matches(found, tensors) else "their checksum does not match"


def _of_pytorch(path: Path) -> tuple[Any, str | None]:
    """Read what `torch.save` wrote; return a fault if a part differs from its checksum, which PyTorch does not read."""
    content: Any = torch.load(path, map_location="cpu", weights_only=True)
    if not zipfile.is_zipfile(path):
        return content, None
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    return content, None if damaged is None else f"`{damaged}` differs from its checksum"


def _bare(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefixes of the names."""
    for prefix in reversed(OWN_PREFIXES):  # a checkpoint of segcli; averaged weights first
        below = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        if below:
            return below
    for prefix in PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


@dataclass
class Fit:
    """Tensors that a network can load from a checkpoint, by name."""

    loaded: dict[str, Tensor] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    """Tensors of the checkpoint that are not loaded: unknown, of another shape, or excluded."""
    missing: list[str] = field(default_factory=list)
    """Tensors of the network that are not in the checkpoint; they keep their random initial values."""

    def lines(self, path: Path) -> list[str]:
        """Return one line for the user for each kind: loaded, skipped, missing."""
        kinds = {"loaded": list(self.loaded), "skipped": self.skipped, "missing, new from the seed": self.missing}
        return [f"weights of `{path}`, {_listed(names)} {kind}" for kind, names in kinds.items()]


def fitted(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, within: str = "") -> Fit:
    """Match the tensors of a checkpoint with those of a network by name and shape.

    Args:
        tensors: Tensors of the checkpoint.
        expected: Tensors of the network.
        within: Prefix; tensors with other names are left out.
    """
    fit = Fit()
    for name, value in tensors.items():
        if name in expected and name.startswith(within) and value.shape == expected[name].shape:
            fit.loaded[name] = value
        elif name in expected and value.shape != expected[name].shape:
            fit.skipped.append(f"{name} {_shape(value)} instead of {_shape(expected[name])}")
        else:
            fit.skipped.append(name)
    fit.loaded = {name: fit.loaded[name] for name in expected if name in fit.loaded}
    fit.missing = [name for name in expected if name not in fit.loaded and not name.endswith("num_batches_tracked")]
    return fit


def for_channels(weight: Tensor, *, like: Tensor) -> Tensor:
    """Convert first weights `(K, 3, *kernel)` to the input channels of `like`; other weights stay as they are.

    The weights are repeated over the channels and scaled, so that a grey image gives the same output as three equal
    channels.
    """
    is_first = weight.ndim > 2 and weight.shape[1] == 3
    if not is_first or weight.ndim != like.ndim or weight[:, 0].shape != like[:, 0].shape or like.shape[1] == 3:
        return weight
    channels = like.shape[1]
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    repeats = [1, -(-channels // 3), *[1] * (weight.ndim - 2)]
    return weight.repeat(repeats)[:, :channels] * (3.0 / channels)


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "scalar"


def _listed(names: list[str]) -> str:
    """Count names and list the first few."""
    if not names:
        return "none"
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"{len(names)} ({', '.join(names[:NAMES_SHOWN])}{more})"
