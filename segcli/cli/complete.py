"""Find the candidates for TAB, without loading PyTorch, NumPy or a component."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from segcli.cli.complete_keys import FILES, Chosen, overrides
from segcli.config.shipped import jobs, located, names
from segcli.core.errors import ConfigError
from segcli.core.paths import EXPERIMENTS
from segcli.core.platform import WINDOWS
from segcli.core.registry import DATASETS, LOSSES, METRICS, MODELS, SAMPLES
from segcli.core.registry import FILES as FILE_FORMATS
from segcli.engine.export.formats import FORMATS

__all__ = [
    "checkpoints",
    "config_or_key",
    "config_run_or_key",
    "configs",
    "data_configs",
    "data_or_key",
    "export_files",
    "files",
    "fits",
    "formats",
    "kinds",
    "known_formats",
    "losses",
    "metrics",
    "models",
    "networks",
    "nothing",
    "pipelines",
    "run_or_key",
    "runs",
    "sections",
    "shells",
    "shipped",
    "splits",
    "sweeps",
    "thresholds",
    "vram",
    "yaml_files",
]


# ---- files


def files(incomplete: str) -> list[str]:
    """Ask the shell to complete names of files; PowerShell does so where there are no words."""
    return [] if "powershell" in os.environ.get("_SEGCLI_COMPLETE", "") else [f"{incomplete}{FILES}"]


def networks(incomplete: str) -> list[str]:
    """List Python files."""
    return _near(incomplete, (".py",))


def export_files(incomplete: str) -> list[str]:
    """List exported networks."""
    return _near(incomplete, (".onnx",))


def yaml_files(incomplete: str) -> list[str]:
    """List YAML and JSON files, and scripts with an old command."""
    return _near(incomplete, (".yaml", ".yml", ".json", ".sh", ".txt", ".slurm"))


def configs(incomplete: str) -> list[str]:
    """List experiments: files under `configs/`, files and folders that begin as typed, names of shipped ones."""
    return _configs(incomplete, datasets=False)


def data_configs(incomplete: str) -> list[str]:
    """List experiments and data-set files, as `configs`."""
    return _configs(incomplete, datasets=True)


def shipped(incomplete: str) -> list[str]:
    """List names of shipped experiments, data sets and jobs."""
    return _starting([*names(datasets=True), *jobs()], incomplete)


def _configs(incomplete: str, *, datasets: bool) -> list[str]:
    incomplete = incomplete.replace("\\", "/") if WINDOWS else incomplete
    here = sorted(Path("configs").glob("**/*.yaml"))
    listed = [path.as_posix() for path in here if datasets or "datasets" not in path.parts]
    near = _near(incomplete, (".yaml", ".yml"))
    if not incomplete:
        near = [word for word in near if not word.endswith("/")]
    # a folder is left out when its files are offered: the word would stop half-way
    more = [word for word in near if not any(path.startswith(word) for path in listed)]
    here_only = not incomplete and bool(listed or more)
    return [*_starting([*listed, *([] if here_only else names(datasets=datasets))], incomplete), *more]


def _near(incomplete: str, endings: tuple[str, ...]) -> list[str]:
    """List folders, and files with one of the endings, that begin as typed."""
    if incomplete[:1] in ("~", "$", '"', "'"):
        return files(incomplete)  # the shell knows what it means
    incomplete = incomplete.replace("\\", "/") if WINDOWS else incomplete
    typed = Path(incomplete)
    place = typed if incomplete.endswith("/") or not incomplete else typed.parent
    found = [path for path in sorted(place.glob("*")) if path.is_dir() or path.suffix in endings]
    words = [f"{path.as_posix()}/" if path.is_dir() else path.as_posix() for path in found]
    hidden = typed.name.startswith(".")
    return [word for word in _starting(words, incomplete) if hidden or not Path(word).name.startswith(".")]


# ---- runs


def runs(incomplete: str) -> list[str]:
    """List names of runs under `outputs/experiments`; a run may be a folder or a file as well."""
    found = _starting(sorted(path.parent.name for path in EXPERIMENTS.glob("*/config.yaml")), incomplete)
    return found or (files(incomplete) if "/" in incomplete or incomplete[:1] in (".", "~", "$") else [])


def checkpoints(ctx: typer.Context, incomplete: str) -> list[str]:
    """List the checkpoints of the run that was typed, or else those that every run has."""
    typed = [*(ctx.params.get("words") or []), *(ctx.params.get("run") or [])][:1]
    folders = [folder for name in typed for folder in (Path(name), EXPERIMENTS / name)]
    found = sorted({path.stem for folder in folders for path in (folder / "checkpoints").glob("*.safetensors")})
    return _starting(found or ("best", "last"), incomplete)


# ---- keys


def config_or_key(ctx: typer.Context, incomplete: str) -> list[str]:
    """List keys for overrides, and values of a key."""
    return overrides(_of_config(ctx), incomplete)


def data_or_key(ctx: typer.Context, incomplete: str) -> list[str]:
    """List keys as `config_or_key`; those of a data-set file have no `dataset.` before them."""
    chosen = _of_config(ctx)
    return overrides(chosen, incomplete, alone="dataset" not in chosen.values)


def _of_config(ctx: typer.Context) -> Chosen:
    typed = [str(word) for word in ctx.params.get("overrides") or []]
    return Chosen(_config(ctx.params.get("config")), typed)


def run_or_key(ctx: typer.Context, incomplete: str) -> list[str]:
    """List runs; after a run, list keys for overrides."""
    words = ctx.params.get("words") or []
    found = overrides(_of_run(words), incomplete)
    return found if words or "=" in incomplete else [*runs(incomplete), *found]


def config_run_or_key(ctx: typer.Context, incomplete: str) -> list[str]:
    """List experiment files and runs, or keys for overrides."""
    if "=" in incomplete:
        return overrides(_of_run(ctx.params.get("words") or []), incomplete)
    found = [*configs(incomplete), *runs(incomplete)]
    words = ctx.params.get("words") or []
    return [*found, *overrides(_of_run(words), incomplete)] if words and incomplete else found


def sections(incomplete: str) -> list[str]:
    """List sections of a run, and keys."""
    keys = [key.removesuffix("=") for key in overrides(Chosen(None, []), "")]
    above = {".".join(key.split(".")[:end]) for key in keys for end in range(1, key.count(".") + 1)}
    return _starting(sorted({*above, *keys}), incomplete)


def _of_run(words: list[str]) -> Chosen:
    typed = [word for word in words if "=" in word]
    for word in (word for word in words if "=" not in word):
        for file in (Path(word) / "config.yaml", EXPERIMENTS / word / "config.yaml"):
            if file.is_file():
                return Chosen(file, typed)
        return Chosen(_config(word), typed)
    newest = sorted(EXPERIMENTS.glob("*/config.yaml"), key=lambda path: path.stat().st_mtime)
    return Chosen(newest[-1] if newest else None, typed)


def _config(given: Any) -> Path | None:
    """Find the config file that was typed."""
    try:
        return None if given is None else located(Path(str(given)), datasets=True)
    except ConfigError:
        return None


# ---- words


def nothing(incomplete: str) -> list[str]:
    """List nothing: a number or a text of the user's own belongs here."""
    return []


