"""The data-set files that ship, on small files of the names and formats in which the data sets are delivered."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import yaml
from factories import blobs
from PIL import Image

from segcli.config.load import load_dataset

SHIPPED = Path(__file__).parents[2] / "configs/datasets"


def field(mask):
    circle = np.zeros_like(mask)
    cv2.circle(circle, (24, 24), 23, 255, -1)
    return circle


def save(path, pixels):
    """Write a picture in the format that its name tells; RGB order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        colour = pixels.ndim == 3
        tifffile.imwrite(
            path, pixels, photometric="rgb" if colour else None, compression="lzw" if colour else "packbits"
        )
    else:
        Image.fromarray(pixels).save(path)


def fives(root):
    for number, split in enumerate(("train", "val", "test")):
        for index in range(2):
            image, mask = blobs(10 * number + index)
            save(root / split / "image" / f"{index}_A.png", image)
            save(root / split / "label" / f"{index}_A.png", mask)


def drive(root):
    for number in range(21, 31):
        image, mask = blobs(number)
        save(root / f"training/images/{number}_training.tif", image)
        save(root / f"training/1st_manual/{number}_manual1.gif", mask)
        save(root / f"training/mask/{number}_training_mask.gif", field(mask))
    for number in range(1, 4):
        image, mask = blobs(number)
        save(root / f"test/images/{number:02d}_test.tif", image)
        save(root / f"test/1st_manual/{number:02d}_manual1.gif", mask)
        save(root / f"test/2nd_manual/{number:02d}_manual2.gif", mask[::-1].copy())
        save(root / f"test/mask/{number:02d}_test_mask.gif", field(mask))


def chase(root):
    for child in range(1, 11):
        for eye in "LR":
            image, mask = blobs(2 * child + (eye == "R"))
            name = f"Image_{child:02d}{eye}"
            save(root / f"images/{name}.jpg", image)
            save(root / f"1stHO/{name}_1stHO.png", mask > 0)
            save(root / f"2ndHO/{name}_2ndHO.png", mask > 0)
            save(root / f"fov/{name}.png", field(mask) > 0)


def hrf(root):
    for number in range(1, 6):
        image, mask = blobs(number)
        save(root / f"images/{number:02d}_h.jpg", image)
        save(root / f"manual1/{number:02d}_h.tif", mask)
        save(root / f"mask/{number:02d}_h_mask.tif", np.repeat(field(mask)[:, :, None], 3, axis=2))


CAMVID = {"Video_0001TP": 3, "Video_0016E5": 2, "Video_0006R0": 2}


def camvid(root):
    """Every class of the file in each mask, in vertical stripes."""
    values = yaml.safe_load((SHIPPED / "camvid.yaml").read_text())
    stripes = np.repeat(np.array([entry["color"] for entry in values["classes"]], np.uint8), 4, axis=0)
    for at, (clip, count) in enumerate(CAMVID.items()):
        for number in range(count):
            image = blobs(100 * at + number)[0]
            save(root / f"Images/{clip}/{number:06d}.jpg", image)
            save(root / f"Labels/{clip}/{number:06d}.png", np.repeat(stripes[None], 48, axis=0))


def layout(name, root):
    paths = {"root": root, **{split: root / folder for split, folder in PATHS.get(name, {}).items()}}
    return load_dataset(
        SHIPPED / f"{name}.yaml", [f"paths.{key}={value}" for key, value in paths.items()], whole_run=False
    ).build()


PATHS = {
    "fives_512": {"train": "train", "val": "val", "test": "test"},
    "drive": {"train": "training", "test": "test"},
}
COUNTS = {
    "fives_512": (fives, {"train": 2, "val": 2, "test": 2}, False),
    "drive": (drive, {"train": 8, "val": 2, "test": 3}, True),
    "chase_db1": (chase, {"train": 16, "val": 4}, True),
    "hrf": (hrf, {"train": 3, "val": 1, "test": 1}, True),
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_shipped_data_set_is_read_as_it_is_delivered(name, workplace):
    write, counts, has_field = COUNTS[name]
    write(workplace)
    made = layout(name, workplace)
    assert {split: len(made.cases(split)) for split in ("train", "val", "test") if made.has(split)} == counts
    for split in counts:
        for case in made.cases(split):
            sample = made.read(case)
            assert sample.image.shape == (48, 48, 3)
            assert set(np.unique(sample.maps["mask"])) == {0, 1}
            assert ("valid" in sample.maps) == has_field
            if has_field:
                np.testing.assert_array_equal(sample.maps["valid"], field(sample.maps["mask"]) > 0)


def test_each_mask_of_drive_belongs_to_its_image(workplace):
    drive(workplace)
    made = layout("drive", workplace)
    for split in ("train", "val", "test"):
        for case in made.cases(split):
            image, mask = blobs(int(case.id))
            sample = made.read(case)
            np.testing.assert_array_equal(sample.image, image)
            np.testing.assert_array_equal(sample.maps["mask"], mask > 0)


def test_the_second_observer_of_drive_is_two_overrides_away(workplace):
    drive(workplace)
    words = ["label_folder=2nd_manual", "label_suffix=_manual2", f"paths.root={workplace}"]
    words += [f"paths.train={workplace / 'training'}", f"paths.test={workplace / 'test'}"]
    made = load_dataset(SHIPPED / "drive.yaml", words, whole_run=False).build()
    case = made.cases("test")[0]
    np.testing.assert_array_equal(made.read(case).maps["mask"], (blobs(1)[1] > 0)[::-1])


def test_both_eyes_of_a_child_stand_on_one_side(workplace):
    chase(workplace)
    made = layout("chase_db1", workplace)
    assert [case.id for case in made.cases("val")] == ["Image_09L", "Image_09R", "Image_10L", "Image_10R"]
    assert [case.id for case in made.cases("train")] == [f"Image_{n:02d}{eye}" for n in range(1, 9) for eye in "LR"]


def test_camvid_keeps_clips_together_and_void_does_not_count(workplace):
    camvid(workplace)
    made = layout("camvid", workplace)
    assert made.spec.num_classes == 11
    assert {split: len(made.cases(split)) for split in ("train", "val", "test") if made.has(split)} == {
        "train": 5,
        "test": 2,
    }
    assert {case.id[:12] for case in made.cases("test")} == {"Video_0006R0"}
    maps = made.read(made.cases("train")[0]).maps
    np.testing.assert_array_equal(maps["mask"][0], np.repeat([*range(11), 0], 4))
    np.testing.assert_array_equal(maps["valid"][0], np.repeat([1] * 11 + [0], 4))


def test_the_example_of_data_split_works_as_it_stands(workplace, run_cli):
    from segcli.cli.data_app import data_split

    hrf(workplace / "data/hrf")
    (workplace / "configs").symlink_to(SHIPPED.parent)
    _, words = data_split.__doc__.split("Example: segcli ")
    result = run_cli(*words.split())
    assert result.code == 0, result.err
    assert "wrote data/hrf/split.yaml" in result.out


@pytest.mark.parametrize("name", ["chase_db1", "hrf", "camvid"])
def test_data_check_finds_them_ready(name, workplace, run_cli):
    {**COUNTS, "camvid": (camvid,)}[name][0](workplace)
    result = run_cli("data", "check", SHIPPED / f"{name}.yaml", f"paths.root={workplace}", "--json")
    assert result.code == 0, result.out
    assert [entry["code"] for entry in json.loads(result.out)["findings"] if entry["severity"] == "error"] == []
