"""`eval` and `predict` on volumes."""

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import yaml
from factories import SMALL, bodies, volumes_experiment, write_experiment, write_hdf5, write_nifti

from segcli.engine.portable import open_portable

# bias and threshold at 0: a network that has learnt nothing finds something
MODEL = {"type": "sadaan", **SMALL["sadaan"], "presence_threshold": 0.0, "absence_bias": 0.0}


@pytest.fixture
def trained(workplace, run_cli):
    """A trained run on volumes; keyword arguments as those of `experiment`."""

    def make(**changes):
        write_hdf5(workplace / "data")
        values = volumes_experiment(workplace / "data", model=MODEL, training__epochs=1, **changes)
        assert run_cli("train", write_experiment(workplace / "tiny.yaml", values)).code == 0

    return make


def test_eval_tells_structures_scenarios_and_on_how_many_cases_figures_stand(trained, run_cli):
    trained()
    result = run_cli("eval", "tiny", "--split", "val", "--json")
    assert result.code == 0, result.err
    told = json.loads(result.out)
    scenarios = [bodies(1000 + index)[2] for index in range(4)]
    assert {name: values["num_images"] for name, values in told["per_scenario"].items()} == {
        name: scenarios.count(name) for name in set(scenarios)
    }
    assert told["per_class"]["ball"]["num_defined"] == {
        **dict.fromkeys(["dice", "iou", "recall", "surface_dice"], 3),
        **{name: told["per_class"]["ball"]["num_defined"][name] for name in ("precision", "hd95", "assd")},
        "presence_accuracy": 4,
        "presence_sensitivity": 3,
        "presence_specificity": 1,
        "false_positive_volume": 1,
    }
    assert [entry["scenario"] for entry in told["per_image"]] == scenarios
    assert [entry["image"] for entry in told["per_image"]] == ["0000", "0001", "0002", "0003"]
    table = run_cli("eval", "tiny", "--split", "val").out
    assert "Scenarios" in table
    assert "ball_only" in table


def test_average_metrics_are_those_of_each_structure_averaged(trained, run_cli):
    trained()
    told = json.loads(run_cli("eval", "tiny", "--split", "val", "--json").out)
    for metric in ("presence_accuracy", "presence_specificity"):
        classes = [told["per_class"][name][metric] for name in ("ball", "box")]
        assert told["average_metrics"][metric] == pytest.approx(sum(classes) / 2)
        assert told["scope"][metric] == "all cases"


def test_distances_are_in_millimetres_by_the_spacing_of_the_data_set(trained, run_cli, workplace):
    trained()
    coarse = json.loads(run_cli("eval", "tiny", "--split", "val", "--json").out)["average_metrics"]
    fine = run_cli("eval", "tiny", "dataset.spacing_mm=[0.2,0.1,0.3]", "--split", "val", "--json")
    fine = json.loads(fine.out)["average_metrics"]
    assert coarse["hd95"] == pytest.approx(10 * fine["hd95"])
    assert coarse["assd"] == pytest.approx(10 * fine["assd"])
    assert coarse["dice"] == pytest.approx(fine["dice"])


def test_eval_writes_masks_and_presence_of_all_cases_into_one_file(trained, run_cli):
    trained()
    assert run_cli("eval", "tiny", "--split", "val").code == 0
    with h5py.File("outputs/tests/tiny_val/predictions/val.h5") as file:
        assert file["masks"].shape == (4, 2, 16, 16, 8)
        flags = file["masks"][:].reshape(4, 2, -1).any(2)
        np.testing.assert_array_equal(file["presence_labels"][:], flags)


def test_left_and_right_are_for_images(trained, run_cli):
    trained()
    result = run_cli("eval", "inference.tta=horizontal")
    assert result.code == 2
    assert "`horizontal` is for 2D images, those of format `hdf5_volumes` are volumes" in result.err


def test_predict_gives_an_hdf5_file_back_in_its_own_format_with_a_table_of_presence(trained, run_cli):
    trained()
    result = run_cli("predict", "data/test.h5", "--run", "tiny", "--out", "found", "--json")
    assert result.code == 0, result.err
    told = json.loads(result.out)
    assert [entry["case"] for entry in told["presence"]] == ["0000", "0001"]
    with h5py.File("found/test.h5") as file:
        masks = file["masks"][:]
    rows = list(csv.DictReader(Path("found/presence.csv").read_text().splitlines()))
    assert [(row["case"], row["structure"]) for row in rows[:2]] == [("0000", "ball"), ("0000", "box")]
    assert float(rows[1]["volume"]) == pytest.approx(masks[0, 1].sum() * 6.0)  # voxels of 2 x 1 x 3 mm
    again = run_cli("predict", "data/test.h5", "--run", "tiny", "--out", "found")
    assert again.code == 2
    assert "`found/test.h5` exists" in again.err


def test_predict_in_tiles_covers_the_volume_and_agrees_where_one_tile_is_enough(trained, run_cli):
    trained(inference__overlap=0.5)
    for out, tile in (("whole", 64), ("tiles", 32)):
        assert run_cli("predict", "data/test.h5", "--run", "tiny", "--out", out, "--tile", tile).code == 0
    with h5py.File("whole/test.h5") as one, h5py.File("tiles/test.h5") as other:
        np.testing.assert_array_equal(one["masks"][:], other["masks"][:])


