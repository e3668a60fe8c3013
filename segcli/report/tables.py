"""Results of `segcli train`, `predict` and `export` as tables for a terminal."""

from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from segcli.core.files import shown
from segcli.files import ending_of
from segcli.report.cells import number, numbered, plural
from segcli.report.results import CrossValidated, Exported, Predicted, Trained

__all__ = ["cross_validated", "exported", "predicted", "rehearsed", "trained"]

CASES_SHOWN = 20
CASE = 14
"""Letters of the name of a case that fit into a table of structures."""
MANY_STRUCTURES = 8
"""With more structures a table has one row for each structure."""


def rehearsed(result: dict[str, Any]) -> Iterator[Any]:
    """Print the result of a dry run."""
    train = ", ".join(f"{name} {number(value)}" for name, value in result["train"].items())
    batches = result["batches_per_epoch"]
    yield f"dry run of {escape(result['run'])}: {batches} batches per epoch; two were trained: {train}"
    yield "nothing was written"


def trained(result: Trained) -> Iterator[Any]:
    """Print the state of a run, and the next command."""
    if result.done_before:
        yield (
            f"run {escape(result.run)} is finished after {plural(result.epochs, 'epoch')}; "
            f"train further with: segcli resume {escape(quote(result.run))} training.epochs=N"
        )
        if result.report is not None:
            yield f"wrote {escape(shown(result.report))}"
        return
    why = " (early stopping)" if result.early else ""
    yield f"trained {escape(result.run)} for {plural(result.epochs, 'epoch')}{why}"
    if result.best is not None:
        yield f"best {result.monitor} {number(result.best)} in epoch {result.best_epoch}"
    yield f"run folder: {escape(str(result.folder))}"
    if result.report is not None:
        yield f"wrote {escape(shown(result.report))}"


def cross_validated(result: CrossValidated) -> Iterator[Any]:
    """Show mean and standard deviation over the folds."""
    title = f"{escape(result.run)}: {plural(len(result.folds), 'fold')}, mean ± standard deviation"
    table = Table(title=title, title_justify="left")
    for heading in ("validation", "last epoch", "best epoch", "last epoch of each fold"):
        table.add_column(heading, justify="left" if heading == "validation" else "right")
    best = {score.name: score for score in result.best}
    for score in result.last:
        both = [f"{number(each.mean)} ± {number(each.sd)}" for each in (score, best[score.name])]
        table.add_row(score.name, *both, "  ".join(map(number, score.values)))
    yield table
    yield "[dim]scores of the best epoch are too good: the same images chose the epoch[/]"
    yield f"wrote {escape(str(result.folder / 'cross_validation.yaml'))}"


def predicted(result: Predicted, video: Path | None = None) -> Iterator[Any]:
    """Print the number of masks, their folder, the other files, and the failures."""
    for path in result.tables:
        yield f"wrote {plural(len(result.written), 'prediction')} to {escape(str(path))}"
    if not result.tables:
        yield f"wrote {plural(len(result.written), 'mask')} to {escape(str(result.folder))}"
        yield from _beside(result)
    if video is not None and video.exists():
        yield f"wrote {escape(str(video))}"
    if result.skipped:
        yield f"skipped {plural(len(result.skipped), 'image')} that already had a mask"
    if result.presence:
        yield from _found_structures(result)
    if result.failed:
        yield f"[bold red]{plural(len(result.failed), 'image')} failed:[/]"
        for entry in result.failed:
            yield f"  {escape(entry['message'])}"


def _beside(result: Predicted) -> Iterator[str]:
    """Name the other files of each image or volume."""
    names = {
        f"NAME_{kind}{ending_of(Path(file))}"
        for entry in result.written
        for kind, file in entry.items()
        if kind in ("overlay", "probability", "probabilities", "uncertainty", "index", "color")
    }
    if names:
        yield f"beside the masks: {', '.join(sorted(names))}"


def _found_structures(result: Predicted) -> Iterator[Any]:
    """Show the volume of each structure that is present: a row per case, or per structure if these are many."""
    names, cases = list(result.presence[0]["structures"]), result.presence
    table, below = Table(), list[str]()
    if len(names) > MANY_STRUCTURES:
        cases = cases[: MANY_STRUCTURES // 2]
        table.add_column("structure", no_wrap=True)
        headings, below = numbered([entry["case"] for entry in cases], CASE)
        for heading in headings:
            table.add_column(escape(heading), justify="right", overflow="fold")
        for name in names:
            table.add_row(escape(name), *(_found(entry["structures"][name]) for entry in cases))
    else:
        cases = cases[:CASES_SHOWN]
        titles, below = numbered([entry["case"] for entry in cases], CASE)
        table.add_column("case", overflow="fold")
        for name in names:
            table.add_column(escape(name), justify="right")
        for title, entry in zip(titles, cases, strict=True):
            table.add_row(escape(title), *map(_found, entry["structures"].values()))
    more = len(result.presence) - len(cases)
    confident = any("confidence" in found for found in cases[0]["structures"].values())
    told = " (in brackets: confidence in presence or absence)" if confident else ""
    more_told = f"; {more} more cases are in `presence.csv`" if more else ""
    yield Text(f"Volume of the structures that are present{told}{more_told}", style="table.title")
    yield table
    yield from map(escape, below)


def _found(structure: dict[str, Any]) -> str:
    found = f"{structure['volume']:,.0f} {structure['unit']}" if structure["present"] else "[dim]absent[/]"
    return f"{found} ({structure['confidence']:.2f})" if "confidence" in structure else found


def exported(result: Exported) -> Iterator[Any]:
    """Show the differences on each input, and the files."""
    table = Table(title=f"{escape(result.run)} as {result.format}, {result.precision}", title_justify="left")
    for heading in ("input", "shape", "raw outputs differ by", "of up to", "probabilities differ by"):
        is_name = heading in ("input", "shape")
        table.add_column(heading, justify="left" if is_name else "right", no_wrap=is_name, overflow="fold")
    inputs, below = numbered([entry.input for entry in result.differences], CASE)
    for name, entry in zip(inputs, result.differences, strict=True):
        shape = "x".join(map(str, entry.shape))
        figures = (entry.logits, entry.largest_logit, entry.probabilities)
        table.add_row(escape(name), shape, *(f"{value:.2g}" for value in figures))
    yield table
    yield from map(escape, below)
    if result.tolerance is not None:
        yield f"checked in a separate process: every difference is at most {result.tolerance:g}"
    if result.dice is not None:
        before, after = result.dice["checkpoint"], result.dice["exported"]
        yield f"Dice on the validation images: {before:.4f} before, {after:.4f} in the file ({after - before:+.4f})"
    yield f"wrote {escape(shown(result.file))} ({result.size_mib:.1f} MiB)"
    yield f"wrote {escape(shown(result.card))}, the model card: please fill in licence and intended use"
