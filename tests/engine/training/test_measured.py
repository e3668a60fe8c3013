"""Data sets without `mean` and `std`: measured once, and the same as if they had been typed."""

import json
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
