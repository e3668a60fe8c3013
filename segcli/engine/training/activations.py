"""Activations of a network's layers for a few fixed images."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segcli.config.schema import Run
from segcli.core.errors import ConfigError, nearest
from segcli.core.types import Array
from segcli.engine.runtime import random_state, restore_random_state

__all__ = ["Outputs", "observed", "observed_layers", "undisturbed"]

SAMPLE = 2**17
"""Largest number of values in a layer's histogram; they are sampled evenly."""


def observed_layers(run: Run, network: nn.Module) -> list[str]:
    """Find the layers that `logging.activation_layers` names.

    Raises:
        ConfigError: The network has no layer of that name.
    """
    asked = run.logging.activation_layers
    if asked is None:
        return []
    own: list[str] = network.activation_layers()  # type: ignore[operator]
    if asked == "auto":
        return own
    lists = nn.ModuleList | nn.ModuleDict  # these are never called
    legal = [name for name, module in network.named_modules() if name and not isinstance(module, lists)]
    if asked == "all":
        return [name for name in legal if not any(network.get_submodule(name).children())]
    for name in asked:
        if name not in legal:
            close = nearest(name, legal)
            raise ConfigError(
                f"model `{run.model.type}` has no layer `{name}` (`logging.activation_layers`)",
                hint=f"did you mean `{close}`?" if close else f"its default layers are {', '.join(own)}",
            )
    return list(dict.fromkeys(asked))


@contextmanager
def undisturbed(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Use evaluation mode without gradients; afterwards restore modes and random generators."""
    modes = {module: module.training for module in network.modules()}
    random = random_state(device)
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        restore_random_state(random, device)


@dataclass
class Outputs:
    """All outputs of a layer, in pieces: a layer may be called several times, and for several images."""

    pieces: list[tuple[int, Tensor]] = field(default_factory=list)
    """Pieces of the activations, each as number of values, and a tensor of mean, variance, minimum and maximum."""
    samples: list[Tensor] = field(default_factory=list)

    def add(self, values: Tensor) -> None:
        """Add an output of the layer."""
        flat = values.detach().float().flatten()
        if flat.numel():
            figures = torch.stack([flat.mean(), flat.var(correction=0), flat.min(), flat.max()])
            self.pieces.append((flat.numel(), figures.cpu()))
            self.samples.append(_evenly(flat).cpu())

    def figures(self) -> dict[str, float]:
        """Compute mean, standard deviation, minimum and maximum of all values."""
        total = sum(count for count, _ in self.pieces)
        parts = [(count / total, figures.tolist()) for count, figures in self.pieces]
        mean = sum(share * figures[0] for share, figures in parts)
        variance = sum(share * (figures[1] + (figures[0] - mean) ** 2) for share, figures in parts)
        low, high = (torch.stack([figures[i] for _, figures in self.pieces]) for i in (2, 3))
        return {"mean": mean, "std": math.sqrt(variance), "min": float(low.min()), "max": float(high.max())}

    def sample(self) -> Array:
        """Return the finite values for a histogram."""
        values = _evenly(torch.cat(self.samples)).numpy()
        chosen: Array = values[np.isfinite(values)]
        return chosen


def _evenly(values: Tensor) -> Tensor:
    # With an odd stride, samples cover all columns of an image whose width is a power of two.
    return values[:: -(-len(values) // SAMPLE) | 1].clone()


def observed(network: nn.Module, layers: list[str], work: Callable[[], Any]) -> dict[str, Outputs]:
    """Record the outputs of layers while `work` calls the network; layers that are not called are left out."""
    seen = {name: Outputs() for name in layers}

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def listen(module: nn.Module, inputs: Any, output: Any) -> None:
            for values in _tensors(output):
                seen[name].add(values)

        return listen

    handles = [network.get_submodule(name).register_forward_hook(hook(name)) for name in layers]
    try:
        work()
    finally:
        for handle in handles:
            handle.remove()
    return {name: outputs for name, outputs in seen.items() if outputs.pieces}


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict):
        yield from _tensors(list(output.values()))
    elif isinstance(output, list | tuple):
        for item in output:
            yield from _tensors(item)
