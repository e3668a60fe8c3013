"""Masks of one file for each class: recognised where their files never overlap, and asked about where they do."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from factories import bodies, lesions
from layouts import read
from PIL import Image

from segcli.commands.init import look
from segcli.core.errors import ConfigError
from segcli.planning import class_files

COUNT = 5


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        Image.fromarray(pixels).save(path)
    else:
        nibabel.save(nibabel.Nifti1Image(pixels, np.diag([2.0, 2.0, 2.0, 1.0])), path)


def write(root, image, mask, ends, *, count=COUNT, without=()):
    """Write images and the file of each of two classes; `without` holds files that are left out."""
    for index in range(count):
        if image.endswith(".png"):
            pixels, masks = lesions(index)
        else:
            pixels, masks, _ = bodies(4 * index)
        save(root / image.format(f"case{index}"), pixels)
        for end, truth in zip(ends, masks, strict=True):
            if (index, end) not in without:
                save(root / mask.format(f"case{index}", end), truth)
    return root


FORMS = {
    "a folder of masks": ("images/{}.png", "masks/{}{}.png", ("_EX", "_MA")),
    "masks beside images": ("{}.png", "{}{}.png", ("_EX", "_MA")),
    "a folder for each class": ("images/{}.png", "masks/{1}/{0}.png", ("drusen/", "vessels/")),
    "IDRiD": ("a/{}.png", "b/{1[0]}. Class/{0}_{1[1]}.png", ("1M", "2H")),
    "folders of cases": ("{}/photo.png", "{}/{}.png", ("drusen", "vessels")),
    "folders of masks in those of cases": ("{}/photo.png", "{}/masks/{}.png", ("drusen", "vessels")),
    "volumes beside an image": ("{}/ct.nii.gz", "{}/{}.nii.gz", ("liver", "spleen")),
    "TotalSegmentator": ("{}/ct.nii.gz", "{}/segmentations/{}.nii.gz", ("liver", "spleen")),
    "volumes in one folder": ("{}_ct.nii.gz", "{}{}.nii.gz", ("_liver", "_spleen")),
    "a folder of label maps": ("images/{}.nii.gz", "labels/{}{}.nii.gz", ("_liver", "_spleen")),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_for_each_class_is_planned_and_read_as_one_label_map(tmp_path, form):
    image, mask, ends = FORMS[form]
    root = write(tmp_path / "d", image, mask, ends)
    found, _ = look(root, "d", (), ask=None, yes=False)
    names = [end.strip("_/") for end in ends]
    flat, suffixes = image.endswith(".png"), list(ends)
    if form == "IDRiD":
        names, suffixes = ["1. Class/_M", "2. Class/_H"], ["1. Class/_M", "2. Class/_H"]
    assert found.keys["class_suffixes"] == suffixes
    assert found.keys["classes"] == ["background", *names] if flat else names
    assert found.task == ("multiclass" if flat else "structures")
    assert (found.questions, found.notes, found.keys.get("label_suffix")) == ([], [], None)
    assert f"no two of them mark the same pixel in all {COUNT} images" in found.reasons["class_suffixes"]
    assert "a file for each class" in found.about or "a label map for each of 2 structures" in found.about
    layout, cases = read(found)
    assert len(cases) == COUNT
    for case in cases:
        number = int(next(part for part in case.id.split("/") if "case" in part)[4:5])
        masks = lesions(number)[1] if flat else bodies(4 * number)[1]
        expected = (masks[0] > 0) + 2 * (masks[1] > 0)
        np.testing.assert_array_equal(layout.as_stored(layout.read(case).maps["mask"]), expected)


@pytest.mark.parametrize(
    "form", ["a folder of masks", "TotalSegmentator", "masks beside images", "a folder for each class"]
)
def test_classes_that_overlap_are_asked_about_with_the_files_and_the_share(tmp_path, form):
    image, mask, ends = FORMS[form]
    root = write(tmp_path / "d", image, mask, ends)
    path = root / mask.format("case3", ends[1])
    other = root / mask.format("case3", ends[0])
    if path.suffix == ".png":
        both = np.asarray(Image.open(path)).copy()
        row, column = np.argwhere(np.asarray(Image.open(other)) > 0)[0]
        both[row, column] = 255
    else:
        both = np.asarray(nibabel.load(path).dataobj).copy()
        both[tuple(np.argwhere(np.asarray(nibabel.load(other).dataobj) > 0)[0])] = 1
    save(path, both)
    with pytest.raises(ConfigError) as raised:
        look(root, "d", (), ask=None, yes=False)
    star = "" if ends[0].endswith("/") else "*"
    assert f"`{star}{ends[0]}` and `{star}{ends[1]}` of `case3` both mark 1 pixels" in raised.value.message
    folder = ["label_folder=masks"] if ends[0].endswith("/") else []
    answer = [*folder, f'class_suffixes=["{ends[0]}", "{ends[1]}"]', "class_overlap=last"]
    assert " ".join(answer) in raised.value.hint
    found, _ = look(root, "d", answer, ask=None, yes=False)
    assert found.keys["class_overlap"] == "last"
    assert len(read(found)[1]) == COUNT
    single = f"label_folder=masks/{ends[0].strip('/')}" if folder else f"label_suffix={ends[0]}"
    found, _ = look(root, "d", [single], ask=None, yes=False)
    assert "class_suffixes" not in found.keys


def test_a_missing_file_of_a_class_is_asked_about_and_the_answer_is_followed(tmp_path):
    image, mask, ends = FORMS["a folder of masks"]
    lacking = [(1, "_MA"), (2, "_MA"), (3, "_MA"), (4, "_EX")]
    root = write(tmp_path / "d", image, mask, ends, without=lacking)
    with pytest.raises(ConfigError, match=r"4 of 5 images lack the file of a class, such as `case4` that of `_EX`"):
        look(root, "d", (), ask=None, yes=False)
    found, _ = look(root, "d", ["missing_class_files=empty"], ask=None, yes=False)
    assert found.keys["class_suffixes"] == list(ends)
    layout, cases = read(found)
    assert len(cases) == COUNT
    case = next(each for each in cases if each.id == "case2")
    np.testing.assert_array_equal(layout.read(case).maps["mask"], lesions(2)[1][0] > 0)


@pytest.mark.parametrize("mask", ["{}/{}.nii.gz", "{}/segmentations/{}.nii.gz"])
def test_images_of_two_kinds_with_a_file_for_each_class_share_no_letters_of_their_names(tmp_path, mask):
    root = write(tmp_path / "d", "{}/ct.nii.gz", mask, ("liver", "spleen"))
    for index in range(COUNT):
        save(root / f"case{index}/pet.nii.gz", bodies(4 * index)[0][::-1])
    found, _ = look(root, "d", (), ask=None, yes=False)
    assert (found.keys["channel_suffixes"], found.keys["class_suffixes"]) == (["ct", "pet"], ["liver", "spleen"])
    layout, cases = read(found)
    assert len(cases) == COUNT
    masks = bodies(0)[1]
    case = next(case for case in cases if case.id == "case0")
    np.testing.assert_array_equal(layout.as_stored(layout.read(case).maps["mask"]), masks[0] + 2 * masks[1])


@pytest.mark.parametrize("ending", [".png", ".nii.gz"])
@pytest.mark.parametrize("ends", [("_EX", "_MA"), ("_EX", "_HARD_EX")])
def test_several_images_in_each_folder_of_a_case_have_a_file_for_each_class(tmp_path, ending, ends):
    for index in range(2 * COUNT):
        image, mask = (f"p{index // 2}/{'left' if index % 2 else 'right'}{each}{ending}" for each in ("", "{1}"))
        single = write(tmp_path / f"one{index}", "{}" + ending, "{}{}" + ending, ends, count=1)
        for end in ("", *ends):
            target = tmp_path / "d" / (image if not end else mask.format("", end))
            target.parent.mkdir(parents=True, exist_ok=True)
            (single / f"case0{end}{ending}").rename(target)
    found, _ = look(tmp_path / "d", "d", (), ask=None, yes=False)
    assert (found.keys["class_suffixes"], found.keys.get("exclude"), found.notes) == (list(ends), None, [])
    layout, cases = read(found)
    assert sorted(case.id for case in cases) == sorted(f"p{n}/{eye}" for n in range(COUNT) for eye in ("left", "right"))
    masks = lesions(0)[1] if ending == ".png" else bodies(0)[1]
    expected = (masks[0] > 0) + 2 * (masks[1] > 0)
    for case in cases[:3]:
        np.testing.assert_array_equal(layout.as_stored(layout.read(case).maps["mask"]), expected)
    found, _ = look(tmp_path / "d", "d", [f"label_suffix={ends[1]}"], ask=None, yes=False)
    assert (found.keys["exclude"], len(read(found)[1])) == ([f"*{ends[0]}"], 2 * COUNT)
    assert any(f"*{ends[0]}" in note and "is not used" in note for note in found.notes)


def test_a_case_of_many_large_files_is_looked_at_in_part_and_the_reason_says_so(monkeypatch):
    monkeypatch.setattr(class_files, "SURVEY_S", 0.0)
    read_files = []

    def inside(path):
        read_files.append(path)
        return np.arange(40) == len(read_files)

    kinds = {f"_{letter}": {case: Path(case + letter) for case in ("p1", "p2")} for letter in "abcdefghijkl"}
    found = class_files.class_masks(kinds, inside, {})
    assert (len(read_files), len(found.files)) == (8, 12)
    assert found.reason.endswith("in 1 of 2 images (8 of 12 files of `p1`)")


def test_every_one_of_many_classes_is_planned(tmp_path):
    root = write(tmp_path / "d", "{}/ct.nii.gz", "{}/segmentations/{}.nii.gz", ("liver", "spleen"))
    organs = [f"organ_{one}{two}" for one in "abcdefg" for two in "abcdefg"]
    empty = np.zeros_like(bodies(0)[1][0])
    for index in range(COUNT):
        for organ in organs:
            save(root / f"case{index}/segmentations/{organ}.nii.gz", empty)
    found, _ = look(root, "d", (), ask=None, yes=False)
    assert found.keys["class_suffixes"] == ["liver", *organs, "spleen"]
    assert found.notes == []


def test_files_that_number_objects_are_no_classes(tmp_path):
    root = write(tmp_path / "d", "images/{}.png", "masks/{}{}.png", ("_obj1", "_obj2"))
    with pytest.raises(ConfigError, match="masks that show different things: which is the truth"):
        look(root, "d", (), ask=None, yes=False)
