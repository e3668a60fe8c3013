"""`eval` and `predict` on volumes."""

import csv
import json
import signal
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from factories import SMALL, bodies
from scipy import ndimage
from volumes import masks_of, predicted, train_volumes

from segcli.data.images import read_image
from segcli.datasets.hdf5_volumes import HDF5Volumes
from segcli.files import open_picture


@pytest.fixture
def trained(workplace, run_cli):
    """Trains a run on volumes; keyword arguments as those of `experiment`."""
    return partial(train_volumes, workplace, run_cli)


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


def test_a_stopped_eval_leaves_no_file_that_lacks_cases(trained, run_cli, monkeypatch):
    trained()
    save = HDF5Volumes.save_answer

    def stopped(self, folder, case, answer):
        if case.index == 2:
            assert len(list(folder.glob(".val.h5.*.part"))) == 1
            signal.raise_signal(signal.SIGTERM)
        return save(self, folder, case, answer)

    monkeypatch.setattr(HDF5Volumes, "save_answer", stopped)
    assert run_cli("eval", "tiny", "--split", "val").code == 143
    assert list(Path("outputs/tests/tiny_val/predictions").glob(".*")) == []


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


def test_what_decides_is_the_volume_and_not_the_format_that_the_network_was_trained_on(trained, run_cli, workplace):
    nibabel = pytest.importorskip("nibabel")
    trained()
    image, _, _ = bodies(5)
    tifffile.imwrite("a.tif", image)
    np.save("b.npy", image)
    nibabel.save(nibabel.Nifti1Image(image, np.diag([2.0, 1.0, 3.0, 1.0])), "c.nii.gz")
    zarr.create_array(zarr.storage.LocalStore(workplace / "plain"), shape=image.shape, dtype=image.dtype)[:] = image
    names = ("a.tif", "b.npy", "c.nii.gz", "plain")
    result = run_cli("predict", *names, "--run", "tiny", "--out", "found", "--uncertainty", "--probabilities")
    assert result.code == 0, result.err
    expected = np.load("found/a_probabilities.npy")
    assert len(np.unique(expected)) > 100
    for name in ("b_probabilities.npy", "c_probabilities.nii.gz", "plain_probabilities.npy"):
        with open_picture(Path("found") / name, 3) as picture:
            np.testing.assert_allclose(np.moveaxis(picture.read(), -1, 0), expected, atol=1e-6)
    found = {path.name for path in Path("found").iterdir()}
    assert found >= {"b.npy", "c.nii.gz", "plain.zarr", "b_uncertainty.npy", "c_uncertainty.nii.gz"}


def test_a_stack_that_was_written_page_by_page_is_predicted_like_one_that_was_written_at_once(trained, run_cli):
    trained()
    image, _, _ = bodies(5)
    tifffile.imwrite("once.tif", image)
    for z, plane in enumerate(image):
        tifffile.imwrite("pages.tif", plane, append=z > 0)
    result = run_cli("predict", "once.tif", "pages.tif", "--run", "tiny", "--out", "found")
    assert result.code == 0, result.err
    found = [tifffile.imread(f"found/{name}.tif") for name in ("once", "pages")]
    assert found[0].shape == image.shape
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(("option", "value"), [("--video", "a.mp4"), ("--fov", "masks")])
def test_a_video_and_a_field_of_view_are_for_2d_images(trained, run_cli, option, value):
    trained()
    result = run_cli("predict", "data/test.h5", "--run", "tiny", "--out", "found", option, value)
    assert result.code == 2
    assert f"`{option}` is for 2D images" in result.err
    assert not Path("found").exists()


def test_predict_and_eval_find_the_same_voxels_and_presence(trained, run_cli):
    trained(inference__tile=[16, 16, 8], inference__overlap=0.5)
    assert run_cli("eval", "tiny", "--split", "test", "--out", "scores").code == 0
    told = predicted(run_cli, "found", "data/test.h5", "--run", "tiny")
    masks = masks_of("found")
    np.testing.assert_array_equal(masks, masks_of("scores/predictions"))
    assert 0 < masks.mean() < 1
    present = [[entry["structures"][name]["present"] for name in ("ball", "box")] for entry in told["presence"]]
    np.testing.assert_array_equal(masks.any(axis=(2, 3, 4)) & ~np.array(present), False)


