"""Weights of other programs: state dicts from files, with the usual prefixes and wrappers removed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from segcli.core.errors import CheckpointError, ConfigError

__all__ = ["Fit", "fitted", "read_state_dict", "read_tensors"]

HINT = "give a state dict of tensors: a `.safetensors` of segcli, or a `.pt` saved with `torch.save(net.state_dict())`"
WRAPPERS = ("state_dict", "model_state_dict")
PREFIXES = ("module.", "_orig_mod.")
"""Prefixes that DataParallel and `torch.compile` add to every name."""
NAMES_SHOWN = 4


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint by their names in the network; no code in the file is run.

    Accepted are a plain state dict, one under `state_dict` or `model_state_dict`, names that begin with `module.`, and
    safetensors written by segcli, from which averaged (EMA) weights are preferred.

    Raises:
        ConfigError: There is no such file.
        CheckpointError: The file holds no weights.
    """
    if not path.is_file():
        raise ConfigError(f"no file `{path}` with pretrained weights", hint="set `model.weights`")
    return _bare(read_tensors(path, hint=HINT, within=WRAPPERS))


def read_tensors(path: Path, *, hint: str, within: Sequence[str] = ()) -> dict[str, Tensor]:
    """Read the tensors of a file by name; no code in the file is run.

    Args:
        path: A `.safetensors`, or a file written by `torch.save`.
        hint: Hint of the error message: what the file must be.
        within: Keys; the tensors may be in a dict under one of them.

    Raises:
        CheckpointError: The file holds no tensors.
    """
    try:
        content: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # many kinds of exceptions: a damaged archive, code in a pickle
        raise CheckpointError(f"`{path}` holds no weights ({str(error).strip()[:80]})", hint=hint) from error
    for key in within:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"`{path}` holds no state dict of tensors", hint=hint)
    return dict(content)


def _bare(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefixes of the names."""
    for prefix in ("ema/", "model/"):  # a checkpoint of segcli
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


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "scalar"


def _listed(names: list[str]) -> str:
    """Count names and list the first few."""
    if not names:
        return "none"
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"{len(names)} ({', '.join(names[:NAMES_SHOWN])}{more})"
