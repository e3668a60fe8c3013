"""Prediction with an exported network, without PyTorch."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from factories import STREET, nuclei_experiment, scenes_experiment, write_experiment, write_nuclei, write_sequences

from segcli.data.images import read_image, read_labels
from segcli.engine.export.portable import open_portable

ROOT = Path(__file__).parents[2]


@pytest.fixture
def exported(run_cli, tiny, tiny_exports, workplace):
    """Makes a trained run called `tiny` and its ONNX file, as it is or baked; returns the file."""

    def make(*, baked=False, **changes):
        if not changes:
            shutil.copytree(tiny_exports.folder, workplace, dirs_exist_ok=True)
            return "outputs/exports/tiny/tiny_baked.onnx" if baked else "outputs/exports/tiny/tiny.onnx"
        assert run_cli("train", tiny(training__epochs=2, **changes)).code == 0
        result = run_cli("export", "tiny", "--json", *["--bake"] * baked)
        assert result.code == 0, result.err
        return json.loads(result.out)["file"]

    return make


def check_same(run_cli, workplace, file, *options):
    """Masks equal wherever the checkpoint's probability is not within 1e-4 of the threshold."""
    names = sorted(path.name for path in (workplace / "data/test/image").iterdir())
    for out, network in (("a", ("--run", "tiny")), ("b", ("--model", file))):
        result = run_cli("predict", "data/test/image", *network, "--out", out, "--probabilities", *options)
        assert result.code == 0, result.err
    for name in names:
        one, other = (read_labels(workplace / folder / name) for folder in "ab")
        probs = read_image(workplace / "a" / name.replace(".png", "_probability.png"))[:, :, 0] / 65535
        clear = np.abs(probs - 0.5) > 1e-4
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(one[clear], other[clear])
        again = read_image(workplace / "b" / name.replace(".png", "_probability.png"))[:, :, 0] / 65535
        assert np.abs(probs - again).max() < 1e-4


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"data__image_size": [32, 64], "data__preprocessing": {"normalize": "per_image"}},
        {
            "inference": {"tta": "horizontal", "scales": [0.5, 1.0]},
            **{"dataset__color": "grey", "dataset__num_channels": 1, "dataset__mean": [0.4], "dataset__std": [0.2]},
        },
    ],
)
def test_the_masks_are_those_of_the_checkpoint(run_cli, workplace, exported, changes):
    check_same(run_cli, workplace, exported(**changes))


def test_so_they_are_in_tiles_with_augmentation_and_baked(run_cli, workplace, exported):
    file = exported(baked=True)
    for index, size in enumerate(((150, 90), (37, 201))):
        image = np.random.default_rng(index).integers(0, 255, (*size, 3), dtype=np.uint8)
        cv2.imwrite(str(workplace / f"data/test/image/large{index}.png"), cv2.GaussianBlur(image, (0, 0), 5))
    check_same(run_cli, workplace, file, "--tile", "64", "--tta")


def test_many_classes_are_painted_as_by_the_checkpoint(run_cli, workplace):
    write_sequences(workplace / "data", {"Video_000": 4, "Video_001": 2, "Video_002": 2})
    config = write_experiment(workplace / "scenes.yaml", scenes_experiment(workplace / "data", training__epochs=3))
    assert run_cli("train", config).code == 0
    result = run_cli("export", "tiny", "--bake", "--json")
    assert result.code == 0, result.err
    file = json.loads(result.out)["file"]
    for out, network in (("a", ("--run", "tiny")), ("b", ("--model", file))):
        result = run_cli("predict", "data/Images/Video_001", *network, "--out", out)
        assert result.code == 0, result.err
    painted = sorted((workplace / "a").iterdir())
    assert len(painted) == 4  # colours, and indices beside them
    for one in painted:
        np.testing.assert_array_equal(read_image(one), read_image(workplace / "b" / one.name))
    described = open_portable(workplace / file).description
    assert {"name": "car", "color": list(STREET["car"])} in described.classes
    image = np.zeros((1, 32, 48, 3), np.uint8)
    np.testing.assert_allclose(open_portable(workplace / file)(image)["probabilities"].sum(axis=1), 1.0, atol=1e-5)


def without_pytorch(*words):
    """Run the command line where importing PyTorch fails; what it wrote, as `--json` tells."""
    program = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from segcli.cli.main import run\n"
        f"code = run({[*words, '--json']!r})\n"
        "assert not [name for name in sys.modules if name.startswith(('torch.', 'torchvision'))]\n"
        "sys.exit(code)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["written"]


def test_pytorch_is_not_imported(workplace, exported):
    written = without_pytorch("predict", "data/test/image", "--model", exported(), "--overlay", "--out", "found")
    assert len(written) == 2
    assert read_labels(workplace / "found/00.png").shape == (48, 48)


def test_classes_of_samples_are_those_of_the_checkpoint_without_pytorch_too(run_cli, workplace):
    root = write_nuclei(workplace / "nuclei", 6, size=(8, 16, 32))
    assert run_cli("train", write_experiment(workplace / "nuclei.yaml", nuclei_experiment(root))).code == 0
    file = json.loads(run_cli("export", "tiny", "--json").out)["file"]
    assert run_cli("predict", "nuclei", "--run", "tiny", "--out", "a").code == 0
    assert len(without_pytorch("predict", "nuclei", "--model", file, "--out", "b")) == 6
    (lines, found) = (
        [line.split(",") for line in (workplace / folder / "predictions.csv").read_text().splitlines()]
        for folder in ("a", "b")
    )
    assert [line[:2] for line in found] == [line[:2] for line in lines]
    for line, other in zip(found[1:], lines[1:], strict=True):
        np.testing.assert_allclose(
            [float(value) for value in line[2:]], [float(value) for value in other[2:]], atol=2e-6
        )


def test_networks_of_two_tasks_are_not_averaged(run_cli, workplace, exported):
    masks = exported()
    root = write_nuclei(workplace / "nuclei", 6, size=(8, 16, 32))
    assert run_cli("train", write_experiment(workplace / "n.yaml", nuclei_experiment(root, name="nuclei"))).code == 0
    result = run_cli("predict", "nuclei", "--run", "nuclei", "--run", "tiny")
    assert result.code == 2
    assert "differ in the task (Classification and Binary)" in " ".join(result.err.split())
    file = json.loads(run_cli("export", "nuclei", "--json").out)["file"]
    result = run_cli("predict", "data/test/image", "--model", masks, "--model", file)
    assert result.code == 2
    assert "differ in the task (Binary and Classification)" in " ".join(result.err.split())


def test_what_is_no_onnx_file_of_ours_is_told(run_cli, workplace, exported):
    file = exported()
    for words, code, text in (
        (["--model", "none.onnx"], 4, "no exported network at `none.onnx`"),
        (["--model", "tiny.pt2"], 2, "`tiny.pt2` can contain program code"),
        (["--model", file, "--run", "tiny"], 2, "--model and --run exclude each other"),
    ):
        result = run_cli("predict", "data/test/image", *words)
        assert result.code == code
        assert text in " ".join(result.err.split())


def test_an_image_of_another_format_than_a_baked_file_takes_is_passed_over_and_told(run_cli, workplace, exported):
    file = exported(baked=True)
    cv2.imwrite(str(workplace / "deep.png"), np.zeros((32, 32, 3), np.uint16))
    result = run_cli("predict", "deep.png", "--model", file)
    assert result.code == 3
    assert "takes uint8 images, but this image has uint16" in result.err
