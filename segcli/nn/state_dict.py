"""Weights of other programs: state dicts from files, with the usual wrappers removed."""

import hashlib
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

from segcli.core.errors import CheckpointError, ConfigError
from segcli.core.names import printable
from segcli.nn.tensor_files import OWN_PREFIXES, below, matches, metadata

__all__ = ["read_state_dict", "read_tensors"]

HINT = "give a state dict of tensors: a `.safetensors` of segcli, or a `.pt` saved with `torch.save(net.state_dict())`"
WRAPPERS = ("state_dict", "model_state_dict", "model")


def read_state_dict(path: Path, *, sha256: str | None = None) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint by their names in the network; no code in the file is run.

    Accepted are a plain state dict, one under `state_dict`, `model_state_dict` or `model`, and safetensors written by
    segcli, from which averaged (EMA) weights are preferred.

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
        raise CheckpointError(f"`{path}` holds no weights ({_why(error)})", hint=hint) from error
    if fault is not None:
        raise CheckpointError(f"the weights in `{path}` are damaged ({fault})", hint="copy the file again")
    for key in within:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if (
        not isinstance(content, Mapping)
        or not all(isinstance(each, str) for each in content)
        or not all(isinstance(value, Tensor) for value in content.values())
    ):
        raise CheckpointError(f"`{path}` holds no state dict of tensors", hint=hint)
    without = [name for name, value in content.items() if value.is_meta or value.layout is not torch.strided]
    if without:
        kind = "has no values" if content[without[0]].is_meta else "is a sparse tensor"
        raise CheckpointError(f"`{without[0]}` in `{path}` {kind}", hint="save the tensors with all their values")
    return dict(content)


def _why(error: Exception) -> str:
    """Say why a file cannot be read; PyTorch's own text advises to run the code in the file."""
    text = str(error).strip()
    if "Weights only load failed" not in text and not isinstance(error, LookupError):
        return printable(text[:80])
    code = re.search(r"GLOBAL (\S+)", text)
    if code is not None:
        name = printable(code[1], 60)
        return f"it needs the code of `{name}`, such as a whole network, and no code in a file is run"
    return "it was not written by `torch.save`, or it is damaged"


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
    """Keep only the weights of a checkpoint of segcli, without their prefix."""
    for prefix in reversed(OWN_PREFIXES):  # a checkpoint of segcli; averaged weights first
        found = below(tensors, prefix)
        if found:
            return found
    return tensors
