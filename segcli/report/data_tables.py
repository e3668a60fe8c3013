"""Results of `segcli data` as tables for a terminal."""

import math
from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from segcli.core.files import shown
from segcli.report.cells import percentage, plural
from segcli.report.findings import rows_of
from segcli.report.results import Checked, SplitDrawn, Stats

__all__ = ["checked", "converted", "faults", "sample", "split", "stats"]

SIZES = 6
"""Most sizes of images that are listed."""
SEVERITY = {"error": "[bold red]error[/]", "warning": "[yellow]warning[/]", "info": "[dim]info[/]"}


def checked(result: Checked) -> Iterator[Any]:
    """Show the splits, the findings, and whether the data set is ready to train."""
    splits = Table(title=f"Data set {escape(result.dataset)}", title_justify="left")
    one_mask = not any(entry.class_shares for entry in result.splits)
    for heading in ("split", "images", "sizes", *(["foreground"] if one_mask else [])):
        splits.add_column(heading, justify="left" if heading in ("split", "sizes") else "right")
    for entry in result.splits:
        sizes = ", ".join(f"{size} ({count})" for size, count in list(entry.sizes.items())[:4])
        more = f" and {len(entry.sizes) - 4} more" if len(entry.sizes) > 4 else ""
        splits.add_row(
            entry.split,
            str(entry.num_images),
            sizes + more,
            *([percentage(entry.foreground_share)] if one_mask else []),
        )
    yield splits
    if not one_mask:
        yield _class_shares(result)
    if any(entry.present for entry in result.splits):
        yield _presence(result)
    shown = [finding for finding in result.findings if finding.is_shown]
    if shown:
        yield "[italic]Findings[/]"
        yield from rows_of(shown)
    if result.measured is not None and result.states_numbers is False:
        mean, std = result.measured
        yield f"[dim]measured on the training images:[/] mean: {mean}, std: {std}"
    yield _verdict(result)


def faults(result: Checked) -> Iterator[Any]:
    """Show errors and warnings as lines, and the verdict if there are errors, for `--quiet`."""
    for row in rows_of([finding for finding in result.findings if finding.severity != "info"]):
        hint = f" [dim]({escape(row.hint)})[/]" if row.hint else ""
        for message in row.messages:
            yield f"{SEVERITY[row.severity]}: {escape(message)}{hint}"
        if row.more:
            yield f"and {row.more} more like this: `--json` lists all"
    if result.has_errors:
        yield _verdict(result)


def _verdict(result: Checked) -> str:
    count = {kind: sum(finding.severity == kind for finding in result.findings) for kind in SEVERITY}
    verdict = "[bold red]not ready to train[/]" if result.has_errors else "[green]ready to train[/]"
    return f"{verdict}: {plural(count['error'], 'error')}, {plural(count['warning'], 'warning')}"


def _class_shares(result: Checked) -> Table:
    """Show the share of each class in each split."""
    table = Table(title=f"Share of the {result.counted} by class", title_justify="left")
    table.add_column("class")
    for entry in result.splits:
        table.add_column(entry.split, justify="right")
    for name in next(entry.class_shares for entry in result.splits if entry.class_shares):
        shares = [entry.class_shares.get(name, math.nan) for entry in result.splits]
        table.add_row(escape(name), *map(percentage, shares))
    return table


def _presence(result: Checked) -> Table:
    """Count the cases in which each structure is present, and the cases of each scenario."""
    table = Table(title="Cases in which each structure is present", title_justify="left")
    table.add_column("structure")
    for entry in result.splits:
        table.add_column(entry.split, justify="right")
    for name in next(entry.present for entry in result.splits if entry.present):
        table.add_row(escape(name), *(f"{entry.present.get(name, 0)} of {entry.num_images}" for entry in result.splits))
    table.add_section()
    for group in dict.fromkeys(group for entry in result.splits for group in entry.groups):
        table.add_row(f"scenario {escape(group)}", *(str(entry.groups.get(group, 0)) for entry in result.splits))
    return table


