"""Check keys that are right by themselves and may not work together."""

from typing import Any

from segcli.config.document import Document, Loc, Problem
from segcli.config.schema import Run
from segcli.core.errors import ConfigError
from segcli.core.registry import DATASETS, LOSSES, METRICS, MODELS, TASKS

__all__ = ["ROOT_HINT", "check_together"]

ROOT_HINT = "give the folder of the data set"


def check_together(run: Run, document: Document) -> list[Problem]:
    """List keys that are right by themselves and cannot work together."""
    problems = []

    def wrong(loc: Loc, message: str, hint: str | None = None) -> None:
        problems.append(Problem(document.origin(loc), ".".join(map(str, loc)), message, hint))

    try:
        task = TASKS.load(run.task_name)
    except ConfigError as error:
        wrong(("dataset", "task" if run.dataset.task else "num_classes"), error.message, error.hint)
        return problems
    model, dataset = run.model, run.dataset
    if model.in_channels not in (None, dataset.num_channels):
        wrong(("model", "in_channels"), f"is {model.in_channels}, the data set has {dataset.num_channels} channels")
    made = task(dataset.spec)
    outputs = made.outputs
    if model.out_channels not in (None, next(iter(outputs.values()))):
        wrong(
            ("model", "out_channels"),
            f"is {model.out_channels}, the data set with `num_classes: {dataset.num_classes}` needs "
            f"{next(iter(outputs.values()))}",
        )
    if model.final_activation not in (None, "none", task.activation):
        wrong(
            ("model", "final_activation"),
            f"is `{model.final_activation}`, task `{run.task_name}` has `{task.activation}`",
        )
    if dataset.paths.root is None:
        wrong(("dataset", "paths", "root"), "is not set", ROOT_HINT)
    if not any(part.weight for part in run.training.loss.values()):
        wrong(("training", "loss"), "every part weighs 0: nothing would be learnt", "give one of them a weight")
    layout = DATASETS.load(dataset.format)
    if task.output not in layout.truths:
        wrong(
            ("dataset", "task"),
            f"is `{run.task_name}`, which learns from a `{task.output}` that format `{dataset.format}` does not have",
            f"leave it out: it is `{layout.default_task(dataset.num_classes)}`",
        )
    if not task.has_pixels and dataset.num_classes < 2:
        message = f"is {dataset.num_classes}, and task `{run.task_name}` tells classes apart"
        wrong(("dataset", "num_classes"), message, "name two classes at least in `dataset.classes`")
    _check_sizes(run, wrong)
    _check_metrics(run, wrong)
    _check_losses(run, made, wrong)
    _check_inference(run, wrong)
    _check_monitor(run, wrong)
    if run.data.preprocessing.normalize is True and dataset.mean is None:
        wrong(
            ("dataset", "mean"),
            "is missing, and `data.preprocessing.normalize` needs it",
            "`segcli data stats` prints `mean` and `std`; or set `data.preprocessing.normalize=per_image`",
        )
    return problems


def _check_sizes(run: Run, wrong: Any) -> None:
    ndim = DATASETS.load(run.dataset.format).ndim
    for loc, size in (
        (("dataset", "image_size"), run.dataset.image_size),
        (("data", "image_size"), run.data.image_size),
        (("data", "patch_size"), run.data.patch_size),
        (("inference", "tile"), run.inference.tile),
    ):
        if size is not None and len(size) != ndim:
            wrong(loc, f"has {len(size)} sizes, images of format `{run.dataset.format}` have {ndim} axes")
    tiled = run.inference.tile not in (None, run.data.patch_size)
    if tiled and not TASKS.load(run.task_name).has_pixels:
        message = f"cuts images into tiles, and task `{run.task_name}` finds one class for each image"
        wrong(("inference", "tile"), message, "leave it out")
    if ndim == 3 and run.inference.tta == "horizontal":
        message = f"`horizontal` is for 2D images, those of format `{run.dataset.format}` are volumes"
        wrong(("inference", "tta"), message, "`true` takes the flips along every axis")


def _check_metrics(run: Run, wrong: Any) -> None:
    ndim = DATASETS.load(run.dataset.format).ndim
    names = [section.type for section in run.training.metrics]
    for index, section in enumerate(run.training.metrics):
        if section.type in names[:index]:
            wrong(("training", "metrics", index), f"`{section.type}` stands twice", "remove one of them")
        if METRICS.load(section.type).needs_classes and run.dataset.num_classes == 1:
            message = f"`{section.type}` is a metric of many classes, the data set has one mask"
            wrong(("training", "metrics", index), message, "one of dice, iou, accuracy, balanced_accuracy")
        if METRICS.load(section.type).needs_pixels and not TASKS.load(run.task_name).has_pixels:
            message = f"`{section.type}` is a metric of pixels, task `{run.task_name}` has one class for each image"
            wrong(("training", "metrics", index), message, "one of accuracy, top2, f1, precision, recall, auc")
        if ndim not in METRICS.load(section.type).can_ndim:
            message = f"`{section.type}` cannot score the images of {ndim} axes of format `{run.dataset.format}`"
            wrong(("training", "metrics", index), message)


def _check_losses(run: Run, task: Any, wrong: Any) -> None:
    for name, part in run.training.loss.items():
        kind = LOSSES.load(name)
        mistake = kind.mistake(kind.Config.model_validate(part.options), run.dataset.num_classes)
        if mistake is not None:
            wrong(("training", "loss", name), mistake)
        given = {*task.outputs, *(set(task.extras) & set(MODELS.load(run.model.type).can_output))}
        about = task.output if task.output in kind.can_answer else "mask"
        needs = [about if output == "mask" else output for output in kind.needs]
        missing = [f"`{output}`" for output in needs if output not in given]
        if missing:
            wrong(
                ("training", "loss", name),
                f"`{name}` needs the outputs {', '.join(missing)}, and model `{run.model.type}` does not give them in "
                f"task `{run.task_name}`",
                f"take `{task.default_loss}`",
            )
        kinds = kind.can_target
        if task.target not in kinds:
            what = {"masks": "masks of their own", "classes": "classes that exclude each other"}
            wrong(
                ("training", "loss", name),
                f"`{name}` is a loss of {what[kinds[0]]}, task `{run.task_name}` has {what[task.target]}",
                f"take `{task.default_loss}`",
            )


def _check_inference(run: Run, wrong: Any) -> None:
    if run.inference.undo_class_weights and all(part.class_weights == "none" for part in run.training.loss.values()):
        wrong(
            ("inference", "undo_class_weights"),
            "is set, and no part of the loss has `class_weights`",
            "leave it out, or set `training.loss.cross_entropy.class_weights`",
        )


def _check_monitor(run: Run, wrong: Any) -> None:
    monitor = run.training.early_stopping.monitor
    if monitor is None:
        return
    legal = ["val_loss", *(f"val_{metric.type}" for metric in run.training.metrics)]
    whole = DATASETS.load(run.dataset.format).whole
    legal += [f"val_{whole}_{metric.type}" for metric in run.training.metrics if whole is not None]
    legal += [f"val_loss_{name}" for name in run.training.loss if len(run.training.loss) > 1]
    if monitor not in legal:
        loc = ("training", "early_stopping", "monitor")
        wrong(
            loc,
            f"`{monitor}` is not computed in this run",
            f"one of {', '.join(legal)}, or add it to `training.metrics`",
        )
