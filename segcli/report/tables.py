"""Results as tables for a terminal."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from segcli.core.files import shown
from segcli.data.checks import Finding
from segcli.report.results import Checked, CrossValidated, Evaluated, Exported, Predicted, SplitDrawn, Stats, Trained

if TYPE_CHECKING:
    from segcli.metrics import ClassScore, Score

__all__ = [
    "checked",
    "converted",
    "cross_validated",
    "evaluated",
    "exported",
    "predicted",
    "rehearsed",
    "sample",
    "split",
    "stats",
    "trained",
]

ROWS_PER_CODE = 4
CASES_SHOWN = 20
MANY_STRUCTURES = 8
"""More than these do not fit side by side."""
METRICS_PER_IMAGE = 6
"""Columns that fit a terminal; `per_image_metrics.yaml` has all."""
CLASS_METRICS = ("iou", "dice", "f1", "precision", "recall")
"""Columns of the table of classes."""
STRUCTURE_METRICS = {
    "dice": "dice",
    "hd95": "hd95",
    "surface_dice": "surface dice",
    "presence_accuracy": "presence",
    "presence_sensitivity": "sens.",
    "presence_specificity": "spec.",
    "false_positive_volume": "false vol.",
}
"""Columns of structures that may be absent, where presence is scored."""
SEVERITY = {"error": "[bold red]error[/]", "warning": "[yellow]warning[/]", "info": "[dim]info[/]"}


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def checked(result: Checked) -> Iterator[Any]:
    """Splits, then findings, then the verdict."""
    splits = Table(title=f"Data set {escape(result.dataset)}", title_justify="left")
    one_mask = not any(entry.class_shares for entry in result.splits)
    for heading in ("split", "images", "sizes", *(["foreground"] if one_mask else [])):
        splits.add_column(heading, justify="left" if heading in ("split", "sizes") else "right")
    for entry in result.splits:
        sizes = ", ".join(f"{size} ({count})" for size, count in list(entry.sizes.items())[:4])
        more = f" and {len(entry.sizes) - 4} more" if len(entry.sizes) > 4 else ""
        share = "-" if math.isnan(entry.foreground_share) else f"{entry.foreground_share:.2%}"
        splits.add_row(entry.split, str(entry.num_images), sizes + more, *([share] if one_mask else []))
    yield splits
    if not one_mask:
        yield _class_shares(result)
    if any(entry.present for entry in result.splits):
        yield _presence(result)
    shown = [finding for finding in result.findings if finding.hint]
    if shown:
        yield _findings(shown)
    count = {kind: sum(finding.severity == kind for finding in result.findings) for kind in SEVERITY}
    verdict = "[bold red]not ready to train[/]" if result.has_errors else "[green]ready to train[/]"
    yield f"{verdict}: {_plural(count['error'], 'error')}, {_plural(count['warning'], 'warning')}"


def _class_shares(result: Checked) -> Table:
    """Share of each class in each split."""
    table = Table(title="Share of the pixels that count", title_justify="left")
    table.add_column("class")
    for entry in result.splits:
        table.add_column(entry.split, justify="right")
    for name in next(entry.class_shares for entry in result.splits if entry.class_shares):
        shares = [entry.class_shares.get(name, math.nan) for entry in result.splits]
        table.add_row(escape(name), *("-" if math.isnan(share) else f"{share:.2%}" for share in shares))
    return table


def _presence(result: Checked) -> Table:
    """In how many cases each structure is present, and how many cases a scenario has."""
    table = Table(title="Cases in which it is present", title_justify="left")
    table.add_column("structure")
    for entry in result.splits:
        table.add_column(entry.split, justify="right")
    for name in next(entry.present for entry in result.splits if entry.present):
        table.add_row(escape(name), *(f"{entry.present.get(name, 0)} of {entry.num_images}" for entry in result.splits))
    table.add_section()
    for group in dict.fromkeys(group for entry in result.splits for group in entry.groups):
        table.add_row(f"scenario {escape(group)}", *(str(entry.groups.get(group, 0)) for entry in result.splits))
    return table


def _findings(found: list[Finding]) -> Table:
    """One row a finding; of a fault that many files share, the first few."""
    table = Table(title="Findings", title_justify="left", show_lines=True)
    for heading in ("severity", "code", "what", "hint"):
        table.add_column(heading, overflow="fold")
    codes = list(dict.fromkeys(finding.code for finding in found))
    for code in codes:
        same = [finding for finding in found if finding.code == code]
        for finding in same[:ROWS_PER_CODE]:
            what, hint = escape(finding.message), escape(finding.hint)
            table.add_row(SEVERITY[finding.severity], finding.code, what, hint)
        if len(same) > ROWS_PER_CODE:
            table.add_row("", code, f"and {len(same) - ROWS_PER_CODE} more like this", "`--json` lists all")
    return table


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}"


def stats(result: Stats) -> Iterator[Any]:
    """Lines to paste, with what they are."""
    sizes = ", ".join(f"{size} ({count})" for size, count in list(result.sizes.items())[:6])
    yield f"# {escape(result.dataset)}: {result.num_images} training images, {sizes}"
    if not result.class_shares:
        yield f"# foreground share {result.foreground_share:.4f}"
    if result.class_shares:
        width = max(map(len, result.class_shares))
        weighed = f"  class_weights: {', '.join(result.class_weights)}" if result.class_weights else ""
        yield f"# {'share':>9}  {'class':{width}}{weighed}"
    for name, share in result.class_shares.items():
        weights = "  ".join(f"{values[name]:{len(scheme)}.4g}" for scheme, values in result.class_weights.items())
        yield escape(f"# {share:9.4%}  {name:{width}}  {'':14} {weights}".rstrip())
    yield escape(result.yaml())


def split(result: SplitDrawn) -> Iterator[Any]:
    """Counts of each split, and the file."""
    table = Table(title=f"Split of {escape(result.dataset)}", title_justify="left")
    counted = [] if result.unit in ("image", "frame") else [f"{result.unit}s"]
    for heading in ("split", *counted, "images"):
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for name, names in result.names.items():
        table.add_row(name, *([str(len(names))] if counted else []), str(result.num_images[name]))
    yield table
    moved = "" if result.moved is None else f", {_plural(result.moved, result.unit)} on another side than before"
    yield f"wrote {escape(shown(result.file))}{moved}"


def sample(made: dict[str, Any]) -> Iterator[Any]:
    """What was written."""
    counts = ", ".join(f"{count} {split}" for split, count in made["images"].items())
    shape = made["shape"]
    size = f"{shape[1]}x{shape[0]} pixels" if len(shape) == 2 else f"{'x'.join(map(str, shape))} voxels"
    yield f"wrote {counts} images of {size} to {escape(made['folder'])}"
    yield f"data-set file: {escape(made['dataset'])}"


def converted(made: dict[str, Any]) -> Iterator[Any]:
    """What was written, and which number became which structure."""
    yield from sample(made)
    told = ", ".join(f"{name} ({number})" for name, number in made["structures"].items())
    yield f"structures: {escape(told)}"


def rehearsed(result: dict[str, Any]) -> Iterator[Any]:
    """Outcome of a dry run."""
    train = ", ".join(f"{name} {_number(value)}" for name, value in result["train"].items())
    batches = result["batches_per_epoch"]
    yield f"dry run of {escape(result['run'])}: {batches} batches an epoch; two were trained: {train}"
    yield "nothing was written"


def trained(result: Trained) -> Iterator[Any]:
    """Where a run stands, and what to do next."""
    if result.done_before:
        yield (
            f"run {escape(result.run)} is finished after {_plural(result.epochs, 'epoch')}; "
            f"train on with: segcli resume {escape(result.run)} training.epochs=N"
        )
        if result.report is not None:
            yield f"wrote {escape(shown(result.report))}"
        return
    why = " (early stopping)" if result.early else ""
    yield f"trained {escape(result.run)} for {_plural(result.epochs, 'epoch')}{why}"
    if result.best is not None:
        yield f"best {result.monitor} {_number(result.best)} in epoch {result.best_epoch}"
    yield f"run folder: {escape(str(result.folder))}"
    if result.report is not None:
        yield f"wrote {escape(shown(result.report))}"


def cross_validated(result: CrossValidated) -> Iterator[Any]:
    """Mean and standard deviation over the folds."""
    title = f"{escape(result.run)}: {_plural(len(result.folds), 'fold')}, mean ± standard deviation"
    table = Table(title=title, title_justify="left")
    for heading in ("validation", "last epoch", "best epoch", "last epoch of each fold"):
        table.add_column(heading, justify="left" if heading == "validation" else "right")
    best = {score.name: score for score in result.best}
    for score in result.last:
        both = [f"{_number(each.mean)} ± {_number(each.sd)}" for each in (score, best[score.name])]
        table.add_row(score.name, *both, "  ".join(map(_number, score.values)))
    yield table
    yield "[dim]the best epoch was chosen on the images that it is scored on, and flatters[/]"
    yield f"wrote {escape(str(result.folder / 'cross_validation.yaml'))}"


def evaluated(result: Evaluated) -> Iterator[Any]:
    """Averages with intervals, the worst images, and the files."""
    count = _plural(result.num_images, "image" if result.whole is None else "crop")
    if result.whole is not None:
        yield from _wholes(result.whole, result.word or "image")
    threshold = "" if result.threshold is None else f", threshold {result.threshold:g}"
    title = f"{escape(result.run)}: {count} of split {result.split}{threshold}"
    averages = Table(title=title, title_justify="left")
    for heading in ("metric", "value", "95 % interval", "scope", f"all {result.unit}", "images"):
        averages.add_column(heading, justify="left" if heading in ("metric", "scope") else "right", no_wrap=True)
    for entry in result.scores:
        averages.add_row(
            entry.name,
            f"[bold]{_number(entry.value)}[/]",
            _interval(entry),
            entry.scope,
            _number(entry.pooled),
            str(entry.num_images),
        )
    yield averages
    if any(entry.name == "presence_accuracy" for entry in result.scores):
        yield _structures(result)
    elif len(result.classes) > 1:
        yield _classes(result)
    if result.groups:
        yield _scenarios(result)
    yield _wrong(result) if result.answers else _images(result, result.worst())
    for note in result.notes:
        yield f"[dim]{escape(note)}[/]"
    yield f"checkpoint: {escape(str(result.checkpoint))} (epoch {result.epoch})"
    for name in ("test_metrics.yaml", "per_image_metrics.yaml"):
        yield f"wrote {escape(str(result.folder / name))}"
    if result.confusion is not None:
        yield f"wrote {escape(str(result.folder / 'confusion_matrix.png'))} and .csv"
    for name in result.files:
        yield f"wrote {escape(str(result.folder / name))}"
    if result.predictions is not None:
        yield f"wrote {_plural(result.num_images, 'mask')} to {escape(str(result.predictions))}"
    if result.report is not None:
        yield f"wrote {escape(str(result.report))}"


def _wrong(result: Evaluated) -> str:
    """How many answers are wrong."""
    wrong = sum(answer.truth != answer.found for answer in result.answers)
    return f"{wrong} of {_plural(len(result.answers), 'answer')} {'is' if wrong == 1 else 'are'} wrong"


def _wholes(result: Evaluated, word: str) -> Iterator[Any]:
    """Averages of what images are parts of."""
    title = f"{escape(result.run)}: {_plural(result.num_images, word)} of split {result.split}, the mean over its crops"
    averages = Table(title=title, title_justify="left")
    for heading in ("metric", "value", "95 % interval"):
        averages.add_column(heading, justify="left" if heading == "metric" else "right", no_wrap=True)
    for entry in result.scores:
        averages.add_row(entry.name, f"[bold]{_number(entry.value)}[/]", _interval(entry))
    yield averages
    yield _classes(result)


def _interval(entry: "Score | ClassScore") -> str:
    return "-" if entry.interval is None else f"{_number(entry.interval[0])} to {_number(entry.interval[1])}"


def _classes(result: Evaluated) -> Table:
    """One row a class; a class that no pixel of the truth has is shown as such."""
    table = Table(title="Classes", title_justify="left")
    table.add_column("class", no_wrap=True)
    table.add_column(result.unit, justify="right")
    chosen = [entry for entry in result.scores if entry.name in CLASS_METRICS] or result.scores[:4]
    for position, entry in enumerate(chosen):
        table.add_column(entry.name, justify="right")
        if not position:
            table.add_column("95 % interval", justify="right", no_wrap=True)
    pixels = None if result.confusion is None else result.confusion.sum(axis=1)
    for index, name in enumerate(result.classes):
        share = "-" if pixels is None or not pixels.sum() else f"{pixels[index] / pixels.sum():.2%}"
        absent = pixels is not None and not pixels[index]
        values = [entry.per_class[index] for entry in chosen]
        cells = [_number(value.value) for value in values]
        cells.insert(1, _interval(values[0]))
        table.add_row(escape(name), "absent" if absent else share, *cells)
    return table


def _structures(result: Evaluated) -> Table:
    """One row a structure; how many cases a figure stands on is beside it."""
    table = Table(title="Structures, each figure with the number of cases that it stands on", title_justify="left")
    table.add_column("structure", no_wrap=True)
    chosen = [entry for entry in result.scores if entry.name in STRUCTURE_METRICS]
    for entry in chosen:
        table.add_column(STRUCTURE_METRICS[entry.name], justify="right")
    for index, name in enumerate(result.classes):
        values = [entry.per_class[index] for entry in chosen]
        table.add_row(escape(name), *(f"{_short(value.value)} [dim]({value.num_images})[/]" for value in values))
    return table


def _found_structures(result: Predicted) -> Table:
    """Volume of each structure that is present: one row a case, or one a structure where these are many."""
    names, cases = list(result.presence[0]["structures"]), result.presence
    table = Table(title_justify="left")
    if len(names) > MANY_STRUCTURES:
        cases = cases[: MANY_STRUCTURES // 2]
        table.add_column("structure", no_wrap=True)
        for entry in cases:
            table.add_column(escape(entry["case"]), justify="right", overflow="fold")
        for name in names:
            table.add_row(escape(name), *(_found(entry["structures"][name]) for entry in cases))
    else:
        cases = cases[:CASES_SHOWN]
        table.add_column("case", overflow="fold")
        for name in names:
            table.add_column(escape(name), justify="right")
        for entry in cases:
            table.add_row(escape(entry["case"]), *map(_found, entry["structures"].values()))
    more = len(result.presence) - len(cases)
    table.title = "Volume of what is present" + (f"; {more} more cases are in `presence.csv`" if more else "")
    return table


def _found(structure: dict[str, Any]) -> str:
    return f"{structure['volume']:,.0f} {structure['unit']}" if structure["present"] else "[dim]absent[/]"


def _short(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"


def _scenarios(result: Evaluated) -> Table:
    """One row a scenario."""
    table = Table(title="Scenarios", title_justify="left")
    table.add_column("scenario", no_wrap=True)
    table.add_column("cases", justify="right")
    chosen = [entry.name for entry in result.scores if entry.name in STRUCTURE_METRICS]
    for metric in chosen:
        table.add_column(STRUCTURE_METRICS[metric], justify="right")
    for name, values in result.groups.items():
        row = (_short(values[metric]) for metric in chosen)
        table.add_row(escape(name), str(int(values["num_images"])), *row)
    return table


def _images(result: Evaluated, positions: list[int]) -> Table:
    table = Table(title=f"Worst {len(positions)} by {result.ranked_by}", title_justify="left")
    table.add_column("image", overflow="fold")
    shown = result.scores[:METRICS_PER_IMAGE]
    for entry in shown:
        table.add_column(entry.name, justify="right", no_wrap=True)
    for position in positions:
        table.add_row(escape(result.images[position]), *(_number(entry.per_image[position]) for entry in shown))
    return table


def predicted(result: Predicted) -> Iterator[Any]:
    """How many masks went where, and what failed."""
    for path in result.tables:
        yield f"wrote {_plural(len(result.written), 'answer')} to {escape(str(path))}"
    if not result.tables:
        yield f"wrote {_plural(len(result.written), 'mask')} to {escape(str(result.folder))}"
    if result.skipped:
        yield f"passed over {_plural(len(result.skipped), 'image')} whose mask was there"
    if result.presence:
        yield _found_structures(result)
    if result.failed:
        yield f"[bold red]{_plural(len(result.failed), 'image')} failed:[/]"
        for entry in result.failed:
            yield f"  {escape(entry['message'])}"


def exported(result: Exported) -> Iterator[Any]:
    """Differences on each input, and the files."""
    table = Table(title=f"{escape(result.run)} as {result.format}, {result.precision}", title_justify="left")
    for heading in ("input", "shape", "raw outputs differ by", "of up to", "probabilities differ by"):
        table.add_column(heading, justify="left" if heading in ("input", "shape") else "right", overflow="fold")
    for entry in result.differences:
        shape = "x".join(map(str, entry.shape))
        figures = (entry.logits, entry.largest_logit, entry.probabilities)
        table.add_row(escape(entry.input), shape, *(f"{value:.2g}" for value in figures))
    yield table
    if result.tolerance is not None:
        yield f"run in a process of its own: every difference is within {result.tolerance:g}"
    if result.dice is not None:
        before, after = result.dice["checkpoint"], result.dice["exported"]
        yield f"Dice on the validation images: {before:.4f} before, {after:.4f} in the file ({after - before:+.4f})"
    yield f"wrote {escape(shown(result.file))} ({result.size_mib:.1f} MiB)"
    yield f"wrote {escape(shown(result.card))}, the model card: licence and intended use are yours to fill in"
