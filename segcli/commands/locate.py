"""Find runs and their checkpoints by folder, name or file."""

from dataclasses import dataclass, replace
from pathlib import Path

from segcli.core.errors import CheckpointError, nearest
from segcli.core.names import safe_name
from segcli.core.paths import BEGUN, EXPERIMENTS, exists, is_file

__all__ = [
    "BEGUN",
    "EXPERIMENTS",
    "EXPORTS",
    "FIRST",
    "Located",
    "begun_in",
    "checkpoint_names",
    "locate_run",
    "run_names",
]

FIRST = Path("configs") / "exp.yaml"
"""Experiment to begin with, where there is no run."""
EXPORTS = Path("outputs") / "exports"
MOST = 5
"""Runs that are listed where a name is unknown."""


@dataclass(frozen=True)
class Located:
    """A run folder, and the checkpoint file if the user named one."""

    folder: Path
    checkpoint: Path | None = None
    newest: bool = False
    """True if the user named no run, and the newest was chosen."""

    def for_prediction(self) -> Path:
        """Choose the checkpoint that the user named, or the best, or the last."""
        return self._usual if self.checkpoint is None else self.checkpoint

    @property
    def _usual(self) -> Path:
        best, last = (self.folder / "checkpoints" / f"{name}.safetensors" for name in ("best", "last"))
        return best if best.exists() else last

    @property
    def mark(self) -> str:
        """Return the end of the names of results, which tells the checkpoint.

        It is empty for the best checkpoint, and for a file with a name of the user's outside a run folder.
        """
        path = self.for_prediction()
        is_usual = path.stem == "best" or path.absolute() == self._usual.absolute()
        is_of_run = path.absolute().parent.name == "checkpoints" or path.stem == "last" or path.match("epoch_*")
        return f"_{safe_name(path.stem)}" if is_of_run and not is_usual else ""

    def at(self, checkpoint: str) -> "Located":
        """Choose a checkpoint of the run: `best`, `last`, or the number of an epoch.

        Raises:
            CheckpointError: The run has no such checkpoint, or the user named a checkpoint file already.
        """
        if self.checkpoint is not None:
            raise CheckpointError(
                f"`{self.checkpoint}` is a checkpoint, and `--checkpoint {checkpoint}` names another one",
                hint="name the run instead of the file, or leave `--checkpoint` out",
            )
        there = checkpoint_names(self.folder)
        number = checkpoint.removesuffix(".safetensors").removeprefix("epoch_")
        name = f"epoch_{int(number):04d}" if number.isascii() and number.isdigit() else number
        if name not in there:
            raise CheckpointError(
                f"run `{self.folder}` has no checkpoint `{checkpoint}`",
                hint=f"it has {', '.join(there) or 'none'}; `checkpoint.save_every` keeps those of more epochs",
            )
        return replace(self, checkpoint=self.folder / "checkpoints" / f"{name}.safetensors")


def checkpoint_names(folder: Path) -> list[str]:
    """List the names of a run's checkpoints: `best`, `last`, and the epochs."""
    return sorted(path.stem for path in (folder / "checkpoints").glob("*.safetensors"))


def run_names() -> list[str]:
    """List the names of the runs under `outputs/experiments`, the newest first."""
    if not EXPERIMENTS.is_dir():
        return []
    runs = [folder for folder in EXPERIMENTS.iterdir() if (folder / "config.yaml").is_file()]
    return [folder.name for folder in sorted(runs, key=_age, reverse=True)]


def _age(folder: Path) -> float:
    last = folder / "checkpoints" / "last.safetensors"
    return (last if last.exists() else folder / "config.yaml").stat().st_mtime


def locate_run(text: str | None, checkpoint: str | None = None) -> Located:
    """Find a run by its folder, its name or a checkpoint file; None finds the newest run.

    Args:
        text: Folder, name or file as typed.
        checkpoint: Checkpoint of the run, as `Located.at` takes it; None leaves the choice to the command.

    Raises:
        CheckpointError: The run or the checkpoint does not exist.
    """
    located = _located(text)
    return located if checkpoint is None else located.at(checkpoint)


def begun_in(text: str | None) -> Path | None:
    """Find the folder of a cross-validation by its path or name; None for anything else."""
    folders = [] if text is None else [Path(text), EXPERIMENTS / text]
    return next((folder for folder in folders if is_file(folder / BEGUN)), None)


def _located(text: str | None) -> Located:
    if text is None:
        names = run_names()
        if not names:
            raise CheckpointError(
                f"no run under `{EXPERIMENTS}`", hint="train one with `segcli train CONFIG`, or name a run folder"
            )
        return Located(EXPERIMENTS / names[0], newest=True)
    path = Path(text)
    if is_file(path) or path.suffix in {".safetensors", ".pt", ".pth", ".ckpt"}:
        return Located(path.absolute().parent.parent, path)
    for folder in (path, EXPERIMENTS / text):
        if is_file(folder / "config.yaml") or exists(folder / "checkpoints"):
            return Located(folder)
    raise CheckpointError(f"no run `{text}`", hint=_others(text))


def _others(text: str) -> str:
    """Say which run a misspelt name means, or else which runs there are, the newest first."""
    names = run_names()
    if close := nearest(text, names):
        return f"did you mean `{close}`?"
    hint, older = f"runs are folders under `{EXPERIMENTS}`", len(names) - MOST
    if names:
        hint += ": " + ", ".join(f"`{name}`" for name in names[:MOST])
    return f"{hint} and {older} older one{'s' * (older != 1)}" if older > 0 else hint
