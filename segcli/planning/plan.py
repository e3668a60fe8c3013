"""Plan an experiment from the facts about a data set, the machine and the time; each choice with its reason."""

from math import inf, prod
from typing import Any

from segcli.planning.facts import Measures, Plan, Recognised
from segcli.planning.learning import augmentation, inference, loss, metrics, sampling
from segcli.planning.machine import Machine
from segcli.planning.network import BASES, Shape, operations, shaped
from segcli.planning.room import Room
from segcli.report.memory import size as in_units

__all__ = ["USUAL_MINUTES", "planned"]

USUAL_MINUTES = 30.0
"""Minutes that a plan is made for if none are given."""
CHECKING = 0.1
"""Share of the time for validations."""
CACHED = 0.2
"""Share of the memory that decoded images may fill."""
CLASSIFIERS: tuple[tuple[float, dict[str, Any]], ...] = (
    (60, {"depths": [4, 8, 16], "convolutions": 1, "classifier_size": 32, "dropout": 0.3}),
    (1000, {"depths": [8, 16, 32], "convolutions": 1, "classifier_size": 64, "dropout": 0.3}),
    (inf, {"depths": [16, 32, 64], "convolutions": 2, "classifier_size": 256, "dropout": 0.4}),
)
"""Networks for one class of each volume, each with the number of training samples from which on a larger one is taken.
So small volumes in a number of 15 or more have no more parameters than `data check` calls many."""


def planned(
    found: Recognised, measures: Measures, machine: Machine, minutes: float | None = None, room: Room | None = None
) -> Plan:
    """Plan an experiment.

    Args:
        found: The data set.
        measures: What its pixels say.
        machine: Where it is trained.
        minutes: Minutes that the training takes; None leaves the number of epochs to an estimate.
        room: What the memory has room for; None: all.
    """
    plan = Plan({"data": {}, "model": {}, "training": {}, "inference": {}})
    seconds = 60.0 * (USUAL_MINUTES if minutes is None else minutes)
    if found.task == "classification":
        _classify(plan, measures)
        steps = 60 * _per_epoch(plan, measures)
    else:
        shape = shaped(measures, machine, seconds, least_levels=3 if measures.ndim == 2 else 2, room=room)
        steps = shape.steps
        _segment(plan, measures, machine, found.task, shape)
    _load(plan, measures, machine, found.task)
    _learn(plan, measures, found.task, steps, minutes)
    for key, (value, reason) in inference(measures, found.task).items():
        _put(plan, f"inference.{key}", value, reason)
    if found.task != "classification":
        _check(plan, measures, machine, shape)
    plan.keys["device"] = "auto"
    plan.keys = {key: value for key, value in plan.keys.items() if value != {}}
    return plan


def _put(plan: Plan, dotted: str, value: Any, reason: str = "") -> None:
    *sections, key = dotted.split(".")
    target = plan.keys
    for section in sections:
        target = target.setdefault(section, {})
    target[key] = value
    if reason:
        plan.reasons[dotted] = reason


