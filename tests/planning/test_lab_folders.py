"""Folders as laboratories leave them: kinds of images, both eyes, few dark images, tiles of slides, other zeros."""

import re

import numpy as np
import pytest
from PIL import Image
from public_forms import write_pairs

from segcli.config.load import dataset_from_values
from segcli.core.errors import DataError
from segcli.data.kin import divided_kin
from segcli.planning.looks import marked
from segcli.planning.recognise import recognise

SIDES = [f"{side}/{number:02d}" for side in ("left", "right") for number in range(6)]


@pytest.mark.parametrize(
    ("names", "image", "group"),
    [
        (SIDES, "images/{}.png", True),
        ([f"{zoom}/{number:02d}" for zoom in ("10x", "40x") for number in range(6)], "images/{}.png", False),
        ([f"{kind}/{number:02d}" for kind in ("healthy", "dr") for number in range(6)], "images/{}.png", False),
    ],
    ids=["both eyes", "magnifications", "diagnoses"],
)
def test_folders_of_a_few_kinds_are_divided_and_not_taken_for_videos(tmp_path, names, image, group):
    write_pairs(tmp_path / "d", names=names, image=image, mask=image.replace("images", "masks"))
    found = recognise(tmp_path / "d", "x", {})
    assert (found.keys["format"], found.keys["image_folder"]) == ("image_folders", "images/*")
    assert any("are taken for kinds of images" in note for note in found.notes)
    values = {"name": "x", **found.keys, "mean": [0.5] * 3, "std": [0.2] * 3}
    layout = dataset_from_values(values, source="a test").build()
    cases = {side: {case.id for case in layout.cases(side)} for side in ("train", "val")}
    assert {name.split("/")[0] for name in cases["train"]} == {name.split("/")[0] for name in names}
    if group:  # both eyes of a person are on one side
        assert not {name[-2:] for name in cases["train"]} & {name[-2:] for name in cases["val"]}
    assert ("group" in found.keys["split"]) is group
    stated = recognise(tmp_path / "d", "x", {"format": "sequences"})
    assert stated.keys["images"] == "images"


def test_two_folders_of_the_same_few_names_are_no_cases_although_one_image_looks_like_a_mask(tmp_path):
    write_pairs(tmp_path / "d", image="images/{}.png", mask="masks/{}.png")
    dark = np.random.default_rng(0).integers(0, 9, (64, 64)).astype(np.uint8)
    dark[20:24, 20:40] = 255
    Image.fromarray(dark).convert("RGB").save(tmp_path / "d/images/04.png")
    assert marked(tmp_path / "d/images/04.png")[0].kind == "soft"
    keys = recognise(tmp_path / "d", "x", {}).keys
    assert (keys["image_folder"], keys["label_folder"], keys.get("label_suffix")) == ("images", "masks", None)


def test_numbers_with_other_zeros_are_refused_and_not_left_out(tmp_path):
    numbers = [str(number) for number in range(1, 13)]
    write_pairs(tmp_path / "d", names=numbers, image="images/{}.png", mask="masks/{}.png")
    for number in numbers:
        (tmp_path / f"d/masks/{number}.png").rename(tmp_path / f"d/masks/{number:0>3}.png")
    with pytest.raises(DataError, match=re.escape("image `10` and mask `010` have one number")):
        recognise(tmp_path / "d", "x", {})
    for number in numbers:  # the way out
        (tmp_path / f"d/images/{number}.png").rename(tmp_path / f"d/images/{number:0>3}.png")
    assert "exclude" not in recognise(tmp_path / "d", "x", {}).keys


@pytest.mark.parametrize(
    "name",
    ["s{0} [x={1}0,y=0,w=256,h=256]", "s{0} [d=2,x=0,y={1}00,w=64,h=64]", "pos{0}_t00{1}_ch00", "p{0}_slice{1}_T1_w"],
)
def test_tiles_and_times_are_of_one_subject_whatever_all_names_end_with(name):
    names = [name.format(subject, part) for subject in "123456" for part in "12"]
    kin = divided_kin({"train": names[::2], "val": names[1::2]})
    assert kin is not None
    assert kin.count == 6
    assert {re.match(kin.pattern, each)[1] for each in names} == {re.split(r"[ _]", each)[0] for each in names}
    assert kin.one[1] in names


def test_an_end_that_all_names_have_makes_no_subjects_of_single_images():
    names = [f"cell_{number:02d}_ch00" for number in range(20)]
    assert divided_kin({"train": names[:10], "val": names[10:]}) is None
