"""`segcli data stats` and what `data check` and `train` say about padding and the size of a network."""

import json

import numpy as np
import pytest
import yaml
from factories import nuclei_experiment, nucleus, write_experiment, write_nuclei

SIZE = (8, 16, 16)
WIDE = [12, 20, 24]
"""Crops that are larger than the samples."""


@pytest.fixture
def nuclei(workplace):
    """Makes an experiment on twelve nuclei of 8x16x16 voxels, of which eight are for training."""
    root = write_nuclei(workplace / "data", 12, size=SIZE)

    def make(**changes):
        return write_experiment(workplace / "nuclei.yaml", nuclei_experiment(root, **changes))

    return make


def training_voxels(run_cli, path, *, masked):
    """Read the voxels of the training samples that count, on the scale 0 to 1."""
    names = json.loads(run_cli("data", "split", path, "--json").out)["names"]["train"]
    pairs = [nucleus(int(name) - 1) for name in names]
    return np.concatenate([volume[mask > 0] if masked else volume.ravel() for volume, mask in pairs]) / 65535


def finding(run_cli, path, code, *overrides):
    found = json.loads(run_cli("data", "check", path, "--json", *overrides).out)["findings"]
    return next((each for each in found if each["code"] == code), None)


@pytest.mark.parametrize("masked", [False, True])
def test_stats_of_dark_stacks_have_digits_and_count_neither_padding_nor_hidden_voxels(nuclei, run_cli, masked):
    path = nuclei(dataset__crop_size=WIDE, dataset__apply_mask=masked, data__preprocessing={"normalize": True})
    voxels = training_voxels(run_cli, path, masked=masked)
    shown = yaml.safe_load(run_cli("data", "stats", path).out)
    assert shown["mean"] == pytest.approx([voxels.mean()], rel=1e-5)
    assert shown["std"] == pytest.approx([voxels.std()], rel=1e-5)
    trained = run_cli("train", path, "--dry-run")  # a training measures in the same way
    assert f"mean [{voxels.mean():.4g}], std [{voxels.std():.4g}]" in " ".join(trained.err.split())


def test_stats_tell_sizes_before_cropping_and_keys_that_fit(nuclei, run_cli):
    path = nuclei(dataset__crop_size=WIDE)
    found = json.loads(run_cli("data", "stats", path, "--json").out)
    count = found["num_images"]
    assert (found["sizes"], found["true_sizes"]) == ({"12x20x24": count}, {"8x16x16": count})
    assert found["padding_share"] == pytest.approx(1 - np.prod(SIZE) / np.prod(WIDE))
    proposal = found["proposal"]
    assert proposal["crop_size"] == list(SIZE)
    shown = run_cli("data", "stats", path).out
    assert "# before cropping: 8x16x16" in shown
    assert "64.4% of the crops is padding" in shown
    assert "# crop_size: [8, 16, 16]" in shown
    pasted = nuclei(dataset__crop_size=proposal["crop_size"], model=proposal["model"])
    assert finding(run_cli, pasted, "refused_by_train") is None
    assert finding(run_cli, pasted, "much_padding") is None
    fitting = json.loads(run_cli("data", "stats", pasted, "--json").out)
    assert (fitting["padding_share"], "crop_size" in fitting["proposal"]) == (0.0, False)
    assert "before cropping" not in run_cli("data", "stats", pasted).out


def test_images_that_are_not_cropped_have_their_sizes_and_no_padding(tiny, run_cli):
    found = json.loads(run_cli("data", "stats", tiny(), "--json").out)
    assert found["true_sizes"] == found["sizes"]
    assert (found["padding_share"], found["proposal"]) == (0.0, {})


def test_check_and_training_tell_of_crops_that_are_mostly_padding(nuclei, run_cli):
    path = nuclei(dataset__crop_size=WIDE)
    found = finding(run_cli, path, "much_padding")
    assert found["severity"] == "warning"
    assert "64% of the voxels of the crops are padding: `crop_size: [12, 20, 24]`" in found["message"]
    assert found["hint"] == "set `crop_size: [8, 16, 16]`"
    assert f"{found['message']} ({found['hint']})" in " ".join(run_cli("train", path, "--dry-run").err.split())


def test_check_and_training_tell_of_more_than_1000_parameters_for_each_sample(nuclei, run_cli):
    path = nuclei(model__classifier_size=256)
    found = finding(run_cli, path, "many_parameters")
    assert found["severity"] == "warning"
    assert "training samples: " in found["message"]
    assert f"{found['message']} ({found['hint']})" in " ".join(run_cli("train", path, "--dry-run").err.split())
    assert "`model.depths: [4, 8]` and `model.classifier_size: 32`" in found["hint"]
    assert finding(run_cli, path, "many_parameters", "model.classifier_size=8") is None  # 5 k parameters, 10 samples
    frozen = ("model.freeze=['classifier.0', 'classifier.3']",)
    assert finding(run_cli, path, "many_parameters", *frozen) is None  # they never learn
    later = (*frozen, "model.unfreeze_every=1")
    assert finding(run_cli, path, "many_parameters", *later) is not None


def test_pixels_are_samples_of_a_segmentation(tiny, run_cli):
    path = tiny(model={"type": "unet", "depths": [16, 32, 64]})  # 117 k parameters, six images
    assert finding(run_cli, path, "many_parameters") is None


@pytest.mark.parametrize("convolutions", [1, [1, 1, 2, 1, 1]])
def test_a_network_that_is_too_deep_for_the_crops_is_refused_with_the_keys_that_fit(nuclei, run_cli, convolutions):
    path = nuclei(model__depths=[4, 8, 16, 32, 64], model__convolutions=convolutions)
    expected = "set `model.depths: [4, 8, 16]`"
    expected += " and `model.convolutions: [1, 1, 2]`" if convolutions != 1 else ""
    found = finding(run_cli, path, "refused_by_train")
    assert found["hint"] == f"{expected}, or make `crop_size` larger"
    trained = run_cli("train", path)
    assert (trained.code, found["message"] in " ".join(trained.err.split())) == (2, True)
    fewer = convolutions if convolutions == 1 else convolutions[:3]
    fitting = ("model.depths=[4,8,16]", f"model.convolutions={fewer}")
    assert finding(run_cli, path, "refused_by_train", *fitting) is None
