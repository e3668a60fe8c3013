"""Frames in sequences: how they are found, and what they come to."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from factories import street, write_sequences
from scenes import first, paint, told


# ---- finding frames
@pytest.mark.usefixtures("clips")
def test_frames_and_masks_are_paired_by_sequence_and_stem(layout):
    made = layout()
    assert [case.id for case in made.cases("train")] == [f"Video_00{n}/000{f}" for n in range(4) for f in (1, 2, 3)]
    for number, case in enumerate(made.cases("train")):
        image, truth = street(1000 * (number // 3) + number % 3)
        sample = made.read(case)
        np.testing.assert_array_equal(sample.image, image)
        np.testing.assert_array_equal(sample.maps["mask"], np.where(truth == 3, 0, truth))
        np.testing.assert_array_equal(sample.maps["valid"], truth < 3)
        assert {name: each.dtype.name for name, each in sample.maps.items()} == {"mask": "uint8", "valid": "uint8"}


@pytest.mark.usefixtures("workplace")
def test_sequences_and_frames_stand_in_natural_order(layout, workplace):
    write_sequences(workplace / "data", {"Video_10_000": 1, "Video_9_000": 1})
    for folder in ("Images", "Labels"):
        path = workplace / "data" / folder / "Video_9_000"
        shutil.copy(path / "0001.png", path / "2.png")
        shutil.copy(path / "0001.png", path / "10.png")
    ids = [case.id for case in layout().cases("train")]
    assert ids == ["Video_9_000/0001", "Video_9_000/2", "Video_9_000/10", "Video_10_000/0001"]


@pytest.mark.usefixtures("clips")
def test_include_and_exclude_choose_sequences_by_name_and_pattern(layout):
    assert layout(include=["Video_000"]).names == ["Video_000"]
    assert layout(include=["Video_00[12]"]).names == ["Video_001", "Video_002"]
    assert layout(exclude=["*_003", "Video_000"]).names == ["Video_001", "Video_002"]
    assert {case.id[:9] for case in layout(include=["Video_002"]).cases("train")} == {"Video_002"}


@pytest.mark.usefixtures("clips")
def test_a_sequence_that_is_not_there_is_told(layout):
    text = told(layout(include=["Video_00O"]).cases, "train")
    assert "`include` names `Video_00O`, but there is no such sequence in `data/Images`" in text
    assert "sequences: Video_000, Video_001, Video_002, Video_003" in text
    assert "`exclude` names `Clip*`" in told(layout(exclude=["Clip*"]).cases, "train")
    assert "together leave no sequence" in told(layout(exclude=["Video_*"]).cases, "train")


def test_masks_may_lie_in_another_folder(layout, clips):
    (clips / "Labels").rename(clips / "Fine")
    assert "sequence `Video_000` has no folder `data/Labels/Video_000` with its masks" in told(layout().cases, "train")
    assert len(layout(labels="Fine").cases("train")) == 12


def test_hidden_files_and_other_files_do_not_count(layout, clips):
    folder = clips / "Images/Video_000"
    (folder / "._0001.png").write_bytes(b"junk")
    (folder / "times.csv").write_text("junk")
    (clips / "Images/.cache").mkdir()
    (clips / "Images/readme.txt").write_text("junk")
    (folder / "0001.png").rename(folder / "0001.PNG")
    assert len(layout().cases("train")) == 12


def test_folders_that_are_missing_or_empty_are_told_with_the_way_out(layout, workplace):
    assert "no folder `data/Images` with the images" in told(layout().cases, "train")
    assert "`segcli data sample scenes data`" in told(layout(sample="scenes").cases, "train")
    (workplace / "data/Images").mkdir(parents=True)
    assert "no sequences in `data/Images`" in told(layout().cases, "train")
    (workplace / "data/Images/Video_000").mkdir()
    assert "sequence `data/Images/Video_000` has no images" in told(layout().cases, "train")


def test_a_folder_of_one_split_is_no_key_of_this_format(layout):
    text = told(lambda: layout(paths={"root": "data", "test": "data/test"}))
    assert "format `sequences` has no key `paths.test`" in text
    assert "name the sequences in `split.test`" in text


@pytest.mark.usefixtures("clips")
def test_an_image_for_prediction_is_read_as_those_of_the_data_set(layout, workplace):
    made = layout(color="grey", num_channels=1, mean=[0.4], std=[0.2])
    image = made.read_input(workplace / "data/Images/Video_000/0001.png").image
    assert image.shape == (24, 32, 1)
    np.testing.assert_array_equal(image, made.read(first(made)).image)


# ---- figures
@pytest.mark.usefixtures("clips")
def test_shares_of_classes_and_mean_and_std_are_those_of_the_pixels_that_count(run_cli, config):
    frames = [street(1000 * clip + number) for clip in (0, 1, 2) for number in range(3)]
    pixels = np.concatenate([image[truth < 3] for image, truth in frames]) / 255
    counts = np.bincount(np.concatenate([truth[truth < 3] for _, truth in frames]))
    path = config(split={"train": ["Video_00[012]"], "test": ["Video_003"]}, mean=None, std=None)
    found = json.loads(run_cli("data", "stats", path, "--json").out)
    np.testing.assert_allclose(found["mean"], pixels.mean(0))
    np.testing.assert_allclose(found["std"], pixels.std(0))
    expected = dict(zip(("sky", "road", "car"), counts / counts.sum(), strict=True))
    assert found["class_shares"] == pytest.approx(expected)
    inverse = {name: 1 / (len(expected) * share) for name, share in expected.items()}
    assert found["class_weights"]["inverse"] == pytest.approx(inverse)
    assert list(found["class_weights"]) == ["inverse", "median_frequency", "effective_number"]
    assert found["foreground_share"] is None
    splits = json.loads(run_cli("data", "check", path, "--json").out)["splits"]
    assert splits[0]["class_shares"] == pytest.approx(expected)
    assert f"{expected['car']:.2%}" in run_cli("data", "check", path).out


# ---- documentation
def test_the_example_of_the_documentation_works_as_it_stands(workplace, run_cli):
    page = (Path(__file__).parents[3] / "docs/start/frames.md").read_text()
    (block,) = re.findall(r"```yaml\n(# my_roads.yaml\n.*?)```", page, re.DOTALL)
    (workplace / "my_roads.yaml").write_text(block)
    write_sequences(workplace / "data/roads")
    for path in (workplace / "data/roads/Labels").rglob("*.png"):
        paint(path, np.s_[:12], (128, 64, 128))
    result = run_cli("data", "check", "my_roads.yaml", "--json")
    assert result.code == 0, result.out
    assert [entry["num_images"] for entry in json.loads(result.out)["splits"]] == [6, 3, 3]
