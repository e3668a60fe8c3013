"""Data sets without `mean` and `std`: measured once, and the same as if they had been typed."""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from factories import experiment, write_experiment, write_folders

from segcli.engine.checkpoint import read_checkpoint

UNSTATED = {"dataset__mean": None, "dataset__std": None, "training__epochs": 1}


def moments(folder: Path) -> tuple[list[float], list[float]]:
    """Compute mean and std with OpenCV and NumPy, of the whole split at once."""
    pixels = np.concatenate([cv2.imread(str(path))[:, :, ::-1].reshape(-1, 3) for path in folder.glob("*.png")]) / 255
    return pixels.mean(axis=0).tolist(), pixels.std(axis=0).tolist()


def test_the_numbers_are_those_of_the_training_images_and_are_kept_with_the_run(tiny, run_cli, workplace):
    path = tiny(**UNSTATED)
    mean, std = moments(write_folders(workplace / "data") / "train/image")
    result = run_cli("train", path)
    assert result.code == 0, result.err
    assert "measured on 6 training images: mean [0." in result.err
    kept = yaml.safe_load(Path("outputs/experiments/tiny/config.yaml").read_text())["dataset"]
    assert kept["mean"] == pytest.approx(mean, rel=1e-5)
    assert kept["std"] == pytest.approx(std, rel=1e-5)
    typed = run_cli("train", path, "name=typed", f"dataset.mean={kept['mean']}", f"dataset.std={kept['std']}")
    assert typed.code == 0
    assert "measured" not in typed.err
    one, other = (
        read_checkpoint(Path(f"outputs/experiments/{name}/checkpoints/last.safetensors")) for name in ("tiny", "typed")
    )
    assert all(np.array_equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


def test_a_second_training_does_not_read_all_images_again(tiny, run_cli, monkeypatch):
    from segcli.data.moments import Moments

    path = tiny(**UNSTATED)
    assert run_cli("train", path, "--dry-run").code == 0
    assert not Path("outputs").exists()  # a rehearsal writes nothing
    assert run_cli("train", path).code == 0
    first = Path("outputs/experiments/tiny/config.yaml").read_text()
    monkeypatch.setattr(Moments, "of", lambda sample: pytest.fail("read again"))
    assert run_cli("train", path, "--overwrite").code == 0
    assert Path("outputs/experiments/tiny/config.yaml").read_text() == first


def test_a_channel_without_content_is_told_and_divided_by_1(run_cli, workplace):
    write_folders(workplace / "data")
    for image in (workplace / "data/train/image").glob("*.png"):
        pixels = cv2.imread(str(image))
        pixels[:, :, 0] = 51  # blue, the last channel of RGB
        cv2.imwrite(str(image), pixels)
    path = write_experiment(workplace / "tiny.yaml", experiment(workplace / "data", **UNSTATED))
    result = run_cli("train", path)
    assert result.code == 0, result.err
    assert "channel 2 has the same value in all training images" in " ".join(result.err.split())
    kept = yaml.safe_load(Path("outputs/experiments/tiny/config.yaml").read_text())["dataset"]
    assert (kept["mean"][2], kept["std"][2]) == (0.2, 1.0)


def test_data_check_finds_its_faults_without_the_numbers(tiny, run_cli, workplace):
    path = tiny(**UNSTATED)
    next((workplace / "data/train/label").iterdir()).unlink()
    result = run_cli("data", "check", path, "--json")
    assert result.code == 1
    assert "missing_label" in {finding["code"] for finding in json.loads(result.out)["findings"]}


def test_other_data_are_normalised_with_the_numbers_of_the_run_whatever_they_state(tiny, run_cli, workplace):
    path = tiny(**UNSTATED)
    assert run_cli("train", path).code == 0
    for folder in (workplace / "other/test/image", workplace / "other/test/label"):
        shutil.copytree(workplace / "data/test" / folder.name, folder)
    for image in (workplace / "other/test/image").glob("*.png"):
        cv2.imwrite(str(image), cv2.imread(str(image)) // 4)  # much darker, so that its own mean would differ
    scores = []
    for stated in ({}, {"mean": [0.9, 0.9, 0.9], "std": [0.01, 0.01, 0.01]}):
        values = {"name": "other", "paths": {"root": "other"}, "num_channels": 3, "num_classes": 1, **stated}
        Path("other.yaml").write_text(yaml.safe_dump(values))
        result = run_cli("eval", "tiny", "--data", "other.yaml", "--json")
        assert result.code == 0, result.err
        scores.append(json.loads(result.out)["average_metrics"])
    by_folder = run_cli("eval", "tiny", "--data", "other/test", "--json")
    assert by_folder.code == 0, by_folder.err
    assert scores[0] == scores[1] == json.loads(by_folder.out)["average_metrics"]


def test_every_fold_measures_its_own_training_images(tiny, run_cli, workplace):
    path = tiny(**UNSTATED)
    assert run_cli("train", path, "--folds", "2").code == 0
    kept = [
        yaml.safe_load(Path(f"outputs/experiments/tiny/fold_{number}/config.yaml").read_text())["dataset"]["mean"]
        for number in (1, 2)
    ]
    images = [
        cv2.imread(str(file)) for split in ("train", "val") for file in (workplace / "data" / split).glob("image/*.png")
    ]
    assert kept[0] != kept[1]
    assert np.mean(kept, axis=0) == pytest.approx(np.mean(images, axis=(0, 1, 2))[::-1] / 255, rel=1e-5)


def test_images_that_changed_are_measured_again(tiny, run_cli, workplace):
    path = tiny(**UNSTATED)
    first, plain = next((workplace / "data/train/image").glob("*.png")), [cv2.IMWRITE_PNG_COMPRESSION, 0]
    cv2.imwrite(str(first), cv2.imread(str(first)), plain)
    assert run_cli("train", path).code == 0
    before = first.stat()
    cv2.imwrite(str(first), 255 - cv2.imread(str(first)), plain)
    os.utime(first, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert first.stat().st_size == before.st_size  # only the content tells
    mean, _ = moments(workplace / "data/train/image")
    listed = "mean [{}]".format(", ".join(f"{value:.4g}" for value in mean))
    assert listed in " ".join(run_cli("train", path, "--dry-run").err.split())


def test_a_changed_part_of_a_large_file_that_no_fingerprint_reads_is_noticed(tiny, run_cli, workplace, monkeypatch):
    from segcli.engine.training import measured

    path = tiny(**UNSTATED)
    assert run_cli("train", path).code == 0
    monkeypatch.setattr(measured, "fingerprint", lambda cases: {"digest": "the same"})
    assert run_cli("train", path, "--overwrite").code == 0
    first = next((workplace / "data/train/image").glob("*.png"))
    cv2.imwrite(str(first), 255 - cv2.imread(str(first)))
    mean, _ = moments(workplace / "data/train/image")
    assert f"mean [{mean[0]:.4g}, " in " ".join(run_cli("train", path, "--dry-run").err.split())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("transform", "Nonsense"),
        ("link", "is a link to"),
        ("batch", "differ in size"),
    ],
)
def test_what_needs_no_pixels_is_refused_before_all_images_are_read(
    fault, message, tiny, run_cli, workplace, monkeypatch
):
    from segcli.data.moments import Moments

    monkeypatch.setattr(Moments, "of", lambda sample: pytest.fail("read before the refusal"))
    path = tiny(**UNSTATED)
    image = next((workplace / "data/train/image").glob("*.png"))
    overrides = {"transform": ["data.augmentation.transforms=[{type: Nonsense}]"]}.get(fault, [])
    if fault == "link":
        shutil.move(image, workplace / "elsewhere.png")
        image.symlink_to(workplace / "elsewhere.png")
    if fault == "batch":
        cv2.imwrite(str(image), np.zeros((64, 80, 3), np.uint8))
        cv2.imwrite(str(workplace / "data/train/label" / image.name), np.zeros((64, 80), np.uint8))
    result = run_cli("train", path, *overrides)
    assert result.code in (2, 3), result.err
    assert message in " ".join(result.err.split())


def test_a_folder_that_cannot_keep_the_numbers_stops_no_training(tiny, run_cli):
    Path("no_folder").write_text("a file")
    path = tiny(**UNSTATED, data__cache_dir="no_folder")
    result = run_cli("train", path)
    assert result.code == 0, result.err
    assert "`no_folder` cannot be written: the next training measures mean and std again" in result.err
    assert "`data.cache_dir` has no effect" not in result.err


def test_a_rehearsal_takes_the_numbers_that_a_training_kept(tiny, run_cli, monkeypatch):
    from segcli.data.moments import Moments

    path = tiny(**UNSTATED)
    assert run_cli("train", path).code == 0
    monkeypatch.setattr(Moments, "of", lambda sample: pytest.fail("read again"))
    assert run_cli("train", path, "--dry-run").code == 0


def test_chosen_channels_are_measured(tiny, run_cli, workplace):
    path = tiny(**UNSTATED, data__channels=[2, 0], dataset__num_channels=2)
    result = run_cli("train", path)
    assert result.code == 0, result.err
    mean, std = moments(workplace / "data/train/image")
    kept = yaml.safe_load(Path("outputs/experiments/tiny/config.yaml").read_text())["dataset"]
    assert kept["mean"] == pytest.approx([mean[2], mean[0]], rel=1e-5)
    assert kept["std"] == pytest.approx([std[2], std[0]], rel=1e-5)
    assert run_cli("eval", "tiny").code == 0
    resumed = run_cli("resume", "tiny", "training.epochs=2")
    assert resumed.code == 0, resumed.err
    assert "measured" not in resumed.err
