"""The networks of segmentation-models-pytorch (SMP) and the encoders of timm, imported without a connection.

Both packages fetch weights from the Hugging Face hub when they are asked for pretrained ones. They are never asked
here, and the hub is switched off before the import as well.
"""

import os
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from segcli.core.errors import CheckpointError, ConfigError, nearest
from segcli.core.files import shown
from segcli.core.optional import optional
from segcli.core.torchvision_ops import declare_missing_operators
from segcli.nn.fitting import Fit, differing, for_channels
from segcli.nn.pairing import COUNTER
from segcli.nn.state_dict import read_state_dict

__all__ = ["TIMM", "cached", "check_encoder", "library", "load_encoder"]

TIMM = "tu-"
"""Prefix of the names of timm's encoders, which SMP has introduced."""
ENCODER = "encoder."
RGB = 3
PREFIXES = (ENCODER, "model.", "module.", "_orig_mod.")
"""Prefixes of SMP, timm, DataParallel and `torch.compile`."""
WEIGHTS = "model.safetensors"


@cache
def library() -> Any:
    """Import SMP, timm and the hub's client, of which only the constants and the look-up in the cache are used.

    Raises:
        ConfigError: They are not installed.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    declare_missing_operators()
    purpose = "model `smp`"
    return SimpleNamespace(
        smp=optional("segmentation_models_pytorch", extra="zoo", purpose=purpose),
        timm=optional("timm", extra="zoo", purpose=purpose),
        hub=optional("huggingface_hub", extra="zoo", purpose=purpose),
    )


# ---- names of encoders


def check_encoder(name: str) -> None:
    """Make sure that SMP or timm has this encoder.

    Raises:
        ValueError: Neither has it.
        ConfigError: They are not installed.
    """
    if name in library().smp.encoders.encoders or _timm_has(name):
        return
    raise ValueError(f"no encoder `{name}` in SMP or timm{_suggested(name)}")


def _timm_has(name: str) -> bool:
    """Tell whether timm has the encoder `tu-NAME` or `tu-NAME.TAG`; names that lead to the hub are none of timm's."""
    models = library().timm.models
    if not name.startswith(TIMM) or not models.is_model(name.removeprefix(TIMM)) or ":" in name:
        return False
    return "." not in name or bool(models.is_model_pretrained(name.removeprefix(TIMM)))


def _suggested(name: str) -> str:
    """Name the nearest encoder, as the end of a sentence."""
    found = library()
    stem, dot, _ = name.removeprefix(TIMM).partition(".")
    if dot and found.timm.models.is_model(stem):
        tags = [full.partition(".")[2] for full in found.timm.list_models(f"{stem}.*", pretrained=True)]
        return f": `{stem}` has the tags {', '.join(tags)}" if tags else f": `{stem}` has no tags"
    if found.timm.models.is_model(name):
        return f": timm's encoders are written with `{TIMM}`: did you mean `{TIMM}{name}`?"
    close = nearest(name, [*found.smp.encoders.encoders, *(f"{TIMM}{each}" for each in found.timm.list_models())])
    return (
        f": did you mean `{close}`?" if close else f"; names look like `resnet34`, `mit_b0` and `{TIMM}convnext_tiny`"
    )


# ---- weights in the cache on disk


