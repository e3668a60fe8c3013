"""`train`, `eval` and `predict` on NIfTI volumes."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from factories import OBLIQUE, bodies, volumes_experiment, write_experiment, write_nifti

from segcli.files import create, open_picture


def test_a_nifti_data_set_of_differing_sizes_trains_and_predict_keeps_affine_and_numbers(run_cli, workplace):
    nibabel = pytest.importorskip("nibabel")
    write_nifti(workplace / "data", vary=True)
    values = volumes_experiment(
        workplace / "data",
        training__epochs=1,
        data__patch_size=[8, 8, 8],
        dataset__format="nifti_volumes",
        dataset__classes=["ball", "box"],
        dataset__split={"val": 0.34},
        dataset__numbers=[1, 2],
    )
    result = run_cli("train", write_experiment(workplace / "tiny.yaml", values))
    assert result.code == 0, result.err
    assert run_cli("eval", "tiny", "--split", "val").code == 0
    image, _, _ = bodies(3)
    nibabel.save(nibabel.Nifti1Image(image, OBLIQUE), "one.nii.gz")
    assert run_cli("predict", "one.nii.gz", "--run", "tiny", "--out", "found", "--probabilities").code == 0
    found, probs = nibabel.load("found/one.nii.gz"), nibabel.load("found/one_probabilities.nii.gz")
    np.testing.assert_allclose(found.affine, OBLIQUE)
    np.testing.assert_allclose(probs.affine, OBLIQUE)
    assert found.shape == image.shape
    assert probs.shape == (*image.shape, 2)
    values = np.asarray(probs.dataobj)
    expected = np.where((values >= 0.5).any(-1), (values >= 0.5).argmax(-1) + 1, 0)
    np.testing.assert_array_equal(np.asarray(found.dataobj), expected)


def test_a_nifti_volume_is_read_in_one_order_of_axes_whatever_its_own(workplace):
    nibabel = pytest.importorskip("nibabel")

    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nibabel.save(nibabel.Nifti1Image(voxels, OBLIQUE), "turned.nii.gz")
    with open_picture(Path("turned.nii.gz"), 3) as volume:
        stored = volume.read()[..., 0]
    np.testing.assert_array_equal(stored, voxels.transpose(1, 0, 2)[::-1, ::-1])
    assert volume.spacing == pytest.approx((1.5, 2.0, 3.0))
    with create(Path("back.nii.gz"), stored.shape, stored.dtype, like=Path("turned.nii.gz")) as add:
        add(stored)
    again = nibabel.load("back.nii.gz")
    np.testing.assert_array_equal(np.asarray(again.dataobj), voxels)
    np.testing.assert_allclose(again.affine, OBLIQUE)


def test_a_number_of_no_class_and_a_label_of_another_size_are_told(run_cli, workplace):
    nibabel = pytest.importorskip("nibabel")
    write_nifti(workplace / "data", 3)
    Path("set.yaml").write_text(
        yaml.safe_dump({"format": "nifti_volumes", "paths": {"root": "data"}, "classes": ["ball"]})
    )
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), "data/labelsTr/case_02.nii.gz")
    checked = run_cli("data", "check", "set.yaml", "--json")
    assert checked.code == 1
    messages = [finding["message"] for finding in json.loads(checked.out)["findings"]]
    assert any("case_00.nii.gz` holds numbers that belong to no class: 2 (" in message for message in messages)
    assert any("`data/labelsTr/case_02.nii.gz` has 4x4x4 voxels, but its image" in message for message in messages)
    with Path("set.yaml").open("a") as stream:
        stream.write("other_labels: ignore\n")
    messages = [
        finding["message"] for finding in json.loads(run_cli("data", "check", "set.yaml", "--json").out)["findings"]
    ]
    assert not any("belong to no class" in message for message in messages)


def test_volumes_train_with_classes_that_exclude_each_other(run_cli, workplace):
    pytest.importorskip("nibabel")
    write_nifti(workplace / "data", 4)
    values = volumes_experiment(
        workplace / "data",
        training__epochs=1,
        training__loss="cross_entropy",
        training__metrics=["mean_iou"],
        dataset__format="nifti_volumes",
        dataset__task="multiclass",
        dataset__classes=["nothing", "ball", "box"],
        dataset__split={"val": ["case_03"]},
    )
    result = run_cli("train", write_experiment(workplace / "tiny.yaml", values))
    assert result.code == 0, result.err
    assert run_cli("eval", "tiny", "--split", "val").code == 0
