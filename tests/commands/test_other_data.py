"""`segcli eval --data`: other data than the run's own, in every layout; and a look at the fingerprint of its own."""

import json
import shutil

import h5py
import numpy as np
import pytest
import yaml
from factories import (
    blobs,
    experiment,
    nuclei_experiment,
    volumes_experiment,
    write_experiment,
    write_folders,
    write_hdf5,
)
from PIL import Image

from segcli.core.errors import ConfigError
from segcli.core.registry import DATASETS

TESTS = "outputs/tests"


def scores(folder):
    return yaml.safe_load((folder / "test_metrics.yaml").read_text())


def small_run(workplace, layout):
    """Write the small data set of a layout and an experiment on it."""
    (workplace / "data").mkdir()
    try:
        keys = DATASETS.load(layout).write_small(workplace / "data")
    except ConfigError as error:
        pytest.skip(error.message)
    values = (nuclei_experiment if layout == "tiff_volumes" else experiment)(workplace / "data", training__epochs=1)
    values["dataset"] = {"format": layout, "paths": {"root": "data"}, **keys}
    values["training"].pop("loss", None)
    values["data"]["preprocessing"] = {"normalize": "per_image"}
    return write_experiment(workplace / "tiny.yaml", values)


@pytest.mark.parametrize("layout", DATASETS.names())
def test_every_layout_scores_other_data_with_one_option(run_cli, workplace, layout):
    result = run_cli("train", small_run(workplace, layout), "--quiet")
    assert result.code == 0, result.err
    own = json.loads(run_cli("eval", "tiny", "--json").out)
    shutil.copytree(workplace / "data", workplace / "elsewhere")
    place = {"image_folders": "elsewhere/test", "hdf5_volumes": "elsewhere/test.h5"}.get(layout, "elsewhere")
    result = run_cli("eval", "tiny", "--data", place, "--json")
    assert result.code == 0, result.err
    told = json.loads(result.out)
    assert (told["data"], told["split"]) == (place, "test")
    assert told["folder"] == f"{TESTS}/tiny_on_{place.replace('/', '_')}"
    by_name = {row["image"]: row for row in told["per_image"]}
    assert len(by_name) == (2 if "/" in place else 10)
    assert all(by_name[row["image"]] == row for row in own["per_image"])
    if "/" in place:
        assert told["data_digest"] == own["data_digest"]
    assert scores(workplace / TESTS / "tiny")["data_digest"] == own["data_digest"]


def test_the_result_says_on_which_data_it_is(run_cli, tiny_run, workplace):
    write_folders(workplace / "more/data", {"new": 3})
    result = run_cli("eval", "tiny", "--data", "more/data", "--checkpoint", "last")
    assert result.code == 0, result.err
    assert "tiny: 3 images of more/data (split test)" in result.out
    folder = workplace / TESTS / "tiny_on_more_data_last"
    assert scores(folder)["data"] == "more/data"
    assert scores(folder)["num_test_images"] == 3
    page = (folder / "report.html").read_text()
    assert "split test of more/data" in page
    assert "--data more/data" in page
    assert len(list((folder / "predictions").iterdir())) == 3


@pytest.mark.parametrize(
    "split",
    [
        {"by": "fraction", "val": 0.25, "test": 0.25},
        {"by": "lists", "val": ["00"], "test": ["01"]},
        {"val": 0.3},
    ],
    ids=["fraction", "lists", "share of a folder"],
)
def test_however_the_run_was_split_all_images_of_the_folder_are_scored(run_cli, tiny, workplace, split):
    source = write_folders(workplace / "all", {"train": 8})
    root = source if split == {"val": 0.3} else source / "train"
    config = tiny(training__epochs=1, dataset__paths={"root": str(root)}, dataset__split=split)
    assert run_cli("train", config, "--quiet").code == 0
    write_folders(workplace / "other", {"": 5})
    told = json.loads(run_cli("eval", "tiny", "--data", "other", "--json").out)
    assert told["num_test_images"] == 5


def test_a_fold_scores_all_other_data(run_cli, tiny, workplace):
    assert run_cli("train", tiny(training__epochs=1), "--folds", 2, "--quiet").code == 0
    write_folders(workplace / "other", {"": 5})
    told = json.loads(run_cli("eval", "outputs/experiments/tiny/fold_1", "--data", "other", "--json").out)
    assert (told["num_test_images"], told["experiment"]) == (5, "tiny_fold_1")


