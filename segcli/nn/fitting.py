"""Fit the tensors of a checkpoint to a network: which are loaded, adapted, left out and missing."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import pairwise

import torch
from torch import Tensor

from segcli.nn.pairing import COUNTER, STATISTIC, Names, layers

__all__ = ["Fit", "differing", "fitted", "for_channels"]

NAMES_SHOWN = 4
PAIRS_SHOWN = 20


@dataclass
class Fit:
    """Tensors that a network loads from a checkpoint, by name."""

    loaded: dict[str, Tensor] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    """Tensors of the checkpoint that are not loaded: unknown, excluded, or of another number of classes."""
    missing: list[str] = field(default_factory=list)
    """Tensors of the network that are not in the checkpoint; they keep their random initial values."""
    adapted: list[str] = field(default_factory=list)
    """Tensors whose number of input channels was changed."""
    misfits: list[str] = field(default_factory=list)
    """Tensors that cannot be loaded because of their size or type, and are neither first nor last layer."""
    biases: int = 0
    """Number of biases that went into a running mean."""
    prefix: str = ""
    renamed: dict[str, str] = field(default_factory=dict)
    """Name in the network -> name in the file."""

    def lines(self, place: str) -> list[str]:
        """Return lines for the user: names that were changed, then what is loaded, skipped and missing."""
        of = f"weights of `{place}`"
        found = list(self._about_names(of))
        kinds = {"loaded": list(self.loaded), "skipped": self.skipped, "missing, new from the seed": self.missing}
        found += [f"{of}, {_listed(names)} {kind}" for kind, names in kinds.items()]
        found += [f"{of}, {text}" for text in self.adapted]
        if self.biases:
            found.append(f"{of}, {self.biases} biases subtracted from the running means of the batch norms that follow")
        return found

    def _about_names(self, of: str) -> Iterator[str]:
        if self.prefix:
            verb = "added" if self.prefix.startswith("+") else "removed"
            yield f"{of}, prefix `{self.prefix.removeprefix('+')}` of the names {verb}"
        pairs = [(self.renamed[new], new) for new in self.loaded if new in self.renamed]
        for old, new in pairs[:PAIRS_SHOWN]:
            yield f"{of}: `{old}` is `{new}` ({_shape(self.loaded[new])})"
        if len(pairs) > PAIRS_SHOWN:
            yield f"{of}: {len(pairs) - PAIRS_SHOWN} more pairs, which `weights.yaml` of the run folder lists"

    def as_dict(self) -> dict[str, object]:
        """Return all names, for a file."""
        loaded = {name: self.renamed.get(name, name) for name in self.loaded}
        rest = {"adapted": self.adapted, "skipped": self.skipped, "missing": self.missing}
        return {"prefix": self.prefix, "loaded": loaded, **rest}


def fitted(
    names: Names,
    expected: Mapping[str, Tensor],
    *,
    stem: Collection[str] = (),
    head: Collection[str] = (),
    excluded: Iterable[str] = (),
) -> Fit:
    """Match the tensors of a checkpoint with those of a network by name and shape.

    Args:
        names: Tensors of the checkpoint by their names in the network.
        expected: Tensors of the network.
        stem: Tensors whose shape depends on the number of input channels; they are adapted.
        head: Tensors that may have other shapes, because they depend on the classes; they begin anew.
        excluded: Patterns of tensors that are not loaded.
    """
    fit = Fit(prefix=names.prefix, renamed=names.renamed)
    left_out = list(excluded)
    tensors = _without_biases(names.tensors, expected, fit)
    for name, value in tensors.items():
        there = expected.get(name)
        if there is not None and not any(fnmatchcase(name, pattern) for pattern in left_out):
            _fit(fit, name, value, there, adaptable=name in stem, free=name in head)
        elif there is not None and value.shape != there.shape:
            fit.skipped.append(differing(name, value, there))
        elif not name.endswith(COUNTER) or there is not None:
            fit.skipped.append(name)
    fit.loaded = {name: fit.loaded[name] for name in expected if name in fit.loaded}
    fit.missing = [name for name in expected if name not in fit.loaded and not name.endswith(COUNTER)]
    return fit


def _fit(fit: Fit, name: str, value: Tensor, there: Tensor, *, adaptable: bool, free: bool) -> None:
    alike = value.layout is torch.strided and value.is_floating_point() == there.is_floating_point()
    if alike and value.shape == there.shape:
        fit.loaded[name] = value
    elif alike and adaptable and value.ndim > 2 and value.shape[1] and _but_input(value) == _but_input(there):
        fit.loaded[name] = for_channels(value, there.shape[1])
        fit.adapted.append(f"`{name}` adapted from {value.shape[1]} to {there.shape[1]} input channels")
    elif free or adaptable:
        fit.skipped.append(differing(name, value, there))
    else:
        fit.misfits.append(differing(name, value, there))


def _but_input(value: Tensor) -> tuple[int, ...]:
    return (value.shape[0], *value.shape[2:])


def for_channels(weight: Tensor, channels: int) -> Tensor:
    """Convert weights `(K, C, *S)` to another number of input channels.

    For one channel they are added up, so that a grey image gives the same output as equal channels; else they are
    repeated over the channels and scaled.
    """
    before = weight.shape[1]
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    repeats = [1, -(-channels // before), *[1] * (weight.ndim - 2)]
    return weight.repeat(repeats)[:, :channels] * (before / channels)


def _without_biases(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], fit: Fit) -> dict[str, Tensor]:
    """Remove biases that the network lacks without a change of the output: subtract each from the mean that follows."""
    tensors = dict(tensors)
    for module, after in pairwise(layers(expected)):
        bias, mean = f"{module}.bias", f"{after}.{STATISTIC}"
        lacks = bias in tensors and bias not in expected and f"{module}.weight" in expected
        if lacks and mean in tensors and tensors[bias].shape == tensors[mean].shape:
            tensors[mean] = tensors[mean] - tensors.pop(bias)
            fit.biases += 1
    return tensors


def differing(name: str, value: Tensor, there: Tensor) -> str:
    """Name a tensor with its shape, or its type where the shape is the same, and that of the network."""
    if value.shape != there.shape:
        return f"{name} {_shape(value)} instead of {_shape(there)}"
    return f"{name} {value.dtype} instead of {there.dtype}".replace("torch.", "")


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "scalar"


def _listed(names: list[str]) -> str:
    """Count names and list the first few."""
    if not names:
        return "none"
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"{len(names)} ({', '.join(names[:NAMES_SHOWN])}{more})"
