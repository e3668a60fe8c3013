"""Sacred tracker: config, metrics, artefacts, console output and host info, in a folder or in MongoDB.

Sacred expects to call the training function, but here the training calls its trackers. So the Sacred run lives in a
separate thread, which takes jobs from a queue until the training is over.
"""

import math
import queue
import random
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it uses deprecated ways to find packages
    from sacred import SETTINGS, Experiment
    from sacred.observers import FileStorageObserver, MongoObserver
    from sacred.utils import SacredInterrupt

from segcli.core.types import ConfigModel, FilePath
from segcli.trackers import Tracker

__all__ = ["Sacred"]

PATIENCE_S = 60.0
"""Longest time in seconds that Sacred may take to begin, to write, or to end."""
ARTEFACTS = ("config.yaml", "environment.yaml", "metrics_history.yaml", "report.html", "checkpoints/best.safetensors")
Job = Callable[[Any], None]


class Sacred(Tracker):
    """Values by epoch as Sacred metrics; at the end, files of the run folder as artefacts."""

    begins_anew = True

    class Config(ConfigModel):
        """Keys of `trackers: [{type: sacred}]`."""

        folder: FilePath | None = None
        """Folder in which Sacred numbers its runs 1, 2, 3; `sacred` in the run folder when left out."""
        mongo_url: str | None = None
        """Address of a MongoDB, such as `mongodb://localhost:27017`, instead of a folder; needs `pymongo`."""
        mongo_db: str = "sacred"
        """Name of the MongoDB database."""

    def __init__(self, folder: Path, *, first_step: int | None, config: Any = None) -> None:
        self.folder = folder
        self.config: Sacred.Config = config or self.Config()
        self.jobs: queue.Queue[Job | None] = queue.Queue()
        self.started = threading.Event()
        self.thread: threading.Thread | None = None
        self.failure: BaseException | None = None
        self.is_finished = False

    def begin(self, name: str, config: dict[str, Any]) -> None:
        """Start the run, and restore the random generators that Sacred reseeds."""
        SETTINGS.CONFIG.READ_ONLY_CONFIG = False
        experiment = Experiment(name, interactive=True, save_git_info=False)
        experiment.captured_out_filter = None
        experiment.observers.append(self._observer())
        experiment.add_config(config)

        def training(_run: Any) -> str:
            return self._follow(_run)

        experiment.main(training)
        kept = random.getstate(), np.random.get_state(), torch.get_rng_state()
        options = {"--capture": "sys", "--loglevel": "CRITICAL"}
        self.thread = threading.Thread(target=self._run, args=(experiment, options), daemon=True)
        self.thread.start()
        self.started.wait(PATIENCE_S)
        random.setstate(kept[0])
        np.random.set_state(kept[1])
        torch.set_rng_state(kept[2])
        self._raise_failure()

    def _observer(self) -> Any:
        if self.config.mongo_url is not None:
            return MongoObserver(url=self.config.mongo_url, db_name=self.config.mongo_db)
        return FileStorageObserver(self.config.folder or self.folder / "sacred")

    def _run(self, experiment: Any, options: dict[str, Any]) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                experiment.run(options=options)
        except SacredInterrupt:
            pass
        except BaseException as error:
            self.failure = error
        finally:
            self.started.set()

    def _follow(self, run: Any) -> str:
        """Run the jobs in the queue until it ends; Sacred calls this as its main function."""
        self.started.set()
        while True:
            job = self.jobs.get()
            if job is None:
                break
            job(run)
        if not self.is_finished:
            raise SacredInterrupt
        return "finished"

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Record each tag as a metric; NaN and infinity are left out, because JSON cannot hold them."""
        self._raise_failure()
        finite = {tag: float(value) for tag, value in values.items() if math.isfinite(value)}

        def log(run: Any) -> None:
            for tag, value in finite.items():
                run.log_scalar(tag, value, step)

        self.jobs.put(log)

    def hyperparameters(self, values: dict[str, str | float | bool], metrics: dict[str, float], step: int) -> None:
        """Record the final metrics of the run."""
        self.is_finished = True
        finite = {tag: float(value) for tag, value in metrics.items() if math.isfinite(value)}
        self.jobs.put(lambda run: run.info.update(finite))

    def close(self) -> None:
        """Save the artefacts and end the run."""
        if self.thread is None:
            return
        for name in ARTEFACTS:
            if (self.folder / name).is_file():
                self.jobs.put(lambda run, path=self.folder / name: run.add_artifact(str(path)))  # type: ignore[misc]
        self.jobs.put(None)
        self.thread.join(PATIENCE_S)
        self.thread = None
        self._raise_failure()
