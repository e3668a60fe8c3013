"""`segcli profile-memory`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segcli.commands.locate import EXPERIMENTS, run_names
from segcli.config.load import load_run, run_from_values
from segcli.config.own_network import NetworkPermit
from segcli.config.schema import Run
from segcli.core.errors import ConfigError, nearest
from segcli.core.files import write_text
from segcli.vram.gpu_processes import gpu_holders
from segcli.vram.gpus import Holders
from segcli.vram.results import Forecast, parse_size

__all__ = ["FIRST", "Sweep", "find_config", "forecasts", "load_runs", "parse_sweep", "parse_vram", "processes"]

FIRST = Path("configs") / "exp.yaml"
"""The shipped first experiment, which is profiled where there is no run."""


@dataclass(frozen=True)
class Sweep:
    """Values that are tried one after the other."""

    key: str
    values: list[int]


def processes() -> Holders:
    """Who holds the memory of this machine's GPUs.

    Raises:
        DeviceError: There is no driver to ask.
    """
    return gpu_holders(EXPERIMENTS)


def find_config(word: str | None) -> Path:
    """Experiment file for its path, for a run folder, for a run's name, or for nothing: the newest run or `FIRST`.

    Raises:
        ConfigError: There is none.
    """
    names = run_names()
    if word is None:
        if names:
            return EXPERIMENTS / names[0] / "config.yaml"
        if FIRST.is_file():
            return FIRST
        raise ConfigError(
            f"no run under `{EXPERIMENTS}` and no `{FIRST}`",
            hint="name an experiment file: `segcli profile-memory CONFIG`",
        )
    path = Path(word)
    for candidate in (path, path / "config.yaml", EXPERIMENTS / word / "config.yaml"):
        if candidate.is_file():
            return candidate
    close = nearest(word, names)
    hint = (
        f"did you mean `{close}`?" if close else f"experiments are YAML files, runs are folders under `{EXPERIMENTS}`"
    )
    raise ConfigError(f"no experiment file and no run `{word}`", hint=hint)


def load_runs(words: Sequence[str], permit: NetworkPermit) -> tuple[list[Run], str | None]:
    """Runs that the words name, each with the overrides among them; and what was taken where none was named.

    Args:
        words: Experiment files, runs and checkpoints, and overrides.
        permit: What may run of runs and checkpoints; an experiment file may name any file.

    Raises:
        CheckpointError: A run or a checkpoint names a file that may not run.
        ConfigError: One cannot be read.
    """
    overrides = [word for word in words if re.match(r"[A-Za-z_][\w.]*=", word)]
    named = [word for word in words if word not in overrides]
    places: list[str | None] = [*named] or [None]
    runs = []
    for word in places:
        file = find_config(word)
        if file.suffix == ".safetensors":
            from segcli.engine.checkpoint import read_header  # noqa: PLC0415 - an experiment file needs no PyTorch

            config = read_header(file)["config"]
            runs.append(run_from_values(config, overrides, source=str(file), permit=permit))
        else:
            is_named = word is not None and file == Path(word)
            runs.append(load_run(file, overrides, permit=None if is_named else permit))
    permit.refuse_unused()
    return runs, None if named else str(file)


def parse_vram(text: str) -> int:
    """Bytes of `--vram`.

    Raises:
        ConfigError: It is no size.
    """
    try:
        return parse_size(text)
    except ValueError:
        raise ConfigError(f"`--vram {text}` is no size", hint="such as `--vram 24GiB`") from None


def parse_sweep(text: str) -> Sweep:
    """Values of `--sweep`.

    Raises:
        ConfigError: Key or values are not legal.
    """
    key, _, listed = text.partition("=")
    values = [int(value) if value.strip().isdigit() else 0 for value in listed.split(",")]
    if key not in ("batch", "image_size") or not all(values):
        raise ConfigError(
            f"`--sweep {text}` is no sweep", hint="`--sweep batch=1,2,4,8` or `--sweep image_size=256,512`"
        )
    return Sweep(key, values)


def forecasts(
    runs: Sequence[Run],
    *,
    vram: int | None = None,
    sweep: Sweep | None = None,
    depth: int | None = None,
    page: Path | None = None,
    measure: bool = False,
    trace: Path | None = None,
) -> list[Forecast]:
    """Forecast each run.

    Args:
        runs: The runs.
        vram: Bytes of the GPU; of the one at hand where there is one and this is left out.
        sweep: Other batch or image sizes to forecast.
        depth: Levels of the network that are told apart.
        page: File of the timeline.
        measure: Do the same step for real, too.
        trace: Folder of a trace of the real step.

    Raises:
        ConfigError: The size of an image is not known, the step depends on values, or one file is to take several.
        DeviceError: There is no GPU to measure on.
    """
    if len(runs) > 1 and (page is not None or trace is not None):
        raise ConfigError("`--html` and `--trace` take one experiment at a time")
    from segcli.report.timeline import timeline_page  # noqa: PLC0415
    from segcli.vram.forecast import Forecaster, gpu_present  # noqa: PLC0415 - the file is checked before PyTorch loads
    from segcli.vram.inputs import with_batch_size  # noqa: PLC0415
    from segcli.vram.real import measured, traced  # noqa: PLC0415

    limit = vram if vram is not None else gpu_present()
    found = []
    for run in runs:
        if run.data.fit_batch_size and limit is not None:
            best = Forecaster(run).max_batch_size(limit, most=run.data.max_batch_size)
            run = with_batch_size(run, max(best, 1))  # noqa: PLW2901 - the batch that `auto` takes
        forecaster = Forecaster(run)
        forecast = forecaster.forecast(depth=depth)
        if limit is not None:
            forecast = replace(forecast, limits=forecaster.limits(limit))
        if sweep is not None:
            forecast = replace(forecast, sweep=forecaster.sweep(sweep.key, sweep.values, limit))
        if page is not None:
            write_text(page, timeline_page(forecast, forecaster.timeline()))
        if measure:
            forecast = replace(forecast, measured=measured(run, forecaster.inputs))
        if trace is not None:
            forecast = replace(forecast, traced=traced(run, forecaster.inputs, trace))
        found.append(forecast)
    return found
