"""A memory forecast in words: the peak, where it is, the GPUs that it fits, and what lowers it."""

from collections.abc import Iterator, Sequence

from rich.markup import escape

from segcli.report.memory import size
from segcli.vram.results import OUTSIDE, Forecast

__all__ = ["CARDS", "WEIGHTS", "cards", "several", "verdict"]

CARDS = (8, 12, 16, 24, 40, 80)
"""GiB of usual GPUs."""
TIGHT = 0.95
"""Share of a GPU above which a display, the driver or another process may take what is left."""
WEIGHTS = ("parameters", "buffers", "gradients", "optimizer", "ema")
"""Kinds of memory that do not depend on the images."""
MOST = 0.5
"""Share of the peak from which the weights are named."""
STAGES = {
    "batch": "while a batch is copied to it",
    "forward": "in the forward pass",
    "loss": "in the loss",
    "backward": "in the backward pass",
    "metrics": "in the metrics",
    "optimizer": "in the optimizer step",
}


def verdict(result: Forecast) -> Iterator[str]:
    """Tell the peak and its place, the GPUs that have room for it, and the overrides that lower it."""
    stage = result.peak_stage
    layer = max(result.layers, key=lambda each: each.peak, default=None)
    named = layer is not None and layer.name != OUTSIDE and stage.stage in ("forward", "backward")
    at = f", near layer `{escape(layer.name)}`" if named and layer is not None else ""
    which = "the GPU" if result.gpus == 1 else f"each of {result.gpus} GPUs"
    yield f"[bold]peak: {size(result.device)} on {which}[/], {STAGES[stage.stage]} of the {stage.phase}{at}"
    yield cards(result)
    if not result.levers:
        share = sum(result.at_peak.get(kind, 0) for kind in WEIGHTS) / result.peak
        why = (
            f", because {share:.0%} of the peak are its weights, gradients and optimizer state" if share > MOST else ""
        )
        yield f"what lowers it: a smaller network{why}"
        return
    yield "what lowers it:"
    for lever in result.levers:
        forecast = "" if lever.device is None else f"  ({size(lever.device)})"
        yield f"  {escape(lever.overrides)}{forecast}"


def several(result: Forecast) -> str:
    """Tell what each of several GPUs takes of a batch, and what it keeps; nothing for one GPU.

    Example:
        >>> from types import SimpleNamespace
        >>> several(SimpleNamespace(gpus=4, strategy="fsdp", batch_per_gpu=3))
        ' on 4 GPUs (fsdp, 3 images on each)'
    """
    if result.gpus == 1:
        return ""
    images = "1 image" if result.batch_per_gpu == 1 else f"{result.batch_per_gpu} images"
    return f" on {result.gpus} GPUs ({result.strategy}, {images} on each)"


def cards(result: Forecast) -> str:
    """Tell which GPUs have room for a run.

    Example:
        >>> from types import SimpleNamespace
        >>> cards(SimpleNamespace(device=10 * 2**30))
        'fits GPUs with 12 GiB (83% used), 16, 24, 40 and 80 GiB; too large for 8 GiB'
        >>> cards(SimpleNamespace(device=39 * 2**30))
        'fits GPUs with 80 GiB (49% used); 40 GiB only just (98% used); too large for 8, 12, 16 and 24 GiB'
        >>> cards(SimpleNamespace(device=90 * 2**30))
        'too large for 8, 12, 16, 24, 40 and 80 GiB'
    """
    used = {card: result.device / (card * 2**30) for card in CARDS}
    fitting = [f"{card}" for card in CARDS if used[card] <= TIGHT]
    just = [card for card in CARDS if TIGHT < used[card] <= 1]
    over = [f"{card}" for card in CARDS if used[card] > 1]
    parts = []
    if fitting:
        first, *others = fitting
        parts.append(f"fits GPUs with {_listed([f'{first} GiB ({used[int(first)]:.0%} used)', *others], bool(others))}")
    parts += [f"{card} GiB only just ({used[card]:.0%} used)" for card in just]
    if over:
        parts.append(f"too large for {_listed(over, unit=True)}")
    return "; ".join(parts)


def _listed(words: Sequence[str], unit: bool) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}{' GiB' * unit}" if most else f"{last}{' GiB' * unit}"
