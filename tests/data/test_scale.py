"""Mean and standard deviation on another scale than the pixels."""

import json

import numpy as np
import pytest
from factories import experiment, volumes_experiment, write_experiment, write_folders, write_hdf5

from segcli.data.scale import other_scale
from segcli.data.settings import DatasetSpec

IMAGE = np.random.default_rng(0).integers(0, 255, (8, 9, 3), dtype=np.uint8)
IMAGENET = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])


def spec(mean, std):
    return DatasetSpec(num_channels=len(mean), mean=mean, std=std)


def test_numbers_on_the_scale_0_to_255_are_told_with_the_numbers_divided_by_255():
    message, hint = other_scale(spec(*IMAGENET), IMAGE)
    assert "`mean: [123.675, 116.28, 103.53]`" in message
    assert hint == "divided by 255: `mean: [0.485, 0.456, 0.406]`, `std: [0.229, 0.224, 0.225]`"


@pytest.mark.parametrize(
    ("mean", "std"), [([0.5] * 3, [1.5] * 3), ([1.2, 0.5, 0.5], [0.2] * 3), ([-0.5] * 3, [0.2] * 3)]
)
def test_numbers_that_images_of_whole_numbers_cannot_have_are_told(mean, std):
    assert other_scale(spec(mean, std), IMAGE)
    assert other_scale(spec(mean, std), IMAGE.astype(np.uint16) * 257)


@pytest.mark.parametrize(("mean", "std"), [([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), ([0.0] * 3, [1.0] * 3)])
def test_usual_numbers_are_not(mean, std):
    assert other_scale(spec(mean, std), IMAGE) is None
    assert other_scale(spec(mean, std), IMAGE / np.float32(255)) is None


def test_channels_with_other_means_do_not_hide_another_scale():
    assert other_scale(spec(*IMAGENET), IMAGE / np.float32(255))


@pytest.mark.parametrize(
    ("mean", "std"), [([0.485] * 3, [58.0] * 3), ([123.0] * 3, [0.229] * 3)], ids=["mean", "deviation"]
)
def test_numbers_of_which_only_one_is_on_another_scale_are_not_divided(mean, std):
    _, hint = other_scale(spec(mean, std), IMAGE)
    assert hint == "`segcli data stats` prints `mean` and `std` on this scale"


def test_a_mean_that_is_only_subtracted_is_divided():
    _, hint = other_scale(spec([102.0], [1.0]), IMAGE[..., :1])
    assert hint == "divided by 255: `mean: [0.4]`, `std: [0.0039]`"


def test_numbers_of_16_bits_are_divided_by_their_largest_value():
    _, hint = other_scale(spec([32767.5], [6553.5]), IMAGE[..., :1].astype(np.uint16))
    assert hint == "divided by 65535: `mean: [0.5]`, `std: [0.1]`"


def test_values_in_hounsfield_units_have_a_scale_of_their_own():
    volume = np.random.default_rng(0).normal(-300, 400, (4, 5, 6, 1)).astype(np.float32)
    assert other_scale(spec([-300.0], [400.0]), volume) is None
    assert other_scale(spec([0.5], [0.2]), volume)[0].endswith("deviation 1.9e+03")
    assert other_scale(spec([0.5], [0.2]), volume, is_unit=True) is None


def findings(run_cli, config):
    return [
        each for each in json.loads(run_cli("data", "check", config, "--json").out)["findings"]
        if each["code"] == "other_scale"
    ]  # fmt: skip


def test_the_check_and_the_training_tell_it_in_the_same_words(run_cli, tiny):
    config = tiny(dataset__mean=IMAGENET[0], dataset__std=IMAGENET[1])
    (told,) = findings(run_cli, config)
    assert told["severity"] == "warning"
    trained = run_cli("train", config, "--dry-run")
    assert trained.code == 0
    assert told["message"] in " ".join(trained.err.split())
    quiet = run_cli("train", config, "--dry-run", "data.preprocessing.normalize=per_image")
    assert told["message"] not in " ".join(quiet.err.split())


def test_float_images_and_volumes_are_compared_with_their_values(run_cli, workplace):
    write_hdf5(workplace / "data")
    config = volumes_experiment(workplace / "data", dataset__mean=[0.5], dataset__std=[0.2])
    assert findings(run_cli, write_experiment(workplace / "a.yaml", config)) == []
    config = volumes_experiment(workplace / "data", dataset__mean=[127.5], dataset__std=[58.0])
    (told,) = findings(run_cli, write_experiment(workplace / "a.yaml", config))
    assert "do not fit the pixels" in told["message"]


def test_a_set_without_a_mean_is_not_read_for_it(run_cli, workplace):
    write_folders(workplace / "data")
    values = experiment(workplace / "data", data__preprocessing={"normalize": "per_image"})
    for key in ("mean", "std"):
        del values["dataset"][key]
    assert findings(run_cli, write_experiment(workplace / "a.yaml", values)) == []
