"""Plans for made-up facts: each rule is seen in the plan of the data that it is for, and every plan is a run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from planned_facts import FLAT

from segcli.config.load import run_from_values
from segcli.engine.capacity import MOST
from segcli.models import IOSpec
from segcli.models.vgg3d import VGG3D
from segcli.planning.facts import ObjectSizes, Plan, Recognised, Spread
from segcli.planning.machine import Machine
from segcli.planning.plan import planned

CPU = Machine(is_gpu=False, memory_gib=16.0, cores=4, gflops=150.0, ram_gib=16.0)
GPU = Machine(is_gpu=True, memory_gib=24.0, cores=16, gflops=15_000.0, ram_gib=64.0)
LARGE = replace(
    FLAT,
    sizes=Spread((2048.0, 2048.0), (2048.0, 2048.0), (2048.0, 2048.0)),
    channels=3,
    class_shares={"foreground": 0.02},
    foreground=0.02,
    objects=ObjectSizes(per_sample=2.0, median_diameter=60.0, small_diameter=30.0, width=7.0),
)
"""Large colour images of a rare foreground."""
SCENE = replace(
    FLAT,
    sizes=Spread((360.0, 480.0), (360.0, 480.0), (360.0, 480.0)),
    channels=3,
    class_shares={"road": 0.6, "sky": 0.3, "car": 0.09, "pole": 0.01},
    presence={"road": 1.0, "sky": 1.0, "car": 0.8, "pole": 0.9},
    foreground=1.0,
    objects=None,
    is_scene=True,
    flips=(1,),
    turns=False,
)
THICK = replace(
    FLAT,
    ndim=3,
    sizes=Spread((18.0, 256.0, 256.0), (20.0, 256.0, 256.0), (24.0, 256.0, 256.0)),
    bits=16,
    class_shares={"liver": 0.03},
    presence={"liver": 1.0},
    foreground=0.03,
    flips=(),
    turns=False,
    spacing=(5.0, 1.0, 1.0),
    anisotropy=5.0,
    normalize="per_image",
)
"""Volumes of thick slices."""
UNEQUAL = replace(THICK, class_shares={"liver": 0.3, "nerve": 0.001}, foreground=0.301)
"""Volumes of a large and a rare class."""
ABSENT = replace(THICK, class_shares={"left": 0.03, "right": 0.02}, presence={"left": 0.7, "right": 0.6})
KINDS = replace(
    FLAT,
    ndim=3,
    sizes=Spread((16.0, 24.0, 24.0), (16.0, 24.0, 24.0), (16.0, 24.0, 24.0)),
    class_shares={"large": 0.8, "small": 0.2},
    objects=None,
    flips=(0, 1, 2),
)
"""Small volumes of one class each."""
CASES = {
    "flat": (FLAT, "binary"),
    "oblong": (replace(FLAT, sizes=Spread((64.0, 80.0), (64.0, 80.0), (64.0, 80.0))), "binary"),
    "strip": (replace(FLAT, sizes=Spread((64.0, 900.0), (64.0, 900.0), (64.0, 900.0))), "binary"),
    "large": (LARGE, "binary"),
    "scene": (SCENE, "multiclass"),
    "thick": (THICK, "structures"),
    "absent": (ABSENT, "structures"),
    "unequal": (UNEQUAL, "structures"),
    "kinds": (KINDS, "classification"),
}


def plan(name: str, machine: Machine = CPU, minutes: float | None = 20.0) -> Plan:
    measures, task = CASES[name]
    return planned(Recognised(Path("data"), name, "made up", {}, task), measures, machine, minutes)


def value(found: Plan, dotted: str) -> Any:
    here: Any = found.keys
    for key in dotted.split("."):
        here = here.get(key) if isinstance(here, dict) else None
    return here


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        (
            "flat",
            {"model.type": "unet", "model.stem_stride": None, "data.foreground_share": 0.0, "inference.tta": True},
        ),
        ("flat", {"training.loss": {"bce": 0.5, "dice": 0.5}, "data.patch_size": [192, 192], "data.batch_size": 4}),
        ("large", {"model.stem_stride": 4, "data.patch_size": [640, 640], "data.foreground_share": 0.5}),
        ("scene", {"inference.tta": "horizontal", "inference.undo_class_weights": 0.5, "model.stem_stride": 2}),
        ("scene", {"training.loss": {"cross_entropy": {"class_weights": [0.71, 1.0, 1.83, 5.0]}, "dice": 1.0}}),
        ("scene", {"data.preprocessing.normalize": "per_image", "data.patch_size": [288, 384]}),
        ("thick", {"model.strides": [[1, 2, 2], [1, 2, 2], [2, 2, 2], [2, 2, 2]], "data.foreground_share": 0.5}),
        ("thick", {"data.augmentation.rotation_degrees": None, "data.augmentation.flip_axes": None}),
        ("unequal", {"data.foreground_share": 0.5}),
        ("absent", {"model.type": "sadaan", "training.loss": {"sadaan": {}}, "data.patch_size": None}),
        (
            "kinds",
            {"model.type": "vgg3d", "data.augmentation": {"preset": "nuclei"}, "training.metrics": ["accuracy", "f1"]},
        ),
    ],
)
def test_each_kind_of_data_gets_the_choices_that_its_facts_ask_for(name: str, choices: dict[str, Any]) -> None:
    found = plan(name)
    assert {dotted: value(found, dotted) for dotted in choices} == choices


@pytest.mark.parametrize("name", ["oblong", "strip"])
def test_crops_that_are_no_squares_are_flipped_and_not_turned_by_quarters(name: str) -> None:
    types = {each["type"] for each in value(plan(name), "data.augmentation.transforms")}
    assert {"HorizontalFlip", "VerticalFlip"} <= types
    assert "RandomRotate90" not in types


def test_a_scene_is_never_turned_upside_down_and_microscopy_is() -> None:
    types = {
        name: {each["type"] for each in value(plan(name), "data.augmentation.transforms")} for name in ("flat", "scene")
    }
    assert {"HorizontalFlip", "VerticalFlip", "RandomRotate90"} <= types["flat"]
    assert "HorizontalFlip" in types["scene"]
    assert not types["scene"] & {"VerticalFlip", "RandomRotate90"}


def test_a_scene_whose_classes_have_a_fixed_left_is_not_mirrored() -> None:
    facts = replace(SCENE, flips=())
    found = planned(Recognised(Path("data"), "faces", "made up", {}, "multiclass"), facts, CPU).keys
    assert "HorizontalFlip" not in {each["type"] for each in found["data"]["augmentation"]["transforms"]}
    assert "tta" not in found["inference"]


def test_more_time_and_a_gpu_buy_a_wider_network_and_more_context() -> None:
    first = [value(plan("flat", minutes=minutes), "model.depths")[0] for minutes in (2.0, 60.0, 600.0)]
    assert first == sorted(first)
    assert first[0] < first[-1]
    here, there = plan("large"), plan("large", GPU)
    assert value(there, "data.patch_size")[0] / value(there, "model.stem_stride") > (
        value(here, "data.patch_size")[0] / value(here, "model.stem_stride")
    )
    assert max(value(there, "model.depths")) > max(value(here, "model.depths"))


@pytest.mark.parametrize("samples", [15, 50, 60])
def test_few_volumes_of_one_class_get_a_network_that_data_check_does_not_call_too_large(samples: int) -> None:
    measures = replace(KINDS, counts={"train": samples})
    model = planned(Recognised(Path("data"), "few", "made up", {}, "classification"), measures, CPU).keys["model"]
    options = {key: each for key, each in model.items() if key != "type"}
    network = VGG3D(VGG3D.Config(**options), io=IOSpec(3, 1, {"class": 2}, size=(16, 24, 24)))
    assert sum(each.numel() for each in network.parameters()) <= MOST * samples


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("machine", [CPU, GPU], ids=["cpu", "gpu"])
def test_every_plan_is_a_run_and_every_reason_belongs_to_a_key(name: str, machine: Machine) -> None:
    measures, task = CASES[name]
    found = plan(name, machine, None)
    assert all(value(found, dotted) is not None for dotted in found.reasons), found.reasons
    assert "training.epochs" in found.reasons
    layout = {"binary": "image_folders", "multiclass": "sequences", "classification": "tiff_volumes"}
    dataset: dict[str, Any] = {
        "name": name,
        "format": layout.get(task, "nifti_volumes"),
        "paths": {"root": "data"},
        "num_channels": measures.channels,
        "mean": [0.4] * measures.channels,
        "std": [0.2] * measures.channels,
    }
    if task == "binary":
        dataset["num_classes"] = 1
    elif task == "multiclass":
        dataset["classes"] = [{"name": each, "color": [9 * at, 1, 1]} for at, each in enumerate(measures.class_shares)]
    else:
        dataset["classes"] = list(measures.class_shares)
    run_from_values({"name": name, "dataset": dataset, **found.keys}, source="plan")
