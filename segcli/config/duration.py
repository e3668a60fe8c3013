"""Length of a training in epochs or in minutes: which of the two keys counts."""

import sys

from segcli.config.document import Document, Problem
from segcli.config.schema import Run

__all__ = ["check_length", "epochs_of"]

MINUTES = ("training", "minutes")


def check_length(run: Run, document: Document) -> None:
    """Report minutes beside epochs in one file; an override takes the place of what the file states."""
    typed = [document.origins.get(("training", key)) for key in ("epochs", "minutes")]
    if run.training.minutes is not None and all(origin is not None and origin.order[0] for origin in typed):
        message = "stands beside `training.epochs`, and each of them says how long the training is"
        document.problems.append(Problem(document.origin(MINUTES), ".".join(MINUTES), message, "leave one of them out"))


def epochs_of(run: Run) -> int:
    """Return the number of epochs; a very large one if the clock chooses it later."""
    return run.training.epochs if run.training.minutes is None else sys.maxsize