def test_an_ensemble_of_volumes_is_the_mean_and_its_spread_the_deviation(trained, run_cli):
    for name, seed in (("tiny", 1), ("other", 2)):
        trained(name=name, seed=seed, model={"type": "unet", **SMALL["unet"]})
        predicted(run_cli, name, "data/test.h5", "--run", name, "--probabilities")
    runs = ("--run", "tiny", "--run", "other")
    predicted(run_cli, "both", "data/test.h5", *runs, "--probabilities", "--uncertainty")
    one, other = (np.load(Path(name) / "test_0001_probabilities.npy") for name in ("tiny", "other"))
    mean = np.load("both/test_0001_probabilities.npy")
    np.testing.assert_allclose(mean, (one + other) / 2, atol=1e-6)
    np.testing.assert_array_equal(masks_of("both")[1], mean >= 0.5)
    spread = np.load("both/test_0001_uncertainty.npy")
    np.testing.assert_allclose(spread, np.abs(one - other).max(axis=0), atol=1e-6)  # twice the deviation of two
    assert spread.max() > 1e-3


def test_the_uncertainty_of_structures_is_the_entropy_of_the_least_certain(trained, run_cli):
    trained(model={"type": "unet", **SMALL["unet"]})
    predicted(run_cli, "found", "data/test.h5", "--run", "tiny", "--probabilities", "--uncertainty")
    probs = np.load("found/test_0000_probabilities.npy").astype(np.float64)
    entropy = -(probs * np.log2(probs) + (1 - probs) * np.log2(1 - probs))
    np.testing.assert_allclose(np.load("found/test_0000_uncertainty.npy"), entropy.max(axis=0), atol=1e-5)


def test_masks_of_volumes_are_cleaned_alike_in_eval_predict_and_an_exported_file(trained, run_cli):
    unet = {"type": "unet", **SMALL["unet"]}
    trained(name="raw", model=unet)
    settings = {"fill_holes": True, "classes": {"ball": {"largest_component": True, "fill_holes": True}}}
    trained(model=unet, inference={"postprocess": settings})
    exported = json.loads(run_cli("export", "tiny", "--json").out)["file"]
    predicted(run_cli, "probs", "data/test.h5", "--run", "raw", "--probabilities")
    level = (
        "--threshold",
        float(np.median(np.load("probs/test_0000_probabilities.npy")[0])),
    )  # half is above: many pieces
    predicted(run_cli, "raw", "data/test.h5", "--run", "raw", *level)
    predicted(run_cli, "run", "data/test.h5", "--run", "tiny", *level)
    predicted(run_cli, "file", "data/test.h5", "--model", exported, *level)
    assert run_cli("eval", "tiny", "--split", "test", "--out", "scores", *level).code == 0
    raw, run = masks_of("raw"), masks_of("run")
    for case in range(2):
        ball = ndimage.binary_fill_holes(raw[case, 0])
        labels, count = ndimage.label(ball, np.ones((3, 3, 3)))
        sizes = ndimage.sum_labels(ball, labels, range(1, count + 1))
        np.testing.assert_array_equal(run[case, 0], labels == 1 + np.argmax(sizes))
        np.testing.assert_array_equal(run[case, 1], ndimage.binary_fill_holes(raw[case, 1]))
    assert (raw != run).any()
    np.testing.assert_array_equal(masks_of("file"), run)
    np.testing.assert_array_equal(masks_of("scores/predictions"), run)


def test_a_picture_shows_nine_planes_of_what_was_found(trained, run_cli):
    trained(model={"type": "unet", **SMALL["unet"]})
    predicted(run_cli, "found", "data/test.h5", "--run", "tiny", "--overlay")
    picture = read_image(Path("found/test_0000_overlay.png"))
    # of 16x16x8 voxels of 2x1x3 mm: planes of 16x24, 32x24 and 32x16 mm, enlarged until 32 mm are 256 pixels, with gaps
    # of 6 around, 20 lines above for their names, and a legend below
    planes = (128 + 32) + (256 + 32) + (256 + 32)
    assert picture.shape[1] == 3 * (192 + 12)
    assert picture.shape[0] > planes
    assert (picture[planes:] == 255).all(axis=2).mean() > 0.5
    masks, image = masks_of("found")[0], h5py.File("data/test.h5")["images"][0]
    first = picture[26:154, 6:198]  # the plane at a quarter of the first axis, each voxel 8x24 pixels
    shown = masks[:, 4].any(0).repeat(8, axis=0).repeat(24, axis=1)
    colour = first.max(axis=2) != first.min(axis=2)
    assert (colour & ~shown).sum() == 0
    assert (colour & shown).sum() > 0.8 * shown.sum() > 0
    assert image.shape == (16, 16, 8)