def cached(encoder: str, weights: str, network: nn.Module) -> Path:
    """Find the pretrained weights of an encoder in the cache of the Hugging Face hub, or in that of PyTorch.

    Args:
        encoder: Name of the encoder.
        weights: Name of its weights, such as `imagenet`.
        network: The encoder, whose size is about that of the file.

    Raises:
        ConfigError: There are no such weights, or they are not in the cache.
    """
    repository, revision, licence, url = _source(encoder, weights)
    hub = library().hub
    found = hub.try_to_load_from_cache(repository, WEIGHTS, revision=revision)
    if isinstance(found, str):
        return Path(found)
    older = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if url and older.is_file():
        return older
    folder = Path(hub.constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    place = folder / "snapshots" / (revision or "main") / WEIGHTS
    page = f"https://huggingface.co/{repository}"
    size = sum(value.numel() * value.element_size() for value in network.state_dict().values()) / 1e6
    raise ConfigError(
        f"no weights `{weights}` of the encoder `{encoder}` in the cache, and segcli downloads nothing: they are the "
        f"file `{WEIGHTS}` of `{repository}`, of at least {size:.0f} MB, licence {licence or f'on {page}'}",
        hint=f"fetch {page}/resolve/{revision or 'main'}/{WEIGHTS} and put it at `{place}`, or set `model.weights` to "
        "the path of the file",
    )


def _source(encoder: str, weights: str) -> tuple[str, str | None, str | None, str]:
    """Return repository, revision, licence and former address of pretrained weights; the latter may be empty."""
    found = library()
    if encoder.startswith(TIMM):
        config = found.timm.models.get_pretrained_cfg(encoder.removeprefix(TIMM))
        legal = ["imagenet"] if config is not None and config.hf_hub_id else []
        if weights in legal:
            return config.hf_hub_id, None, config.license, config.url or ""
    else:
        settings = found.smp.encoders.encoders[encoder]["pretrained_settings"] or {}
        legal = list(settings)
        if weights in legal:
            return settings[weights]["repo_id"], settings[weights]["revision"], None, ""
    raise ConfigError(
        f"the encoder `{encoder}` has no weights `{weights}`",
        hint=f"it has {', '.join(legal) or 'none'}; or set `model.weights` to the path of a file",
    )


# ---- weights of a file


def load_encoder(
    network: nn.Module, path: Path, *, name: str, sha256: str | None = None, only_encoder: bool = False
) -> list[str] | None:
    """Load the weights of an encoder into a network of SMP.

    Files of SMP, of timm and of segcli name the same tensors differently; the names are compared without the prefixes
    of the packages. For images that do not have three channels, the first convolution is adapted.

    Args:
        network: The network, with an `encoder`.
        path: The file.
        name: Name of the encoder, for messages.
        sha256: SHA-256 that the file must have; None for any.
        only_encoder: The file has an encoder, whatever else it has.

    Returns:
        Lines for the user about what was loaded; None if the file has a whole network, which is loaded like any other.

    Raises:
        ConfigError: There is no such file.
        CheckpointError: It does not have all weights of this encoder.
    """
    expected = {key: value for key, value in network.state_dict().items() if key.startswith(ENCODER)}
    known = {_plain(key): key for key in expected}
    tensors = {known.get(_plain(key), key): value for key, value in read_state_dict(path, sha256=sha256).items()}
    elsewhere = {_plain(key) for key in network.state_dict() if key not in expected}
    if not only_encoder and any(_plain(key) in elsewhere for key in tensors if key not in expected):
        return None
    fit = Fit()
    for key, there in expected.items():
        value = tensors.get(key)
        if value is None:
            fit.missing += [] if key.endswith(COUNTER) else [key]
        elif value.shape == there.shape:
            fit.loaded[key] = value
        elif value.ndim > 2 and value.shape[1] == RGB and value[:, 0].shape == there[:, 0].shape:
            fit.loaded[key] = for_channels(value, there.shape[1])
            fit.adapted.append(f"`{key}` adapted from {RGB} to {there.shape[1]} input channels")
        else:
            fit.missing.append(differing(key, value, there))
    fit.skipped = [key for key in tensors if key not in expected and not key.endswith(COUNTER)]
    if fit.missing:
        shapes = [line for line in fit.missing if " instead of " in line]
        reason = ", ".join((shapes or fit.missing)[:3])
        raise CheckpointError(
            f"`{path}` does not fit the encoder `{name}`: {len(fit.missing)} of its tensors are missing or have "
            f"another shape ({reason})",
            hint="it must be a state dict of the encoder, or of the whole network, of SMP, timm or segcli",
        )
    network.load_state_dict(fit.loaded, strict=False)
    if not only_encoder:
        fit.missing = [key for key in network.state_dict() if key not in expected and not key.endswith(COUNTER)]
    return fit.lines(shown(path))


def _plain(name: str) -> str:
    """Return the name of a tensor without what tells SMP's, timm's and our names apart.

    timm joins the parts of a name by `_` when an encoder gives features.

    Example:
        >>> _plain("encoder.model.stages_0.blocks.0.bias") == _plain("stages.0.blocks.0.bias")
        True
    """
    prefix = next((each for each in PREFIXES if name.startswith(each)), None)
    return _plain(name.removeprefix(prefix)) if prefix else name.replace(".", "_")
