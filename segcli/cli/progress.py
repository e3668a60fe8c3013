"""Show progress: live bars on a terminal, plain lines elsewhere, nothing when quiet."""

import math
import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from segcli.core.names import visible
from segcli.report.cells import class_heading, plural

if TYPE_CHECKING:
    from segcli.engine.events import EpochDone, StepDone

__all__ = ["PlainProgress", "QuietProgress", "RichProgress"]

CLASSES_PER_ROW = 6
"""Classes side by side in a table that fits 80 columns."""
PLAIN_EVERY_S = 10.0
"""Seconds between two lines within an epoch."""


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
        """Keep quiet."""

    def advance(self, count: int = 1) -> None:
        """Keep quiet."""

    def step(self, event: "StepDone") -> None:
        """Keep quiet."""

    def epoch(self, event: "EpochDone") -> None:
        """Keep quiet."""


class PlainProgress(QuietProgress):
    """Progress as lines for logs: one line per epoch, and one within an epoch now and then."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.reported = time.monotonic()

    def notice(self, text: str) -> None:
        """Print a line."""
        self.console.print(escape(text), soft_wrap=True)

    def step(self, event: "StepDone") -> None:
        """Print a line now and then."""
        if time.monotonic() - self.reported >= PLAIN_EVERY_S:
            self.reported = time.monotonic()
            self.console.print(
                f"epoch {event.epoch}/{event.epochs}  batch {event.batch}/{event.batches}  {_step_text(event)}",
                soft_wrap=True,
            )

    def epoch(self, event: "EpochDone") -> None:
        """Print the epoch's results."""
        self.reported = time.monotonic()
        self.console.print(_epoch_text(event), soft_wrap=True)
        if event.per_class:
            self.console.print(_class_table(event.per_class))


class RichProgress(PlainProgress):
    """Progress as moving bars for a terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[info]}", markup=False),
            console=console,
            transient=True,
        )
        self.work = self.bars.add_task("", total=None, visible=False, info="")

    def __enter__(self) -> None:
        self.bars.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def stage(self, text: str, total: int | None = None) -> None:
        """Begin a new bar."""
        self.bars.reset(self.work, description=visible(text), total=total, visible=True, info="")

    def advance(self, count: int = 1) -> None:
        """Move the bar."""
        self.bars.advance(self.work, count)

    def step(self, event: "StepDone") -> None:
        """Move the epoch's bar."""
        description = f"epoch {event.epoch}/{event.epochs}"
        if self.bars.tasks[0].description != description:
            self.stage(description, event.batches)
        self.bars.update(self.work, completed=event.batch, info=_step_text(event))


def _step_text(event: "StepDone") -> str:
    speed = f"{event.images_per_s:.1f} images/s  {event.memory}"
    return f"{_values(event.values)}  {speed}  {_duration(event.remaining_s)} left"


def _epoch_text(event: "EpochDone") -> str:
    """Write one line; the parts of the loss are only in the history and in TensorBoard."""
    parts = [f"epoch {event.epoch:>{len(str(event.epochs))}}/{event.epochs}", f"train {_values(event.train)}"]
    if event.val:
        parts.append(f"val {_values(event.val)}")
    parts.append(f"lr {event.learning_rate:.2g}")
    if event.improved:
        parts.append("best")
    elif event.patience_left is not None:
        parts.append(_patience(event.patience_left))
    parts.append(f"{event.elapsed_s:.1f} s, {_duration(event.remaining_s)} left")
    return escape("  ".join([*parts, *event.notes]))


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


def _values(values: dict[str, float]) -> str:
    shown = {name.removeprefix("val_"): value for name, value in values.items()}
    return " ".join(
        f"{name} {'-' if math.isnan(value) else f'{value:.4f}'}"
        for name, value in shown.items()
        if not name.startswith("loss_")
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
