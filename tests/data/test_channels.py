"""The key `data.channels`: which channels of the files the network sees."""

import json

import h5py
import numpy as np
import pytest
import tifffile
import yaml
from factories import blobs, experiment, write_experiment, write_hdf5
from PIL import Image

from segcli.config.load import load_run, run_from_values
from segcli.core.errors import ConfigError, DataError
from segcli.data.channels import chosen_of


def bands(root, count=4, extra=None):
    """A data set of TIFF images of several bands; band `b` is the picture minus `10 b`."""
    for split in ("train", "val"):
        for kind in ("image", "label"):
            (root / split / kind).mkdir(parents=True)
        for index in range(2):
            image, mask = blobs(index + 10 * (split == "val"), channels=count)
            about = {"photometric": "rgb", "extrasamples": extra} if extra else {"photometric": "minisblack"}
            tifffile.imwrite(root / split / "image" / f"{index}.tif", image, planarconfig="contig", **about)
            Image.fromarray(mask).save(root / split / "label" / f"{index}.png")
    return root


def values(root, channels, *, stated=None, **changes):
    count = len(channels) if stated is None else stated
    made = experiment(root, data__channels=channels, dataset__num_channels=count, **changes)
    made["dataset"] |= {"mean": [0.1 * (1 + place) for place in range(count)], "std": [0.2] * count}
    return made


def picture(path):
    with Image.open(path) as image:
        return np.asarray(image)


def findings(result, code):
    return [entry for entry in json.loads(result.out)["findings"] if entry["code"] == code]


@pytest.mark.parametrize(("count", "extra"), [(2, None), (4, [0]), (4, None), (5, None)])
def test_any_number_of_bands_trains(workplace, run_cli, count, extra):
    bands(workplace / "data", count, extra)
    made = experiment(workplace / "data")
    made["dataset"] |= {"num_channels": count, "mean": [0.4] * count, "std": [0.2] * count}
    file = write_experiment(workplace / "tiny.yaml", made)
    assert run_cli("data", "check", file).code == 0
    assert run_cli("train", file, "--dry-run").code == 0


def test_another_number_of_channels_is_told_with_the_keys_that_help(workplace, run_cli):
    bands(workplace / "data", 4, [0])
    file = write_experiment(workplace / "tiny.yaml", experiment(workplace / "data"))
    checked, trained = run_cli("data", "check", file, "--json"), run_cli("train", file, "--dry-run")
    (first, *_) = findings(checked, "wrong_channels")
    assert "has 4 channels, but the data set states `num_channels: 3`" in first["message"]
    assert first["hint"] == "set `num_channels: 4` in the data-set file, or choose with `data.channels: [0, 1, 2]`"
    assert trained.code == 3
    assert first["message"].split("` has ")[1] in trained.err
    assert first["hint"] in trained.err


def test_chosen_channels_come_in_their_order_in_training_and_prediction(workplace):
    root = bands(workplace / "data", 4, [0])
    run = run_from_values(values(root, [3, 0]), source="test")
    layout = run.dataset.build()
    case = layout.cases("train")[0]
    expected = tifffile.imread(case.image)[..., [3, 0]]
    np.testing.assert_array_equal(layout.read(case).image, expected)
    np.testing.assert_array_equal(layout.read_input(case.image).image, expected)
    np.testing.assert_array_equal(layout.converted(tifffile.imread(case.image)[2:5], case.image), expected[2:5])


def test_a_conversion_of_colours_follows_the_choice(workplace):
    root = bands(workplace / "data", 4, [0])
    path = root / "val" / "image" / "0.tif"
    stored = tifffile.imread(path)
    run = run_from_values(values(root, [3], stated=3, dataset__color="rgb"), source="test")
    np.testing.assert_array_equal(run.dataset.build().read_input(path).image, stored[..., [3, 3, 3]])
    run = run_from_values(values(root, [3, 2, 1], stated=1, dataset__color="green"), source="test")
    np.testing.assert_array_equal(run.dataset.build().read_input(path).image, stored[..., [2]])


