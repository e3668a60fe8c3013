"""Masks of sequences: colours, numbers, and their faults."""

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from factories import STREET, street, street_classes, write_sequences
from PIL import Image
from scenes import MASK, first, paint, save_blurred, told

from segcli.data.classes.masks import BLURRED
from segcli.data.samples import Case
from segcli.files import read_header


# ---- masks
@pytest.mark.usefixtures("clips")
def test_a_color_that_is_no_class_is_told_with_file_count_and_nearest_class(layout):
    paint(MASK, np.s_[:2, :3], (127, 64, 128))
    made = layout()
    text = told(made.read, first(made))
    assert (
        f"mask `{MASK}` holds the colour (127, 64, 128) (6 pixels, nearest `road` (128, 64, 128)), "
        "which belongs to no class"
    ) in text
    assert "add the class to `classes`, correct the mask, or set `unknown_colors: ignore` or `nearest`" in text


@pytest.mark.usefixtures("clips")
def test_several_colors_that_are_no_class_are_told_the_most_frequent_first(layout):
    for column in range(5):
        paint(MASK, np.s_[: column + 1, column], (250, column, 0))
    made = layout()
    text = told(made.read, first(made))
    assert "holds 5 colours that belong to no class: (250, 4, 0) (5 pixels, nearest `road`" in text
    assert "(250, 3, 0) (4 pixels" in text
    assert "(250, 2, 0) (3 pixels" in text
    assert "(250, 1, 0)" not in text
    assert " and 2 more" in text


@pytest.mark.usefixtures("clips")
def test_colors_that_are_no_class_are_left_out_or_the_nearest_class_when_asked(layout):
    paint(MASK, np.s_[:2, :3], (127, 64, 128))
    truth = street(0)[1]
    ignored = layout(unknown_colors="ignore")
    valid = truth < 3
    valid[:2, :3] = False
    np.testing.assert_array_equal(ignored.read(first(ignored)).maps["valid"], valid)
    nearest = layout(unknown_colors="nearest")
    sample = nearest.read(first(nearest))
    assert (sample.maps["mask"][:2, :3] == 1).all()
    np.testing.assert_array_equal(sample.maps["valid"], truth < 3)


@pytest.mark.usefixtures("clips")
@pytest.mark.parametrize(("choice", "severity"), [("error", "error"), ("ignore", "warning"), ("nearest", "warning")])
def test_data_check_tells_them_even_where_they_are_allowed(check, choice, severity):
    paint(MASK, np.s_[:2, :3], (127, 64, 128))
    code, findings = check(unknown_colors=choice)
    (finding,) = findings["unknown_colors"]
    assert (code, finding["severity"], finding["file"]) == (int(severity == "error"), severity, MASK)
    assert "(127, 64, 128) (6 pixels, nearest `road` (128, 64, 128))" in finding["message"]


@pytest.mark.parametrize(
    ("how", "said"), [("jpg", "saved as JPEG and"), ("png", "once saved as JPEG, scaled or smoothed")]
)
def test_a_mask_saved_as_jpeg_is_found_and_explained_and_not_trained_on(layout, check, workplace, how, said):
    write_sequences(workplace / "data", {"Video_000": 2}, size=(96, 128))
    save_blurred(how)
    made = layout()
    text = told(made.read, first(made))
    assert said in text
    assert "colours that belong to no class (" in text
    assert "its classes are blurred" in text
    assert "export the mask as PNG without smoothing" in text
    code, findings = check()
    (finding,) = findings["blurred_mask"]
    assert (code, finding["severity"]) == (1, "error")
    assert finding["message"] in text
    code, findings = check(unknown_colors="nearest")
    assert (code, findings["blurred_mask"][0]["severity"]) == (0, "warning")


@pytest.mark.usefixtures("clips")
def test_a_jpeg_mask_is_told_as_one_even_where_few_pixels_are_blurred(layout):
    with Image.open(MASK) as picture:
        picture.save(MASK.replace(".png", ".jpg"), quality=100, subsampling=0)
    Path(MASK).unlink()
    made = layout()
    text = told(made.read, first(made))
    assert int(re.search(r"holds (\d+) colours", text)[1]) < BLURRED
    assert "it was saved as JPEG and its classes are blurred" in text


