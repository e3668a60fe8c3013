"""`segcli profile-memory`."""

from pathlib import Path
from typing import Annotated

import typer

from segcli.cli import complete
from segcli.cli.options import JsonOpt, ModelFileOpt, QuietOpt

__all__ = ["profile_memory"]

RunsAndOverridesArg = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CONFIG | RUN ...] [KEY=VALUE ...]",
        help="Experiment files, runs or checkpoints; default: the newest run, or configs/exp.yaml. Then overrides.",
        autocompletion=complete.config_run_or_key,
        show_default=False,
    ),
]
VramOpt = Annotated[
    str | None,
    typer.Option(
        "--vram",
        metavar="SIZE",
        help="Memory of the GPU, such as 24GiB; default: the GPU of this machine.",
    ),
]
SweepOpt = Annotated[
    str | None,
    typer.Option(
        "--sweep", metavar="KEY=N,N,...", help="Forecast other sizes too: batch=1,2,4,8 or image_size=256,512."
    ),
]
TopOpt = Annotated[int, typer.Option("--top", min=1, help="Number of layers in the table; the largest ones.")]
DepthOpt = Annotated[
    int | None,
    typer.Option("--depth", min=1, help="Levels of submodules that are listed as layers.", show_default=False),
]
PageOpt = Annotated[
    Path | None,
    typer.Option("--html", help="Write an HTML page with the memory over time to this file.", show_default=False),
]
MeasureOpt = Annotated[bool, typer.Option("--measure", help="Also run the step on the GPU, and compare.")]
TraceOpt = Annotated[
    Path | None,
    typer.Option("--trace", help="Also run the step, and write a trace to this folder.", show_default=False),
]
ProcessesOpt = Annotated[bool, typer.Option("--processes", help="List the GPU memory of each process on this machine.")]


def profile_memory(
    words: RunsAndOverridesArg = None,
    vram: VramOpt = None,
    sweep: SweepOpt = None,
    top: TopOpt = 15,
    depth: DepthOpt = None,
    page: PageOpt = None,
    measure: MeasureOpt = False,
    trace: TraceOpt = None,
    processes: ProcessesOpt = False,
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
        done = profile.forecasts(runs, vram=limit, sweep=swept, depth=depth, page=page, measure=measure, trace=trace)
        if page is not None:
            listener.notice(f"wrote {page}")
    tables = report.forecast(done[0], top=top) if len(done) == 1 else report.comparison(done)
    values = done[0].as_dict() if len(done) == 1 else {"runs": [one.as_dict() for one in done]}
    console.result(values, tables, as_json=as_json, quiet=quiet)
