"""Commands by the words that other programs have for them."""

from collections.abc import Mapping
from typing import Any

__all__ = ["said_here"]

EVAL = "take `segcli eval`"
PREDICT = "take `segcli predict`"
INIT = "take `segcli init FOLDER`, which also plans the training"
REPORT = "`segcli train` and `segcli eval` write report.html"
RUNS = "runs are folders under outputs/experiments"
FOLDS = "take `segcli train CONFIG --folds K`"
WORDS = {
    **dict.fromkeys(("val", "validate", "test", "evaluate", "score", "metric"), EVAL),
    **dict.fromkeys(("infer", "inference", "segment", "run"), PREDICT),
    **dict.fromkeys(("plan", "preprocess", "plan_and_preprocess", "new", "start"), INIT),
    **dict.fromkeys(("report", "plot", "show"), REPORT),
    **dict.fromkeys(("runs", "list", "ls"), RUNS),
    **dict.fromkeys(("cv", "crossval", "folds"), FOLDS),
    "fit": "take `segcli train`",
    "continue": "take `segcli resume`",
    "completion": "take `segcli --completion SHELL`",
    "version": "take `segcli --version`",
    "help": "take `segcli --help`",
}


def said_here(word: str, commands: Mapping[str, Any]) -> str | None:
    """Say what to type in place of a word that is no command; None for words that nobody knows.

    Args:
        word: Word at the place of a command.
        commands: Commands of the program by name; some are groups of commands.
    """
    if word in WORDS:
        return WORDS[word]
    group = next((name for name, each in commands.items() if word in getattr(each, "commands", ())), None)
    return None if group is None else f"take `segcli {group} {word}`"