@pytest.mark.parametrize("mode", ["L", "P", "tiff"])
def test_masks_may_hold_the_number_of_the_class(layout, workplace, mode):
    write_sequences(workplace / "data", {"Video_000": 1}, index=True)
    truth = street(0)[1]
    if mode == "P":
        picture = Image.new("P", truth.shape[::-1])
        picture.putpalette([level for color in STREET.values() for level in color])
        picture.putdata(truth.ravel().tolist())
        picture.save(MASK)
    if mode == "tiff":
        tifffile.imwrite(MASK.replace(".png", ".tif"), truth.astype(np.int32))
        Path(MASK).unlink()
    made = layout(mask_format="index", classes=list(STREET))
    sample = made.read(first(made))
    np.testing.assert_array_equal(sample.maps["mask"], np.where(truth == 3, 0, truth))
    np.testing.assert_array_equal(sample.maps["valid"], truth < 3)


def test_numbers_of_index_masks_may_be_any(layout, workplace):
    write_sequences(workplace / "data", {"Video_000": 1}, index=True)
    truth = street(0)[1]
    cv2.imwrite(MASK, np.array([7, 300, 26, 65535], np.uint16)[truth])
    ignored = [{"name": "void", "number": 65535}]
    made = layout(mask_format="index", classes=["sky", "road", "car"], numbers=[7, 300, 26], ignore=ignored)
    np.testing.assert_array_equal(made.read(first(made)).maps["mask"], np.where(truth == 3, 0, truth))
    np.testing.assert_array_equal(made.read(first(made)).maps["valid"], truth < 3)
    made = layout(mask_format="index", classes=list(STREET), numbers=[7, 300, 26, 65535])
    np.testing.assert_array_equal(made.read(first(made)).maps["mask"], np.where(truth == 3, 0, truth))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
def test_a_number_that_is_no_class_is_told_or_left_out(layout, check, workplace, dtype):
    write_sequences(workplace / "data", {"Video_000": 1}, index=True)
    truth = street(0)[1].astype(dtype)
    strange = {np.uint8: 200, np.int16: -1, np.int32: 1 - (1 << 16)}[dtype]
    truth[0, :4] = strange
    (workplace / MASK).unlink()
    tifffile.imwrite(workplace / MASK.replace(".png", ".tif"), truth)
    keys = {"mask_format": "index", "classes": list(STREET)}
    made = layout(**keys)
    text = told(made.read, first(made))
    assert f"0001.tif` holds numbers that belong to no class: {strange} (4 pixels)" in text
    assert "numbers of the classes: 0, 1, 2, 3" in text
    code, findings = check(**keys)
    assert (code, len(findings["unknown_classes"])) == (1, 1)
    made = layout(unknown_colors="ignore", **keys)
    assert not made.read(first(made)).maps["valid"][0, :4].any()
    assert "numbers that belong to no class" in told(layout(unknown_colors="nearest", **keys).read, first(made))


@pytest.mark.usefixtures("clips")
def test_a_mask_of_the_other_format_is_told_with_the_key_to_set(layout, workplace):
    made = layout(mask_format="index")
    text = told(made.read, first(made))
    assert f"mask `{MASK}` is a colour image, but `mask_format: index` expects one number per pixel" in text
    write_sequences(workplace / "data", {"Video_000": 1}, index=True)
    text = told(layout().read, first(layout()))
    assert f"mask `{MASK}` has 1 channel of 8 bits; a colour mask has 3 channels of 8 bits" in text
    assert "set `mask_format: index`" in text
    assert cv2.imwrite(str(workplace / MASK), np.zeros((24, 32, 3), np.uint16))
    text = told(layout().read, first(layout()))
    assert "3 channels of 16 bits" in text
    assert "save it as RGB with 8 bits" in text
    assert "mask_format" not in text


def test_a_palette_mask_may_be_read_by_its_colors(layout, workplace):
    write_sequences(workplace / "data", {"Video_000": 1})
    with Image.open(MASK) as painted:
        palette = painted.quantize(colors=8)
    palette.save(MASK)
    assert read_header(Path(MASK)).channels == 3
    assert palette.mode == "P"
    np.testing.assert_array_equal(layout().read(first(layout())).maps["valid"], street(0)[1] < 3)


