"""Find the candidates for TAB, without loading PyTorch or a component."""

from collections.abc import Iterable
from pathlib import Path

import typer

from segcli.core.platform import WINDOWS
from segcli.core.registry import DATASETS, LOSSES, METRICS, MODELS, OPTIMIZERS, SAMPLES, SCHEDULERS, Registry
from segcli.engine.export.formats import FORMATS

__all__ = [
    "checkpoints",
    "config_or_key",
    "config_run_or_key",
    "configs",
    "formats",
    "kinds",
    "run_or_key",
    "runs",
    "shells",
    "splits",
]

EXPERIMENTS = Path("outputs") / "experiments"
COMPONENT_KEYS: dict[str, Registry] = {
    "model.type": MODELS,
    "training.loss": LOSSES,
    "training.loss.type": LOSSES,
    "training.metrics": METRICS,
    "training.optimizer.type": OPTIMIZERS,
    "training.scheduler.type": SCHEDULERS,
    "dataset.format": DATASETS,
}
VALUES = {"device": ("auto", "cpu", "cuda", "mps"), "training.amp": ("auto", "bf16", "fp16", "off")}


def configs(incomplete: str) -> list[str]:
    """List experiment files under `configs/`, and files and folders that begin as typed."""
    shipped = [path.as_posix() for path in sorted(Path("configs").glob("**/*.yaml")) if "datasets" not in path.parts]
    incomplete = incomplete.replace("\\", "/") if WINDOWS else incomplete
    typed = Path(incomplete)
    folder = typed if incomplete.endswith("/") else typed.parent
    near = sorted(folder.glob("*")) if incomplete and folder.is_dir() else []
    beside = [
        f"{path.as_posix()}/" if path.is_dir() else path.as_posix()
        for path in near
        if path.is_dir() or path.suffix == ".yaml"
    ]
    # a folder is left out when its files are offered: the word would stop half-way
    more = [word for word in beside if not any(path.startswith(word) for path in shipped)]
    return _starting([*shipped, *more], incomplete)


def runs(incomplete: str) -> list[str]:
    """List names of runs under `outputs/experiments`."""
    found = sorted(path.parent.name for path in EXPERIMENTS.glob("*/config.yaml"))
    return _starting(found, incomplete)


def checkpoints(ctx: typer.Context, incomplete: str) -> list[str]:
    """List the checkpoints of the run that was typed, or else those that every run has."""
    typed = [*(ctx.params.get("words") or []), *(ctx.params.get("run") or [])][:1]
    folders = [folder for name in typed for folder in (Path(name), EXPERIMENTS / name)]
    found = sorted({path.stem for folder in folders for path in (folder / "checkpoints").glob("*.safetensors")})
    return _starting(found or ("best", "last"), incomplete)


def kinds(incomplete: str) -> list[str]:
    """List kinds of generated data sets."""
    return _starting(SAMPLES.names(), incomplete)


def formats(incomplete: str) -> list[str]:
    """List formats of exported networks."""
    return _starting(FORMATS.values(), incomplete)


def splits(incomplete: str) -> list[str]:
    """List names of splits."""
    return _starting(("train", "val", "test"), incomplete)


def config_or_key(incomplete: str) -> list[str]:
    """List keys for overrides, and component names as their values."""
    key, sign, value = incomplete.partition("=")
    if not sign:
        return _starting((f"{known}=" for known in _keys()), incomplete)
    names = COMPONENT_KEYS[key].names() if key in COMPONENT_KEYS else VALUES.get(key, ())
    return [f"{key}={name}" for name in _starting(names, value)]


def run_or_key(ctx: typer.Context, incomplete: str) -> list[str]:
    """List runs; after a run, list keys for overrides."""
    given = ctx.params.get("words") or []
    return config_or_key(incomplete) if given or "=" in incomplete else [*runs(incomplete), *config_or_key(incomplete)]


def config_run_or_key(incomplete: str) -> list[str]:
    """List experiment files and runs, or keys for overrides."""
    return config_or_key(incomplete) if "=" in incomplete else [*configs(incomplete), *runs(incomplete)]


def shells(incomplete: str) -> list[str]:
    """List shells with a completion script."""
    return _starting(("bash", "fish", "powershell", "zsh"), incomplete)


def _keys() -> list[str]:
    """List every key of a run, with dots."""
    from segcli.config.schema import Run

    return sorted({*_below(Run, ""), *COMPONENT_KEYS})


def _below(model: object, prefix: str) -> Iterable[str]:
    for name, entry in getattr(model, "model_fields", {}).items():
        if hasattr(entry.annotation, "model_fields"):
            yield from _below(entry.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _starting(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
