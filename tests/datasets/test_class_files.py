"""2D masks of which each class is a file of its own: joined in the stated order, checked, trained on and scored."""

import csv
import json
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from factories import experiment, lesions, write_experiment
from layouts import built, findings_of
from PIL import Image

from segcli.core.errors import ConfigError, DataError
from segcli.data.classes.class_files import OverlapError
from segcli.data.classes.class_files import joined as joined_maps
from segcli.data.fingerprint import difference, fingerprint

ENDS = ["_MA", "_EX"]
KEYS = {"image_folder": "images", "label_folder": "masks", "class_suffixes": ENDS}
TOPS = {"_MA": 255, "_EX": 1}


def write(root, count=4, image="images/{}.png", mask="masks/{}{}.png"):
    """Write `images/p0.png` with `masks/p0_MA.png` of 0 and 255 and `masks/p0_EX.png` of 0 and 1."""
    for index in range(count):
        pixels, truths = lesions(index)
        files = {image.format(f"p{index}"): pixels}
        for (end, top), truth in zip(TOPS.items(), truths, strict=True):
            files[mask.format(f"p{index}", end)] = (truth > 0) * np.uint8(top)
        for name, values in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(root / name)
    return root


@pytest.fixture
def layout(workplace):
    """Make the layout of the images anew."""
    write(workplace / "data")
    return partial(built, workplace, **KEYS, split={"by": "fraction", "val": 0.25})


def all_of(layout):
    """Return the cases of both splits by their name, including those with faults."""
    return {case.id: case for split in ("train", "val") for case in layout.all_cases(split)}


def joined(folder, case, ends=ENDS):
    """Join the files of a case with Pillow and NumPy."""
    found = 0
    for number, end in enumerate(ends, start=1):
        found = np.where(np.asarray(Image.open(folder / f"{case}{end}.png")) > 0, number, found)
    return found


@pytest.mark.parametrize("ends", [ENDS, ENDS[::-1]])
def test_the_files_of_the_classes_are_joined_in_the_stated_order(layout, workplace, ends):
    made = layout(class_suffixes=ends)
    assert [each.name for each in made.spec.classes] == ["background", *(end.strip("_") for end in ends)]
    assert made.spec.num_classes == 3
    assert findings_of(made) == []
    for case in all_of(made).values():
        expected = joined(workplace / "data/masks", case.id, ends)
        np.testing.assert_array_equal(made.read(case).maps["mask"], expected)
        sample, found = made.examine(case)
        np.testing.assert_array_equal(sample.maps["mask"], expected)
        assert found == []
        np.testing.assert_array_equal(made.as_stored(made.read(case).maps["mask"]), expected)
        assert case.files == [case.image, *case.labels]
    assert set(np.unique(expected)) == {0, 1, 2}


def test_one_suffix_is_a_binary_mask_and_the_other_file_is_told(layout, workplace):
    made = layout(class_suffixes=["_EX"])
    assert made.spec.num_classes == 1
    case = all_of(made)["p1"]
    np.testing.assert_array_equal(made.read(case).maps["mask"], joined(workplace / "data/masks", "p1", ["_EX"]))
    (finding,) = findings_of(made)
    assert (finding.code, finding.severity) == ("unread_files", "warning")
    assert "holds 4 files that no suffix of `class_suffixes` fits: `p0_MA.png`" in finding.message
    assert findings_of(layout(exclude=["p1"])) == []  # its masks have a suffix
    (workplace / "data/masks/p1_MA.png").rename(workplace / "data/masks/p1_SOFT_EX.png")
    told = {finding.code: finding.file.name for finding in findings_of(layout(class_suffixes=["_EX"]))}
    assert told == {"unread_files": "p0_MA.png", "extra_label": "p1_SOFT_EX.png"}


