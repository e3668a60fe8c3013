"""Load, check, train, resume, evaluate and export runs; each function calls the code of its command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segcli.api.named import AnyPath, AnyRun
    from segcli.config.schema import Run
    from segcli.engine.events import Listener
    from segcli.report.results import Checked, Evaluated, Exported, Trained

__all__ = ["check", "evaluate", "export", "load", "resume", "train"]


def load(config: AnyPath, *overrides: str) -> Run:
    """Read an experiment file and check all of its keys.

    Args:
        config: The YAML file.
        overrides: `KEY=VALUE`, such as `training.epochs=5`.

    Raises:
        ConfigError: A key or value is wrong; the message lists all mistakes with file and line.
    """
    from segcli.api.named import as_path
    from segcli.config.load import load_run

    return load_run(as_path(config), overrides)


def check(run: Run, *, listener: Listener | None = None) -> Checked:
    """Look for everything that would spoil or prevent the training of a run, as `segcli data check`.

    Args:
        run: The run.
        listener: Receives progress and messages.
    """
    from segcli.api.callers_state import callers_state
    from segcli.engine.events import Silent

    with callers_state():
        from segcli.commands.data import check_data

        return check_data(run.dataset, run, listener=listener or Silent())


def train(
    run: Run, *, overwrite: bool = False, handle_signals: bool = False, listener: Listener | None = None
) -> Trained:
    """Train a run from its beginning, as `segcli train`.

    Ctrl-C raises KeyboardInterrupt after a checkpoint is written; `resume` continues from there.

    Args:
        run: The run.
        overwrite: Replace the run in the run folder.
        handle_signals: In the main thread, stop on SIGINT, SIGTERM and those of schedulers as the command does:
            `Stopped` is raised after a checkpoint is written. The program's own handlers return afterwards.
        listener: Receives progress and messages.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; everything is saved.
        Stopped: `handle_signals` is set, and a signal asked for a stop; everything is saved.
        SegcliError: The training cannot begin, or fails.
    """
    from segcli.api.callers_state import callers_state
    from segcli.api.interrupts import interruptible
    from segcli.engine.events import Silent

    hears = listener or Silent()
    with callers_state():
        from segcli.commands.train import train as command

        return interruptible(
            lambda stop: command(run, overwrite=overwrite, listener=hears, stop=stop), handle_signals=handle_signals
        )


def resume(
    run: AnyRun = None,
    *overrides: str,
    model_files: Sequence[AnyPath] = (),
    handle_signals: bool = False,
    listener: Listener | None = None,
) -> Trained:
    """Continue a run exactly where it stopped, as `segcli resume`.

    Args:
        run: Name, folder or checkpoint file; default: the newest run.
        overrides: `KEY=VALUE`, such as `training.epochs=40`.
        model_files: Python files of the user's own code that may run.
        handle_signals: As for `train`.
        listener: Receives progress and messages.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; everything is saved.
        Stopped: `handle_signals` is set, and a signal asked for a stop; everything is saved.
        SegcliError: The run cannot be continued, or fails.
    """
    from segcli.api.callers_state import callers_state
    from segcli.api.interrupts import interruptible
    from segcli.api.named import located, paths
    from segcli.engine.events import Silent

    there, files, hears = located(run), paths(model_files), listener or Silent()
    with callers_state():
        from segcli.commands.train import resume as command

        return interruptible(
            lambda stop: command(there, overrides, model_files=files, listener=hears, stop=stop),
            handle_signals=handle_signals,
        )


def evaluate(
    run: AnyRun = None,
    *overrides: str,
    checkpoint: str | int | None = None,
    split: str | None = None,
    data: AnyPath | None = None,
    threshold: float | Literal["best-on-val"] | None = None,
    tta: bool | None = None,
    out: AnyPath | None = None,
    model_files: Sequence[AnyPath] = (),
    listener: Listener | None = None,
) -> Evaluated:
    """Score a trained run on a split, and write tables, masks and the report, as `segcli eval`.

    Args:
        run: Name, folder or checkpoint file, or the loaded or trained run; default: the newest run.
        overrides: `KEY=VALUE` on the run's config.
        checkpoint: `best`, `last` or the number of an epoch; default: the best.
        split: `train`, `val` or `test`; default: the test split if there is one, else the validation split.
        data: Other data: a folder or file as the run reads it, or a data-set file.
        threshold: Smallest probability of the foreground; `best-on-val` chooses it on the validation images.
        tta: Test-time augmentation on or off; default: as the run has it.
        out: Folder of the results; default: `outputs/tests/<name>`.
        model_files: Python files of the user's own code that may run.
        listener: Receives progress and messages.

    Raises:
        SegcliError: The checkpoint, the data or the device fail.
    """
    from segcli.api.callers_state import callers_state
    from segcli.api.named import as_path, located, paths, refuse_wrong_share
    from segcli.engine.events import Silent

    refuse_wrong_share("threshold", None if threshold == "best-on-val" else threshold)
    with callers_state():
        from segcli.commands.evaluate import evaluate_run

        done = evaluate_run(
            located(run, checkpoint),
            split=split,
            overrides=overrides,
            threshold=threshold,
            tta=tta,
            data=None if data is None else as_path(data),
            out=None if out is None else as_path(out),
            model_files=paths(model_files),
            listener=listener or Silent(),
        )
    assert done is not None
    return done


def export(
    run: AnyRun = None,
    *overrides: str,
    checkpoint: str | int | None = None,
    format: Literal["onnx", "torchscript", "pt2"] = "onnx",  # noqa: A002 - the name of the option
    bake: bool = False,
    half: bool = False,
    int8: bool = False,
    tolerance: float | None = None,
    max_dice_loss: float = 0.02,
    out: AnyPath | None = None,
    overwrite: bool = False,
    model_files: Sequence[AnyPath] = (),
    listener: Listener | None = None,
) -> Exported:
    """Export a trained run to a file that runs without segcli, as `segcli export`.

    Args:
        run: As for `evaluate`.
        overrides: `KEY=VALUE` on the run's config.
        checkpoint: As for `evaluate`.
        format: File format.
        bake: Include normalisation and activation: pixels as stored in, probabilities out.
        half: Store numbers with 16 bits.
        int8: Store weights with 8 bits (ONNX).
        tolerance: Largest accepted difference from the original; default: 1e-4, or 2e-2 with `half`.
        max_dice_loss: Largest accepted loss of validation Dice with `int8`.
        out: Folder of the file; default: `outputs/exports/<name>`.
        overwrite: Replace an existing file.
        model_files: Python files of the user's own code that may run.
        listener: Receives progress and messages.

    Raises:
        SegcliError: The file exists, differs from the original, or cannot be written.
    """
    from segcli.api.callers_state import callers_state
    from segcli.api.named import as_path, located, paths
    from segcli.engine.events import Silent

    with callers_state():
        from segcli.commands.export import ExportOptions
        from segcli.commands.export import export as command

        options = ExportOptions(
            format=format,
            out=None if out is None else as_path(out),
            half=half,
            int8=int8,
            bake=bake,
            tolerance=tolerance,
            max_dice_loss=max_dice_loss,
            overwrite=overwrite,
            model_files=paths(model_files),
        )
        return command(located(run, checkpoint), options, overrides=overrides, listener=listener or Silent())