def test_channels_may_stand_in_the_data_set_file_and_those_of_the_experiment_win(workplace):
    root = bands(workplace / "data", 4, [0])
    made = values(root, [3, 0])
    assert run_from_values(made, source="test").dataset.channels == [3, 0]
    made["dataset"]["channels"] = [1, 2]
    assert run_from_values(made, source="test").dataset.channels == [3, 0]
    made["data"].pop("channels")
    assert run_from_values(made, source="test").dataset.channels == [1, 2]


def test_the_number_of_channels_follows_from_the_choice(workplace):
    made = experiment(bands(workplace / "data"), data__channels=[1, 3], data__preprocessing={"normalize": "per_image"})
    made["dataset"] = {"paths": made["dataset"]["paths"]}
    assert run_from_values(made, source="test").dataset.num_channels == 2


@pytest.mark.parametrize(
    ("channels", "text"),
    [
        ([0, 0], "names channel 0 twice"),
        ([0, -1], "must be at least 0, got -1"),
        ([], "must have at least 1 entries"),
        ([0, 1.5], "must be a whole number"),
        ("red", "must be a list"),
        ([0], "`num_channels` is 2, but `channels: [0]` chooses 1: set `num_channels: 1`"),
    ],
)
def test_a_choice_that_cannot_be_is_told_in_one_sentence(workplace, channels, text):
    with pytest.raises(ConfigError) as caught:
        run_from_values(values(workplace, channels, stated=2), source="test")
    assert text in caught.value.message
    assert "1 problem" in caught.value.message


def test_a_channel_that_a_file_lacks_is_told_by_check_train_and_predict_alike(workplace, run_cli):
    root = bands(workplace / "data", 4, [0])
    file = write_experiment(workplace / "tiny.yaml", values(root, [0, 4]))
    text = "has 4 channels, but `data.channels: [0, 4]` needs channel 4, counted from 0"
    assert text in findings(run_cli("data", "check", file, "--json"), "wrong_channels")[0]["message"]
    assert text in run_cli("train", file, "--dry-run").err
    with pytest.raises(DataError, match="needs channel 4"):
        load_run(file).dataset.build().read_input(root / "val" / "image" / "0.tif")


def test_the_statistics_are_those_of_the_chosen_channels(workplace, run_cli):
    root = bands(workplace / "data", 4, [0])
    file = write_experiment(workplace / "tiny.yaml", values(root, [3, 1]))
    stored = np.stack([tifffile.imread(path) for path in sorted((root / "train" / "image").iterdir())]) / 255
    printed = json.loads(run_cli("data", "stats", file, "--json").out)
    np.testing.assert_allclose(printed["mean"], stored[..., [3, 1]].mean((0, 1, 2)), atol=1e-4)
    printed = json.loads(run_cli("data", "stats", file, "--json", "data.channels=[0,2]").out)
    np.testing.assert_allclose(printed["std"], stored[..., [0, 2]].std((0, 1, 2)), atol=1e-4)


def test_a_trained_run_and_its_exported_file_choose_the_same_channels(workplace, run_cli):
    root = bands(workplace / "data", 4, [0])
    file = write_experiment(workplace / "tiny.yaml", values(root, [3, 0], training__epochs=1))
    assert run_cli("train", file).code == 0
    stored = yaml.safe_load((workplace / "outputs/experiments/tiny/config.yaml").read_text())
    assert stored["data"]["channels"] == stored["dataset"]["channels"] == [3, 0]
    assert run_cli("eval", "tiny").code == 0
    exported = run_cli("export", "tiny", "--json")
    network = json.loads(exported.out)["file"]
    described = __import__("onnx").load(network).metadata_props
    assert json.loads({entry.key: entry.value for entry in described}["segcli"])["channels"] == [3, 0]
    assert run_cli("predict", root / "val" / "image", "--run", "tiny", "--out", "a").code == 0
    assert run_cli("predict", root / "val" / "image", "--model", network, "--out", "b").code == 0
    for name in ("0.png", "1.png"):
        np.testing.assert_array_equal(picture(workplace / "a" / name), picture(workplace / "b" / name))
    (workplace / "c").mkdir()
    full = tifffile.imread(root / "val" / "image" / "0.tif")
    other = full.copy()
    other[..., 1:3] = 255 - other[..., 1:3]  # bands that were not chosen change nothing
    tifffile.imwrite(workplace / "c" / "0.tif", other, photometric="rgb", extrasamples=[0])
    assert run_cli("predict", workplace / "c", "--run", "tiny", "--out", "d").code == 0
    np.testing.assert_array_equal(picture(workplace / "a" / "0.png"), picture(workplace / "d" / "0.png"))
    refused = run_cli("resume", "tiny", "training.epochs=2", "dataset.channels=[1,2]")
    assert refused.code == 2
    assert "has no effect, because `data.channels` is [3, 0]" in refused.err


