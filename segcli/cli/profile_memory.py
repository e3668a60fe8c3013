"""`segcli profile-memory`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segcli.cli import complete
from segcli.cli.options import JsonOpt, ModelFileOpt, QuietOpt

if TYPE_CHECKING:
    from segcli.vram.watch import Watcher

__all__ = ["profile_memory"]

RunsAndOverridesArg = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CONFIG | RUN ...] [KEY=VALUE ...]",
        help="Experiments, runs or checkpoints; default: the newest run, or configs/exp.yaml. Then overrides.",
        autocompletion=complete.config_run_or_key,
        show_default=False,
    ),
]
VramOpt = Annotated[
    str | None,
    typer.Option(
        "--vram",
        metavar="SIZE",
        autocompletion=complete.vram,
        help="Memory of the GPU, such as 24GiB; default: the GPU of this machine.",
    ),
]
SweepOpt = Annotated[
    str | None,
    typer.Option(
        "--sweep",
        metavar="KEY=N,N,...",
        help="Forecast other sizes too: batch=1,2,4,8 or image_size=256,512.",
        autocompletion=complete.sweeps,
    ),
]
TopOpt = Annotated[
    int,
    typer.Option(
        "--top",
        metavar="N",
        min=1,
        help="Number of layers in the table; the largest ones.",
        autocompletion=complete.nothing,
    ),
]
DepthOpt = Annotated[
    int | None,
    typer.Option(
        "--depth",
        metavar="N",
        min=1,
        help="Levels of submodules that are listed as layers.",
        autocompletion=complete.nothing,
        show_default=False,
    ),
]
PageOpt = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE.html",
        help="Write an HTML page with the memory over time to this file.",
        autocompletion=complete.files,
        show_default=False,
    ),
]
MeasureOpt = Annotated[bool, typer.Option("--measure", help="Also run the step on the GPU, and compare.")]
TraceOpt = Annotated[
    Path | None,
    typer.Option(
        "--trace",
        metavar="FOLDER",
        help="Also run the step, and write a trace to this folder.",
        autocompletion=complete.files,
        show_default=False,
    ),
]
GpusOpt = Annotated[
    int,
    typer.Option(
        "--gpus",
        metavar="N",
        min=1,
        help="Forecast one of this number of GPUs that share each batch.",
        autocompletion=complete.nothing,
    ),
]
ProcessesOpt = Annotated[bool, typer.Option("--processes", help="List the GPU memory of each process on this machine.")]
EveryOpt = Annotated[
    float | None,
    typer.Option("--every", metavar="SECONDS", min=0.01, help="With --processes: seconds between samples; default: 1."),
]
ForOpt = Annotated[
    float | None,
    typer.Option("--for", metavar="SECONDS", min=0.0, help="With --processes: sample this long; default: till Ctrl-C."),
]
OutOpt = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE.csv",
        autocompletion=complete.files,
        help="With --processes: CSV file for samples of the memory.",
        show_default=False,
    ),
]


def profile_memory(
    words: RunsAndOverridesArg = None,
    vram: VramOpt = None,
    gpus: GpusOpt = 1,
    sweep: SweepOpt = None,
    top: TopOpt = 15,
    depth: DepthOpt = None,
    page: PageOpt = None,
    measure: MeasureOpt = False,
    trace: TraceOpt = None,
    processes: ProcessesOpt = False,
    every: EveryOpt = None,
    for_: ForOpt = None,
    out: OutOpt = None,
    model_file: ModelFileOpt = None,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Forecast the GPU memory of a training, on any machine.

    The real training step runs on tensors without data. Several experiments are compared in one table.

    Example: segcli profile-memory configs/exp.yaml --vram 24GiB
    """
    from segcli.cli import console
    from segcli.commands import profile

    watcher = profile.watcher(out, every_s=every, for_s=for_, listed=processes)
    if watcher is not None:
        _watch(watcher, as_json=as_json, quiet=quiet)
        return
    if processes:
        from segcli.report import memory

        found = profile.processes()
        console.result(found.as_dict(), memory.holders(found), as_json=as_json, quiet=quiet)
        return
    limit = None if vram is None else profile.parse_vram(vram)
    swept = None if sweep is None else profile.parse_sweep(sweep)

    from segcli.config.own_code import FORECASTING, CodePermit

    with console.listener(quiet=quiet or as_json) as listener:
        runs, taken = profile.load_runs(words or [], CodePermit(model_file or [], listener.notice, FORECASTING))

        from segcli.report import vram as report

        if taken is not None:
            listener.notice(f"experiment: {taken}")
        listener.stage("forecast")
        advise = limit is None and len(runs) == 1 and not (quiet or as_json)
        forecasts = partial(profile.forecasts, runs, vram=limit, sweep=swept, depth=depth, gpus=gpus, listener=listener)
        done = forecasts(page=page, measure=measure, trace=trace, advise=advise)
        if page is not None:
            listener.notice(f"wrote {page}")
    is_open = limit is None  # no GPU was named that the memory is compared with
    alone = report.forecast(done[0], top=top, in_words=is_open) if len(done) == 1 else None
    tables = alone or report.comparison(done, in_words=is_open)
    values = done[0].as_dict() if len(done) == 1 else {"runs": [one.as_dict() for one in done]}
    console.result(values, tables, as_json=as_json, quiet=quiet)


def _watch(watcher: "Watcher", *, as_json: bool, quiet: bool) -> None:
    """Sample until the time is over or a signal stops it, and print the peak."""
    from segcli.cli import console
    from segcli.engine.stopping import StopSignal
    from segcli.report import memory

    with console.listener(quiet=quiet or as_json) as listener:
        end = "" if watcher.for_s is None else f" for {watcher.for_s:g} s"
        listener.notice(
            f"sampling every {watcher.every_s:g} s{end}; Ctrl-C ends it, and `{watcher.watched.file}` stays"
        )
        listener.stage("sampling")
        try:
            with StopSignal() as stop:
                watcher.run(stop)
        finally:
            if watcher.watched.samples:
                console.result(watcher.watched.as_dict(), memory.watched(watcher.watched), as_json=as_json, quiet=quiet)
