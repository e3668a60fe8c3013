"""Show progress: live bars on a terminal, plain lines elsewhere, nothing when quiet."""

import math
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from segcli.cli.board import GLUE, Board, Place, duration, folded
from segcli.core.collector import end_start
from segcli.report.cells import class_heading, plural

if TYPE_CHECKING:
    from segcli.engine.events import EpochDone, StepDone

__all__ = ["PlainProgress", "QuietProgress", "RichProgress"]

CLASSES_PER_ROW = 6
"""Classes side by side in a table that fits 80 columns."""
PLAIN_EVERY_S = 10.0
"""Seconds between two lines within an epoch."""
STAGE_EVERY_S = 30.0
"""Seconds between two lines within any other stage, such as a validation or a prediction."""
DRAWN_PER_S = 4
"""Times per second that the moving lines are drawn."""


class QuietProgress:
    """Progress that prints only warnings."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def warn(self, text: str) -> None:
        """Print a warning."""
        self.console.print(f"[yellow]warning:[/] {escape(text)}", soft_wrap=True)

    def notice(self, text: str) -> None:
        """Keep quiet."""

    def stage(self, text: str, total: int | None = None) -> None:
        """Keep quiet; the start of the command is over."""
        end_start()

    def advance(self, count: int = 1) -> None:
        """Keep quiet."""

    def step(self, event: "StepDone") -> None:
        """Keep quiet."""

    def epoch(self, event: "EpochDone") -> None:
        """Keep quiet."""


class PlainProgress(QuietProgress):
    """Progress as lines for logs: one line per epoch, and one within an epoch or another stage now and then."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.place = Place("starting")
        self.reported = time.monotonic()
        self._over = threading.Event()
        self._clock = threading.Thread(target=self._watch, name="progress", daemon=True)

    def __enter__(self) -> None:
        self._clock.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._clock.join()

    def _watch(self) -> None:
        """Print where the work is when no other line did, even while a single image takes long."""
        due = STAGE_EVERY_S
        while not self._over.wait(due):
            due = self.reported + STAGE_EVERY_S - time.monotonic()
            if due <= 0:
                due = STAGE_EVERY_S
                self._report(self.place.count)

    def _report(self, *parts: str) -> None:
        self.reported = time.monotonic()
        line = "  ".join(part for part in (self.place.text, *parts, self.place.time) if part)
        self.console.print(escape(line), soft_wrap=True)

    def notice(self, text: str) -> None:
        """Print a line."""
        self.console.print(escape(text), soft_wrap=True)

    def stage(self, text: str, total: int | None = None) -> None:
        """Begin to count."""
        super().stage(text, total)
        self.place = Place(text, total)

    def advance(self, count: int = 1) -> None:
        """Count."""
        self.place.done += count

    def step(self, event: "StepDone") -> None:
        """Print a line now and then."""
        self._move(event)
        if time.monotonic() - self.reported >= PLAIN_EVERY_S:
            values = " ".join(_values(event.values))
            self._report(f"batch {self.place.count}", values, *_speed_and_memory(event))

    def _move(self, event: "StepDone") -> None:
        """Move to the place of a step."""
        text = f"epoch {event.epoch}/{event.epochs}"
        self.place = Place(text, event.batches, event.batch, event.remaining_s, self.place.began)

    def epoch(self, event: "EpochDone") -> None:
        """Print the epoch's results."""
        self.reported = time.monotonic()
        parts = _epoch_parts(event)
        text = folded(parts, self.console.width) if self.console.is_terminal else "  ".join(parts)
        self.console.print(escape(text.replace(GLUE, " ")), soft_wrap=True)
        if event.per_class:
            self.console.print(_class_table(event.per_class))


class RichProgress(PlainProgress):
    """Progress as moving lines for a terminal.

    Args:
        console: Terminal.
        began: When the command began, as `time.monotonic`; now by default.
    """

    def __init__(self, console: Console, began: float | None = None) -> None:
        super().__init__(console)
        if began is not None:
            self.place.began = began
        self.values: list[str] = []
        self.live = Live(
            get_renderable=lambda: Board(self.place, self.values),
            console=console,
            refresh_per_second=DRAWN_PER_S,
            transient=True,
        )

    def __enter__(self) -> None:
        self.live.start(refresh=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def stage(self, text: str, total: int | None = None) -> None:
        """Begin a new bar."""
        super().stage(text, total)
        self.values = []

    def step(self, event: "StepDone") -> None:
        """Move the epoch's bar."""
        self._move(event)
        self.values = [*_values(event.values), *_speed_and_memory(event)]


def _speed_and_memory(event: "StepDone") -> list[str]:
    return [f"{event.images_per_s:.1f} images/s", str(event.memory)]


def _epoch_parts(event: "EpochDone") -> list[str]:
    """Write the results of an epoch; the parts of the loss are only in the history and in TensorBoard."""
    parts = [
        *([_whole(event.name)] if event.name else []),
        _whole(f"epoch {event.epoch:>{len(str(event.epochs))}}/{event.epochs}"),
        _scores("train", event.train),
        *([_scores("val", event.val)] if event.val else []),
        _whole(f"lr {event.learning_rate:.2g}"),
    ]
    if event.improved:
        parts.append("best")
    elif event.patience_left is not None:
        parts.append(_patience(event.patience_left))
    parts.append(_whole(f"{event.elapsed_s:.1f} s, {duration(event.remaining_s)} left"))
    return [*parts, *event.notes]


def _scores(split: str, values: dict[str, float]) -> str:
    first, *others = _values(values) or [""]
    return " ".join([_whole(f"{split} {first}"), *map(_whole, others)])


def _whole(text: str) -> str:
    """Keep a text on one line."""
    return text.replace(" ", GLUE)


def _patience(left: int) -> str:
    """Tell how many more validations may pass without improvement."""
    if left == 0:
        return "stops now: too many validations without improvement"
    return f"stops after {plural(left, 'more validation')} without improvement"


def _class_table(per_class: dict[str, dict[str, float]]) -> Table:
    """Show classes side by side, with a row for each metric."""
    table = Table(box=SIMPLE, pad_edge=False, show_header=False, padding=(0, 1))
    (first, *_) = per_class.values()
    names = list(first)
    for start in range(0, len(names), CLASSES_PER_ROW):
        some = names[start : start + CLASSES_PER_ROW]
        table.add_row("", *(f"[dim]{escape(name)}[/]" for name in some))
        for metric, values in per_class.items():
            cells = ("absent" if math.isnan(values[name]) else f"{values[name]:.3f}" for name in some)
            table.add_row(class_heading(metric), *cells)
    return table


def _values(values: dict[str, float]) -> list[str]:
    """Write each value with its name; the parts of the loss are left out."""
    shown = {name.removeprefix("val_"): value for name, value in values.items()}
    return [
        f"{name} {'-' if math.isnan(value) else f'{value:.4f}'}"
        for name, value in shown.items()
        if not name.startswith("loss_")
    ]