def test_channels_of_volumes_are_chosen_in_every_format(workplace):
    write_hdf5(workplace / "data", channels=4)
    for split in ("train", "val", "test"):
        with h5py.File(workplace / "data" / f"{split}.h5", "r+") as file:
            images = file["images"][:] * np.arange(1, 5).reshape(1, 4, 1, 1, 1) / 4
            del file["images"]
            file["images"] = images.astype(np.float32)
    made = experiment(workplace, data__channels=[3, 1])
    made["dataset"] = {"format": "hdf5_volumes", "paths": {"root": str(workplace / "data")}}
    layout = run_from_values(made, source="test").dataset.build()
    assert list(layout.inspect("train")) == []
    case = layout.cases("train")[1]
    with h5py.File(case.image) as file:
        volume = np.moveaxis(file["images"][1], 0, -1)
    np.testing.assert_array_equal(layout.read(case).image, volume[..., [3, 1]])
    np.save(workplace / "a.npy", volume)
    tifffile.imwrite(workplace / "a.tif", np.moveaxis(volume, -1, 1), imagej=True, metadata={"axes": "ZCYX"})
    for name in ("a.npy", "a.tif"):
        np.testing.assert_array_equal(layout.read_input(workplace / name).image, volume[..., [3, 1]])
    made["data"]["channels"] = [0, 4]
    (finding,) = run_from_values(made, source="test").dataset.build().inspect("train")
    assert "train.h5` has 4 channels, but `data.channels: [0, 4]` needs channel 4" in finding.message


@pytest.mark.parametrize("name", ["a.nii.gz", "a.zarr"])
def test_channels_of_nifti_and_zarr_volumes_are_chosen(workplace, name):
    volume = np.random.default_rng(0).random((6, 8, 10, 3), dtype=np.float32)
    if name == "a.zarr":
        pytest.importorskip("zarr").create_array(workplace / name, data=volume)
        expected = volume
    else:
        nibabel = pytest.importorskip("nibabel")
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), workplace / name)
        expected = np.asarray(nibabel.load(workplace / name).dataobj)
    made = experiment(workplace, data__channels=[2, 0])
    made["dataset"] = {"format": "nifti_volumes", "paths": {"root": str(workplace)}, "classes": ["a", "b"]}
    found = run_from_values(made, source="test").dataset.build().read_input(workplace / name).image
    assert sorted(found.shape[:3]) == sorted(expected.shape[:3])
    for place, channel in enumerate((2, 0)):
        np.testing.assert_array_equal(np.sort(found[..., place].ravel()), np.sort(expected[..., channel].ravel()))


def test_grey_slices_have_no_other_channel_than_0(workplace):
    made = experiment(workplace, data__channels=[1])
    made["dataset"] = {"format": "tiff_volumes", "paths": {"root": str(workplace)}, "classes": ["a", "b"]}
    made["training"] = {"loss": "cross_entropy"}
    with pytest.raises(DataError, match=r"a grey slice has 1 channel, but `data.channels: \[1\]` needs channel 1"):
        run_from_values(made, source="test").dataset.build()


def test_no_choice_keeps_all_channels_as_they_are():
    pixels = np.zeros((2, 3, 5))
    assert chosen_of(pixels, None, "image") is pixels
