"""`eval` and `predict` on volumes."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from factories import OBLIQUE, SMALL, bodies, volumes_experiment, write_dicom, write_experiment, write_hdf5
from scipy import ndimage

from segcli import files
from segcli.commands.answers import PredictOptions
from segcli.commands.answers.volumes import VolumeAnswers, _Table
from segcli.commands.ensemble import ensemble
from segcli.commands.predict import write_all
from segcli.config.schema import DatasetSection, Inference
from segcli.core.onnx_runtime import load_onnxruntime
from segcli.data.images import read_image
from segcli.data.pipeline import Pipeline
from segcli.data.samples import Sample
from segcli.data.settings import DataSettings
from segcli.engine.events import Silent
from segcli.engine.export.portable import open_portable
from segcli.engine.inference import arrays, rows
from segcli.engine.inference.predictor import InMemory, Predictor
from segcli.files import open_picture
from segcli.tasks.structures import Structures

ROOT = Path(__file__).parents[2]

# bias and threshold at 0: a network that has learnt nothing finds something
MODEL = {"type": "sadaan", **SMALL["sadaan"], "presence_threshold": 0.0, "absence_bias": 0.0}


@pytest.fixture
def trained(workplace, run_cli):
    """A trained run on volumes; keyword arguments as those of `experiment`."""

    def make(**changes):
        write_hdf5(workplace / "data")
        values = volumes_experiment(workplace / "data", **{"model": MODEL, "training__epochs": 1, **changes})
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


def test_results_of_two_volumes_are_not_written_to_one_file(trained, run_cli, workplace):
    trained()
    image, _, _ = bodies(5)
    tifffile.imwrite("a.tif", image)
    tifffile.imwrite("a_uncertainty.tif", image)
    words = ("predict", "a.tif", "a_uncertainty.tif", "--run", "tiny", "--out", "found")
    result = run_cli(*words, "--uncertainty")
    assert result.code == 2
    both = "`a_uncertainty.tif` and `a.tif` would both be written to `found/a_uncertainty.tif`"
    assert both in result.err
    assert not (workplace / "found").exists()
    np.save("a.npy", image)  # another mask, and probabilities of one name
    result = run_cli("predict", "a.tif", "a.npy", "--run", "tiny", "--out", "found", "--probabilities")
    assert result.code == 2
    assert "`a.tif` and `a.npy` would both be written to `found/a_probabilities.npy`" in result.err


def test_results_of_two_cases_of_one_file_whose_names_differ_in_unicode_only_are_refused(trained, run_cli, workplace):
    trained()
    with h5py.File("data/test.h5", "a") as file:
        count = len(file["images"])
        file["case_ids"] = ["\u00fc", "u\u0308", *(f"other {number}" for number in range(count - 2))]
    result = run_cli("predict", "data/test.h5", "--run", "tiny", "--out", "found", "--overlay")
    assert result.code == 2
    assert "`data/test.h5[0]` and `data/test.h5[1]` would both be written to" in result.err
    assert not (workplace / "found").exists()


def test_a_result_beside_a_mask_is_not_overwritten_unless_asked(trained, run_cli, workplace):
    trained()
    image, _, _ = bodies(5)
    tifffile.imwrite("a.tif", image)
    (workplace / "found").mkdir()
    mine = workplace / "found/a_overlay.png"
    mine.write_text("mine")
    words = ("predict", "a.tif", "--run", "tiny", "--out", "found", "--overlay")
    result = run_cli(*words)
    assert result.code == 2
    assert "`found/a_overlay.png` exists" in result.err
    assert [path.name for path in (workplace / "found").iterdir()] == ["a_overlay.png"]
    assert mine.read_text() == "mine"
    assert run_cli(*words, "--overwrite").code == 0
    assert mine.read_bytes().startswith(b"\x89PNG")


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


def test_volumes_of_a_format_that_is_not_read_are_counted_where_a_folder_is_predicted(trained, run_cli, workplace):
    (workplace / "scans").mkdir()
    tifffile.imwrite(workplace / "scans/a.tif", bodies(0)[0].astype(np.float32), photometric="minisblack")
    for name in ("b.nrrd", "c.mha", "notes.txt", ".hidden.mha"):
        (workplace / "scans" / name).touch()
    trained()
    result = run_cli("predict", "scans", "--out", "found")
    assert result.code == 0, result.err
    message = "`scans` holds 2 files of a format that is not read, such as `b.nrrd` (convert it to NIfTI: `SimpleITK"
    assert message in " ".join(result.err.split())


def test_a_broken_volume_is_passed_over_and_named(trained, run_cli, workplace):
    trained()
    (workplace / "broken.h5").write_bytes(b"nothing")
    result = run_cli("predict", "broken.h5", "data/test.h5", "--run", "tiny", "--out", "found")
    assert result.code == 3
    assert "`broken.h5` is not an HDF5 file" in result.err
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


@pytest.mark.parametrize(("option", "value"), [("--video", "a.mp4"), ("--fov", "masks")])
def test_a_video_and_a_field_of_view_are_for_2d_images(trained, run_cli, option, value):
    trained()
    result = run_cli("predict", "data/test.h5", "--run", "tiny", "--out", "found", option, value)
    assert result.code == 2
    assert f"`{option}` is for 2D images" in result.err
    assert not Path("found").exists()


def masks_of(folder, name="test.h5"):
    with h5py.File(Path(folder) / name) as file:
        return file["masks"][:]


def predicted(run_cli, out, *words):
    """Summary of a prediction that succeeds."""
    result = run_cli("predict", "--out", out, "--json", *words)
    assert result.code == 0, result.err
    return json.loads(result.out)


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


def test_large_volumes_have_the_answers_of_small_ones(trained, run_cli, monkeypatch):
    """Read by window, normalised by their own statistics, with judged presence, and written plane by plane."""
    nibabel = pytest.importorskip("nibabel")
    trained(inference__tile=[16, 16, 8], inference__overlap=0.5)
    image = bodies(5, (30, 26, 19))[0]
    for name in ("a.nii", "b.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(image, OBLIQUE), name)
    tifffile.imwrite("c.tif", image, compression="zlib")
    array = zarr.create_array("d.zarr", shape=image.shape, dtype=image.dtype, chunks=(8, 8, 8))
    array[:] = image
    words = ("a.nii", "b.nii.gz", "c.tif", "d.zarr", "data/test.h5", "--run", "tiny")
    words = (*words, "--probabilities", "--uncertainty", "--overlay")
    whole = predicted(run_cli, "whole", *words)
    opened = []
    monkeypatch.setattr(files, "LARGE", 1)
    monkeypatch.setattr(arrays, "HELD", 1)
    monkeypatch.setattr(rows, "GIVEN", 2**12)
    bands = Predictor.bands
    monkeypatch.setattr(Predictor, "bands", lambda *given: opened.append(given[1].image.path) or bands(*given))
    parts = predicted(run_cli, "parts", *words)
    assert {path.name for path in opened} == {"a.nii", "b.nii.gz", "c.tif", "d.zarr", "test.h5[0]", "test.h5[1]"}
    assert [entry["structures"] for entry in parts["presence"]] == [entry["structures"] for entry in whole["presence"]]
    names = sorted(path.name for path in Path("whole").iterdir())
    assert names == sorted(path.name for path in Path("parts").iterdir())
    for name in names:
        one, other = (content(Path(folder) / name) for folder in ("whole", "parts"))
        np.testing.assert_allclose(
            one, other, atol=1e-6 if one.dtype.kind == "f" else 1 if "uncertainty" in name else 0
        )
    np.testing.assert_allclose(nibabel.load("parts/b.nii.gz").affine, OBLIQUE)
    assert {"a_overlay.png", "test_0001_overlay.png", "c_uncertainty.tif", "d.zarr"} <= set(names)


def content(path):
    """What a file of any kind that prediction writes holds."""
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix in (".tif", ".png"):
        return tifffile.imread(path) if path.suffix == ".tif" else read_image(path)
    if path.suffix == ".zarr":
        return zarr.open_array(str(path), mode="r")[:]
    if path.suffix == ".h5":
        return masks_of(path.parent, path.name)
    if path.suffix == ".csv":
        return np.frombuffer(path.read_bytes(), np.uint8)
    import nibabel

    return np.asarray(nibabel.load(path).dataobj)


def by_hand(forward):
    """A predictor of two structures whose network is a function of NumPy arrays."""
    dataset = {"format": "hdf5_volumes", "classes": ["ball", "box"], "num_classes": 2, "num_channels": 1}
    section = DatasetSection.model_validate({**dataset, "task": "structures"})
    return Predictor(
        name="hand",
        source=Path("hand"),
        layout=section.build(),
        pipeline=Pipeline(DataSettings(preprocessing={"normalize": False}), section.spec, stride=4),
        task=Structures(section.spec),
        inference=Inference(tile=[8, 8, 8], overlap=0.25),
        forward=forward,
    )


def bright(images):
    """The masks are what is bright, the first structure is there where the tile is very bright, the second nowhere."""
    is_there = images.reshape(len(images), -1).max(axis=1) > 0.9
    mask = np.concatenate([images * 8 - 4, images * 8 - 4], axis=1)
    gate = np.stack([np.where(is_there, 5.0, -1.0), np.full(len(images), -1.0)], axis=1)
    return {"mask": mask.astype(np.float32), "gate": gate.astype(np.float32)}


def test_a_structure_is_present_where_any_tile_shows_it_and_absent_otherwise_everywhere():
    parts, image = by_hand(bright), np.full((20, 8, 8, 1), 0.6, np.float32)
    dark = parts.predict(Sample(image))
    assert dark.present.tolist() == [False, False]
    assert not dark.probs.any()
    image[17, 3, 3] = 1.0
    found = parts.predict(Sample(image))
    assert found.present.tolist() == [True, False]
    assert (found.probs[0] > 0.5).all()
    assert not found.probs[1].any()
    for place, part in parts.bands(InMemory(image)):
        np.testing.assert_array_equal(part.probs, found.probs[:, place])


def test_several_networks_judge_presence_by_the_mean_of_their_probabilities():
    image = np.full((8, 8, 8, 1), 1.0, np.float32)
    against = by_hand(lambda images: {**bright(images), "gate": np.full((len(images), 2), -2.0, np.float32)})
    silent = by_hand(lambda images: {"mask": bright(images)["mask"]})
    for members, expected in (
        ([by_hand(bright), against], True),  # sigmoid(5) = 0.993 and sigmoid(-2) = 0.119: above a half
        ([by_hand(bright), against, against], False),  # 0.410, though the sum of the gates is above 0
        ([by_hand(bright), silent, against], True),  # one that does not judge has no say
    ):
        found = ensemble(members).predict(Sample(image))
        assert found.present.tolist() == [expected, False]
        assert (found.probs[0] > 0).all() == expected
    assert silent.predict(Sample(image)).present is None


def test_a_large_case_that_breaks_off_leaves_nothing_in_the_file_of_its_cases(workplace, monkeypatch):
    write_hdf5(workplace / "data", {"test": 3}, size=(24, 16, 8))
    with h5py.File("data/test.h5", "a") as file:
        file["images"][2] = file["images"][0]
        file["images"][1, 22, 0, 0] = np.nan
    monkeypatch.setattr(files, "LARGE", 1)
    parts = by_hand(lambda images: {"mask": bright(images)["mask"]})  # judges nothing: planes are written at once
    options = PredictOptions(out=Path("found"))
    done = write_all(VolumeAnswers(["data/test.h5"], lambda: [parts], options), Silent())
    assert [entry["message"] for entry in done.failed] == ["volume `data/test.h5[1]` holds NaN or infinite values"]
    masks = masks_of("found")
    assert [bool(masks[case].any()) for case in range(3)] == [True, False, True]
    assert [entry["case"] for entry in done.presence] == ["0000", "0002"]


def test_a_file_of_many_cases_is_whole_when_its_last_is_done(workplace):
    for name in ("one", "two"):
        write_hdf5(workplace / name, {name: 2})

    def stopped(images):
        calls.append(len(images))
        if sum(calls) > 2 * 9:  # a case of 16x16x8 has nine tiles
            raise KeyboardInterrupt
        return bright(images)

    calls: list[int] = []
    options = PredictOptions(out=Path("found"))
    answers = VolumeAnswers(["one/one.h5", "two/two.h5"], lambda: [by_hand(stopped)], options)
    with pytest.raises(KeyboardInterrupt):
        write_all(answers, Silent())
    assert masks_of("found", "one.h5").shape == (2, 2, 16, 16, 8)


def test_a_prediction_of_volumes_goes_on_where_it_was_killed(trained, run_cli, workplace):
    nibabel = pytest.importorskip("nibabel")
    trained()
    (workplace / "many").mkdir()
    for index in range(24):
        nibabel.save(nibabel.Nifti1Image(bodies(index)[0], OBLIQUE), f"many/case_{index:02d}.nii.gz")
    (workplace / "many/case_07.nii.gz").write_bytes(b"junk")
    words = ["predict", "many", "--run", "tiny", "--out", "found", "--uncertainty", "--skip-existing"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "segcli", *words]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while len(list((workplace / "found").glob("case_??.nii.gz"))) < 3 and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
    times = {path.name: path.stat().st_mtime_ns for path in (workplace / "found").glob("case_??.nii.gz")}
    assert 0 < len(times) < 23
    result = run_cli(*words, "--json")
    assert result.code == 3
    told = json.loads(result.out)
    assert {Path(path).name for path in told["skipped"]} == set(times)
    assert len(told["written"]) == 23 - len(times)
    assert [Path(entry["file"]).name for entry in told["failed"]] == ["case_07.nii.gz"]
    for index in set(range(24)) - {7}:
        for kind in ("", "_uncertainty"):
            assert np.asarray(nibabel.load(f"found/case_{index:02d}{kind}.nii.gz").dataobj).shape == (16, 16, 8)
    assert {name: (workplace / "found" / name).stat().st_mtime_ns for name in times} == times
    assert list((workplace / "found").glob(".*")) == []
    rows = list(csv.DictReader(Path("found/presence.csv").read_text().splitlines()))
    assert sorted({row["case"] for row in rows}) == [f"case_{index:02d}" for index in range(24) if index != 7]
    assert len(rows) == 2 * 23


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


@pytest.mark.parametrize("bake", [(), pytest.param(("--bake",), marks=pytest.mark.slow)])
def test_an_exported_file_predicts_volumes_and_their_presence_without_pytorch(trained, run_cli, bake):
    pytest.importorskip("onnxscript")
    trained(dataset__mean=[0.5], dataset__std=[0.2], inference__tile=[16, 16, 8], inference__overlap=0.5)
    file = json.loads(run_cli("export", "tiny", "--json", *bake).out)["file"]
    words = ["predict", "data/test.h5", "--out", "file", "--tta", "--overlay", "--json", "--model", file]
    program = (
        "import sys\n"
        "sys.modules['torch'] = None\n"  # importing it fails
        "from segcli.cli.main import run\n"
        f"sys.exit(run({words!r}))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    told = predicted(run_cli, "run", "data/test.h5", "--run", "tiny", "--tta", "--probabilities")
    assert json.loads(done.stdout)["presence"] == told["presence"]
    for case, (one, other) in enumerate(zip(masks_of("run"), masks_of("file"), strict=True)):
        clear = np.abs(np.load(f"run/test_{case:04d}_probabilities.npy") - 0.5) > 1e-4
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(one[clear], other[clear])


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


def test_a_series_of_dicom_files_becomes_a_nifti_file_in_its_place(trained, run_cli, workplace):
    pytest.importorskip("pydicom")
    nibabel = pytest.importorskip("nibabel")
    trained(dataset__intensity_range=[0.0, 1000.0])
    image = bodies(5)[0]
    write_dicom(workplace / "ct", np.rint(image.T * 1000))
    affine = np.diag([-1.0, -2.0, 3.0, 1.0])  # the same volume in NIfTI, whose first two axes run the other way
    nibabel.save(nibabel.Nifti1Image(np.rint(image * 1000).astype(np.int16), affine), "same.nii.gz")
    predicted(run_cli, "found", "ct", "same.nii.gz", "--run", "tiny")
    one, other = nibabel.load("found/ct.nii.gz"), nibabel.load("found/same.nii.gz")
    np.testing.assert_array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))
    np.testing.assert_allclose(one.affine, affine)
    rows = list(csv.DictReader(Path("found/presence.csv").read_text().splitlines()))
    assert [row["volume"] for row in rows[:2]] == [row["volume"] for row in rows[2:]]
    (workplace / "ct/3.dcm").unlink()
    result = run_cli("predict", "ct", "--run", "tiny", "--out", "gap")
    assert result.code == 3
    assert "mm apart between `2.dcm` and `4.dcm`" in " ".join(result.err.split())


def test_broken_scans_do_not_take_the_good_ones_of_their_folder_along(trained, run_cli, workplace):
    pydicom, nibabel = pytest.importorskip("pydicom"), pytest.importorskip("nibabel")
    trained(dataset__intensity_range=[0.0, 1000.0])
    (workplace / "scans").mkdir()
    voxels = np.rint(bodies(5)[0] * 1000).astype(np.int16)
    for name in ("good", "placeless", "gap", "junk"):
        write_dicom(workplace / "scans" / name, voxels.T)
    data = pydicom.dcmread("scans/placeless/3.dcm")
    del data.ImagePositionPatient
    data.save_as("scans/placeless/3.dcm")
    Path("scans/gap/4.dcm").unlink()
    Path("scans/junk/2.dcm").write_bytes(b"no DICOM")
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), "scans/fine.nii.gz")
    colours = np.zeros(voxels.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colours, np.eye(4)), "scans/screenshot.nii.gz")
    flat = nibabel.Nifti1Image(voxels, np.eye(4))
    flat.header["srow_x"] = flat.header["srow_y"] = flat.header["srow_z"] = 0
    flat.header["sform_code"], flat.header["vox_offset"] = 2, 352
    Path("scans/flat.nii").write_bytes(flat.header.binaryblock + bytes(4) + voxels.tobytes("F"))
    result = run_cli("predict", "scans", "--run", "tiny", "--out", "found", "--json", "--probabilities")
    failed = {Path(each["file"]).name: each["message"] for each in json.loads(result.out)["failed"]}
    assert set(failed) == {"placeless", "gap", "junk", "screenshot.nii.gz", "flat.nii"}
    assert "scans/placeless/3.dcm` has no position in the body" in failed["placeless"]
    assert "6 mm apart between `3.dcm` and `5.dcm`" in failed["gap"]
    assert "cannot read DICOM file `scans/junk/2.dcm`" in failed["junk"]
    assert "holds colours (RGB)" in failed["screenshot.nii.gz"]
    assert "the sform of `scans/flat.nii` gives its voxels no place" in failed["flat.nii"]
    assert {path.name for path in Path("found").glob("*.nii.gz")} == {
        f"{name}{kind}.nii.gz" for name in ("good", "fine") for kind in ("", "_probabilities")
    }


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


# ---- presence


def presence(folder):
    """Rows of `presence.csv` by case and structure."""
    rows = csv.DictReader((Path(folder) / "presence.csv").read_text().splitlines())
    return {(row["case"], row["structure"]): row for row in rows}


def logistic(values):
    return 1.0 / (1.0 + np.exp(-values.astype(np.float64)))


def test_a_structure_without_a_voxel_is_absent_in_predict_eval_and_exported_files_and_all_tell_how_sure_it_is(
    trained, run_cli
):
    """The gate of this network is always open."""
    trained(training__loss={"type": "sadaan"}, data__preprocessing={"normalize": False})
    assert run_cli("export", "tiny", "--format", "onnx").code == 0
    onnx = "outputs/exports/tiny/tiny.onnx"
    for limit, some in (("1.0", False), ("0.0", True)):
        words = ("data/test.h5", "--threshold", limit)
        table = run_cli("predict", *words, "--run", "tiny", "--out", f"found{limit}").out
        assert "in brackets: confidence in presence or absence" in " ".join(table.split())
        assert ("absent" in table) is not some
        assert run_cli("predict", *words, "--model", onnx, "--out", f"exported{limit}").code == 0
        scored = run_cli("eval", "tiny", "--split", "test", "--threshold", limit, "--out", f"scored{limit}", "--json")
        told = json.loads(scored.out)
        found, exported, judged = (presence(f"{name}{limit}") for name in ("found", "exported", "scored"))
        assert {row["present"] for row in (*found.values(), *exported.values(), *judged.values())} == {str(int(some))}
        assert all((float(row["volume"]) > 0) is some for row in found.values())
        right = np.array([row["present"] == row["truth"] for row in judged.values()])
        assert told["average_metrics"]["presence_accuracy"] == pytest.approx(right.mean())
        assert len(judged) == len(right) == 4
    session, names = load_onnxruntime(purpose="a test").InferenceSession(onnx), ("presence", "confidence")
    with h5py.File("data/test.h5") as file:
        image = file["images"][:].astype(np.float32)[:, None]
    raw = dict(zip(names, session.run(names, {session.get_inputs()[0].name: image}), strict=True))
    for column, output in (("probability", "presence"), ("confidence", "confidence")):
        expected = logistic(raw[output]).ravel()
        for told_by in (found, exported, judged):
            np.testing.assert_allclose([float(row[column]) for row in told_by.values()], expected, atol=2e-4)
    error = abs(np.array([float(row["confidence"]) for row in judged.values()]) - right)
    per_image = [entry["presence_ece"] for entry in told["per_image"]]
    np.testing.assert_allclose(per_image, error.reshape(2, 2).mean(axis=1), atol=1e-4)
    assert "Confidence in presence, all structures together" in Path("scored0.0/report.html").read_text()


def test_a_confidence_that_was_not_calibrated_is_not_shown(trained, run_cli):
    trained(training__loss={"type": "sadaan", "confidence": 0.1})
    table = run_cli("predict", "data/test.h5", "--run", "tiny", "--out", "found").out
    assert "confidence" not in table
    assert {row["confidence"] for row in presence("found").values()} == {""}
    assert all(0.0 < float(row["probability"]) < 1.0 for row in presence("found").values())
    told = json.loads(run_cli("eval", "tiny", "--split", "test", "--json").out)
    assert "presence_ece" not in told["average_metrics"]


def test_rows_of_a_table_of_an_earlier_version_are_kept(tmp_path):
    path = tmp_path / "presence.csv"
    path.write_text("file,case,structure,present,volume,unit\na.h5,0,ball,1,6,mm³\n")
    table = _Table(tmp_path)
    table.keep()
    found = {"present": True, "volume": 3.0, "unit": "mm³", "probability": 0.75, "confidence": 0.5}
    table.write({"file": "b.h5", "case": "0", "structures": {"box": found}})
    assert path.read_text().splitlines() == [
        "file,case,structure,present,volume,unit,probability,confidence",
        "a.h5,0,ball,1,6,mm³,,",
        "b.h5,0,box,1,3,mm³,0.7500,0.5000",
    ]