def stats(result: Stats) -> Iterator[Any]:
    """Print lines to paste into the data-set file, with comments."""
    yield f"# {escape(result.dataset)}: {result.num_images} training images, {_sizes(result.sizes)}"
    if result.true_sizes != result.sizes:
        yield f"# before cropping: {_sizes(result.true_sizes)}; {result.padding_share:.1%} of the crops is padding"
    if not result.class_shares:
        yield f"# foreground share {result.foreground_share:.4g}"
    if result.class_shares:
        width = max(map(len, result.class_shares))
        weighed = f"  class_weights: {', '.join(result.class_weights)}" if result.class_weights else ""
        yield f"# {'share':>9}  {'class':{width}}{weighed}"
    for name, share in result.class_shares.items():
        weights = "  ".join(f"{values[name]:{len(scheme)}.4g}" for scheme, values in result.class_weights.items())
        yield escape(f"# {100 * share:8.4g}%  {name:{width}}  {'':14} {weights}".rstrip())
    if result.spacing:
        yield f"# spacing in mm: {_sizes(result.spacing)}"
    if result.percentiles:
        shown = (f"{point} % {' '.join(f'{value:.4g}' for value in row)}" for point, row in result.percentiles.items())
        yield f"# percentiles: {', '.join(shown)}"
    for name, about in result.objects.items():
        sizes = " to ".join(f"{value:g}" for value in about["length"][::2])
        yield escape(
            f"# {plural(about['count'], 'object')} of {name}: {about['length'][1]:g} pixels long (90 % from {sizes}), "
            f"{about['pixels'][1]:g} pixels in size"
        )
    yield escape(result.yaml())
    yield from (escape(line) for line in _proposed(result))


def _sizes(sizes: dict[str, int]) -> str:
    more = f" and {len(sizes) - SIZES} more" if len(sizes) > SIZES else ""
    return ", ".join(f"{size} ({count})" for size, count in list(sizes.items())[:SIZES]) + more


def _proposed(result: Stats) -> Iterator[str]:
    """Write proposed keys as comments to paste."""
    proposal = result.proposal
    if "crop_size" in proposal:
        yield f"# crop_size: {proposal['crop_size']}  # near the median size: less padding"
    if "model" in proposal:
        keys = ", ".join(f"{key}: {value}" for key, value in proposal["model"].items())
        yield f"# model: {{{keys}}}  # experiment file; fits the crops and the samples"


def split(result: SplitDrawn) -> Iterator[Any]:
    """Show the size of each split, and the split file."""
    yield f"[italic]Split of {escape(result.dataset)}[/]"  # above the table, whose title would break at its width
    table = Table()
    counted = [] if result.unit in ("image", "frame") else [f"{result.unit}s"]
    for heading in ("split", *counted, "images"):
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for name, names in result.names.items():
        table.add_row(name, *([str(len(names))] if counted else []), str(result.num_images[name]))
    yield table
    moved = "" if result.moved is None else f", {plural(result.moved, result.unit)} moved to another split"
    yield f"wrote {escape(shown(result.file))}{moved}"


def sample(made: dict[str, Any]) -> Iterator[Any]:
    """Print what was written."""
    counts = ", ".join(f"{count} {split}" for split, count in made["images"].items())
    shape = made["shape"]
    size = f"{shape[1]}x{shape[0]} pixels" if len(shape) == 2 else f"{'x'.join(map(str, shape))} voxels"
    yield f"wrote {counts} images of {size} to {escape(made['folder'])}"
    yield f"data-set file: {escape(made['dataset'])}"


def converted(made: dict[str, Any]) -> Iterator[Any]:
    """Print what was written, and the label value of each structure."""
    yield from sample(made)
    values = ", ".join(f"{name} ({number})" for name, number in made["structures"].items())
    yield f"structures: {escape(values)}"
