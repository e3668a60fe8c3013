"""Arguments and options that commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from segcli.cli import complete
from segcli.core.paths import OVERRIDE
from segcli.engine.export.formats import FORMATS, Format

__all__ = [
    "CheckpointOpt",
    "ConfigArg",
    "DataConfigArg",
    "DataOverridesArg",
    "EvalThresholdOpt",
    "GpusOpt",
    "JsonOpt",
    "ModelFileOpt",
    "OutOpt",
    "OverridesArg",
    "OverwriteOpt",
    "ProcessesOpt",
    "QuietOpt",
    "RestartsOpt",
    "RunAndOverridesArg",
    "RunsOpt",
    "TTAOpt",
    "ThresholdOpt",
    "fit_of",
    "format_of",
    "run_and_overrides",
    "sizes_of",
    "threshold_or_best",
]

ConfigArg = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG",
        help="Experiment file, or name of a shipped experiment.",
        autocompletion=complete.configs,
        show_default=False,
    ),
]
DataConfigArg = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG",
        help="Experiment or data-set file, or name of a shipped one.",
        autocompletion=complete.data_configs,
        show_default=False,
    ),
]
OverridesArg = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE ...]",
        help="Overrides, such as training.epochs=5; all keys: segcli config keys.",
        autocompletion=complete.config_or_key,
        show_default=False,
    ),
]
DataOverridesArg = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE ...]",
        help="Overrides, such as split.seed=1; all keys: segcli config keys.",
        autocompletion=complete.data_or_key,
        show_default=False,
    ),
]
RunAndOverridesArg = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN] [KEY=VALUE ...]",
        help="Run folder, run name or checkpoint; default: the newest run. Then overrides; keys: segcli config keys.",
        autocompletion=complete.run_or_key,
        show_default=False,
    ),
]
RunsOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--run",
        "-r",
        metavar="RUN",
        help="Run folder, name or checkpoint (default: newest run); several are averaged.",
        autocompletion=complete.runs,
        show_default=False,
    ),
]
CheckpointOpt = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        "-c",
        metavar="best | last | N",
        help="Checkpoint of the run: best, last or an epoch's number; default: best.",
        autocompletion=complete.checkpoints,
        show_default=False,
    ),
]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
QuietOpt = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but warnings and errors.")]
OverwriteOpt = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]
OutOpt = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FOLDER",
        help="Folder of the results.",
        autocompletion=complete.files,
        show_default=False,
    ),
]
ModelFileOpt = Annotated[
    list[Path] | None,
    typer.Option(
        "--model-file",
        metavar="FILE.py",
        autocompletion=complete.networks,
        help="Python file of your own component; needed if the run was trained elsewhere.",
        show_default=False,
    ),
]
GpusOpt = Annotated[
    str | None,
    typer.Option(
        "--gpus",
        metavar="N | all",
        help="Share the work among this number of GPUs, one process each.",
        autocompletion=complete.nothing,
        show_default=False,
    ),
]
ProcessesOpt = Annotated[
    int | None,
    typer.Option(
        "--processes",
        metavar="N",
        min=1,
        help="Share the work among this number of processes on CPUs.",
        autocompletion=complete.nothing,
        show_default=False,
    ),
]
RestartsOpt = Annotated[
    int | None,
    typer.Option(
        "--max-restarts",
        metavar="N",
        min=0,
        help="With --gpus or --processes: go on from the newest checkpoint up to N times if a process dies.",
        autocompletion=complete.nothing,
        show_default=False,
    ),
]
TTAOpt = Annotated[
    bool | None,
    typer.Option(
        "--tta/--no-tta",
        help="Average predictions of all flips and quarter turns (8 times the work).",
        show_default=False,
    ),
]
ThresholdOpt = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        metavar="0..1",
        min=0.0,
        max=1.0,
        help="Smallest probability of the foreground.",
        autocompletion=complete.nothing,
        show_default=False,
    ),
]
EvalThresholdOpt = Annotated[
    str | None,
    typer.Option(
        "--threshold",
        metavar="0..1 | best-on-val",
        autocompletion=complete.thresholds,
        help="Smallest foreground probability; best-on-val: chosen on validation images.",
        show_default=False,
    ),
]


def threshold_or_best(text: str | None) -> float | str | None:
    """Read the value of `--threshold` of `eval`.

    Raises:
        typer.BadParameter: The value is neither a number from 0 to 1 nor `best-on-val`.
    """
    if text in (None, "best-on-val"):
        return text
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise typer.BadParameter(f"--threshold is a number from 0 to 1 or best-on-val, got `{text}`")
    return value


def format_of(text: str) -> Format:
    """Read the value of `--format`.

    Raises:
        typer.BadParameter: There is no such format.
    """
    for kind in FORMATS.values():
        if text.lower() == kind:
            return kind
    raise typer.BadParameter(f"--format is one of {', '.join(FORMATS.values())}, got `{text}`")


def run_and_overrides(words: list[str] | None) -> tuple[str | None, list[str]]:
    """Separate the run from the overrides.

    Raises:
        typer.BadParameter: There are two runs.
    """
    overrides = [word for word in words or [] if OVERRIDE.match(word)]
    named = [word for word in words or [] if word not in overrides]
    if len(named) > 1:
        raise typer.BadParameter(f"one run at a time, got `{'` and `'.join(named)}`; an override is KEY=VALUE")
    return (named[0] if named else None), overrides


def sizes_of(text: str | None) -> tuple[int, ...] | None:
    """Read three sizes, such as `64,64,32`."""
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise typer.BadParameter(f"`{text}` is not three sizes such as 64,64,32", param_hint="--size")
    return tuple(int(part) for part in parts)


def fit_of(text: str) -> Literal["pad", "resize"]:
    """Read the value of `--fit`."""
    known: dict[str, Literal["pad", "resize"]] = {"pad": "pad", "resize": "resize"}
    if text in known:
        return known[text]
    raise typer.BadParameter(f"`{text}` is neither pad nor resize", param_hint="--fit")