def test_a_suffix_in_other_capital_letters_is_told(layout, workplace):
    (workplace / "data/masks/p1_MA.png").rename(workplace / "data/masks/p1_ma.png")
    lacking, unread = findings_of(layout())
    assert "has no mask of class `_MA` (1 of 2)" in lacking.message
    assert "holds 1 file that no suffix of `class_suffixes` fits: `p1_ma.png`" in unread.message
    assert unread.hint == "they are not read, because capital letters count: if they mark `_MA`, name them so"
    (workplace / "data/masks/p2_OD.png").write_bytes((workplace / "data/masks/p1_ma.png").read_bytes())
    _, unread = findings_of(layout())
    assert "if they mark further classes" in unread.hint


@pytest.mark.parametrize("end", ENDS)
def test_a_missing_file_is_refused_unless_it_means_that_the_class_is_not_there(layout, workplace, end):
    (workplace / f"data/masks/p1{end}.png").unlink()
    (finding,) = findings_of(layout())
    assert (finding.code, finding.severity, finding.file.name) == ("missing_class", "error", "p1.png")
    assert f"has no mask of class `{end}` ({ENDS.index(end) + 1} of 2) beside" in finding.message
    with pytest.raises(DataError) as raised:
        [layout().cases(split) for split in ("train", "val")]
    assert (raised.value.message, raised.value.hint) == (finding.message, finding.hint)
    made = layout(missing_class_files="empty")
    assert findings_of(made) == []
    (other,) = {*ENDS} - {end}
    mask = np.asarray(Image.open(workplace / f"data/masks/p1{other}.png")) > 0
    np.testing.assert_array_equal(made.read(all_of(made)["p1"]).maps["mask"], mask * (ENDS.index(other) + 1))
    (workplace / f"data/masks/p1{other}.png").unlink()
    (finding,) = findings_of(layout(missing_class_files="empty"))
    assert finding.code == "missing_label"
    assert "`class_suffixes` are keys" in finding.hint


def test_pixels_of_two_classes_are_refused_unless_one_of_them_lies_above(layout, workplace):
    masks = {end: workplace / f"data/masks/p1{end}.png" for end in ENDS}
    both = np.zeros((48, 48), np.uint8)
    both[:10, :10] = 1
    Image.fromarray(both).save(masks["_MA"])
    both[:10, 8:20] = 1
    both[:10, :8] = 0
    Image.fromarray(both).save(masks["_EX"])
    made = layout()
    case = all_of(made)["p1"]
    with pytest.raises(DataError) as raised:
        made.read(case)
    paths = [case.labels[0], case.labels[1]]
    shares = "both mark 20 pixels (20.00% of the smaller of both, 0.87% of the image), but each has one class"
    assert raised.value.message == f"`{paths[0]}` and `{paths[1]}` {shares}"
    assert "`class_overlap: first` or `last`" in raised.value.hint
    _, (finding,) = made.examine(case)
    assert (finding.code, finding.message, finding.hint) == (
        "overlapping_classes",
        raised.value.message,
        raised.value.hint,
    )
    assert (finding.file, *finding.others) == tuple(paths)
    again = pickle.loads(pickle.dumps(raised.value))  # workers of the loader send it
    assert isinstance(again, OverlapError)
    assert str(again) == str(raised.value)
    for which, expected in (("first", [1, 1, 2]), ("last", [1, 2, 2])):
        mask = layout(class_overlap=which).read(case).maps["mask"]
        assert [int(mask[0, column]) for column in (7, 8, 10)] == expected


@pytest.mark.parametrize(
    ("pixels", "code", "message"),
    [
        (np.array([[0, 1], [7, 9]]), "unexpected_values", "holds 4 values, a binary mask has two"),
        (np.array([[0, 1]]), "size_mismatch", "is 24x48 pixels, its image"),
    ],
)
def test_a_mask_of_more_values_or_of_another_size_is_one_error(layout, workplace, run_cli, pixels, code, message):
    path = workplace / "data/masks/p1_EX.png"
    Image.fromarray(np.kron(pixels, np.ones((24, 24))).astype(np.uint8)).save(path)
    made = layout()
    with pytest.raises(DataError) as raised:
        made.read(all_of(made)["p1"])
    assert f"`{path.relative_to(workplace)}` {message}" in raised.value.message.replace(f"{workplace}/", "")
    checked = run_cli("data", "check", "set.yaml", "--json")
    (told,) = (each for each in json.loads(checked.out)["findings"] if each["severity"] == "error")
    assert (told["code"], told["message"]) == (code, raised.value.message)
    assert checked.code == 1