def models(incomplete: str) -> list[str]:
    """List networks."""
    return _starting(MODELS.names(), incomplete)


def losses(incomplete: str) -> list[str]:
    """List losses."""
    return _starting(LOSSES.names(), incomplete)


def metrics(incomplete: str) -> list[str]:
    """List metrics."""
    return _starting(METRICS.names(), incomplete)


def known_formats(incomplete: str) -> list[str]:
    """List formats of data sets and of files."""
    return _starting((*DATASETS.names(), *FILE_FORMATS.names()), incomplete)


def kinds(incomplete: str) -> list[str]:
    """List kinds of generated data sets."""
    return _starting(SAMPLES.names(), incomplete)


def formats(incomplete: str) -> list[str]:
    """List formats of exported networks."""
    return _starting(FORMATS.values(), incomplete)


def fits(incomplete: str) -> list[str]:
    """List the ways in which volumes get one size."""
    return _starting(("pad", "resize"), incomplete)


def pipelines(incomplete: str) -> list[str]:
    """List earlier pipelines."""
    from segcli.config.earlier.pipelines import PIPELINES

    return _starting(PIPELINES, incomplete)


def splits(incomplete: str) -> list[str]:
    """List names of splits."""
    return _starting(("train", "val", "test"), incomplete)


def sweeps(incomplete: str) -> list[str]:
    """List keys whose values can be swept."""
    return _starting(("batch=", "image_size="), incomplete)


def thresholds(incomplete: str) -> list[str]:
    """List words that a threshold may be."""
    return _starting(("best-on-val",), incomplete)


def vram(incomplete: str) -> list[str]:
    """List the usual sizes of the memory of a GPU."""
    return _starting((f"{size}GiB" for size in (8, 12, 16, 24, 40, 48, 80)), incomplete)


def shells(incomplete: str) -> list[str]:
    """List shells with a completion script."""
    return _starting(("bash", "fish", "powershell", "zsh"), incomplete)


def _starting(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
