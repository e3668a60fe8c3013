"""RGB files for a network of grey images: `predict` converts them and says so once."""

import json

import numpy as np
import pytest
import tifffile
from factories import blobs, write_folders
from PIL import Image

TOLD = "2 RGB images are converted to grey: the network takes one channel"


@pytest.fixture
def grey_run(run_cli, tiny, workplace):
    """The run `tiny` on grey files, two RGB pictures, and the same pictures in grey."""
    write_folders(workplace / "data", channels=1)
    keys = {"dataset__num_channels": 1, "dataset__mean": [0.4], "dataset__std": [0.2]}
    assert run_cli("train", tiny(training__epochs=1, **keys)).code == 0
    for number in range(2):
        pixels, _ = blobs(number)
        grey = np.rint(pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.uint8)
        for folder, image in (("rgb", pixels), ("grey", grey)):
            (workplace / folder).mkdir(exist_ok=True)
            Image.fromarray(image).save(workplace / folder / f"{number}.png")
    return workplace


def probabilities(run_cli, workplace, inputs, out, *network):
    """Probabilities as written, and what was told."""
    result = run_cli("predict", inputs, *network, "--out", out, "--probabilities")
    assert result.code == 0, result.err
    found = [np.asarray(Image.open(workplace / out / f"{number}_probability.png")) for number in range(2)]
    return np.stack(found).astype(np.int64), " ".join(result.err.split())


def test_rgb_files_become_grey_for_a_checkpoint_and_for_an_exported_network(run_cli, grey_run):
    expected, quiet = probabilities(run_cli, grey_run, "grey", "a")
    assert "converted to grey" not in quiet
    found, told = probabilities(run_cli, grey_run, "rgb", "b")
    assert told.count(TOLD) == 1
    np.testing.assert_array_equal(found, expected)
    assert expected.std() > 0
    file = json.loads(run_cli("export", "tiny", "--json").out)["file"]
    found, told = probabilities(run_cli, grey_run, "rgb", "c", "--model", file)
    assert told.count(TOLD) == 1
    assert np.abs(found - expected).max() <= 7  # of 65,535


@pytest.mark.usefixtures("tiny_run")
def test_a_grey_file_for_a_network_of_rgb_images_is_refused_with_a_way_that_predict_has(run_cli, workplace):
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(workplace / "grey.png")
    result = run_cli("predict", "grey.png")
    assert result.code == 3
    told = " ".join(result.err.split())
    assert "`grey.png` has 1 channel, but the data set states `num_channels: 3`" in told
    assert "save it as RGB" in told
    assert "data-set file" not in told


def test_a_file_of_four_bands_and_training_on_rgb_files_are_refused_as_before(run_cli, grey_run):
    bands = np.zeros((20, 20, 4), np.uint8)
    options = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unspecified"] * 3}
    tifffile.imwrite(grey_run / "four.tif", bands, **options)
    result = run_cli("predict", "four.tif")
    assert result.code == 3
    assert "has 4 channels, but the data set states `num_channels: 1`" in " ".join(result.err.split())
    for path in (grey_run / "data/train/image").iterdir():
        Image.open(path).convert("RGB").save(path)
    result = run_cli("train", "tiny.yaml", "name=other")
    assert result.code == 3
    assert "has 3 channels, but the data set states `num_channels: 1`" in " ".join(result.err.split())
    assert "`color: grey` (or `green`) to convert" in " ".join(result.err.split())
