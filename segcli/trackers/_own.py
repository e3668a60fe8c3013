"""Make a class of the user's own a tracker."""

import inspect
from pathlib import Path
from typing import Any

from segcli.core.own_code import Code, arguments, of_contract, options_of, refuse_kind
from segcli.core.types import ConfigModel
from segcli.trackers import Tracker

__all__ = ["adapted"]

PROGRAM = ("folder", "first_step")
METHODS = (
    "begin",
    "scalars",
    "comparisons",
    "images",
    "histograms",
    "graph",
    "hyperparameters",
    "test_scores",
    "close",
)


def adapted(found: Any, code: Code) -> type[Tracker]:
    """Make `found` a tracker: a subclass of `Tracker`, or a class with some of its methods.

    The constructor gets the keys beside `type`, and `folder` and `first_step` if it takes them.

    Raises:
        ConfigError: It is neither.
    """
    if inspect.isclass(found) and issubclass(found, Tracker):
        kind: type[Tracker] = of_contract(found, code)
        return kind
    if not inspect.isclass(found) or not any(callable(getattr(found, name, None)) for name in METHODS):
        raise refuse_kind(code, found, f"a class with one of the methods {', '.join(METHODS)}")
    signature = inspect.signature(found)

    class Own(Tracker):
        """A tracker of the user's own."""

        Config = options_of(found, code, program=PROGRAM)
        begins_anew = bool(getattr(found, "begins_anew", False))

        def __init__(self, folder: Path, *, first_step: int | None, config: Any = None) -> None:
            keys: ConfigModel = self.Config() if config is None else config
            own = found(**arguments(keys, signature, {"folder": folder, "first_step": first_step}))
            for name in METHODS:
                if callable(getattr(own, name, None)):
                    setattr(self, name, getattr(own, name))

    Own.__name__, Own.__doc__ = found.__name__, found.__doc__
    return Own