def test_a_file_of_zero_and_any_other_number_marks_its_class(layout, workplace):
    path = workplace / "data/masks/p1_EX.png"
    expected = joined(workplace / "data/masks", "p1")
    Image.fromarray((np.asarray(Image.open(path)) * 7).astype(np.uint8)).save(path)
    made = layout()
    np.testing.assert_array_equal(made.read(all_of(made)["p1"]).maps["mask"], expected)
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(path)  # not there: no finding, unless all are empty
    assert made.examine(all_of(made)["p1"])[1] == []
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(path.with_name("p1_MA.png"))
    assert [finding.code for finding in made.examine(all_of(made)["p1"])[1]] == ["empty_mask"]


@pytest.mark.parametrize(
    ("image", "mask", "keys"),
    [
        ("all/{}.png", "all/{}{}.png", {"image_folder": "all", "label_folder": "all"}),
        ("all/{}/eye.png", "all/{}/m{}.png", {"image_suffix": "eye", "label_folder": "all/*", "label_prefix": "m"}),
        (
            "all/{}/eye.png",
            "all/{}/masks/m{}.png",
            {"image_suffix": "eye", "label_folder": "all/*/masks", "label_prefix": "m"},
        ),
    ],
)
def test_files_of_classes_lie_beside_images_and_in_folders_of_cases(workplace, layout, image, mask, keys):
    write(workplace / "other", image=image, mask=mask)
    made = layout(paths={"root": "other"}, **{"image_folder": "all/*", **keys})
    cases = all_of(made)
    assert sorted(cases) == ["p0", "p1", "p2", "p3"]
    assert findings_of(made) == []
    for index in range(4):
        first, second = lesions(index)[1]
        expected = (first > 0) + 2 * (second > 0)
        np.testing.assert_array_equal(made.read(cases[f"p{index}"]).maps["mask"], expected)
    there = [path for case in cases.values() for path in case.files]
    if keys["label_folder"] == "all":
        assert made.leading(there) == [case.image for case in cases.values()]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"class_suffixes": ["_MA", "_MA"]}, r"class_suffixes.*names `_MA` twice"),
        ({"label_suffix": "_x"}, r"label_suffix.*is for masks of one file"),
        ({"mask_format": "rgb"}, r"mask_format.*is `rgb`"),
        ({"num_classes": 2}, r"num_classes.*gives 2, but `class_suffixes` gives 3"),
        ({"classes": ["a", "b"]}, r"classes.*gives 2, but `class_suffixes` gives 3"),
    ],
)
def test_keys_that_contradict_the_files_of_classes_are_refused(layout, keys, message):
    with pytest.raises(ConfigError, match=message):
        layout(**keys)


def test_the_fingerprint_of_the_data_depends_on_the_file_of_every_class(layout, workplace):
    cases = layout().cases("train")
    before = fingerprint(cases)
    first = cases[0].id
    for end in ENDS:
        path = workplace / f"data/masks/{first}{end}.png"
        stored = path.read_bytes()
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
        after = fingerprint(layout().cases("train"))
        assert after["digest"] != before["digest"]
        told = difference(before, after, cases)
        assert told == f"3 then, 3 now: the mask of `{first}` has other content"
        path.write_bytes(stored)
    assert fingerprint(layout().cases("train")) == before


