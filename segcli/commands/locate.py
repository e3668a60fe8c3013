"""Find runs and their checkpoints by folder, name or file."""

from dataclasses import dataclass
from pathlib import Path

from segcli.core.errors import CheckpointError, nearest

__all__ = ["EXPERIMENTS", "Located", "locate_run", "run_names"]

EXPERIMENTS = Path("outputs") / "experiments"


@dataclass(frozen=True)
class Located:
    """A run folder, and the checkpoint file if the user named one."""

    folder: Path
    checkpoint: Path | None = None
    newest: bool = False
    """True if the user named no run, and the newest was chosen."""

    def for_prediction(self) -> Path:
        """Choose the checkpoint that the user named, or the best, or the last."""
        if self.checkpoint is not None:
            return self.checkpoint
        best, last = (self.folder / "checkpoints" / f"{name}.safetensors" for name in ("best", "last"))
        return best if best.exists() else last


def run_names() -> list[str]:
    """List the names of the runs under `outputs/experiments`, the newest first."""
    if not EXPERIMENTS.is_dir():
        return []
    runs = [folder for folder in EXPERIMENTS.iterdir() if (folder / "config.yaml").is_file()]
    return [folder.name for folder in sorted(runs, key=_age, reverse=True)]


def _age(folder: Path) -> float:
    last = folder / "checkpoints" / "last.safetensors"
    return (last if last.exists() else folder / "config.yaml").stat().st_mtime


def locate_run(text: str | None) -> Located:
    """Find a run by its folder, its name or a checkpoint file; None finds the newest run.

    Raises:
        CheckpointError: The run does not exist.
    """
    if text is None:
        names = run_names()
        if not names:
            raise CheckpointError(
                f"no run under `{EXPERIMENTS}`", hint="train one with `segcli train CONFIG`, or name a run folder"
            )
        return Located(EXPERIMENTS / names[0], newest=True)
    path = Path(text)
    if path.is_file() or path.suffix in {".safetensors", ".pt", ".pth", ".ckpt"}:
        return Located(path.absolute().parent.parent, path)
    for folder in (path, EXPERIMENTS / text):
        if (folder / "config.yaml").is_file() or (folder / "checkpoints").is_dir():
            return Located(folder)
    close = nearest(text, run_names())
    hint = f"did you mean `{close}`?" if close else f"runs are folders under `{EXPERIMENTS}`"
    raise CheckpointError(f"no run `{text}`", hint=hint)
