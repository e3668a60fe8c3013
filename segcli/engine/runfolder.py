"""Run folder: paths of its files, lock of the writing process, newest intact checkpoint."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from segcli.core.errors import CheckpointError, ConfigError
from segcli.core.files import remove_leftovers, told_when_full, typed
from segcli.core.paths import BEGUN
from segcli.core.platform import discard, lock
from segcli.engine.checkpoint import Checkpoint, read_checkpoint, read_header

__all__ = ["RunFolder"]

WRITTEN = (
    "config.yaml",
    "environment.yaml",
    "weights.yaml",
    "metrics_history.yaml",
    "memory.csv",
    "report.html",
    "checkpoints",
    "tensorboard",
    "sacred",
    "mlflow.db",
    "mlflow_artifacts",
    "wandb",
    "trace",
    "visualizations",
    ".timing",
)
"""Files and folders that a run writes, and that `--overwrite` removes."""


UNFINISHED = ".tmp??????"
"""Names of the files that safetensors renames when they are complete."""


class RunFolder:
    """Paths of one run's files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.environment = path / "environment.yaml"
        self.weights = path / "weights.yaml"
        self.history = path / "metrics_history.yaml"
        self.memory = path / "memory.csv"
        self.checkpoints = path / "checkpoints"
        self.last = self.checkpoints / "last.safetensors"
        self.best = self.checkpoints / "best.safetensors"
        self.tensorboard = path / "tensorboard"
        self.trace = path / "trace"
        self.report = path / "report.html"
        self.timing = path / ".timing"
        self._lock: int | None = None
        """Open file of the lock that this process holds."""

    def periodic(self, epoch: int) -> Path:
        """Return the path of the periodic checkpoint of an epoch."""
        return self.checkpoints / f"epoch_{epoch:04d}.safetensors"

    def visualizations(self, epoch: int) -> Path:
        """Return the folder of an epoch's pictures."""
        return self.path / "visualizations" / f"epoch_{epoch:03d}"

    def kept(self) -> list[Path]:
        """List the periodic checkpoints, oldest first."""
        return sorted(self.checkpoints.glob("epoch_*.safetensors"))

    def holds(self, checkpoint: Path) -> bool:
        """Tell if a checkpoint belongs to this run folder; a checkpoint file outside a run folder belongs to none."""
        return self.config.is_file() and checkpoint.absolute().parent.parent == self.path.absolute()

    def has_run(self) -> bool:
        """Tell if the folder already holds a run."""
        return self.history.exists() or any(self.checkpoints.glob("*.safetensors"))

    @property
    def is_complete(self) -> bool:
        """Tell if the report, a finished run's last file, was written after its last checkpoint."""
        return self.report.exists() and self.report.stat().st_mtime >= self.last.stat().st_mtime

    def refuse_if_cross_validated(self) -> None:
        """Refuse to put a run beside the folds of a cross-validation, which `resume` would take for the run.

        Raises:
            ConfigError: The folder holds a cross-validation.
        """
        if (self.path / BEGUN).exists():
            raise ConfigError(
                f"`{self.path}` holds a cross-validation",
                hint=f"continue it with `segcli resume {typed(self.path)}`, or give another `name`",
            )

    def refuse_if_used(self) -> None:
        """Refuse to overwrite a run in this folder.

        Raises:
            ConfigError: The folder holds a run.
        """
        if self.has_run():
            raise ConfigError(
                f"run folder `{self.path}` already holds a run",
                hint=(
                    f"resume with `segcli resume {typed(self.path)}`, start over with `--overwrite`, or give another "
                    "`name`"
                ),
            )

    def clear(self) -> None:
        """Remove the files of an earlier run; other files stay."""
        for name in WRITTEN:
            path = self.path / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder, so that no second process writes to it; the lock ends with the process.

        Raises:
            ConfigError: Another process holds the lock.
            DataError: The folder cannot be written.
        """
        with told_when_full(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with told_when_full(self.path / ".lock"):
            descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        if not lock(descriptor):
            holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise ConfigError(
                f"run folder `{self.path}` is in use by process {holder}",
                hint="wait for it or stop it, or give another `name`",
            )
        self._lock = descriptor
        try:
            with suppress(OSError):  # on a full disk, the lock counts without the number of its process
                os.ftruncate(descriptor, 0)
                os.write(descriptor, str(os.getpid()).encode())
            self._tidy()
            yield
        finally:
            if self._lock is not None:
                os.close(descriptor)
            self._lock = None

    def discard_lock(self) -> None:
        """Remove the lock before the end of `locked`, so that an empty folder is left."""
        assert self._lock is not None
        discard(self._lock, self.path / ".lock")
        self._lock = None

    def _tidy(self) -> None:
        """Remove what a killed process left unfinished: its temporary files, as large as a checkpoint."""
        remove_leftovers(self.checkpoints, locked=True)
        for path in self.checkpoints.glob(UNFINISHED):
            path.unlink()
        parts = (*self.path.glob("tensorboard/*"), *self.path.glob("visualizations/*"))
        for folder in (self.path, self.tensorboard, *parts):
            remove_leftovers(folder)

    def newest(self) -> tuple[Checkpoint, Path, list[str]]:
        """Read the newest intact checkpoint; return it with its path and a warning for each that cannot be used.

        Raises:
            CheckpointError: There is no intact checkpoint.
        """
        others = sorted((path for path in self.checkpoints.glob("*.safetensors") if path != self.last), key=_age)
        first, warnings = None, []
        for path in [self.last, *reversed(others)]:
            try:
                checkpoint = read_checkpoint(path)
            except CheckpointError as error:
                first = first or error
                warnings.append(error.message)
            else:
                return checkpoint, path, [*warnings, f"resuming from `{path}` instead"] if warnings else []
        assert first is not None
        raise first


def _age(checkpoint: Path) -> tuple[int, float]:
    """Return a sorting key: optimizer steps, and the time of the file; a file without a header counts as the oldest."""
    try:
        steps = int(read_header(checkpoint)["progress"]["step"])
    except CheckpointError:
        steps = -1
    return steps, checkpoint.stat().st_mtime
