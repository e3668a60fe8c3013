"""Build `report.html` of an evaluation: scores, confusion matrix, and pictures of the worst and best cases."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from markupsafe import Markup, escape

from segcli.core.types import Array
from segcli.data.images import as_rgb
from segcli.data.samples import resize
from segcli.report.cells import class_heading, images_behind, plural, with_unit
from segcli.report.html import (
    Cell,
    Section,
    bounds,
    cards,
    facts,
    folded,
    joined,
    note,
    number,
    page,
    picture,
    table,
)
from segcli.report.pictures import CasePicture
from segcli.report.presence import reliability_section
from segcli.report.results import Evaluated
from segcli.report.run_sections import (
    RunFacts,
    cases_section,
    commands_section,
    confusion_section,
    curves_section,
    details_section,
)
from segcli.report.score_tables import CLASS_METRICS, STRUCTURE_METRICS

if TYPE_CHECKING:
    from segcli.metrics import ClassScore, Score

__all__ = ["Answer", "Answers", "evaluation_page"]

MOST_ROWS = 300
"""Largest number of rows in a table of images; `per_image_metrics.yaml` has all."""
MOST_MISTAKES = 12
LARGEST = 288
"""Pixels of the longer side of a picture of a mistake."""


class Answer(Protocol):
    """Predicted class of a whole case."""

    @property
    def name(self) -> str:
        """Name of the case."""

    @property
    def probs(self) -> Array:
        """Probability of each class, `(K)`."""

    @property
    def found(self) -> int:
        """Index of the predicted class."""

    @property
    def truth(self) -> int | None:
        """Index of the true class; None where it is not known."""

    @property
    def parts(self) -> int:
        """Number of crops whose probabilities were averaged."""


@dataclass(frozen=True)
class Answers:
    """Predicted classes of whole cases."""

    answers: Sequence[Answer]
    word: str = "case"
    """Word for a case, such as `sample`."""
    mistakes: Sequence[tuple[Answer, Array]] = field(default=())
    """Wrong predictions, the most confident first, each with a slice `(H, W)` or `(H, W, C)` as stored."""


def evaluation_page(
    result: Evaluated,
    run: RunFacts,
    *,
    command: str,
    worst: Sequence[CasePicture] = (),
    best: Sequence[CasePicture] = (),
    whole: Evaluated | None = None,
    answers: Answers | None = None,
) -> str:
    """Build the page.

    Args:
        result: Scores.
        run: Facts about the run.
        command: Command line that repeats the evaluation.
        worst: Pictures of the worst cases, the worst first.
        best: Pictures of the best cases, the best first.
        whole: Scores of samples, where the cases of `result` are crops of them.
        answers: Predicted classes of whole cases.
    """
    classes, about = result.classes, plural(result.num_images, "image")
    levels = [("Metrics", result, run.unit)]
    if whole is not None:
        word = answers.word if answers is not None else "case"
        about = f"{plural(whole.num_images, word)} in {plural(result.num_images, 'crop')}"
        levels = [(f"Metrics by {word}", whole, f"{word}s"), ("Metrics by crop", result, "crops")]
    sections: list[Section] = [("", joined([_cards(levels[0][1]), _facts(result, run, about)]))]
    for heading, scored, counted in levels:
        level = f" ({counted})" if whole is not None else ""
        sections.append((heading, _metrics(scored)))
        kind = "Structures" if _has_presence(scored) else "Classes"
        sections.append((f"{kind}{level}", _classes(scored) if len(classes) > 1 else Markup()))
        sections.append((f"Confidence in presence{level}", reliability_section(scored.presence)))
        sections.append((f"Scenarios{level}", _scenarios(scored)))
        sections.append((f"Confusion matrix{level}", confusion_section(scored.confusion, classes, counted)))
    if answers is not None:
        sections.append(("Most confident mistakes", _mistakes(answers, classes)))
        sections.append(("Predictions", _answers(answers, classes)))
    pictures = cases_section(worst, best, ranked_by=result.ranked_by, run=run)
    sections += [
        ("Worst and best cases", pictures),
        ("Every case", _images(result)),
        ("Curves of the training", curves_section(run.history, mark=result.epoch, units=run.units)),
        ("How to repeat it", commands_section({"the same scores": command})),
        ("Config and environment", details_section(run)),
    ]
    lead = f"{run.network}, on {about} of split {result.split} of {run.dataset}"
    return page(f"{result.run}: scores on {result.split}", lead, sections)


def _cards(result: Evaluated) -> Markup:
    """Show the first four metrics with their intervals."""
    return cards(
        (
            with_unit(entry.name, result.units),
            number(entry.value),
            bounds(entry.interval) if entry.interval else "no interval",
        )
        for entry in result.scores[:4]
    )


def _facts(result: Evaluated, run: RunFacts, about: str) -> Markup:
    threshold = {} if result.threshold is None else {"threshold": f"{result.threshold:g}"}
    return facts(
        {
            "run": result.run,
            "data set": run.dataset,
            "split": f"{result.split}, {about}",
            "network": run.network,
            "checkpoint": f"{result.checkpoint} (epoch {result.epoch})",
            **threshold,
            "device": run.device,
        }
    )


def _metrics(result: Evaluated) -> Markup:
    headings = ["metric", "value", f"{100 * result.level:.0f} % interval", "scope", "mean over images"]
    rows: list[list[Cell]] = [
        [
            with_unit(entry.name, result.units),
            Markup(f"<b>{number(entry.value)}</b>"),
            bounds(entry.interval),
            entry.scope,
            number(entry.mean),
            number(entry.pooled),
            number(None if images_behind(entry) == "-" else entry.num_images),
        ]
        for entry in result.scores
    ]
    parts: list[Markup] = [
        table(f"{plural(result.num_images, 'image')} of split {result.split}", [*headings, "over all", "images"], rows),
        note(f"Intervals: percentile bootstrap over images, {result.resamples:,} resamples."),
        *map(note, result.notes),
    ]
    if result.losses:
        parts.append(table("Losses, mean over images", ["loss", "value"], ([*item] for item in result.losses.items())))
    return joined(parts)


def _has_presence(result: Evaluated) -> bool:
    return any(entry.name == "presence_accuracy" for entry in result.scores)


def _chosen(result: Evaluated) -> "list[Score]":
    """Choose the metrics for tables of classes; the YAML file has all."""
    names = STRUCTURE_METRICS if _has_presence(result) else CLASS_METRICS
    return [entry for entry in result.scores if entry.name in names] or result.scores[:4]


def _classes(result: Evaluated) -> Markup:
    """Show a row for each class: values, intervals, and the number of images if the value is undefined for some."""
    chosen = _chosen(result)
    counts = None if result.confusion is None else result.confusion.sum(axis=1)
    named = [with_unit(entry.name, result.units, class_heading(entry.name)) for entry in chosen]
    headings = ["class", *([] if counts is None else ["share"]), *named]
    rows: list[list[Cell]] = []
    for index, name in enumerate(result.classes):
        share: list[Cell] = []
        if counts is not None:
            share = [Markup(f"{counts[index] / counts.sum():.2%}" if counts[index] else "absent")]
        rows.append([name, *share, *(_class_cell(entry.per_class[index], result.num_images) for entry in chosen)])
    caption = f"Value, {100 * result.level:.0f} % interval, and number of images if it is undefined for some"
    return table(caption, headings, rows)


def _class_cell(value: "ClassScore", count: int) -> Markup:
    interval = f"<small>{bounds(value.interval)}</small>" if value.interval is not None else ""
    images = f"<small>{value.num_images} of {count}</small>" if value.num_images < count else ""
    return Markup(f"{number(value.value)}{interval}{images}")


def _scenarios(result: Evaluated) -> Markup:
    if not result.groups:
        return Markup()
    names = [entry.name for entry in _chosen(result)]
    rows: Iterable[list[Cell]] = (
        [group, int(values["num_images"]), *(values[name] for name in names)] for group, values in result.groups.items()
    )
    return table(
        "Scores of each scenario", ["scenario", "cases", *(with_unit(name, result.units) for name in names)], rows
    )


def _images(result: Evaluated) -> Markup:
    """List all images, the worst first."""
    order = result.worst(len(result.images))
    order += [index for index in range(len(result.images)) if index not in set(order)]
    shown = order[:MOST_ROWS]
    more = f"; the worst {MOST_ROWS} of {len(order)}" if len(order) > MOST_ROWS else ""
    grouped = ["scenario"] if result.groups else []
    rows: Iterable[list[Cell]] = (
        [
            result.images[index],
            *([result.image_groups[index] or "-"] if grouped else []),
            *(entry.per_image[index] for entry in result.scores),
        ]
        for index in shown
    )
    names = [with_unit(entry.name, result.units) for entry in result.scores]
    made = table(f"By {result.ranked_by}, the worst first{more}", ["image", *grouped, *names], rows)
    return folded(plural(len(shown), "image"), made)


def _mistakes(answers: Answers, classes: Sequence[str]) -> Markup:
    """Show wrong predictions with the predicted class and its probability."""
    wrong = sum(answer.truth is not None and answer.truth != answer.found for answer in answers.answers)
    if not wrong:
        return note(f"None: all {len(answers.answers)} predictions are right.")
    shown = answers.mistakes[:MOST_MISTAKES]
    pictures = joined(
        picture(_seen(pixels), f"a slice of {answer.name}", _verdict(answer, classes)) for answer, pixels in shown
    )
    count = note(f"{wrong} of {len(answers.answers)} predictions are wrong; the {len(shown)} most confident are shown.")
    return joined([count, Markup(f'<div class="mistakes">\n{pictures}\n</div>')])


def _verdict(answer: Answer, classes: Sequence[str]) -> Markup:
    truth = "unknown" if answer.truth is None else classes[answer.truth]
    found, share = classes[answer.found], float(answer.probs[answer.found])
    return Markup(f"<b>{escape(answer.name)}</b><br>true {escape(truth)}, predicted {escape(found)} ({share:.1%})")


def _seen(pixels: Array) -> Array:
    """Convert a slice to 8-bit RGB of at most `LARGEST` pixels, with its brightness stretched."""
    channels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    scale = min(LARGEST / max(channels.shape[:2]), 1.0)
    size = tuple(max(round(length * scale), 1) for length in channels.shape[:2])
    return resize(as_rgb(channels.astype(np.float32)), size)


def _answers(answers: Answers, classes: Sequence[str]) -> Markup:
    """List all predictions with their probabilities; wrong and confident ones first."""

    def order(answer: Answer) -> tuple[bool, float]:
        is_wrong = answer.truth is not None and answer.truth != answer.found
        return not is_wrong, -float(answer.probs[answer.found])

    ordered = sorted(answers.answers, key=order)
    parts = any(answer.parts > 1 for answer in ordered)
    headings = [answers.word, "true", "predicted", *(f"p({name})" for name in classes), *(["crops"] if parts else [])]
    rows: Iterable[list[Cell]] = (
        [
            answer.name,
            "-" if answer.truth is None else classes[answer.truth],
            classes[answer.found],
            *(float(value) for value in answer.probs),
            *([answer.parts] if parts else []),
        ]
        for answer in ordered[:MOST_ROWS]
    )
    more = f"; {MOST_ROWS} of {len(ordered)}" if len(ordered) > MOST_ROWS else ""
    made = table(f"Probability of each class; wrong and confident predictions first{more}", headings, rows)
    return folded(f"{min(len(ordered), MOST_ROWS)} predictions", made)
