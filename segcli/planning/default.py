"""Plan a sound default for each task."""

import math
from typing import Any

from segcli.planning.facts import Measures, Plan, Recognised

__all__ = ["default_plan"]

PATCH = {2: 256, 3: 64}
"""Longest side of a crop."""
WHOLE = {2: 384, 3: 64}
"""Images of one size up to this are taken whole."""
MULTIPLE = {2: 32, 3: 8}
MOST_CROPS = 8
WIDTHS = {2: [16, 32, 64, 128], 3: [12, 24, 48]}
METRICS = {
    "binary": ["dice", "iou"],
    "multiclass": ["mean_iou", "pixel_accuracy"],
    "structures": ["dice", "presence_accuracy"],
    "classification": ["accuracy", "f1"],
}


def default_plan(found: Recognised, facts: Measures) -> Plan:
    """Plan an experiment that trains within minutes on a CPU, without a look at the machine."""
    plan = Plan({"data": {"batch_size": 4}})
    data: dict[str, Any] = plan.keys["data"]
    if found.task != "classification":
        _crops(plan, facts)
    data["augmentation"] = {"preset": _preset(found, facts)}
    if facts.is_scene:
        plan.reasons["data.augmentation"] = "top and bottom are fixed: only left and right are exchanged"
    data["preprocessing"] = {"normalize": facts.normalize}
    plan.reasons["data.preprocessing"] = facts.normalize_reason
    plan.keys["model"] = _model(found, facts)
    plan.keys["training"] = {
        "epochs": 40,
        "optimizer": {"type": "adamw", "learning_rate": 0.003, "weight_decay": 0.01},
        "scheduler": {"type": "one_cycle"},
        "loss": _loss(found),
        "metrics": METRICS[found.task],
        "ema": {"decay": 0.99},
    }
    return plan


def _crops(plan: Plan, facts: Measures) -> None:
    """Cut crops from images that are large or differ in size."""
    data, ndim = plan.keys["data"], facts.ndim
    if facts.sizes.is_single and max(facts.sizes.high) <= WHOLE[ndim]:
        return
    step = MULTIPLE[ndim]
    sides = [max(min(PATCH[ndim], int(size) // step * step), step) for size in facts.sizes.low]
    data["patch_size"] = sides
    count = math.prod(facts.sizes.median) / math.prod(sides)
    data["patches_per_image"] = max(1, min(MOST_CROPS, round(count)))
    sizes = "x".join(f"{size:g}" for size in facts.sizes.median)
    plan.reasons["data.patch_size"] = f"crops of images whose median size is {sizes}"


def _preset(found: Recognised, facts: Measures) -> str:
    if facts.is_scene:
        return "street"
    if found.task == "classification":
        return "nuclei"
    return "medium" if facts.ndim == 2 else "light"


def _model(found: Recognised, facts: Measures) -> dict[str, Any]:
    if found.task == "classification":
        return {"type": "vgg3d", "depths": [8, 16, 32], "convolutions": 1, "classifier_size": 64, "dropout": 0.3}
    return {"type": "unet", "depths": WIDTHS[facts.ndim]}


def _loss(found: Recognised) -> dict[str, Any]:
    if found.task == "classification":
        return {"type": "cross_entropy", "class_weights": "inverse"}
    return {"cross_entropy": 0.5, "dice": 0.5} if found.task == "multiclass" else {"bce": 0.5, "dice": 0.5}
