"""Show forecasts of GPU memory as tables for a terminal."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from segcli.report.memory import size
from segcli.report.vram_verdict import WEIGHTS, cards, several, verdict
from segcli.vram.results import Forecast, Limits, Measured, Traced, allowance

__all__ = ["comparison", "forecast", "shape"]

KINDS = {
    "parameters": "parameters",
    "buffers": "buffers",
    "gradients": "gradients",
    "buckets": "buckets of gradients that are sent",
    "gathered": "stages gathered from all GPUs, and gradients sent",
    "optimizer": "optimizer state",
    "ema": "averaged weights",
    "batch": "images and masks",
    "activations": "activations kept for backward",
    "temporary": "temporary",
    "workspace": "cuBLAS workspaces",
    "rounding": "rounding by the allocator",
}


def shape(sizes: Sequence[int]) -> str:
    """Write a size with `x` between the axes.

    Example:
        >>> shape((512, 480))
        '512x480'
    """
    return "x".join(map(str, sizes))


def forecast(
    result: Forecast, *, top: int = 15, layers: bool = True, activations: bool = True, in_words: bool = False
) -> Iterator[Any]:
    """Show totals, stages, layers, and the largest batch and image that fit.

    Args:
        result: The forecast.
        top: Number of layers to show; the largest ones.
        layers: Show the table of layers.
        activations: Show memory that depends on the batch too; else only the memory of the weights.
        in_words: Begin with a verdict in words, and end with the GPUs that have room.
    """
    if not activations:
        yield _weights(result)
        return
    if in_words:
        yield from verdict(result)
    yield _totals(result)
    yield _stages(result)
    if layers:
        yield _layers(result, top)
    if result.sweep:
        yield _sweep(result)
    if result.limits is not None:
        yield from _limits(result, result.limits)
    if result.measured is not None:
        yield _measured(result, result.measured)
    if result.traced is not None:
        yield from _traced(result.traced)
    for note in result.notes:
        yield f"[dim]{escape(note)}[/]"
    if in_words:
        yield f"{escape(result.run)}, {size(result.device)}: {cards(result)}"


def _measured(result: Forecast, measured: Measured) -> Table:
    table = Table(title=f"Measured on {escape(measured.gpu)}", title_justify="left")
    table.add_column("memory")
    for heading in ("forecast", "measured", "error"):
        table.add_column(heading, justify="right")
    for words, forecast, found in (
        ("allocated", result.peak, measured.peak),
        ("reserved", result.reserved, measured.reserved),
        ("on the GPU", result.device, measured.device),
    ):
        table.add_row(words, size(forecast), size(found), f"{forecast / found - 1.0:+.1%}" if found else "-")
    return table


def _traced(traced: Traced) -> Iterator[str]:
    what = "process memory" if traced.device == "cpu" else "peak of allocated memory"
    yield f"traced one step on {traced.device}: {traced.elapsed_s:.1f} s, {what} {size(traced.peak)}"
    for path in traced.files:
        yield f"wrote {escape(str(path))}"
    yield "open the trace at https://ui.perfetto.dev"


def _weights(result: Forecast) -> Table:
    table = Table(title=f"{escape(result.run)}: {result.parameters:,} parameters", title_justify="left")
    table.add_column("memory")
    table.add_column("at most", justify="right")
    for kind in WEIGHTS:
        if kind in result.kinds:
            table.add_row(KINDS[kind], size(result.kinds[kind]))
    return table


def _totals(result: Forecast) -> Table:
    accumulated = f" x {result.accumulation} accumulated" if result.accumulation > 1 else ""
    title = (
        f"{escape(result.run)}: {escape(result.model)}, {result.parameters:,} parameters, {result.precision}, "
        f"{result.optimizer}, batch {result.batch_size}{accumulated}{several(result)}, {shape(result.image_size)}"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("memory")
    of_training = [stage for stage in result.stages if stage.phase != "prediction"] or result.stages
    for heading in ("at most", f"at the peak ({max(of_training, key=lambda stage: stage.peak).phase})"):
        table.add_column(heading, justify="right")
    for kind, words in KINDS.items():
        if kind in result.kinds or kind in result.at_peak:
            table.add_row(words, size(result.kinds.get(kind)), size(result.at_peak.get(kind, 0)))
    table.add_section()
    table.add_row("[bold]peak of allocated memory[/]", "", f"[bold]{size(result.peak)}[/]")
    table.add_row("reserved by the allocator, not allocated", "", size(result.reserved - result.peak))
    table.add_row("context and libraries (allowance)", "", size(allowance(result.gpus)))
    table.add_row(f"[bold]on {'the' if result.gpus == 1 else 'each'} GPU[/]", "", f"[bold]{size(result.device)}[/]")
    return table


def _stages(result: Forecast) -> Table:
    table = Table(title="By stage", title_justify="left")
    for heading in ("", "stage", "peak", "reserved"):
        table.add_column(heading, justify="left" if heading in ("", "stage") else "right")
    before = None
    for stage in result.stages:
        if before not in (None, stage.phase):
            table.add_section()
        table.add_row(stage.phase if stage.phase != before else "", stage.stage, size(stage.peak), size(stage.reserved))
        before = stage.phase
    return table


def _layers(result: Forecast, top: int) -> Table:
    shown = sorted(result.layers, key=lambda layer: (-layer.activations - layer.weights, layer.name))[:top]
    table = Table(title=f"By layer: the {len(shown)} largest of {len(result.layers)}", title_justify="left")
    for heading in ("layer", "parameters", "weights", "activations", "peak while it runs"):
        table.add_column(heading, justify="left" if heading == "layer" else "right")
    for layer in shown:
        table.add_row(
            escape(layer.name),
            f"{layer.parameters:,}" if layer.parameters else "",
            size(layer.weights) if layer.weights else "",
            size(layer.activations) if layer.activations else "",
            size(layer.peak),
        )
    return table


def _sweep(result: Forecast) -> Table:
    key = {"batch": "batch size", "image_size": "image size"}[result.sweep[0].key]
    limited = any(row.fits is not None for row in result.sweep)
    table = Table(title=f"By {key}", title_justify="left")
    for heading in (key, "peak", "reserved", *(["fits"] if limited else [])):
        table.add_column(heading, justify="right")
    for row in result.sweep:
        verdict = [] if row.fits is None else ["[green]yes[/]" if row.fits else "[bold red]no[/]"]
        table.add_row(row.value, size(row.peak), size(row.reserved), *verdict)
    return table


def _limits(result: Forecast, limits: Limits) -> Iterator[str]:
    share = result.device / limits.vram
    colour = "green" if limits.max_batch_size >= result.batch_size else "bold red"
    yield f"[{colour}]{share:.0%}[/] of {size(limits.vram)} used at batch {result.batch_size}{several(result)}"
    batches = ", ".join(f"{count or 'none'} with {name}" for name, count in limits.by_precision.items())
    yield f"largest batch size at {shape(result.image_size)}: [bold]{batches}[/]"
    largest = "none" if limits.max_image_size is None else shape(limits.max_image_size)
    yield f"largest image size at batch {result.batch_size}: [bold]{largest}[/]"


def comparison(results: Sequence[Forecast], *, in_words: bool = False) -> Iterator[Any]:
    """Show one row for each run, then the sweeps and measurements of each run.

    Args:
        results: The forecasts.
        in_words: End with the GPUs that have room for each run.
    """
    limited = any(result.limits for result in results)
    table = Table(title="GPU memory of a training", title_justify="left")
    table.add_column("run", overflow="fold")
    table.add_column("model")
    headings = ("parameters", "precision", "batch", "size", "activations", "peak", "reserved", "on the GPU")
    for heading in (*headings, *(["largest batch"] if limited else [])):
        table.add_column(heading, justify="right")
    for result in results:
        most = [str(result.limits.max_batch_size or "none")] if result.limits else []
        table.add_row(
            escape(result.run),
            escape(result.model),
            f"{result.parameters:,}",
            result.precision,
            str(result.batch_size),
            shape(result.image_size),
            size(result.activations),
            size(result.peak),
            size(result.reserved),
            size(result.device),
            *most,
        )
    yield table
    for result in results:
        tables = [_sweep(result)] if result.sweep else []
        tables += [_measured(result, result.measured)] if result.measured is not None else []
        for extra in tables:
            extra.title = f"{escape(result.run)}: {extra.title}"
            yield extra
    for note in dict.fromkeys(note for result in results for note in result.notes):
        yield f"[dim]{escape(note)}[/]"
    for result in results if in_words else ():
        yield f"{escape(result.run)}, {size(result.device)}: {cards(result)}"