def test_a_data_set_file_keeps_its_splits_and_its_way_to_name_files(run_cli, tiny_run, workplace):
    for index in range(2):
        image, mask = blobs(70 + index)
        for kind, pixels in (("photos", image), ("masks", mask)):
            (workplace / "set/val" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(workplace / "set/val" / kind / f"{index}.png")
    keys = {"name": "other", "paths": {"root": "set"}, "image_folder": "photos", "label_folder": "masks"}
    (workplace / "other.yaml").write_text(yaml.safe_dump({**keys, "mean": [0.9] * 3, "std": [0.9] * 3}))
    told = json.loads(run_cli("eval", "tiny", "--data", "other.yaml", "--json").out)
    assert (told["split"], told["num_val_images"], told["data"]) == ("val", 2, "other.yaml")
    assert told["folder"] == f"{TESTS}/tiny_on_other.yaml_val"
    words = ["dataset.image_folder=photos", "dataset.label_folder=masks"]  # read with the mean of the training
    again = json.loads(run_cli("eval", "tiny", *words, "--data", "set/val", "--json").out)
    assert again["average_metrics"] == told["average_metrics"]
    (workplace / "other.yaml").write_text(yaml.safe_dump({**keys, "num_channels": 1}))
    result = run_cli("eval", "tiny", "--data", "other.yaml")
    assert result.code == 2
    assert "`other.yaml` does not fit run `tiny`: channels `1` instead of `3`" in result.err


def test_the_threshold_is_chosen_on_the_validation_images_of_the_run(run_cli, tiny_run, workplace):
    write_folders(workplace / "other", {"": 2})
    own = json.loads(run_cli("eval", "tiny", "--threshold", "best-on-val", "--json").out)
    told = json.loads(run_cli("eval", "tiny", "--data", "other", "--threshold", "best-on-val", "--json").out)
    assert told["threshold"] == own["threshold"]
    assert told["notes"][0] == own["notes"][0]
    assert "of 2 validation images" in told["notes"][0]


def test_data_that_do_not_fit_are_refused_in_one_sentence(run_cli, tiny_run, workplace):
    write_folders(workplace / "other", {"a": 1, "b": 1})
    (workplace / "empty").mkdir()
    for words, code, message in (
        (["nowhere"], 3, "no folder or file `nowhere`"),
        (["other"], 3, "`other` has 2 folders with a folder `image` of images, such as `other/a`"),
        (["empty"], 3, "`empty` has no folder with a folder `image` of images"),
        (["other/a/image/00.png"], 3, "`other/a/image/00.png` is a file, and `format: image_folders` reads folders"),
        (["other/a", "--split", "val"], 2, "`--split val` and `--data other/a` exclude each other"),
    ):
        result = run_cli("eval", "tiny", "--data", *words)
        assert (result.code, message in result.err) == (code, True), result.err


def test_hdf5_predictions_carry_the_case_ids_and_other_structures_are_refused(run_cli, workplace):
    write_hdf5(workplace / "data")
    values = volumes_experiment(workplace / "data", training__epochs=1)
    assert run_cli("train", write_experiment(workplace / "tiny.yaml", values), "--quiet").code == 0
    other = write_hdf5(workplace / "other", {"new": 3}, spacing_mm=[1.0, 1.0, 1.0])
    names = ["liver 7", "b", "c"]
    with h5py.File(other / "new.h5", "a") as file:
        file["case_ids"] = names
    told = json.loads(run_cli("eval", "tiny", "--data", "other", "--json").out)
    assert [row["image"] for row in told["per_image"]] == names
    for folder in (f"{TESTS}/tiny_on_other/predictions", "outputs/predictions/tiny"):
        if "predictions/tiny" in folder:
            assert run_cli("predict", "other/new.h5", "--run", "tiny").code == 0
        with h5py.File(workplace / folder / "new.h5") as file:
            assert [name.decode() for name in file["case_ids"][:]] == names
            assert file["masks"].shape == (3, 2, 16, 16, 8)
    about = json.loads((other / "metadata.json").read_text())
    (other / "metadata.json").write_text(json.dumps({**about, "structure_names": ["box", "ball"]}))
    result = run_cli("eval", "tiny", "--data", "other/new.h5")
    assert result.code == 3
    assert "names the structures box, ball, but the run learned ball, box" in result.err


@pytest.mark.parametrize("split", ["train", "val"])
def test_own_data_that_changed_since_the_training_are_told_in_the_results(run_cli, tiny_run, workplace, split):
    assert "not those" not in run_cli("eval", "tiny", "--split", split).err
    path = workplace / "data" / split / "label/01.png"
    mask = np.array(Image.open(path))
    Image.fromarray(255 - mask).save(path)
    result = run_cli("eval", "tiny", "--split", split, "--quiet")
    assert result.code == 0
    kind = {"train": "training", "val": "validation"}[split]
    assert f"warning: the {kind} images are not those of the training run (" in result.err
    assert "the mask of `01` has other content" in result.err
    folder = workplace / TESTS / f"tiny_{split}"
    (note,) = [note for note in scores(folder)["notes"] if "not those" in note]
    assert "the mask of `01`" in note
    assert "the mask of `01`" in (folder / "report.html").read_text()