def test_training_and_scores_see_the_joined_map(run_cli, workplace):
    write(workplace / "data")
    values = experiment(workplace / "data", training__epochs=1, training__loss="ce", data__cache="disk")
    values["dataset"] = {**KEYS, "paths": {"root": "data"}, "split": {"by": "fraction", "val": 0.5}}
    values["data"]["patch_size"] = [32, 32]
    trained = run_cli("train", write_experiment(workplace / "tiny.yaml", values))
    assert trained.code == 0, trained.err
    scored = run_cli("eval", "tiny", "--split", "val", "--json")
    assert scored.code == 0, scored.err
    folder = workplace / "outputs/tests/tiny_val"
    found = {path.stem: np.asarray(Image.open(path)) for path in (folder / "predictions").iterdir()}
    truths = {name: joined(workplace / "data/masks", name) for name in found}
    rows = list(csv.reader((folder / "confusion_matrix.csv").read_text().splitlines()))
    counts = np.array([[float(cell) for cell in row[1:4]] for row in rows[1:4]])
    expected = np.zeros((3, 3))
    for name, truth in truths.items():
        np.add.at(expected, (truth, found[name]), 1)
    np.testing.assert_array_equal(counts, expected)
    stats = run_cli("data", "stats", "tiny.yaml", "--json")
    assert stats.code == 0, stats.err
    others = [joined(workplace / "data/masks", f"p{index}") for index in range(4) if f"p{index}" not in found]
    shares = {name: np.mean(np.stack(others) == at) for at, name in enumerate(["background", "MA", "EX"])}
    assert json.loads(stats.out)["class_shares"] == pytest.approx(shares)


def test_a_folder_for_each_class_is_joined_and_other_folders_are_told(layout, workplace):
    write(workplace / "other", mask="masks/{1}/{0}{1}.png")
    (workplace / "other/masks/_EX").rename(workplace / "other/masks/2. Exudates")
    keys = {"class_suffixes": ["_MA/_MA", "2. Exudates/_EX"], "paths": {"root": "other"}}
    made = layout(**keys)
    assert [each.name for each in made.spec.classes] == ["background", "MA", "Exudates"]
    assert findings_of(made) == []
    for index in range(4):
        first, second = lesions(index)[1]
        expected = (first > 0) + 2 * (second > 0)
        np.testing.assert_array_equal(made.read(all_of(made)[f"p{index}"]).maps["mask"], expected)
    (workplace / "other/masks/5. Disc").mkdir()
    (workplace / "other/masks/2. Exudates/p1_EX.png").rename(workplace / "other/masks/5. Disc/p1_OD.png")
    lacking, unread = findings_of(layout(**keys))
    assert "has no mask of class `2. Exudates/_EX` (2 of 2)" in lacking.message
    assert "holds 1 file that no suffix of `class_suffixes` fits: `p1_OD.png`" in unread.message


def test_masks_of_a_class_that_declare_white_as_zero_are_told(layout, workplace):
    mask = np.asarray(Image.open(workplace / "data/masks/p1_EX.png"))
    tifffile.imwrite(workplace / "data/masks/p1_EX.tif", mask, photometric="miniswhite")
    (workplace / "data/masks/p1_EX.png").unlink()
    made = layout()
    (told,) = (each for each in made.compared(("train", "val")) if each.code == "white_is_zero")
    assert told.file.name == "p1_EX.tif"


def test_classes_marked_with_different_numbers_are_told_with_a_hint_that_class_suffixes_allow(layout):
    made = layout()
    for case in all_of(made).values():
        made.examine(case)
    (told,) = made.compared(("train", "val"))
    assert (told.code, "all are read alike" in told.hint, "ignore" in told.hint) == ("mixed_mask_coding", True, False)


def test_the_files_that_overlap_are_named_and_not_a_third_one():
    marks = {"a": [1, 1, 1, 0, 0, 0, 0], "b": None, "c": [0, 0, 0, 1, 1, 0, 0], "d": [0, 0, 0, 0, 1, 1, 1]}
    files = [None if each is None else (Path(f"{name}.png"), np.array([each])) for name, each in marks.items()]
    with pytest.raises(OverlapError, match=r"`c.png` and `d.png` both mark 1 pixels \(50.00% of the smaller"):
        joined_maps(files, 4, "error")
    np.testing.assert_array_equal(joined_maps(files, 4, "last"), [[1, 1, 1, 3, 4, 4, 4]])
