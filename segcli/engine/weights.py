"""Weights that a new training starts from: an earlier run, a checkpoint, or a file of another program."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segcli.config.schema import ModelSection, Run
from segcli.core.errors import CheckpointError, ConfigError, SegcliError, nearest
from segcli.core.files import shown
from segcli.core.paths import EXPERIMENTS, is_file
from segcli.core.types import IOSpec
from segcli.engine.runfolder import RunFolder
from segcli.models import Network
from segcli.nn.fitting import Fit, fitted
from segcli.nn.freezing import first_match
from segcli.nn.pairing import paired_names
from segcli.nn.state_dict import read_state_dict

__all__ = ["load_pretrained", "with_weights_file"]

ENDINGS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
MISFITS_SHOWN = 5


def with_weights_file(run: Run) -> Run:
    """Write the file that `model.weights` names, and its SHA-256, into a run, so that its config tells them.

    Raises:
        ConfigError: There is no such file and no such run.
    """
    weights = run.model.weights
    if weights is None:
        return run
    file = _find(weights)
    if file is None and "weights" in run.model.shared(run.model.kind):
        return run  # the network has words of its own, and tells what it does not know
    if file is None:
        raise _missing(weights)
    changes: dict[str, Any] = {"weights": file.absolute()}
    if run.model.weights_sha256 is None:
        with file.open("rb") as stream:
            changes["weights_sha256"] = hashlib.file_digest(stream, "sha256").hexdigest()
    return run.model_copy(update={"model": run.model.model_copy(update=changes)})


def _find(weights: Path) -> Path | None:
    """Find a file, or the best or else the last checkpoint of a run."""
    if is_file(weights):
        return weights
    for folder in (weights, EXPERIMENTS / weights):
        run = RunFolder(folder)
        for path in (run.best, run.last):
            if is_file(path):
                return path
    return None


def _missing(weights: Path) -> ConfigError:
    if weights.suffix in ENDINGS:
        return ConfigError(f"no file `{weights}` with pretrained weights", hint="set `model.weights`")
    if any(folder.is_dir() for folder in (weights, EXPERIMENTS / weights)):
        return ConfigError(
            f"`model.weights`: no file and no run `{weights}` with a checkpoint",
            hint="the folder is there, and has no `checkpoints/best.safetensors` or `last.safetensors`",
        )
    runs = [folder.name for folder in EXPERIMENTS.iterdir()] if EXPERIMENTS.is_dir() else []
    close = nearest(str(weights), runs)
    return ConfigError(
        f"`model.weights`: no file and no run `{weights}` with a checkpoint",
        hint=f"did you mean `{close}`?" if close else f"runs are folders under `{EXPERIMENTS}`",
    )


def load_pretrained(model: ModelSection, network: Network) -> tuple[list[str], Fit | None]:
    """Load the weights that the section names into its network.

    Returns:
        Lines for the user about what was loaded; all names, unless the network has loaded the weights itself.

    Raises:
        ConfigError: There is no such file, or `model.weights_map` does not fit it.
        CheckpointError: The file holds no weights, or they do not fit the network.
    """
    own = network.load_pretrained()
    weights = model.weights
    if own is not None or weights is None:
        return own or [], None
    if not is_file(weights):
        raise _missing(weights)
    expected = network.state_dict()
    stem, head = _depending(model, network, _more_channels), _depending(model, network, _more_outputs)
    head |= {name for name in expected if first_match(name, network.begins_anew)}
    tensors = read_state_dict(weights, sha256=model.weights_sha256)
    network.check_weights(tensors, shown(weights))
    names = paired_names(
        tensors,
        expected,
        model.weights_map,
        stem=stem,
        ordered=weights.suffix != ".safetensors",
    )
    fit = fitted(names, expected, stem=stem, head=head, excluded=network.never_loaded())
    _refuse_misfits(model, weights, fit, names.tensors, expected, head)
    network.load_state_dict(fit.loaded, strict=False)
    return fit.lines(shown(weights)), fit


def _more_channels(io: IOSpec) -> IOSpec:
    return replace(io, in_channels=io.in_channels + 1)


def _more_outputs(io: IOSpec) -> IOSpec:
    return replace(io, outputs={name: channels + 1 for name, channels in io.outputs.items()})


def _depending(model: ModelSection, network: Network, change: Callable[[IOSpec], IOSpec]) -> set[str]:
    """Find the tensors whose shape depends on input or outputs: build the network for others, without its values."""
    try:
        with torch.device("meta"):
            other: dict[str, Tensor] = model.build(io=change(network.io)).state_dict()
    except (SegcliError, RuntimeError, ValueError, TypeError, NotImplementedError):
        return set()  # a network of the user's own that takes only this number, or needs values
    return {name for name, value in network.state_dict().items() if name in other and other[name].shape != value.shape}


def _refuse_misfits(
    model: ModelSection,
    weights: Path,
    fit: Fit,
    names: Iterable[str],
    expected: Mapping[str, Tensor],
    head: set[str],
) -> None:
    name, kind = shown(weights), model.type
    if fit.misfits:
        more = f" and {len(fit.misfits) - MISFITS_SHOWN} more" if len(fit.misfits) > MISFITS_SHOWN else ""
        raise CheckpointError(
            f"`{name}` does not fit model `{kind}`: {', '.join(fit.misfits[:MISFITS_SHOWN])}{more}",
            hint="the keys of `model` must be the same as in its training",
        )
    if not any(each not in head for each in fit.loaded):
        first = list(names)[:3]
        has = f"it has {', '.join(first)}" if first else "it is empty"
        raise CheckpointError(
            f"nothing in `{name}` fits model `{kind}`; {has}",
            hint="`model.weights_map: order` pairs tensors by shape and order where names differ"
            if model.weights_map is None
            else "the keys of `model` must be the same as in its training",
        )
    odd = [each for each, value in fit.loaded.items() if not bool(value.to(expected[each].dtype).isfinite().all())]
    if odd:
        raise CheckpointError(
            f"`{name}` holds values that are not finite ({', '.join(odd[:3])})", hint="take an earlier checkpoint"
        )
