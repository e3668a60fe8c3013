"""Files that `predict` writes for volumes, whole or not at all."""

import csv
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import tifffile
import zarr
from factories import OBLIQUE, bodies, write_dicom, write_hdf5
from volumes import bright, by_hand, masks_of, predicted, train_volumes

from segcli import files
from segcli.commands.answers import PredictOptions
from segcli.commands.answers.volumes import VolumeAnswers
from segcli.commands.predict import write_all
from segcli.data.images import read_image
from segcli.engine.events import Silent
from segcli.engine.inference import arrays
from segcli.engine.inference.predictor import Predictor
from segcli.engine.inference.tiles import rows

ROOT = Path(__file__).parents[2]


@pytest.fixture
def trained(workplace, run_cli):
    """Trains a run on volumes; keyword arguments as those of `experiment`."""
    return partial(train_volumes, workplace, run_cli)


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


def test_every_kind_of_file_beside_the_masks_is_named_and_volumes_keep_their_digits(trained, run_cli, workplace):
    trained()
    image, _, _ = bodies(5)
    nibabel.save(nibabel.Nifti1Image(image, np.diag([90.01, 90.0, 90.0, 1.0])), workplace / "a.nii.gz")
    words = ("--probabilities", "--uncertainty", "--overlay", "--threshold", "0.0", "--out", "found")
    told = run_cli("predict", "a.nii.gz", *words).out
    kinds = ("overlay.png", "probabilities.nii.gz", "uncertainty.nii.gz")
    assert f"beside the masks: {', '.join(f'NAME_{kind}' for kind in kinds)}" in told
    assert all((workplace / f"found/a_{kind}").exists() for kind in kinds)
    with (workplace / "found/presence.csv").open(newline="") as stream:
        volumes = [float(row["volume"]) for row in csv.DictReader(stream)]
    assert volumes == [pytest.approx(image.size * 90.01 * 90 * 90, rel=1e-7)] * 2


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


def test_a_file_of_many_cases_is_whole_when_its_last_is_done_and_goes_if_the_work_ends_before(workplace):
    for name in ("one", "two"):
        write_hdf5(workplace / name, {name: 2})

    def stopped(images):
        calls.append(len(images))
        if sum(calls) > 3 * 9:  # a case of 16x16x8 has nine tiles
            raise KeyboardInterrupt
        return bright(images)

    calls: list[int] = []
    options = PredictOptions(out=Path("found"))
    answers = VolumeAnswers(["one/one.h5", "two/two.h5"], lambda: [by_hand(stopped)], options)
    with pytest.raises(KeyboardInterrupt):
        write_all(answers, Silent())
    assert masks_of("found", "one.h5").shape == (2, 2, 16, 16, 8)
    assert sorted(path.name for path in Path("found").iterdir()) == ["one.h5", "presence.csv"]


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
    assert "the sform of `scans/flat.nii` gives its voxels no position" in failed["flat.nii"]
    assert {path.name for path in Path("found").glob("*.nii.gz")} == {
        f"{name}{kind}.nii.gz" for name in ("good", "fine") for kind in ("", "_probabilities")
    }
