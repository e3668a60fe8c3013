"""Other names of networks, losses, optimizers, schedules and metrics that only earlier scripts had.

Names that any config may use stand in the files of the components, as `ALIASES`.
"""

from typing import Any

from segcli.config.earlier.row import Asked, LeftOut, Sets, Undecided
from segcli.core.errors import ConfigError, nearest
from segcli.core.registry import LOSSES, METRICS, MODELS, OPTIMIZERS, SCHEDULERS, Registry, same_name

__all__ = ["PARTS", "loss", "loss_part", "metrics", "model", "monitor", "optimizer", "scheduler"]


def _by_name(table: dict[str, str]) -> dict[str, str]:
    return {same_name(other): name for name, others in table.items() for other in others.split()}


MODEL_NAMES = _by_name(
    {
        "unet": "basic_unet vanilla_unet",
        "deeplabv3_plus": "deeplabv3plus_resnet50 deeplabv3plus_resnet101",
        "sa_unet": "spatial_attention_unet",
        "sadaan": "sadaan_net sadaan3d",
        "vgg3d": "vgg16_3d vgg3d_classifier",
        "utrans": "unet_transformer",
    }
)
LOSS_NAMES = _by_name(
    {
        "cross_entropy": "ce_loss weighted_ce weighted_cross_entropy",
        "lovasz": "lovasz_hinge_loss",
        "boundary": "surface_loss",
        "sadaan": "sadaan_loss",
    }
)
SUMS = {
    same_name(name): parts
    for names, parts in (
        ("bce_dice bce_dice_loss dice_bce dice_bce_loss", ("bce", "dice")),
        ("ce_dice dice_ce ce_dice_loss dice_ce_loss cross_entropy_dice", ("cross_entropy", "dice")),
        ("focal_dice dice_focal dice_focal_loss focal_dice_loss", ("focal", "dice")),
    )
    for name in names.split()
}
"""Losses that are sums of ours."""
PARTS = ("combined", "combo", "combinedloss", "compound", "hybrid", "multi", "weighted", "sum")
"""Losses whose parts stand in other keys."""
OPTIMIZER_NAMES = _by_name({"adam": "adam_optimizer", "sgd": "sgd_momentum momentum"})
SCHEDULER_NAMES = _by_name(
    {
        "cosine": "cosine_lr",
        "plateau": "on_plateau",
        "constant": "constant_lr fixed no false",
    }
)
METRIC_NAMES = _by_name(
    {
        "dice": "dice_coef",
        "iou": "iou_score iou_coef",
        "pixel_accuracy": "pixel_acc global_accuracy pa",
        "class_accuracy": "mean_accuracy mpa",
        "recall": "sens tpr",
        "specificity": "spec tnr",
        "average_precision": "ap auprc pr_auc",
        "hd95": "hausdorff hausdorff_distance",
        "balanced_accuracy": "bacc",
        "presence_accuracy": "presence_acc",
    }
)


def _ours(registry: Registry, table: dict[str, str], name: Any) -> str | None:
    """Find the name of a component in segcli from its own or another name."""
    if not isinstance(name, str):
        return None
    try:
        return registry.canonical(name)
    except ConfigError:
        found = table.get(same_name(name))
        return found if found in registry.names() else None


def _unknown(registry: Registry, name: Any) -> Undecided:
    close = nearest(str(name), list(registry.names()))
    hint = f"did you mean `{close}`?" if close else f"choose one of {', '.join(registry.names())}"
    return Undecided(f"there is no {registry.word} `{name}`; {hint}")


def model(name: Any, asked: Asked) -> str:
    """Read the name of a network."""
    if isinstance(name, str) and same_name(name) in {"deeplab", "deeplabv3"}:
        raise Undecided(f"`{name}` may be DeepLabV3 without its decoder, which is not here; choose `deeplabv3_plus`")
    found = _ours(MODELS, MODEL_NAMES, name)
    if found is None:
        raise _unknown(MODELS, name)
    return found


def loss_part(name: Any) -> str | None:
    """Find our name of a loss; None if there is none."""
    return _ours(LOSSES, LOSS_NAMES, name)


def loss(name: Any, asked: Asked) -> Sets:
    """Read the name of a loss, of a sum of losses, or a list of names."""
    if isinstance(name, list):
        parts = [loss_part(entry) for entry in name]
        if not parts or None in parts:
            raise Undecided(f"not all of `{name}` are losses here; choose among {', '.join(LOSSES.names())}")
        return Sets({f"training.loss.{part}": {} for part in parts})
    plain = same_name(str(name))
    if plain in SUMS:
        return Sets({f"training.loss.{part}": {} for part in SUMS[plain]})
    if plain in PARTS:
        return Sets({}, "the parts follow from the weights")
    found = loss_part(name)
    if found is None:
        raise _unknown(LOSSES, name)
    return Sets({f"training.loss.{found}": {}})


def optimizer(name: Any, asked: Asked) -> str:
    """Read the name of an optimizer."""
    found = _ours(OPTIMIZERS, OPTIMIZER_NAMES, name)
    if found is None:
        raise _unknown(OPTIMIZERS, name)
    return found


def scheduler(name: Any, asked: Asked) -> str | Sets:
    """Read the name of a schedule; exponential decay is `step` with a step of one epoch."""
    if name is None or name is False:
        return "constant"
    plain = same_name(str(name))
    if plain in {"exponential", "exponentiallr"}:
        values = {"training.scheduler.type": "step", "training.scheduler.step_size": 1}
        return Sets(values, "the same as `step` with a step of one epoch")
    if plain in {"multistep", "multisteplr"}:
        raise Undecided("milestones are not here; choose `step`, whose steps are equally long, or `cosine`")
    if plain in {"cosineannealingwarmrestarts", "cosinewarmrestarts", "cycliclr"}:
        raise Undecided(f"`{name}` restarts, which is not here; choose `cosine` or `one_cycle`")
    found = _ours(SCHEDULERS, SCHEDULER_NAMES, name)
    if found is None:
        raise _unknown(SCHEDULERS, name)
    return found


def metrics(names: Any, asked: Asked) -> list[str]:
    """Read a list of metrics, or one."""
    listed = names if isinstance(names, list) else str(names).replace(",", " ").split()
    found = [_ours(METRICS, METRIC_NAMES, name) for name in listed]
    unknown = [str(name) for name, ours in zip(listed, found, strict=True) if ours is None]
    if unknown:
        raise Undecided(f"there is no metric `{unknown[0]}`; choose among {', '.join(METRICS.names())}")
    return list(dict.fromkeys(name for name in found if name is not None))


def monitor(name: Any, asked: Asked) -> str:
    """Read the loss or metric that decides on the best checkpoint."""
    text = str(name).lower().replace("/", "_")
    for start in ("val_", "valid_", "validation_"):
        text = text.removeprefix(start)
    if text == "loss":
        return "val_loss"
    if text.startswith("train"):
        raise LeftOut("the best checkpoint follows from validation; set `training.early_stopping.monitor`")
    found = _ours(METRICS, METRIC_NAMES, text)
    if found is None:
        raise Undecided(f"there is no metric `{text}`; choose `val_loss`, or `val_` and a metric of the run")
    return f"val_{found}"