# ---- faults
def damage(name, root):
    image, mask = root / "Images/Video_000/0002.png", root / "Labels/Video_000/0002.png"
    match name:
        case "missing_label":
            mask.unlink()
        case "extra_label":
            image.unlink()
        case "missing_labels":
            shutil.rmtree(mask.parent)
        case "empty_sequence":
            shutil.rmtree(image.parent)
            image.parent.mkdir()
        case "size_mismatch":
            cv2.imwrite(str(mask), cv2.imread(str(mask))[:-1])
        case "same_stem":
            shutil.copy(mask, mask.with_suffix(".bmp"))
        case "unreadable_image":
            image.write_bytes(image.read_bytes()[:200])
        case "unreadable_label":
            mask.write_text("junk")
        case "wrong_channels":
            cv2.imwrite(str(image), cv2.imread(str(image), 0))
        case "empty_mask":
            cv2.imwrite(str(mask), np.zeros((24, 32, 3), np.uint8))
        case "same_image_twice":
            shutil.copy(image, root / "Images/Video_003/0001.png")


@pytest.mark.usefixtures("clips")
def test_a_mask_whose_extension_is_not_read_is_named_with_the_key_that_reads_it(check):
    label = Path(MASK)
    Image.open(label).save(label.with_suffix(".webp"), lossless=True)
    label.unlink()
    code, findings = check()
    assert code == 1
    assert findings["missing_label"][0]["hint"] == (
        f"`{label.stem}.webp` is there: add `webp` to `extensions` in the data-set file to read it"
    )


@pytest.mark.parametrize(
    ("name", "severity", "text"),
    [
        (
            "missing_label",
            "error",
            "image `data/Images/Video_000/0002.png` has no mask (looked for `data/Labels/Video_",
        ),
        ("extra_label", "warning", "mask `data/Labels/Video_000/0002.png` belongs to no image in `data/Images/Video_0"),
        ("missing_labels", "error", "sequence `Video_000` has no folder `data/Labels/Video_000` with its masks"),
        ("empty_sequence", "error", "sequence `data/Images/Video_000` has no images"),
        ("size_mismatch", "error", "`data/Labels/Video_000/0002.png` is 23x32 pixels, its image `data/Images/Video_00"),
        ("same_stem", "error", "two masks in `data/Labels/Video_000` have the same stem: `0002.bmp` and `0002.png`"),
        ("unreadable_image", "error", "cannot read image `data/Images/Video_000/0002.png`"),
        ("unreadable_label", "error", "data/Labels/Video_000/0002.png"),
        ("wrong_channels", "error", "0002.png` has 1 channel, but the data set states `num_channels: 3`"),
        ("empty_mask", "warning", "mask `data/Labels/Video_000/0002.png` has only ignored pixels"),
        ("same_image_twice", "warning", "has the pixels of `data/Images/Video_000/0002.png`"),
    ],
)
def test_each_fault_is_found_by_itself_and_named(check, clips, name, severity, text):
    assert set(check()[1]) == {"no_split"}
    damage(name, clips)
    code, findings = check()
    assert findings[name][0]["severity"] == severity
    assert text in findings[name][0]["message"]
    assert findings[name][0]["hint"]
    assert code == (1 if severity == "error" else 0)
    assert {other for other in findings if findings[other][0]["severity"] == "error"} - {name} == set()


def test_training_does_not_start_on_frames_without_masks_or_of_other_size(layout, clips):
    damage("size_mismatch", clips)
    made = layout()
    assert "is 23x32 pixels, its image" in told(made.read, made.cases("train")[1])
    damage("missing_label", clips)
    assert "has no mask" in told(layout().cases, "train")


def test_a_fault_of_one_split_does_not_spoil_the_others(layout, clips):
    damage("missing_label", clips)
    made = layout(split={"train": ["Video_001"], "test": ["Video_000"]})
    assert len(made.cases("train")) == 3
    assert "has no mask" in told(made.cases, "test")


def test_an_image_without_a_mask_is_read_alone(layout, clips):
    made = layout()
    sample = made.read(Case("x", clips / "Images/Video_000/0001.png"))
    assert sample.maps == {}


@pytest.mark.usefixtures("clips")
def test_a_class_that_occurs_nowhere_is_told(check):
    classes = [*street_classes(), {"name": "bicyclist", "color": [0, 128, 192]}]
    code, findings = check(classes=classes, split={"train": ["Video_000"], "test": ["Video_001"]})
    assert code == 0
    assert [(entry["severity"], entry["message"]) for entry in findings["absent_class"]] == [
        ("warning", "class `bicyclist` does not occur in the masks of `train`"),
        ("info", "class `bicyclist` does not occur in the masks of `test`"),
    ]
