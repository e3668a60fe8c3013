"""`segcli profile-memory`: forecast and list GPU memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from segcli.commands.locate import EXPERIMENTS, FIRST, run_names
from segcli.commands.simulations import Simulations, expected
from segcli.config.load import load_run, run_from_values
from segcli.config.own_code import CodePermit
from segcli.config.processes import refuse_fewer_images
from segcli.config.schema import Run
from segcli.config.shipped import named, shipped
from segcli.core.errors import ConfigError, nearest
from segcli.core.files import write_text
from segcli.core.paths import OVERRIDE
from segcli.engine.events import Listener
from segcli.vram.gpu_processes import gpu_holders
from segcli.vram.gpus import Holders
from segcli.vram.results import Forecast, parse_size
from segcli.vram.watch import Watcher

if TYPE_CHECKING:
    from segcli.vram.forecast import Forecaster

__all__ = [
    "Sweep",
    "difference_of",
    "find_config",
    "forecasts",
    "load_runs",
    "parse_sweep",
    "parse_vram",
    "processes",
    "watcher",
]


@dataclass(frozen=True)
class Sweep:
    """Batch or image sizes to forecast one after the other."""

    key: str
    values: list[int]


def processes() -> Holders:
    """List GPU memory by process on this machine.

    Raises:
        DeviceError: No driver answers.
    """
    return gpu_holders(EXPERIMENTS)


def watcher(out: Path | None, *, every_s: float | None, for_s: float | None, listed: bool) -> Watcher | None:
    """Prepare to sample GPU memory by process over time; None if no option asks for it.

    Args:
        out: CSV file to write, as `--out`.
        every_s: Seconds between two samples, as `--every`; default: 1.
        for_s: Seconds to sample for, as `--for`; default: until the command is stopped.
        listed: `--processes` is given.

    Raises:
        ConfigError: An option lacks another one, or the file exists.
    """
    given = [name for name, value in (("--every", every_s), ("--for", for_s), ("--out", out)) if value is not None]
    if not given:
        return None
    if not listed:
        raise ConfigError(f"`{given[0]}` is an option of `--processes`", hint="add `--processes`, or leave it out")
    if out is None:
        raise ConfigError(f"`{given[0]}` takes samples, which need a file", hint="add `--out gpu.csv`")
    return Watcher(processes, out, every_s=every_s or 1.0, for_s=for_s)


def find_config(word: str | None) -> Path:
    """Find an experiment file by its path, a run folder, or the name of a run or of a shipped experiment.

    None finds the newest run, or `FIRST`, here or as it is shipped.

    Raises:
        ConfigError: There is no such file.
    """
    names = run_names()
    if word is None:
        if names:
            return EXPERIMENTS / names[0] / "config.yaml"
        return FIRST if FIRST.is_file() else named(FIRST.stem)
    path = Path(word)
    for candidate in (path, path / "config.yaml", EXPERIMENTS / word / "config.yaml"):
        if candidate.is_file():
            return candidate
    found = shipped(path)
    if found is not None:
        return found
    close = nearest(word, names)
    hint = (
        f"did you mean `{close}`?" if close else f"experiments are YAML files, runs are folders under `{EXPERIMENTS}`"
    )
    raise ConfigError(f"no experiment file and no run `{word}`", hint=hint)


def load_runs(words: Sequence[str], permit: CodePermit) -> tuple[list[Run], str | None]:
    """Load the runs that the words name, with overrides; returns also the files that no path names.

    Args:
        words: Experiment files, runs and checkpoints, and overrides.
        permit: Network files that runs and checkpoints may run; an experiment file may name any file.

    Raises:
        CheckpointError: A run or a checkpoint names a file that may not run.
        ConfigError: One cannot be read.
    """
    overrides = [word for word in words if OVERRIDE.match(word)]
    places: list[str | None] = [word for word in words if word not in overrides] or [None]
    runs, taken = [], list[str]()
    for word in places:
        file = find_config(word)
        if word is None or shipped(Path(word)) is not None:
            taken.append(str(file))
        if file.suffix == ".safetensors":
            from segcli.engine.checkpoint import read_header  # noqa: PLC0415 - an experiment file needs no PyTorch

            config = read_header(file)["config"]
            runs.append(run_from_values(config, overrides, source=str(file), permit=permit))
        else:
            is_named = word is not None and file == Path(word)
            runs.append(load_run(file, overrides, permit=None if is_named else permit))
    permit.refuse_unused()
    return runs, ", ".join(taken) or None


def parse_vram(text: str) -> int:
    """Read the bytes of `--vram`.

    Raises:
        ConfigError: The text is not a size.
    """
    try:
        return parse_size(text)
    except ValueError:
        raise ConfigError(f"`--vram {text}` is not a size", hint="write a size such as `--vram 24GiB`") from None


def parse_sweep(text: str) -> Sweep:
    """Read the key and the values of `--sweep`.

    Raises:
        ConfigError: The key or a value is wrong.
    """
    key, _, listed = text.partition("=")
    values = [int(value) if value.strip().isdigit() else 0 for value in listed.split(",")]
    if key not in ("batch", "image_size") or not all(values):
        raise ConfigError(
            f"`--sweep {text}` is not a list of sizes",
            hint="write `--sweep batch=1,2,4,8` or `--sweep image_size=256,512`",
        )
    return Sweep(key, values)


def difference_of(run: Run, forecast: Forecast) -> str | None:
    """Tell where the run computes in another way than its forecast, which is always for a GPU; None if it does not.

    Raises:
        DeviceError: The device of the run does not exist.
    """
    from segcli.engine.runtime import choose_device, choose_precision, may_take_bf16  # noqa: PLC0415 - loads PyTorch

    device = choose_device(run.device)
    precision = choose_precision(run.training.amp, device).name
    if device.type == "cuda" and precision == forecast.precision:
        return None
    if device.type == "cpu" and run.training.amp == "auto" and may_take_bf16(run.training.reduce):
        precision += ", or in bf16 if timed steps are faster"
    return f"this forecast is for a GPU in {forecast.precision}; the run itself computes on {device} in {precision}"


def forecasts(
    runs: Sequence[Run],
    *,
    vram: int | None = None,
    sweep: Sweep | None = None,
    depth: int | None = None,
    page: Path | None = None,
    measure: bool = False,
    trace: Path | None = None,
    advise: bool = False,
    gpus: int = 1,
    listener: Listener | None = None,
) -> list[Forecast]:
    """Forecast each run.

    Args:
        runs: The runs.
        vram: Memory of the GPU in bytes; None for the GPU of this machine, if there is one.
        sweep: More batch or image sizes to forecast.
        depth: Levels of submodules that are listed as layers.
        page: HTML file of the timeline.
        measure: Run the same step on the GPU, too.
        trace: Folder for a trace of the real step.
        advise: List overrides that lower the memory; this takes one more forecast.
        gpus: Number of GPUs that share each batch; the forecast is for one of them.
        listener: Receives the progress, in simulations.

    Raises:
        ConfigError: The image size is unknown, the step depends on values, or options do not fit each other or the run.
        DeviceError: There is no GPU to measure on.
    """
    if len(runs) > 1 and (page is not None or trace is not None):
        raise ConfigError("`--html` and `--trace` take one experiment at a time")
    _refuse_several(gpus, {"--measure": measure, "--trace": trace is not None})
    from segcli.report.timeline import timeline_page  # noqa: PLC0415
    from segcli.vram.forecast import gpu_present  # noqa: PLC0415 - the file is checked before PyTorch loads
    from segcli.vram.levers import levers  # noqa: PLC0415
    from segcli.vram.real import measured, traced  # noqa: PLC0415

    limit, found = vram if vram is not None else gpu_present(), []
    others = int(advise) + len(sweep.values if sweep else ())
    for run in runs:
        text = "forecast" if len(runs) == 1 else f"forecast of {run.name}"
        total = expected(limits=limit is not None, fit=run.data.fit_batch_size, others=others)
        forecaster = _forecaster(run, limit, gpus, Simulations(text, total, listener))
        forecast = forecaster.forecast(depth=depth)
        if advise:
            forecast = replace(forecast, levers=levers(forecaster, forecast))
        if limit is not None:
            forecast = replace(forecast, limits=forecaster.limits(limit))
        if sweep is not None:
            forecast = replace(forecast, sweep=forecaster.sweep(sweep.key, sweep.values, limit))
        if page is not None:
            write_text(page, timeline_page(forecast, forecaster.timeline()))
        if measure:
            forecast = replace(forecast, measured=measured(forecaster.run, forecaster.inputs))
        if trace is not None:
            forecast = replace(forecast, traced=traced(forecaster.run, forecaster.inputs, trace))
        found.append(forecast)
    return found


def _forecaster(run: Run, limit: int | None, gpus: int, simulations: Simulations) -> "Forecaster":
    """Make a forecaster of a run, with the batch size that `data.batch_size: auto` takes."""
    from segcli.vram.forecast import Forecaster  # noqa: PLC0415 - the file is checked before PyTorch loads
    from segcli.vram.inputs import with_batch_size  # noqa: PLC0415

    make = partial(Forecaster, gpus=gpus, when_played=simulations.advance)
    if run.data.fit_batch_size and limit is not None:
        best = make(run).max_batch_size(limit, most=max(run.data.max_batch_size, gpus))
        run = with_batch_size(run, max(best, gpus))
    refuse_fewer_images(run, gpus)
    return make(run)


def _refuse_several(gpus: int, given: dict[str, bool]) -> None:
    """Refuse options that run the step, which one process cannot do for several GPUs."""
    option = next((option for option, is_given in given.items() if is_given), None)
    if gpus > 1 and option is not None:
        raise ConfigError(f"`{option}` runs the step on one GPU", hint="leave `--gpus` out")