def _per_epoch(plan: Plan, measures: Measures) -> int:
    """Count the optimizer steps of an epoch."""
    data = plan.keys["data"]
    steps: int = max(1, -(-measures.counts.get("train", 1) * data.get("patches_per_image", 1) // data["batch_size"]))
    return steps


def _classify(plan: Plan, measures: Measures) -> None:
    """Choose a network for one class of each volume."""
    samples = measures.counts.get("train", 0)
    _put(plan, "data.batch_size", 8, "batch norm needs some samples in each step")
    keys = next(keys for most, keys in CLASSIFIERS if samples < most)
    plan.keys["model"] = {"type": "vgg3d", **keys}
    is_largest = keys is CLASSIFIERS[-1][1]
    learnt = "" if is_largest else ": a larger network would learn them by heart"
    plan.reasons["model.depths"] = f"{samples:,} training samples{learnt}"


def _segment(plan: Plan, measures: Measures, machine: Machine, task: str, shape: Shape) -> None:
    """Write down the network, and what it sees in a step."""
    absent = task == "structures" and min(measures.presence.values(), default=1.0) < 0.95
    model = plan.keys["model"]
    model["type"] = "sadaan" if absent else "unet"
    if absent:
        plan.reasons["model.type"] = "it tells for each structure whether it is there, and draws it only then"
        shape.reasons.pop("model.strides", None)
    model["depths"] = shape.widths
    plan.num_widths = len(BASES[measures.ndim])
    if absent:
        model["features"] = 2 * shape.widths[0]
    else:
        plan.patch_multiple = shape.multiple
    if not shape.is_isotropic and not absent:
        model["strides"] = shape.strides
    if shape.stem > 1:
        model["stem_stride"] = shape.stem
    data = plan.keys["data"]
    data["batch_size"] = shape.batch
    if shape.patch is not None and not absent:
        data["patch_size"] = shape.patch
        data["patches_per_image"] = shape.patches
        _put(plan, "data.foreground_share", *sampling(measures))
    plan.reasons |= {key: reason for key, reason in shape.reasons.items() if _stands(plan.keys, key)}


def _stands(keys: dict[str, Any], dotted: str) -> bool:
    section, key = dotted.split(".")
    return key in keys[section]


def _load(plan: Plan, measures: Measures, machine: Machine, task: str) -> None:
    """Choose loading, preprocessing and augmentation."""
    pixels = prod(measures.sizes.median) * (measures.channels * measures.bits / 8.0 + 2.0)
    needed = pixels * sum(measures.counts.values())
    workers = min(machine.cores - 1, 8) if machine.is_gpu else 2 if measures.ndim == 2 and machine.cores > 1 else 0
    _put(plan, "data.num_workers", max(workers, 0), f"{machine.cores} cores")
    if needed < CACHED * machine.ram_gib * 2**30 and measures.counts.get("train", 0) > 0:
        reason = f"decoded, all images take {in_units(needed)} of the {machine.ram_gib:.0f} GiB of memory"
        _put(plan, "data.cache", "memory", reason)
    crop = plan.keys["data"].get("patch_size", measures.sizes.median)
    _put(plan, "data.augmentation", *augmentation(measures, task, crop))
    normalize, reason = measures.normalize, measures.normalize_reason
    if measures.is_scene:
        normalize, reason = "per_image", "light differs from place to place and from hour to hour"
    if normalize is not True:
        _put(plan, "data.preprocessing.normalize", normalize, reason)


def _learn(plan: Plan, measures: Measures, task: str, steps: int, minutes: float | None) -> None:
    """Choose length, optimizer, schedule, loss and metrics."""
    if minutes is None:
        epochs = max(5, min(1000, round(steps / _per_epoch(plan, measures))))
        _put(
            plan, "training.epochs", epochs, f"about {USUAL_MINUTES:.0f} minutes; `--minutes` times it on this machine"
        )
    else:
        _put(plan, "training.minutes", minutes, "a few steps are timed before the first epoch")
    many = len(measures.class_shares) > 4
    rate = 0.002 if many or task == "classification" else 0.003
    optimizer = {"type": "adamw", "learning_rate": rate, "weight_decay": 0.02 if many else 0.01}
    _put(
        plan,
        "training.optimizer",
        optimizer,
        "the peak of one cycle, which needs no tuning in trainings of this length",
    )
    _put(plan, "training.scheduler", {"type": "one_cycle"}, "the rate rises and falls to zero by the end")
    _put(plan, "training.loss", *loss(measures, task))
    _put(plan, "training.metrics", *metrics(measures, task))
    window = max(50, min(500, steps // 10))
    decay = round(1.0 - 1.0 / window, 4)
    _put(plan, "training.ema", {"decay": decay}, f"weights are averaged over about {window} steps")
    if measures.ndim == 3 and task != "classification":
        _put(plan, "training.gradient_clip_norm", 5.0, "small batches of volumes have steep steps now and then")
    if task != "classification":
        _put(plan, "training.amp", "auto", "bf16 where it is faster here, full precision elsewhere")
    if isinstance(plan.keys["training"]["loss"].get("cross_entropy"), dict) and measures.is_scene:
        _put(
            plan, "inference.undo_class_weights", 0.5, "half of the class weights is taken back: fewer false positives"
        )


def _check(plan: Plan, measures: Measures, machine: Machine, shape: Shape) -> None:
    """Choose how often the training is validated."""
    settings = plan.keys["inference"]
    views = {True: 8.0, "horizontal": 2.0}.get(settings.get("tta", False), 1.0)
    scaled = sum(scale**2 for scale in settings.get("scales", [1.0]))
    pixels = measures.counts.get("val", 0) * prod(measures.sizes.median) * views * scaled
    each = operations(shape.widths, shape.stem, shape.strides, measures.channels, measures.ndim)
    seen = prod(shape.patch or measures.sizes.median) * measures.counts.get("train", 1) * shape.patches
    per_epoch = max(1, -(-measures.counts.get("train", 1) * shape.patches // shape.batch))
    share = pixels * each / max(3.0 * seen * each, 1.0)
    epochs = plan.keys["training"].get("epochs", max(1, shape.steps // per_epoch))
    interval = max(1, min(round(share / CHECKING), epochs))
    if interval > 1:
        _put(plan, "training.val_interval", interval, f"a validation takes {share:.2g} times as long as an epoch")
