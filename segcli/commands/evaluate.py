"""`segcli eval`: score a trained network on a split."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from segcli.commands.chosen_split import choose_split, refuse_without
from segcli.commands.locate import Located
from segcli.commands.other_data import SCORES, advice_on, look_at_data, results_name, with_other_data
from segcli.commands.places import run_of_checkpoint
from segcli.commands.report import CASES, write_evaluation_report
from segcli.commands.scored_cases import score_cases
from segcli.commands.thresholds import best_threshold
from segcli.config.own_code import EVALUATING, CodePermit
from segcli.config.schema import MetricSection, Run
from segcli.core.errors import ConfigError
from segcli.core.files import shown, write_text, write_yaml
from segcli.core.registry import METRICS, TASKS
from segcli.core.types import Array
from segcli.core.yaml_rows import rows_text
from segcli.data.samples import Case, example_of
from segcli.engine.assembly import Assembly, assemble, load_weights
from segcli.engine.assembly.components import calibrated_outputs
from segcli.engine.checkpoint import read_checkpoint
from segcli.engine.events import Listener, heard_by
from segcli.engine.inference.evaluator import Evaluation
from segcli.engine.inference.scores import LEVEL, RESAMPLES, headline, part_of, score
from segcli.engine.inference.views import looks_at
from segcli.engine.runfolder import RunFolder
from segcli.engine.stopping import StopSignal
from segcli.engine.training.session import checked_cases
from segcli.engine.training.tracking import Tracking
from segcli.engine.world import World
from segcli.metrics import Metric, Score
from segcli.report.cells import images_behind
from segcli.report.classes import MOST_MISTAKES, Row, write_answers, write_curves, write_mistakes
from segcli.report.confusion import write_matrix
from segcli.report.presence import TABLE, Judgement, write_judgements
from segcli.report.results import Evaluated
from segcli.report.showcase import Showcase
from segcli.report.units import units_of

__all__ = ["BEST_ON_VAL", "evaluate_run"]

BEST_ON_VAL = "best-on-val"
"""Value of `--threshold` that chooses the threshold with the best Dice on the validation images."""

TESTS = Path("outputs") / "tests"


def evaluate_run(
    located: Located,
    *,
    split: str | None,
    overrides: Sequence[str] = (),
    threshold: float | str | None = None,
    tta: bool | None = None,
    data: Path | None = None,
    out: Path | None = None,
    model_files: Sequence[Path] = (),
    listener: Listener,
    device: str | None = None,
    world: World | None = None,
) -> Evaluated | None:
    """Score a checkpoint on a split, and write tables, masks and the report.

    Args:
        located: The run, which is scored with its best checkpoint, or a checkpoint file.
        split: `train`, `val` or `test`; None takes the test split if there is one, else the validation split.
        overrides: `KEY=VALUE` on the run's config, such as another `dataset.paths.root`.
        threshold: Threshold instead of the run's own; `best-on-val` chooses it on the validation split.
        tta: Test-time augmentation on or off, instead of the run's own setting.
        data: Other data: a folder or a file whose cases become the split `test`, or a data-set file.
        out: Folder of the results instead of `outputs/tests/<name>`.
        model_files: Python files of the user's own code that may run.
        listener: Receives progress and messages.
        device: Device instead of the run's own.
        world: Processes that share out the cases; all but the first return None. Default: this process alone.

    Raises:
        SegcliError: The checkpoint, the data or the device fail.
    """
    world, listener = world or World.alone(), heard_by(world, listener)
    path, permit = located.for_prediction(), CodePermit(model_files, listener.notice, EVALUATING)
    checkpoint = read_checkpoint(path)
    own = run_of_checkpoint(checkpoint, located, overrides, permit, listener).on(device)
    run = own if data is None else with_other_data(own, data)
    with advice_on(data):
        parts = _assembled(run, threshold, tta, listener)
        load_weights(parts.network, checkpoint, path)
        chosen = choose_split(parts.layout, split, data, listener)
        cases = checked_cases(parts, [chosen], listener)[chosen]
    folder = out or TESTS / results_name(run.name, chosen, data=data, mark=located.mark)
    digest, notes = look_at_data(checkpoint.header, chosen, cases, parts.layout, folder, own=data is None)
    for text in notes:
        listener.warn(text)
    if threshold == BEST_ON_VAL:
        parts, notes = _with_best_threshold(parts, own, chosen if data is None else None, notes, listener, world)
    showcase = Showcase(parts, CASES)
    predictions = folder / "predictions" if run.output.save_predictions and parts.task.has_pixels else None
    result, judged = score_cases(parts, cases, predictions, showcase, listener, world)
    if not world.is_first:
        return None
    notes += _field_notes(parts, listener)
    where = _Where(chosen, path, folder, predictions, None if data is None else shown(data), digest)
    done = _scored(parts, result, judged, where, notes, checkpoint.header)
    _track(done, run, located.folder, listener)
    words = _command(path, chosen, overrides, threshold=threshold, tta=tta, data=data, out=out, model_files=model_files)
    report = write_evaluation_report(done, parts, showcase.shown(), checkpoint, folder=located.folder, command=words)
    return replace(done, report=report, example=example_of(cases))


def _field_notes(parts: Assembly, listener: Listener) -> list[str]:
    """Tell where the fields of view came from; warn of the images without one."""
    if parts.fields.warning is not None:
        listener.warn(parts.fields.warning)
    return [] if parts.fields.summary is None else [parts.fields.summary]


@dataclass(frozen=True)
class _Where:
    """Split, checkpoint and data that are scored, and folders of the results."""

    split: str
    checkpoint: Path
    folder: Path
    predictions: Path | None
    data: str | None
    digest: str


def _scored(
    parts: Assembly,
    result: Evaluation,
    presence: list[Judgement],
    where: _Where,
    notes: list[str],
    header: dict[str, Any],
) -> Evaluated:
    """Compute the scores and their intervals, and write them.

    Args:
        parts: Parts of the run.
        result: Statistics of the cases.
        presence: Presence of each structure of each case.
        where: What was scored, and places of the results.
        notes: Notes for the report.
        header: Header of the checkpoint.
    """
    scores = [score(metric, result.tally.statistics(metric), seed=parts.run.seed) for metric in _unique(parts.metrics)]
    done = Evaluated(
        run=parts.run.name,
        split=where.split,
        data=where.data,
        digest=where.digest,
        checkpoint=where.checkpoint,
        epoch=header["progress"]["epoch"],
        folder=where.folder,
        threshold=parts.run.inference.threshold if parts.task.target == "masks" else None,
        num_images=len(result.cases),
        losses=result.losses,
        scores=scores,
        images=[parts.layout.shown(case) for case in result.cases],
        ranked_by=parts.metrics[0].name,
        predictions=where.predictions,
        level=LEVEL,
        resamples=RESAMPLES,
        classes=parts.task.classes,
        confusion=result.confusion,
        presence=presence,
        image_groups=[case.group for case in result.cases],
        groups=_by_group(result, parts.metrics),
        notes=[*notes, *_undefined(scores, len(result.cases))],
        units=units_of(parts.metrics, parts.layout, result.cases),
    )
    if not parts.task.has_pixels:
        done = replace(_with_wholes(done, parts, result, header["history"]), notes=notes)
    _write_scores(done)
    return done


def _assembled(run: Run, threshold: float | str | None, tta: bool | None, listener: Listener) -> Assembly:
    """Assemble the run with every metric of its task.

    Raises:
        ConfigError: The task has no threshold, or the device fails.
    """
    if threshold is not None and TASKS.load(run.task_name).target == "classes":
        raise ConfigError(
            f"task `{run.task_name}` has no threshold: each pixel gets the most probable class",
            hint="leave `--threshold` out",
        )
    fixed = None if isinstance(threshold, str) else threshold
    parts = assemble(_with_all_metrics(run.predicting(threshold=fixed, tta=tta)))
    inference = parts.run.inference
    for text in (parts.prepare_prediction(), looks_at(parts.layout.ndim, inference.tta, inference.scales)):
        if text is not None:
            listener.notice(text)
    return parts


def _write_scores(done: Evaluated) -> None:
    """Write the scores, and the confusion matrix if classes exclude each other."""
    write_yaml(done.folder / SCORES, done.summary())
    write_text(done.folder / "per_image_metrics.yaml", rows_text(done.per_image()))
    if done.presence:
        write_judgements(done.folder / TABLE, done.presence)
    levels = {"": done} if done.whole is None else {"": done.whole, "crops": done}
    for below, level in levels.items():
        if level.confusion is not None:
            write_matrix(done.folder / below, level.confusion, done.classes, level.unit)


def _command(
    path: Path,
    split: str,
    overrides: Sequence[str],
    *,
    threshold: float | str | None,
    tta: bool | None,
    data: Path | None,
    out: Path | None,
    model_files: Sequence[Path],
) -> list[str]:
    """Write the command line that repeats the evaluation."""
    words = ["segcli", "eval", shown(path), *overrides, "--split", split]
    if data is not None:
        words += ["--data", shown(data)]
    if threshold is not None:
        words += ["--threshold", str(threshold)]
    if tta is not None:
        words.append("--tta" if tta else "--no-tta")
    for file in model_files:
        words += ["--model-file", shown(file)]
    return words if out is None else [*words, "--out", shown(out)]


def _with_wholes(done: Evaluated, parts: Assembly, result: Evaluation, history: list[dict[str, Any]]) -> Evaluated:
    """Add the scores of samples, and write tables and pictures of predicted classes."""
    word, whole, folder = parts.layout.whole or "image", None, done.folder
    files = ["predictions.csv", "curves.png"]
    if result.whole is not None:
        tally = result.whole.tally
        whole = replace(
            done,
            num_images=len(result.whole.cases),
            losses={},
            scores=[score(metric, tally.statistics(metric), seed=parts.run.seed) for metric in _unique(parts.metrics)],
            images=[case.id for case in result.whole.cases],
            image_groups=[case.group for case in result.whole.cases],
            groups={},
            confusion=result.whole.confusion,
            unit=f"{word}s",
            notes=[],
        )
        write_answers(folder / "crops" / "predictions.csv", _rows(result), done.classes, "crop")
        files.append("crops/predictions.csv")
    top = result if result.whole is None else result.whole
    rows = _rows(top)
    write_answers(folder / "predictions.csv", rows, done.classes, word)
    write_curves(folder / "curves.png", history)
    wrong = sorted((-row.probs.max(), at) for at, row in enumerate(rows) if row.found != row.truth)
    mistakes = [
        (rows[at], _slice(parts, _most_certain(result, top.cases[at], rows[at]))) for _, at in wrong[:MOST_MISTAKES]
    ]
    if mistakes:
        write_mistakes(folder / "mistakes.png", mistakes, done.classes)
        files.append("mistakes.png")
    else:
        (folder / "mistakes.png").unlink(missing_ok=True)
    unit = "images" if whole is None else "crops"
    return replace(
        done, unit=unit, whole=whole, word=parts.layout.whole, files=files, notes=[], answers=rows, mistakes=mistakes
    )


def _rows(result: Evaluation) -> list[Row]:
    return [
        Row(case.id, answer.probs, answer.parts, answer.truth)
        for case, answer in zip(result.cases, result.answers, strict=True)
    ]


def _most_certain(result: Evaluation, case: Case, row: Row) -> Case:
    """Find the crop of a sample with the largest probability of the predicted class; an image is its own crop."""
    found = [
        (float(answer.probs[row.found]), -number)
        for number, (each, answer) in enumerate(zip(result.cases, result.answers, strict=True))
        if each.part_of == case.part_of and (case.part_of is not None or each.id == case.id)
    ]
    return result.cases[-max(found)[1]]


def _slice(parts: Assembly, case: Case) -> Array:
    """Read the middle slice of an image."""
    image = parts.layout.read(case).image[..., 0]
    middle: Array = image[len(image) // 2] if image.ndim == 3 else image
    return middle


def _track(done: Evaluated, run: Run, folder: Path, listener: Listener) -> None:
    """Send the scores of the test split to the trackers of the run; a checkpoint outside a run folder has none."""
    if done.split != "test" or done.data is not None:
        return
    if not RunFolder(folder).holds(done.checkpoint):
        listener.notice(f"`{done.checkpoint}` is not in a run folder: its scores are not sent to trackers")
        return
    tracking = Tracking(run, folder, listener, first_step=None)
    scores = {**done.losses, **{entry.name: entry.value for entry in done.scores}}
    tracking.test_scores({f"test/{name}": value for name, value in scores.items()}, done.epoch)
    tracking.close()


def _with_all_metrics(run: Run) -> Run:
    """Add every metric of the task that can score these images."""
    have = [section.type for section in run.training.metrics]
    ndim = run.dataset.kind.ndim
    calibrated = (None, *calibrated_outputs(run))
    kinds = {name: METRICS.load(name) for name in TASKS.load(run.task_name).evaluation_metrics}
    more = [
        MetricSection(type=METRICS.canonical(name))
        for name, kind in kinds.items()
        if ndim in kind.can_ndim
        and run.dataset.num_classes >= kind.least_classes
        and kind.needs_calibrated in calibrated
    ]
    metrics = [*run.training.metrics, *(section for section in more if section.type not in have)]
    return run.model_copy(update={"training": run.training.model_copy(update={"metrics": metrics})})


def _with_best_threshold(
    parts: Assembly, own: Run, split: str | None, notes: list[str], listener: Listener, world: World
) -> tuple[Assembly, list[str]]:
    """Choose the threshold with the best Dice on the validation images of the run; returns the parts and the notes.

    Args:
        parts: Parts of the run that is scored.
        own: The run with its own data.
        split: Split that is scored; None for other data.
        notes: Notes so far.
        listener: Receives progress.
        world: Processes that share out the validation images.
    """
    judge = parts
    if split is None:
        judge = replace(parts, run=parts.run.model_copy(update={"dataset": own.dataset}), layout=own.dataset.build())
    refuse_without(
        judge.layout, "val", "validation split to choose the threshold on", "give a number with `--threshold`"
    )
    cases = checked_cases(judge, ["val"], listener)["val"]
    with StopSignal():
        best = best_threshold(judge, cases, listener, world)
    note = f"threshold {best} has the best Dice over all pixels of {len(cases)} validation images"
    if split == "val":
        note += "; the scores are too good, because the same images are scored here"
    return replace(parts, run=parts.run.predicting(threshold=best)), [note, *notes]


def _unique(metrics: list[Metric]) -> list[Metric]:
    return list({metric.name: metric for metric in metrics}.values())


def _by_group(result: Evaluation, metrics: list[Metric]) -> dict[str, dict[str, float]]:
    """Compute each metric for the cases of each scenario, and count the cases; empty without scenarios."""
    names = [case.group for case in result.cases]
    found: dict[str, dict[str, float]] = {}
    for group in sorted({name for name in names if name is not None}):
        rows = np.array([name == group for name in names])
        values = {
            metric.name: headline(metric, part_of(result.tally.statistics(metric), group, rows))
            for metric in _unique(metrics)
        }
        found[group] = {"num_images": int(rows.sum()), **values}
    return found


def _undefined(scores: list[Score], count: int) -> list[str]:
    return [
        f"{entry.name} is not defined for {count - entry.num_images} of {count} images; its mean leaves them out"
        for entry in scores
        if entry.num_images < count and images_behind(entry) != "-"
    ]
