"""Large images, folders that go on, ensembles and uncertainty."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import yaml
import zarr
from factories import blobs
from scipy import ndimage

from segcli import files
from segcli.data.images import read_image, read_labels
from segcli.engine.checkpoint import Checkpoint, read_checkpoint, write_checkpoint

ROOT = Path(__file__).parents[2]


@pytest.fixture
def trained(tiny_of):
    """A trained run called `tiny`."""
    tiny_of(2)


@pytest.mark.usefixtures("trained")
def test_an_image_read_in_parts_has_the_mask_of_one_read_as_a_whole(run_cli, workplace, monkeypatch):
    image = cv2.resize(blobs(1)[0], (330, 250))
    tifffile.imwrite(workplace / "slide.tif", image, photometric="rgb", tile=(64, 64), compression="deflate")
    array = zarr.create_array(str(workplace / "cloud.zarr"), shape=image.shape, dtype="u1", chunks=(64, 64, 3))
    array[:] = image
    words = ("--tile", "64", "--probabilities", "--uncertainty", "--json")
    assert run_cli("predict", "slide.tif", "--out", "whole", *words).code == 0
    monkeypatch.setattr(files, "LARGE", 1)
    result = run_cli("predict", "slide.tif", "cloud.zarr", "--out", "parts", *words)
    assert result.code == 0, result.err
    for kind in ("", "_probability", "_uncertainty"):
        expected = read_image(workplace / f"whole/slide{kind}.png")[:, :, 0]
        for stem in ("slide", "cloud"):
            found = tifffile.imread(workplace / f"parts/{stem}{kind}.tif")
            np.testing.assert_allclose(found.astype(int), expected.astype(int), atol=1 if kind else 0)
    written = json.loads(result.out)["written"]
    assert written[0]["share"] == pytest.approx((tifffile.imread(workplace / "parts/slide.tif") > 0).mean())


def test_an_image_read_in_parts_keeps_class_numbers_above_255(run_cli, workplace, tiny, monkeypatch):
    classes = {"num_classes": 2, "classes": [{"name": "ground"}, {"name": "blob"}], "numbers": [300, 700]}
    values = {f"dataset__{name}": value for name, value in classes.items()}
    config = tiny(**values, training__loss={"cross_entropy": 1.0}, training__epochs=1)
    for path in (workplace / "data").glob("*/label/*.png"):
        cv2.imwrite(str(path), np.where(read_labels(path) > 0, 700, 300).astype(np.uint16))
    assert run_cli("train", config).code == 0
    tifffile.imwrite(workplace / "slide.tif", blobs(1)[0], photometric="rgb", tile=(16, 16))
    assert run_cli("predict", "slide.tif", "--out", "whole").code == 0
    monkeypatch.setattr(files, "LARGE", 1)
    assert run_cli("predict", "slide.tif", "--out", "parts").code == 0
    expected, found = read_labels(workplace / "whole/slide.png"), tifffile.imread(workplace / "parts/slide.tif")
    assert {*np.unique(expected)} <= {300, 700}
    np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("trained")
def test_a_folder_goes_on_where_it_stopped_and_lists_what_failed(run_cli, workplace):
    folder = workplace / "data/test/image"
    for index in range(2, 6):
        cv2.imwrite(str(folder / f"{index:02d}.png"), blobs(index)[0])
    assert run_cli("predict", folder / "00.png", folder / "03.png", "--out", "found").code == 0
    before = (workplace / "found/03.png").stat().st_mtime_ns
    (workplace / f"found/.05.png.{2**22 + 1}.part").write_text("left behind by a process that was killed")
    (workplace / f"found/.04.png.{os.getppid()}.part").write_text("of one that runs")
    (folder / "02.png").write_text("junk")
    result = run_cli("predict", folder, "--out", "found", "--skip-existing", "--json")
    assert result.code == 3
    values = json.loads(result.out)
    assert [Path(path).name for path in values["skipped"]] == ["00.png", "03.png"]
    assert [Path(entry["image"]).name for entry in values["written"]] == ["01.png", "04.png", "05.png"]
    assert [Path(entry["file"]).name for entry in values["failed"]] == ["02.png"]
    assert (workplace / "found/03.png").stat().st_mtime_ns == before
    assert [path.name for path in (workplace / "found").glob(".*")] == [f".04.png.{os.getppid()}.part"]
    result = run_cli("predict", folder, "--out", "found", "--skip-existing")
    assert "skipped 5 images that already had a mask" in result.out


@pytest.mark.usefixtures("trained")
def test_a_killed_prediction_leaves_no_half_file_and_does_none_twice(run_cli, workplace):
    folder = workplace / "many"
    folder.mkdir()
    for index in range(200):
        cv2.imwrite(str(folder / f"{index:03d}.png"), blobs(index)[0])
    command = [
        sys.executable,
        "-m",
        "segcli",
        "predict",
        "many",
        "--out",
        "found",
        "--probabilities",
        "--skip-existing",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while len(list((workplace / "found").glob("*.png"))) < 20 and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    times = {path.name: path.stat().st_mtime_ns for path in (workplace / "found").glob("???.png")}
    assert 0 < len(times) < 200
    result = run_cli("predict", "many", "--out", "found", "--probabilities", "--skip-existing", "--json")
    assert result.code == 0, result.err
    values = json.loads(result.out)
    assert {Path(path).name for path in values["skipped"]} == set(times)
    assert len(values["written"]) == 200 - len(times)
    for index in range(200):
        mask, probability = (workplace / "found" / f"{index:03d}{kind}.png" for kind in ("", "_probability"))
        assert read_labels(mask).shape == read_labels(probability).shape == (48, 48)
    assert {name: (workplace / "found" / name).stat().st_mtime_ns for name in times} == times
    assert list((workplace / "found").glob(".*")) == []


@pytest.fixture
def two(run_cli, tiny, workplace):
    """Two runs that differ, `tiny` and `other`, with their probabilities for an image."""
    probs = []
    for name, seed in (("tiny", 1), ("other", 2)):
        assert run_cli("train", tiny(training__epochs=2, seed=seed, name=name)).code == 0
        assert run_cli("predict", "data/test/image/00.png", "--run", name, "--out", name, "--probabilities").code == 0
        probs.append(read_image(workplace / name / "00_probability.png")[:, :, 0] / 65535)
    return probs


def test_an_ensemble_is_the_mean_and_its_spread_the_deviation(run_cli, workplace, two):
    words = ("--run", "tiny", "--run", "other", "--out", "both", "--probabilities", "--uncertainty")
    result = run_cli("predict", "data/test/image/00.png", *words)
    assert result.code == 0, result.err
    mean = read_image(workplace / "both/00_probability.png")[:, :, 0] / 65535
    spread = read_image(workplace / "both/00_uncertainty.png")[:, :, 0] / 65535
    np.testing.assert_allclose(mean, np.mean(two, axis=0), atol=2e-5)
    np.testing.assert_allclose(spread, 2 * np.std(two, axis=0), atol=5e-5)
    assert spread.max() > 0.01


@pytest.mark.usefixtures("trained")
def test_the_uncertainty_of_one_network_is_its_entropy(run_cli, workplace):
    words = ("--probabilities", "--uncertainty", "--out", "found")
    assert run_cli("predict", "data/test/image/00.png", *words).code == 0
    probs = read_image(workplace / "found/00_probability.png")[:, :, 0] / 65535
    entropy = -(probs * np.log2(probs) + (1 - probs) * np.log2(1 - probs))
    found = read_image(workplace / "found/00_uncertainty.png")[:, :, 0] / 65535
    np.testing.assert_allclose(found, entropy, atol=2e-4)


@pytest.mark.usefixtures("trained")
def test_networks_that_see_images_differently_are_no_ensemble(run_cli, workplace):
    path = workplace / "outputs/experiments/tiny/checkpoints/best.safetensors"
    checkpoint = read_checkpoint(path)
    header = json.loads(json.dumps(checkpoint.header))
    header["config"]["dataset"]["mean"] = [0.1, 0.4, 0.4]
    write_checkpoint(workplace / "other.safetensors", Checkpoint(header, checkpoint.tensors))
    result = run_cli("predict", "data/test/image", "--run", "tiny", "--run", "other.safetensors")
    assert result.code == 2
    assert "differ in `mean`" in result.err


def test_eval_and_predict_and_an_exported_file_clean_masks_alike(run_cli, tiny, workplace):
    settings = {"postprocess": {"largest_component": True, "fill_holes": True}}
    assert run_cli("train", tiny(training__epochs=2, name="raw")).code == 0
    assert run_cli("train", tiny(training__epochs=2, inference=settings)).code == 0
    assert run_cli("export", "tiny").code == 0
    file = "outputs/exports/tiny/tiny.onnx"
    for out, network in (("raw", ("--run", "raw")), ("run", ("--run", "tiny")), ("file", ("--model", file))):
        assert run_cli("predict", "data/test/image", *network, "--out", out).code == 0
    assert run_cli("eval", "tiny", "--out", "scores").code == 0
    for name in ("00.png", "01.png"):
        raw, run, other = (read_labels(workplace / out / name) for out in ("raw", "run", "file"))
        expected = ndimage.binary_fill_holes(raw > 0)
        labels, count = ndimage.label(expected, np.ones((3, 3)))
        sizes = ndimage.sum_labels(expected, labels, range(1, count + 1))
        np.testing.assert_array_equal(run > 0, labels == 1 + np.argmax(sizes))
        np.testing.assert_array_equal(other, run)
        np.testing.assert_array_equal(read_labels(workplace / "scores/predictions" / name), run)
    scores = yaml.safe_load((workplace / "scores/per_image_metrics.yaml").read_text())
    truth = read_labels(workplace / "data/test/label/00.png") > 0
    found = read_labels(workplace / "run/00.png") > 0
    assert scores[0]["dice"] == pytest.approx(2 * (found & truth).sum() / (found.sum() + truth.sum()), abs=1e-6)
