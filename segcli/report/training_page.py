"""Build `report.html` of a training."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from segcli.core.types import Array
from segcli.report.cells import class_heading, with_unit
from segcli.report.html import (
    Cell,
    Section,
    cards,
    facts,
    joined,
    note,
    number,
    page,
    table,
    without_passwords,
)
from segcli.report.pictures import CasePicture
from segcli.report.results import Trained
from segcli.report.run_sections import (
    RunFacts,
    cases_section,
    commands_section,
    confusion_section,
    curves_section,
    details_section,
)

__all__ = ["BestValidation", "training_page"]

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class BestValidation:
    """Validation of the best epoch, as the run stores it."""

    ranked_by: str
    """Metric by which the cases are ordered."""
    classes: Sequence[str]
    worst: Sequence[CasePicture] = ()
    best: Sequence[CasePicture] = ()
    confusion: Array | None = None


def training_page(
    trained: Trained,
    run: RunFacts,
    *,
    elapsed_s: float,
    commands: Mapping[str, str],
    warnings: Sequence[str] = (),
    validation: BestValidation | None = None,
) -> str:
    """Build the page.

    Args:
        trained: State of the run.
        run: Facts about the run.
        elapsed_s: Seconds of training in total.
        commands: Command lines by purpose.
        warnings: Warnings of the last call.
        validation: Validation of the best epoch.
    """
    epoch = trained.best_epoch or trained.epochs
    entry = next((entry for entry in run.history if entry["epoch"] == epoch), None)
    sections: list[Section] = [
        ("", joined([_cards(trained, elapsed_s, run.units), _facts(trained, run)])),
        ("Warnings", _warnings(warnings)),
        ("Curves", curves_section(run.history, mark=trained.best_epoch, monitor=trained.monitor, units=run.units)),
        (f"Losses and metrics of epoch {epoch}", _figures(entry, run.history, run.units)),
        (f"Classes in epoch {epoch}", _classes(entry, run.units)),
    ]
    if validation is not None:
        at = f" in validation {epoch}"
        matrix = confusion_section(validation.confusion, validation.classes, run.unit)
        pictures = cases_section(validation.worst, validation.best, ranked_by=validation.ranked_by, run=run)
        sections += [(f"Confusion matrix{at}", matrix), (f"Worst and best cases{at}", pictures)]
    sections += [("Commands", commands_section(commands)), ("Config and environment", details_section(run))]
    return page(f"{trained.run}: training", f"{run.network}, on {run.dataset}", sections)


def _cards(trained: Trained, elapsed_s: float, units: Mapping[str, str]) -> Markup:
    found: list[tuple[str, str, str]] = []
    if trained.best is not None:
        monitored = with_unit(trained.monitor, {f"val_{name}": unit for name, unit in units.items()})
        found.append((f"best {monitored}", number(trained.best), f"in epoch {trained.best_epoch}"))
    early = "ended by early stopping" if trained.early else "as configured"
    found.append(("epochs", number(trained.epochs), early))
    each = f"{_duration(elapsed_s / max(trained.epochs, 1))} per epoch"
    found.append(("training time", _duration(elapsed_s), each))
    return cards(found)


def _duration(seconds: float) -> str:
    """Write seconds in words.

    Example:
        >>> _duration(4.2), _duration(130), _duration(7380)
        ('4.2 s', '2 min 10 s', '2 h 3 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _facts(trained: Trained, run: RunFacts) -> Markup:
    return facts(
        {
            "run": trained.run,
            "data set": run.dataset,
            "network": run.network,
            "device": run.device,
            "run folder": str(trained.folder),
        }
    )


def _warnings(warnings: Sequence[str]) -> Markup:
    if not warnings:
        return Markup()
    items = "".join(f"<li>{escape(without_passwords(text))}</li>" for text in dict.fromkeys(warnings))
    return joined([note("Warnings of the last call of train or resume."), Markup(f'<ul class="warnings">{items}</ul>')])


def _figures(entry: Entry | None, history: Sequence[Entry], units: Mapping[str, str]) -> Markup:
    """Show losses and metrics of the best epoch beside those of the last."""
    if entry is None:
        return Markup()
    shown = [entry] if entry is history[-1] else [entry, history[-1]]
    names = dict.fromkeys(name for each in shown for name in (*each["train"], *(_bare(name) for name in each["val"])))
    headings = [f"{what}, epoch {each['epoch']}" for each in shown for what in ("training", "validation")]
    rows: Iterable[list[Cell]] = (
        [
            with_unit(name, units),
            *(value for each in shown for value in (each["train"].get(name), each["val"].get(f"val_{name}"))),
        ]
        for name in names
    )
    caption = "Losses and metrics"
    if len(shown) > 1:
        caption += f" of the best epoch ({shown[0]['epoch']}) and of the last ({shown[1]['epoch']})"
    return table(caption, ["name", *headings], rows)


def _bare(name: str) -> str:
    return name.removeprefix("val_")


def _classes(entry: Entry | None, units: Mapping[str, str]) -> Markup:
    """Show each metric of each class in the validation of an epoch."""
    values: Mapping[str, Mapping[str, float]] = (entry or {}).get("val_per_class", {})
    if entry is None or not values:
        return Markup()
    classes = list(next(iter(values.values())))
    rows: Iterable[list[Cell]] = ([name, *(by_class[name] for by_class in values.values())] for name in classes)
    headings = ["class", *(with_unit(name, units, class_heading(name)) for name in values)]
    return table(f"Validation of epoch {entry['epoch']} by class", headings, rows)
