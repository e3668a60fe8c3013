"""segcli: train, check, evaluate, run, profile and export segmentation models.

    import segcli

    run = segcli.load("configs/exp.yaml", "training.epochs=5")
    segcli.train(run)
    found = segcli.Predictor(run).predict(image)

Importing this package imports nothing else and changes nothing in the process; each name is imported when it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segcli.api.predictor import Predictor
    from segcli.api.runs import check, evaluate, export, load, resume, train
    from segcli.commands.arrays import Prediction
    from segcli.config.schema import Run
    from segcli.core.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        DeviceError,
        DeviceMemoryError,
        SegcliError,
        Stopped,
    )
    from segcli.engine.events import EpochDone, Listener, Silent, StepDone

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DeviceError",
    "DeviceMemoryError",
    "EpochDone",
    "Listener",
    "Prediction",
    "Predictor",
    "Run",
    "SegcliError",
    "Silent",
    "StepDone",
    "Stopped",
    "__version__",
    "check",
    "evaluate",
    "export",
    "load",
    "resume",
    "train",
]

_HOMES = {
    "api.predictor": ("Predictor",),
    "api.runs": ("check", "evaluate", "export", "load", "resume", "train"),
    "commands.arrays": ("Prediction",),
    "config.schema": ("Run",),
    "core.errors": (
        "CheckpointError",
        "ConfigError",
        "DataError",
        "DeviceError",
        "DeviceMemoryError",
        "SegcliError",
        "Stopped",
    ),
    "engine.events": ("EpochDone", "Listener", "Silent", "StepDone"),
}
"""Module of each public name."""
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOME_OF:
        raise AttributeError(f"module `segcli` has no attribute `{name}`")
    value = getattr(import_module(f"segcli.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name not in __all__)]