def test_predict_takes_a_tiff_stack(trained, run_cli):
    trained()
    image, _, _ = bodies(5)
    tifffile.imwrite("stack.tif", image)
    result = run_cli("predict", "stack.tif", "--run", "tiny", "--out", "found", "--json")
    assert result.code == 0, result.err
    labels = tifffile.imread("found/stack.tif")
    assert labels.shape == (16, 16, 8)
    assert labels.dtype == np.uint8
    assert json.loads(result.out)["presence"][0]["case"] == "stack"


def test_a_broken_volume_is_passed_over_and_named(trained, run_cli, workplace):
    trained()
    (workplace / "broken.h5").write_bytes(b"nothing")
    result = run_cli("predict", "broken.h5", "data/test.h5", "--run", "tiny", "--out", "found")
    assert result.code == 3
    assert "`broken.h5` is no HDF5 file" in result.err
    assert Path("found/test.h5").is_file()


def test_a_case_that_cannot_be_used_leaves_the_others_of_its_file(trained, run_cli):
    trained()
    with h5py.File("data/test.h5", "a") as file:
        file["images"][1, 0, 0, 0] = np.nan
    result = run_cli("predict", "data/test.h5", "--run", "tiny", "--out", "found", "--json")
    assert result.code == 3
    assert "`data/test.h5[1]` holds NaN or infinite values" in result.err
    with h5py.File("found/test.h5") as file:
        assert file["masks"].shape == (2, 2, 16, 16, 8)
        assert not file["masks"][1].any()
    assert [path.name for path in Path("found").iterdir() if path.suffix == ".part"] == []


@pytest.mark.parametrize("option", ["--overlay", "--video=a.mp4", "--uncertainty", "--skip-existing"])
def test_what_is_for_2d_images_alone_is_refused(trained, run_cli, option):
    trained()
    result = run_cli("predict", "data/test.h5", "--run", "tiny", "--out", "found", option)
    assert result.code == 2
    assert f"`{option.split('=')[0]}` is for 2D images" in result.err
    assert not Path("found").exists()


def test_volumes_are_predicted_by_one_run(trained, run_cli):
    trained()
    result = run_cli("predict", "data/test.h5", "--run", "tiny", "--run", "tiny", "--out", "found")
    assert result.code == 2
    assert "volumes are predicted by one run, got `" in result.err


def test_an_exported_file_has_every_output_and_the_presence_in_its_probabilities(trained, run_cli):
    pytest.importorskip("onnxscript")
    trained(dataset__mean=[0.5], dataset__std=[0.2])
    result = run_cli("export", "tiny", "--bake", "--json")
    assert result.code == 0, result.err
    told = json.loads(result.out)
    file = open_portable(Path(told["file"]))
    outputs = file(np.stack([bodies(seed)[0] for seed in range(4)])[..., None].astype(file.description.input_dtype))
    assert set(outputs) == {"mask", "presence", "gate", "attention", "confidence", "probabilities"}
    present = (outputs["gate"] >= 0)[..., None, None, None]
    np.testing.assert_allclose(outputs["probabilities"], present / (1 + np.exp(-outputs["mask"])), atol=1e-5)
    card = Path(told["card"]).read_text()
    assert "segcli predict volumes/ --run tiny" in card
    assert "probabilities[outputs['gate'][0] < 0] = 0" in card
    refused = run_cli("predict", "data/test.h5", "--model", told["file"], "--out", "found")
    assert refused.code == 2
    assert "is for volumes, which `--model` does not predict" in refused.err


# ---- NIfTI

OBLIQUE = np.array([[0.0, -1.5, 0.0, 10.0], [-2.0, 0.0, 0.0, -20.0], [0.0, 0.0, 3.0, 5.0], [0.0, 0.0, 0.0, 1.0]])
"""Axes that are exchanged and reversed."""


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
    from segcli.data.volumes import read_volume, write_volume

    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nibabel.save(nibabel.Nifti1Image(voxels, OBLIQUE), "turned.nii.gz")
    volume = read_volume(Path("turned.nii.gz"))
    np.testing.assert_array_equal(volume.voxels[..., 0], voxels.transpose(1, 0, 2)[::-1, ::-1])
    assert volume.spacing == pytest.approx((1.5, 2.0, 3.0))
    write_volume(Path("back.nii.gz"), volume.voxels[..., 0], Path("turned.nii.gz"))
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
    assert any("label map `data/labelsTr/case_00.nii.gz` holds 2 (" in message for message in messages)
    assert any("`data/labelsTr/case_02.nii.gz` has 4x4x4 voxels, its image" in message for message in messages)
    with Path("set.yaml").open("a") as stream:
        stream.write("other_labels: ignore\n")
    messages = [
        finding["message"] for finding in json.loads(run_cli("data", "check", "set.yaml", "--json").out)["findings"]
    ]
    assert not any("holds 2" in message for message in messages)


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
