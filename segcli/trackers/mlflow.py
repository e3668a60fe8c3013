"""MLflow tracker: a run with parameters, metrics and artefacts, in the run folder or on a server."""

import json
import math
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before the import, which would send usage data
import mlflow

from segcli.core.files import plain
from segcli.core.types import ConfigModel
from segcli.trackers import Tracker

__all__ = ["MLflow"]

ARTEFACTS = ("config.yaml", "environment.yaml", "metrics_history.yaml", "report.html", "checkpoints/best.safetensors")
LONGEST = 500
"""Largest number of characters of a parameter."""


class MLflow(Tracker):
    """Metrics by epoch, config as parameters by dotted key, files of the run folder as artefacts."""

    begins_anew = True

    class Config(ConfigModel):
        """Keys of `trackers: [{type: mlflow}]`."""

        uri: str | None = None
        """Address of a tracking server. When left out, the run is written to `mlflow.db` in the run folder, and nothing
        leaves the machine; show it with `mlflow ui --backend-store-uri sqlite:///RUN/mlflow.db`."""
        experiment: str = "segcli"
        """Experiment that the run belongs to."""

    def __init__(self, folder: Path, *, first_step: int | None, config: Any = None) -> None:
        self.folder = folder
        self.config: MLflow.Config = config or self.Config()
        self.is_finished = False
        self.is_open = False

    def begin(self, name: str, config: dict[str, Any]) -> None:
        """Start the run with its parameters."""
        folder, experiment = self.folder.absolute(), self.config.experiment
        mlflow.set_tracking_uri(self.config.uri or f"sqlite:///{folder / 'mlflow.db'}")
        if self.config.uri is None and mlflow.get_experiment_by_name(experiment) is None:
            mlflow.create_experiment(experiment, artifact_location=(folder / "mlflow_artifacts").as_uri())
        mlflow.set_experiment(experiment)
        mlflow.start_run(run_name=name)
        self.is_open = True
        mlflow.log_params({key: value[:LONGEST] for key, value in _flat(plain(config)).items()})

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Record each tag as a metric."""
        mlflow.log_metrics({tag: float(value) for tag, value in values.items() if math.isfinite(value)}, step=step)

    def hyperparameters(self, values: dict[str, str | float | bool], metrics: dict[str, float], step: int) -> None:
        """Record the final metrics of the run."""
        self.is_finished = True
        self.scalars(metrics, step)

    def close(self) -> None:
        """Upload the artefacts and end the run."""
        if not self.is_open:
            return
        self.is_open = False
        for name in ARTEFACTS:
            if (self.folder / name).is_file():
                mlflow.log_artifact(str(self.folder / name))
        mlflow.end_run("FINISHED" if self.is_finished else "KILLED")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested values to text by dotted key.

    Example:
        >>> _flat({"model": {"type": "unet", "depths": [4, 8]}})
        {'model.type': 'unet', 'model.depths': '[4, 8]'}
    """
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat
