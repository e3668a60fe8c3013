"""Weights of other programs: state dicts from files, whatever they are wrapped in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from segcli.core.errors import CheckpointError, ConfigError

__all__ = ["Fit", "fitted", "read_state_dict", "read_tensors"]

HINT = (
    "a state dict of tensors is needed: a `.safetensors` of ours, or a `.pt` saved with `torch.save(net.state_dict())`"
)
WRAPPERS = ("state_dict", "model_state_dict")
PREFIXES = ("module.", "_orig_mod.")
"""Put before every name by DataParallel and by `torch.compile`."""
NAMES_TOLD = 4


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint by name, as the network itself calls them; no code of the file is run.

    Takes a plain state dict, one under `state_dict` or `model_state_dict`, names that begin with `module.`, and our own
    safetensors, of which the averaged weights count where there are any.

    Raises:
        ConfigError: There is no such file.
        CheckpointError: It is no file of weights.
    """
    if not path.is_file():
        raise ConfigError(f"no file `{path}` with pretrained weights", hint="set `model.weights`")
    return _bare(read_tensors(path, hint=HINT, within=WRAPPERS))


def read_tensors(path: Path, *, hint: str, within: Sequence[str] = ()) -> dict[str, Tensor]:
    """Tensors of a file by name; no code of the file is run.

    Args:
        path: A `.safetensors`, or what `torch.save` wrote.
        hint: What the file must be, for whoever gave another.
        within: Names under one of which they may lie.

    Raises:
        CheckpointError: It holds no tensors.
    """
    try:
        content: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # of many kinds: a damaged archive, code in a pickle
        raise CheckpointError(f"`{path}` is no file of weights ({str(error).strip()[:80]})", hint=hint) from error
    for key in within:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"`{path}` holds no state dict of tensors", hint=hint)
    return dict(content)


def _bare(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without what was put before every name."""
    for prefix in ("ema/", "model/"):  # of a run's own checkpoint
        below = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        if below:
            return below
    for prefix in PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


@dataclass
class Fit:
    """What a network can take of a checkpoint, by name."""

    loaded: dict[str, Tensor] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    """In the checkpoint and not taken: unknown, of another shape, or not wanted."""
    missing: list[str] = field(default_factory=list)
    """Of the network and not in the checkpoint: as the seed made them."""

    def told(self, path: Path) -> list[str]:
        """A line for each kind."""
        kinds = {"loaded": list(self.loaded), "skipped": self.skipped, "missing, new from the seed": self.missing}
        return [f"weights of `{path}`, {_listed(names)} {kind}" for kind, names in kinds.items()]


def fitted(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, within: str = "") -> Fit:
    """Tensors that have the name and shape of the network's own.

    Args:
        tensors: Of the checkpoint.
        wanted: Of the network.
        within: Names that begin otherwise are left out.
    """
    fit = Fit()
    for name, value in tensors.items():
        if name in wanted and name.startswith(within) and value.shape == wanted[name].shape:
            fit.loaded[name] = value
        elif name in wanted and value.shape != wanted[name].shape:
            fit.skipped.append(f"{name} {_shape(value)} instead of {_shape(wanted[name])}")
        else:
            fit.skipped.append(name)
    fit.loaded = {name: fit.loaded[name] for name in wanted if name in fit.loaded}
    fit.missing = [name for name in wanted if name not in fit.loaded and not name.endswith("num_batches_tracked")]
    return fit


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "scalar"


def _listed(names: list[str]) -> str:
    """How many, and the first few by name."""
    if not names:
        return "none"
    more = f" and {len(names) - NAMES_TOLD} more" if len(names) > NAMES_TOLD else ""
    return f"{len(names)} ({', '.join(names[:NAMES_TOLD])}{more})"
