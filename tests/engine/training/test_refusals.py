"""`segcli data check` of an experiment finds what `segcli train` refuses, in the same words."""

import json
import re

import pytest
from factories import write_folders

from segcli.data import cache

MISTAKES = {
    "transform": {"data__augmentation": {"transforms": [{"type": "HorizontalFlop"}]}},
    "layer": {"logging": {"tensorboard": True, "log_activations": True, "activation_layers": ["down.9"]}},
    "weights": {"model": {"type": "deeplabv3_plus", "weights": "missing.pth"}},
    "class": {"inference__postprocess": {"classes": {"cat": {"fill_holes": True}}}},
    "cache": {"data__cache": "memory"},
    "folder of the cache": {"data__cache": "disk", "data__cache_dir": "tiny.yaml"},
    "folder of the run": {"output__dir": "tiny.yaml/run"},
    "size of a crop": {
        "data__augmentation__transforms": [{"type": "RandomCrop", "height": 17, "width": 19, "p": 0.01}]
    },
    "crop too large": {
        "data__augmentation__transforms": [{"type": "RandomCrop", "height": 56, "width": 56, "p": 0.01}]
    },
    "channels": {"data__augmentation__transforms": [{"type": "ToGray", "num_output_channels": 1}]},
    "tensor": {"data__augmentation__transforms": [{"type": "ToTensorV2"}]},
    "precision": {"training__amp": "fp16"},
}


@pytest.mark.parametrize("name", MISTAKES)
def test_the_check_refuses_what_the_training_refuses(name, tiny, run_cli, monkeypatch):
    if name == "cache":
        monkeypatch.setattr(cache, "HEADROOM", 0.0)
    path = tiny(**MISTAKES[name])
    refused = run_cli("train", path, "--dry-run")
    assert refused.code in ((5,) if name == "precision" else (2, 3, 4)), refused.err
    checked = run_cli("data", "check", path, "--json")
    assert checked.code == 1
    found = json.loads(checked.out)["findings"]
    (finding,) = [each for each in found if each["code"] == "refused_by_train"]
    free = re.compile(r"[\d,]+ MiB are free")  # changes between two commands
    assert free.sub("", f"error: {finding['message']}") in free.sub("", refused.err)
    assert f"hint: {finding['hint']}" in refused.err


def test_a_device_that_this_machine_lacks_is_no_fault_of_the_data(tiny, run_cli):
    path = tiny(device="cuda:7")
    assert run_cli("train", path, "--dry-run").code == 5
    assert run_cli("data", "check", path).code == 0


def test_several_reasons_are_told_together(tiny, run_cli):
    path = tiny(**MISTAKES["transform"], data__drop_last=True, data__batch_size=50)
    found = json.loads(run_cli("data", "check", path, "--json").out)["findings"]
    assert len([each for each in found if each["code"] == "refused_by_train"]) == 2


@pytest.mark.parametrize(("size", "code"), [((48, 64), 1), ((48, 48), 0)])
def test_rare_quarter_turns_are_refused_for_images_that_are_not_square(tiny, run_cli, workplace, size, code):
    write_folders(workplace / "data", size=size)
    path = tiny(data__augmentation__transforms=[{"type": "RandomRotate90", "p": 0.01}])
    checked = run_cli("data", "check", path, "--json")
    assert checked.code == code
    said = "`data.augmentation` changed the size of an image from (48, 64) to (64, 48)"
    assert (said in checked.out) == bool(code)
    assert (said in run_cli("train", path, "--dry-run").err) == bool(code)


def test_a_crop_that_keeps_the_size_of_the_patches_trains(tiny, run_cli):
    path = tiny(
        data__patch_size=[32, 32], data__augmentation__transforms=[{"type": "RandomCrop", "height": 32, "width": 32}]
    )
    assert run_cli("data", "check", path).code == run_cli("train", path, "--dry-run").code == 0


def test_precision_of_a_device_that_is_chosen_elsewhere_is_no_fault(tiny, run_cli):
    assert run_cli("data", "check", tiny(training__amp="fp16", device="auto")).code == 0


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"mean": None}, "`mean` and `std` must be set together: one of them is missing"),
        ({"std": [0.2]}, "`std` has 1 numbers for 3 channels"),
    ],
)
def test_data_without_a_mean_are_checked_and_the_measured_one_is_told(tiny, run_cli, workplace, stated, said):
    write_folders(workplace / "data")
    (workplace / "data/train/label/03.png").unlink()
    path = tiny(**{f"dataset__{key}": value for key, value in stated.items()})
    assert said in run_cli("train", path, "--dry-run").err
    found = run_cli("data", "check", path, "--json")
    first, *others = json.loads(found.out)["findings"]
    assert found.code == 1
    assert first["code"] == "refused_by_train"
    assert said in first["message"]
    assert "missing_label" in {each["code"] for each in others}
    measured = json.loads(found.out)["measured"]
    assert f"`mean: {measured['mean']}` and `std: {measured['std']}`" in first["hint"]
    assert not any(each["code"] in ("far_numbers", "other_scale") for each in others)


def test_a_cache_of_no_images_is_no_bug(tiny, run_cli, workplace):
    path = tiny(data__cache="memory")
    for mask in (workplace / "data").glob("*/label/*"):
        mask.unlink()
    checked = run_cli("data", "check", path, "--json")
    assert checked.code == 1
    assert {each["code"] for each in json.loads(checked.out)["findings"] if each["severity"] == "error"}
    assert "Traceback" not in checked.err
