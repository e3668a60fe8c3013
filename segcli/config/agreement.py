"""Check that keys work together, and find keys that have no effect beside others."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from segcli.config.document import Document, Loc, Problem
from segcli.config.duration import check_length, epochs_of
from segcli.config.monitored import monitored
from segcli.config.schema import Run
from segcli.config.sections import Component, DatasetSection, LossPart
from segcli.core.errors import ConfigError
from segcli.core.registry import LOSSES, TASKS, label
from segcli.data.settings import Augmentation

__all__ = ["check_root", "check_together", "doubts", "without_effect"]

STOPPING = ("training", "early_stopping")
LOUD = 0.5
"""A `noise_std` above this hides what is in a volume."""


@dataclass(frozen=True)
class _Agreement:
    """Hold a run and the components that it chooses."""

    run: Run
    document: Document
    layout: Any
    task: Any
    model: Any
    losses: dict[str, Any]
    metrics: dict[str, Any]

    def wrong(self, loc: Loc, message: str, hint: str | None = None) -> None:
        """Report a problem with a key."""
        _blame(self.document, loc, message, hint)


def _blame(document: Document, loc: Loc, message: str, hint: str | None = None) -> None:
    document.problems.append(Problem(document.origin(loc), ".".join(map(str, loc)), message, hint))


def check_root(dataset: DatasetSection, document: Document) -> None:
    """Report a data set without a folder."""
    if dataset.paths.root is None:
        _blame(document, ("dataset", "paths", "root"), "is not set", "give the folder of the data set")


def check_together(run: Run, document: Document) -> None:
    """Report keys that cannot work together."""
    try:
        task = TASKS.load(run.task_name)
    except ConfigError as error:
        loc = ("dataset", "task" if run.dataset.task else "num_classes")
        _blame(document, loc, error.message, error.hint)
        return
    chosen = _Agreement(
        run,
        document,
        layout=run.dataset.kind,
        task=task(run.dataset.spec),
        model=run.model.kind,
        losses={name: kind for name, (_, kind) in run.losses.items()},
        metrics={name: section.kind for name, section in run.metrics.items()},
    )
    _check_model(chosen)
    check_root(run.dataset, document)
    if not any(part.weight for part in run.training.loss.values()):
        chosen.wrong(("training", "loss"), "every part weighs 0: nothing would be trained", "give one of them a weight")
    _check_task(chosen)
    _check_sizes(chosen)
    _check_metrics(chosen)
    _check_losses(chosen)
    _check_inference(chosen)
    check_length(run, document)
    _check_monitor(chosen)


def _check_model(chosen: _Agreement) -> None:
    model, dataset, task = chosen.run.model, chosen.run.dataset, chosen.task
    if model.in_channels not in (None, dataset.num_channels):
        message = f"is {model.in_channels}, the data set has {dataset.num_channels} channels"
        chosen.wrong(("model", "in_channels"), message)
    needed = task.outputs[0].channels
    if model.out_channels not in (None, needed):
        chosen.wrong(
            ("model", "out_channels"),
            f"is {model.out_channels}, the data set with `num_classes: {dataset.num_classes}` needs {needed}",
        )
    if model.final_activation not in (None, "none", task.activation):
        chosen.wrong(
            ("model", "final_activation"),
            f"is `{model.final_activation}`, task `{chosen.run.task_name}` has `{task.activation}`",
        )


def _check_task(chosen: _Agreement) -> None:
    dataset, task, name = chosen.run.dataset, chosen.task, chosen.run.task_name
    if task.output not in chosen.layout.truths:
        chosen.wrong(
            ("dataset", "task"),
            f"is `{name}`, which learns from a `{task.output}` that format `{dataset.format}` does not have",
            f"leave it out: it is `{chosen.layout.default_task(dataset.num_classes)}`",
        )
    if not task.has_pixels and dataset.num_classes < 2:
        message = f"is {dataset.num_classes}, and task `{name}` tells classes apart"
        chosen.wrong(("dataset", "num_classes"), message, "name two classes at least in `dataset.classes`")


def _check_sizes(chosen: _Agreement) -> None:
    run, ndim = chosen.run, chosen.layout.ndim
    for loc, size in (
        (("dataset", "image_size"), run.dataset.image_size),
        (("data", "image_size"), run.data.image_size),
        (("data", "patch_size"), run.data.patch_size),
        (("inference", "tile"), run.inference.tile),
    ):
        if size is not None and len(size) != ndim:
            chosen.wrong(loc, f"has {len(size)} sizes, images of format `{run.dataset.format}` have {ndim} axes")
    tiled = run.inference.tile not in (None, run.data.patch_size)
    if tiled and not chosen.task.has_pixels:
        message = f"cuts images into tiles, and task `{run.task_name}` finds one class for each image"
        chosen.wrong(("inference", "tile"), message, "leave it out")
    if ndim == 3 and run.inference.tta == "horizontal":
        message = f"`horizontal` is for 2D images, those of format `{run.dataset.format}` are volumes"
        chosen.wrong(("inference", "tta"), message, "`true` takes the flips along every axis")


def _check_metrics(chosen: _Agreement) -> None:
    run, ndim = chosen.run, chosen.layout.ndim
    names = [label(section.type) for section in run.training.metrics]
    for index, section in enumerate(run.training.metrics):
        kind = chosen.metrics.get(names[index])
        if kind is None:
            continue  # left out
        if names[index] in names[:index]:
            chosen.wrong(("training", "metrics", index), f"`{section.type}` stands twice", "remove one of them")
        if kind.needs_classes and run.dataset.num_classes == 1:
            message = f"`{section.type}` is a metric of many classes, the data set has one mask"
            chosen.wrong(("training", "metrics", index), message, "one of dice, iou, accuracy, balanced_accuracy")
        if kind.needs_pixels and not chosen.task.has_pixels:
            message = f"`{section.type}` is a metric of pixels, task `{run.task_name}` has one class for each image"
            chosen.wrong(("training", "metrics", index), message, "one of accuracy, top2, f1, precision, recall, auc")
        if ndim not in kind.can_ndim:
            message = f"`{section.type}` cannot score the images of {ndim} axes of format `{run.dataset.format}`"
            chosen.wrong(("training", "metrics", index), message)


def _check_losses(chosen: _Agreement) -> None:
    run, task = chosen.run, chosen.task
    names = [label(name) for name in run.training.loss]
    for name, part in run.training.loss.items():
        kind = chosen.losses.get(label(name))
        if kind is None:
            continue  # left out
        if names.count(label(name)) > 1:
            chosen.wrong(("training", "loss", name), f"`{label(name)}` stands twice", "give one of them another name")
        mistake = kind.mistake(kind.Config.model_validate(part.options), run.dataset.num_classes)
        if mistake is not None:
            chosen.wrong(("training", "loss", name), mistake)
        extras = (each for each in task.extras if each.name in chosen.model.can_output)
        given = {each.name for each in (*task.outputs, *extras)}
        about = task.output if task.output in kind.can_answer else "mask"
        needs = [about if output == "mask" else output for output in kind.needs]
        missing = [f"`{output}`" for output in needs if output not in given]
        if missing:
            chosen.wrong(
                ("training", "loss", name),
                f"`{name}` needs the outputs {', '.join(missing)}, and model `{run.model.type}` does not give them in "
                f"task `{run.task_name}`",
                f"take `{task.default_loss}`",
            )
        kinds = kind.can_target
        if task.target not in kinds:
            what = {"masks": "masks of their own", "classes": "classes that exclude each other"}
            chosen.wrong(
                ("training", "loss", name),
                f"`{name}` is a loss of {what[kinds[0]]}, task `{run.task_name}` has {what[task.target]}",
                f"take `{task.default_loss}`",
            )


def _check_inference(chosen: _Agreement) -> None:
    run = chosen.run
    if run.inference.fov == "auto" and (chosen.layout.ndim != 2 or not chosen.task.has_pixels):
        message = f"is for masks of 2D images, not for format `{run.dataset.format}` with task `{run.task_name}`"
        chosen.wrong(("inference", "fov"), message, "leave it out")
    if run.inference.undo_class_weights and all(part.class_weights == "none" for part in run.training.loss.values()):
        chosen.wrong(
            ("inference", "undo_class_weights"),
            "is set, and no part of the loss has `class_weights`",
            "leave it out, or set `training.loss.cross_entropy.class_weights`",
        )


def _check_monitor(chosen: _Agreement) -> None:
    stopping = chosen.run.training.early_stopping
    metrics = {name: kind.higher_is_better for name, kind in chosen.metrics.items()}
    rises = monitored(metrics, chosen.layout.whole, chosen.losses)
    monitor = stopping.monitor or next(iter(rises))
    if chosen.run.leaves_out:
        return  # nothing is monitored, because this is no training
    if monitor not in rises:
        chosen.wrong(
            (*STOPPING, "monitor"),
            f"`{monitor}` is not computed in this run",
            f"one of {', '.join(rises)}, or add it to `training.metrics`",
        )
        return
    better = "max" if rises[monitor] else "min"
    typed = any(loc[:2] == STOPPING for loc in chosen.document.origins)  # runs of earlier versions can still be read
    if typed and stopping.mode not in (None, better):
        chosen.wrong(
            (*STOPPING, "mode"),
            f"is `{stopping.mode}`, but {'higher' if rises[monitor] else 'lower'} is better for `{monitor}`: the worst "
            "epoch would be kept as the best checkpoint",
            f"set `training.early_stopping.mode={better}`, or leave `mode` out",
        )


def doubts(run: Run) -> list[str]:
    """Describe values that work and are probably not meant."""
    noise, logging, found = run.data.augmentation.noise_std, run.logging, []
    if noise is not None and noise > LOUD and run.data.augmentation.enabled:
        found.append(
            f"`data.augmentation.noise_std` is {noise:g} standard deviations of the volume, which hides its content; "
            "it is not in units of intensity, and 0.02 to 0.1 is usual"
        )
    if logging.log_activations and not logging.activation_layers:
        found.append(
            "`logging.log_activations` has no effect: `logging.activation_layers` names no layer; `all` takes every "
            "layer, `auto` the blocks that the model chooses"
        )
    return found


@dataclass(frozen=True)
class _Idle:
    """Describe a key that has no effect in some runs."""

    key: str
    when: Callable[[Run], Any]
    """True for a run in which a value other than the default has no effect."""
    why: str


def _validations(run: Run) -> int:
    return -(-epochs_of(run) // run.training.val_interval)


def _measures(run: Run) -> bool:
    unstated = run.data.preprocessing.normalize is True and run.dataset.mean is None
    return unstated or any(part.class_weights != "none" for part in run.training.loss.values())


def _has_noise(augmentation: Augmentation) -> bool:
    """Tell whether volumes get noise; without keys of their own they get that of a preset."""
    return bool(augmentation.preset or augmentation.noise_std or augmentation.noise_up_to)


def _ndim(run: Run) -> int:
    return int(run.dataset.kind.ndim)


def _scheduler_key(run: Run, key: str) -> int:
    """Value of a key of the scheduler; 0 if it has no such key."""
    return int(run.training.scheduler.options.get(key, 0))


IDLE = (
    _Idle("training.ema.decay", lambda run: not run.training.ema.enabled, "`training.ema.enabled` is false"),
    _Idle(
        "training.early_stopping.patience",
        lambda run: not run.training.early_stopping.enabled,
        "`training.early_stopping.enabled` is false",
    ),
    _Idle(
        "training.early_stopping.patience",
        lambda run: run.training.early_stopping.enabled and run.training.early_stopping.patience >= _validations(run),
        "the training has too few validations to reach it",
    ),
    _Idle(
        "training.scheduler.patience",
        lambda run: _scheduler_key(run, "patience") >= _validations(run),
        "the training has too few validations to reach it",
    ),
    _Idle(
        "training.scheduler.step_size",
        lambda run: _scheduler_key(run, "step_size") >= epochs_of(run),
        "the training has too few epochs to reach it",
    ),
    *(
        _Idle(f"model.{key}", lambda run: run.model.weights is None, "`model.weights` is not set")
        for key in ("weights_map", "weights_sha256")
    ),
    _Idle("training.unfreeze_every", lambda run: not run.training.freeze, "`training.freeze` is not set"),
    _Idle("training.validate_on", lambda run: run.device == "cpu", "`device` is `cpu`"),
    _Idle("data.foreground_share", lambda run: not run.data.patch_size, "`data.patch_size` is not set"),
    _Idle(
        "data.cache_dir",
        lambda run: run.data.cache != "disk" and not _measures(run),  # measured numbers are kept there, too
        "`data.cache` is not `disk`",
    ),
    _Idle(
        "data.drop_last",
        lambda run: run.data.batch_size == 1 and not run.data.fit_batch_size,
        "`data.batch_size` is 1",
    ),
    _Idle("data.slot_size", lambda run: run.training.reduce == "fast", "`training.reduce` is `fast`"),
    _Idle("data.val_batch_size", lambda run: run.device == "cpu", "the CPU chooses the number itself"),
    _Idle(
        "data.augmentation.flip_probability",
        lambda run: not run.data.augmentation.flips(_ndim(run)),
        "nothing is flipped",
    ),
    _Idle(
        "data.augmentation.turn_probability",
        lambda run: not run.data.augmentation.turns(_ndim(run)),
        "nothing is turned",
    ),
    _Idle(
        "data.augmentation.noise_share",
        lambda run: not _has_noise(run.data.augmentation),
        "neither `noise_std` nor `noise_up_to` is set",
    ),
    _Idle(
        "training.loss.cross_entropy.beta",
        lambda run: run.training.loss["cross_entropy"].class_weights in ("none", "inverse", "median_frequency"),
        "`class_weights` is not `effective_number`",
    ),
    *(
        _Idle(
            f"data.augmentation.{key}",
            lambda run: not run.data.augmentation.enabled,
            "`data.augmentation.enabled` is false",
        )
        for key in Augmentation.model_fields
        if key != "enabled"
    ),
    _Idle("inference.overlap", lambda run: run.inference.tile is None, "`inference.tile` is null"),
    _Idle(
        "inference.threshold",
        lambda run: TASKS.load(run.task_name).target == "classes",
        "the most probable class is taken",
    ),
    _Idle("checkpoint.save_every", lambda run: run.checkpoint.keep_best_only, "`checkpoint.keep_best_only` is true"),
    _Idle(
        "checkpoint.save_every",
        lambda run: (run.checkpoint.save_every or 0) > epochs_of(run),
        "the training has fewer epochs than that",
    ),
    _Idle(
        "checkpoint.max_checkpoints", lambda run: not run.checkpoint.save_every, "`checkpoint.save_every` is not set"
    ),
    _Idle("checkpoint.keep_best_only", lambda run: not run.checkpoint.save_every, "`checkpoint.save_every` is not set"),
    _Idle(
        "logging.log_activations",
        lambda run: run.logging.activation_log_frequency > epochs_of(run),
        "the training has fewer epochs than `logging.activation_log_frequency`",
    ),
    _Idle(
        "logging.visualization_interval",
        lambda run: (run.logging.visualization_interval or 0) > epochs_of(run),
        "the training has fewer epochs than that",
    ),
    _Idle("logging.image_log_frequency", lambda run: not run.logging.log_images, "`logging.log_images` is false"),
    *(
        _Idle(f"logging.{key}", lambda run: not run.logging.log_activations, "`logging.log_activations` is false")
        for key in ("activation_log_frequency", "activation_layers")
    ),
    _Idle(
        "debug.estimate_activations",
        lambda run: not (run.debug.profile_memory or run.debug.detailed_memory),
        "`debug.profile_memory` is false",
    ),
)
"""Keys that have no effect, each with the reason."""


def without_effect(run: Run) -> list[str]:
    """Describe each key that differs from its default and has no effect in this run."""
    found = {idle.key: idle for idle in IDLE if _differs(run, idle.key) and idle.when(run)}
    return [f"`{key}` has no effect: {idle.why}" for key, idle in found.items()]


def _differs(run: Run, dotted: str) -> bool:
    """Tell whether a key differs from its default; a key of the component that a section chooses is one too."""
    *sections, key = dotted.split(".")
    section: Any = run
    for name in sections:
        section = section.get(name) if isinstance(section, dict) else getattr(section, name)
    if section is None:
        return False  # a loss that the run does not have
    fields = type(section).model_fields
    if key not in fields and isinstance(section, Component):
        fields = section.kind.Config.model_fields
    if key not in fields and isinstance(section, LossPart):
        fields = LOSSES.load(sections[-1]).Config.model_fields
    return key in fields and getattr(section, key, None) != fields[key].get_default(call_default_factory=True)
