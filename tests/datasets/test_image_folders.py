import cv2
import numpy as np
import pytest
import tifffile
from factories import blobs, write_folders
from PIL import Image

from segcli.config.load import run_from_values
from segcli.core.errors import DataError


def layout(root, **keys):
    dataset = {"paths": {"root": str(root)}, "mean": [0.5] * keys.get("num_channels", 3), **keys}
    dataset["std"] = dataset["mean"]
    run = run_from_values({"name": "x", "dataset": dataset, "model": "unet"}, source="test")
    return run.dataset.build()


def told(call, *arguments):
    with pytest.raises(DataError) as caught:
        call(*arguments)
    return str(caught.value)


def test_images_and_masks_are_paired_by_stem_in_natural_order(workplace):
    write_folders(workplace, {"train": 12})
    cases = layout(workplace).cases("train")
    assert [case.id for case in cases] == [f"{index:02d}" for index in range(12)]
    sample = layout(workplace).read(cases[3])
    image, mask = blobs(3)
    np.testing.assert_array_equal(sample.image, image[:, :, ::-1])
    np.testing.assert_array_equal(sample.maps["mask"], mask > 0)


def drive(root):
    """The layout of DRIVE: three folders, three suffixes, LZW TIFF and GIF."""
    for folder, name in (("images", "training.tif"), ("1st_manual", "manual1.gif"), ("mask", "training_mask.gif")):
        (root / "training" / folder).mkdir(parents=True)
        for number in (21, 22):
            image, mask = blobs(number)
            path = root / "training" / folder / f"{number}_{name}"
            if folder == "images":
                tifffile.imwrite(path, image, photometric="rgb", compression="lzw")
            else:
                field = np.zeros_like(mask)
                cv2.circle(field, (24, 24), 20, 255, -1)
                Image.fromarray(mask if folder == "1st_manual" else field).save(path)
    return root


def test_the_layout_of_drive_is_read_with_suffixes_and_field_of_view(workplace):
    made = layout(
        drive(workplace),
        paths={"root": str(workplace), "train": str(workplace / "training")},
        image_folder="images",
        label_folder="1st_manual",
        fov_folder="mask",
        image_suffix=["_training", "_test"],
        label_suffix="_manual1",
        fov_suffix=["_training_mask", "_test_mask"],
    )
    cases = made.cases("train")
    assert [case.id for case in cases] == ["21", "22"]
    sample = made.read(cases[0])
    np.testing.assert_array_equal(sample.maps["mask"], blobs(21)[1] > 0)
    assert 0.3 < sample.maps["valid"].mean() < 0.7


def test_names_may_differ_by_a_prefix_and_messages_tell_the_name_with_it(workplace):
    for index in range(3):
        image, mask = blobs(index)
        for name, pixels in (
            (f"img_{index}_a", image),
            (f"gt_{index}", mask),
            (f"fov_{index}", np.full_like(mask, 255)),
        ):
            cv2.imwrite(str(workplace / f"{name}.png"), pixels)
    (workplace / "gt_2.png").unlink()
    keys = {"image_prefix": "img_", "image_suffix": "_a", "label_prefix": "gt_", "fov_prefix": "fov_"}
    made = layout(
        workplace,
        image_folder=".",
        label_folder=".",
        fov_folder=".",
        split={"by": "lists", "train": ["0", "1"], "val": ["2"]},
        **keys,
    )
    pairs = [(case.image.stem, case.label.stem, case.fov.stem) for case in made.cases("train")]
    assert pairs == [("img_0_a", "gt_0", "fov_0"), ("img_1_a", "gt_1", "fov_1")]
    assert made.field_of(workplace / "img_2_a.png").stem == "fov_2"
    assert made.field_stems(workplace / "img_7_a.png") == ["fov_7"]
    assert "gt_2.*" in told(made.cases, "val")


def test_images_and_masks_may_share_a_folder(workplace):
    for index in range(3):
        image, mask = blobs(index)
        cv2.imwrite(str(workplace / f"{index}.png"), image)
        cv2.imwrite(str(workplace / f"{index}_mask.png"), mask)
    made = layout(
        workplace,
        paths={"root": str(workplace), "train": str(workplace)},
        image_folder=".",
        label_folder=".",
        label_suffix="_mask",
    )
    assert [case.id for case in made.cases("train")] == ["0", "1", "2"]


def test_capital_extensions_count_and_hidden_files_do_not(workplace):
    write_folders(workplace, {"train": 2})
    folder = workplace / "train/image"
    (folder / "00.png").rename(folder / "00.PNG")
    (folder / "._00.png").write_bytes(b"junk")
    (folder / "Thumbs.db").write_bytes(b"junk")
    assert len(layout(workplace).cases("train")) == 2


@pytest.mark.parametrize(
    ("stored", "color", "stated", "expected"),
    [(3, "grey", 1, 1), (3, "green", 1, 1), (1, "rgb", 3, 3), (1, "grey", 1, 1), (3, "as_stored", 3, 3)],
)
def test_colours_are_converted_only_when_asked(workplace, stored, color, stated, expected):
    write_folders(workplace, {"train": 1}, channels=stored)
    made = layout(workplace, color=color, num_channels=stated)
    assert list(made.inspect("train")) == []
    image = made.read(made.cases("train")[0]).image
    assert image.shape[2] == expected
    if color == "green":
        np.testing.assert_array_equal(image[:, :, 0], blobs(0)[0][:, :, 1])


def test_other_channels_than_stated_are_told_with_both_ways_out(workplace):
    write_folders(workplace, {"train": 1}, channels=1)
    made = layout(workplace)
    text = told(made.read, made.cases("train")[0])
    assert "train/image/00.png` has 1 channel, but the data set states `num_channels: 3`" in text
    assert "set `num_channels: 1` in the data-set file, or `color: rgb` to convert" in text


def test_twelve_bit_images_are_stretched_by_their_range(workplace):
    write_folders(workplace, {"train": 1})
    cv2.imwrite(str(workplace / "train/image/00.png"), np.full((48, 48), 4095, np.uint16))
    made = layout(workplace, num_channels=1, intensity_range=[0.0, 4095.0])
    np.testing.assert_array_equal(made.read(made.cases("train")[0]).image, 1.0)


def test_floating_point_images_outside_zero_to_one_need_a_range(workplace):
    write_folders(workplace, {"train": 1})
    (workplace / "train/image/00.png").unlink()
    tifffile.imwrite(workplace / "train/image/00.tif", np.linspace(-5, 300, 48 * 48, dtype=np.float32).reshape(48, 48))
    made = layout(workplace, num_channels=1)
    assert "from -5 to 300, outside 0 to 1\n  hint: set `intensity_range" in told(made.read, made.cases("train")[0])


def test_grey_values_between_are_no_mask_unless_a_threshold_is_set(workplace):
    write_folders(workplace, {"train": 1})
    mask = blobs(0)[1]
    mask[0, :5], mask[1, :2] = 90, 200
    cv2.imwrite(str(workplace / "train/label/00.png"), mask)
    made = layout(workplace)
    text = told(made.read, made.cases("train")[0])
    assert "train/label/00.png` holds 4 values, a binary mask has two: 0 (" in text
    assert "90 (5 pixels), 200 (2 pixels)" in text
    assert "mask_threshold: 127" in text
    made = layout(workplace, mask_threshold=127)
    np.testing.assert_array_equal(made.read(made.cases("train")[0]).maps["mask"], mask > 127)


@pytest.mark.parametrize(
    ("threshold", "least", "words"),
    [
        (300, 0, "is empty: its largest value, 255, is not above `mask_threshold: 300` (lower `mask_threshold`"),
        (99, 100, "is all foreground: its smallest value, 100, is above `mask_threshold: 99` (raise `mask_threshold`"),
    ],
)
def test_a_threshold_that_cuts_no_mask_is_blamed_for_it(workplace, threshold, least, words):
    write_folders(workplace, {"train": 1})
    cv2.imwrite(str(workplace / "train/label/00.png"), np.maximum(blobs(0)[1], least))
    made = layout(workplace, mask_threshold=threshold)
    (finding,) = made.examine(made.cases("train")[0])[1]
    assert words in f"{finding.message} ({finding.hint}"


def test_extensions_may_have_a_star(workplace):
    write_folders(workplace, {"train": 2})
    assert len(layout(workplace, extensions=["*.png"], label_extensions=["*.PNG"]).cases("train")) == 2


def test_masks_of_zero_and_one_are_as_good_as_zero_and_255(workplace):
    write_folders(workplace, {"train": 1})
    cv2.imwrite(str(workplace / "train/label/00.png"), (blobs(0)[1] > 0).astype(np.uint8))
    made = layout(workplace)
    np.testing.assert_array_equal(made.read(made.cases("train")[0]).maps["mask"], blobs(0)[1] > 0)


def test_an_image_without_mask_is_told_with_what_was_looked_for(workplace):
    write_folders(workplace, {"train": 3})
    (workplace / "train/label/01.png").unlink()
    text = told(layout(workplace).cases, "train")
    assert "train/image/01.png` has no mask (looked for `train/label/01.*`)" in text


def test_a_mask_whose_extension_is_not_read_is_named_with_the_key_that_reads_it(workplace):
    write_folders(workplace, {"train": 3})
    label = workplace / "train/label/01.png"
    Image.open(label).save(label.with_suffix(".webp"), lossless=True)
    label.unlink()
    text = told(layout(workplace).cases, "train")
    assert "train/image/01.png` has no mask" in text
    assert "`01.webp` is there: add `webp` to `extensions` in the data-set file to read it" in text
    assert len(layout(workplace, extensions=["png", "webp"]).cases("train")) == 3


def test_a_mask_of_another_size_is_told_with_both_sizes(workplace):
    write_folders(workplace, {"train": 1})
    cv2.imwrite(str(workplace / "train/label/00.png"), np.zeros((48, 40), np.uint8))
    made = layout(workplace)
    assert "train/label/00.png` is 48x40 pixels, its image `train/image/00.png` is 48x48" in told(
        made.read, made.cases("train")[0]
    )


def test_a_missing_folder_and_an_empty_split_are_told(workplace):
    assert "no folder `nowhere/train/image`" in told(layout(workplace / "nowhere").cases, "train")
    for kind in ("image", "label"):
        (workplace / "train" / kind).mkdir(parents=True)
    assert "split `train` is empty: no images in `train/image`" in told(layout(workplace).cases, "train")


def test_two_images_of_one_stem_are_told(workplace):
    write_folders(workplace, {"train": 1})
    cv2.imwrite(str(workplace / "train/image/00.bmp"), blobs(0)[0])
    assert "two images in `train/image` have the same stem: `00.bmp` and `00.png`" in told(
        layout(workplace).cases, "train"
    )


def test_a_data_set_without_validation_folder_has_none(workplace):
    write_folders(workplace, {"train": 1})
    made = layout(workplace)
    assert [made.has(split) for split in ("train", "val", "test")] == [True, False, False]


def test_splits_by_fraction_and_by_list_share_one_folder(workplace):
    write_folders(workplace, {".": 10})
    made = layout(workplace, split={"by": "fraction", "val": 0.2, "test": 0.2})
    ids = {split: [case.id for case in made.cases(split)] for split in ("train", "val", "test")}
    assert {split: len(names) for split, names in ids.items()} == {"train": 6, "val": 2, "test": 2}
    (workplace / "train.txt").write_text("\n".join(ids["train"]))
    (workplace / "val.txt").write_text("\n".join(f"{name}.png" for name in ids["val"]))
    listed = layout(workplace, split={"by": "lists", "train": "train.txt", "val": "val.txt"})
    assert [case.id for case in listed.cases("val")] == ids["val"]
    assert not listed.has("test")


def test_a_field_of_view_with_soft_values_begins_at_the_middle_grey(workplace):
    write_folders(workplace, {"train": 1})
    (workplace / "train/fov").mkdir()
    cv2.imwrite(str(workplace / "train/fov/00.png"), np.repeat(np.uint8([[0, 90, 200]]), 16, 1).repeat(48, 0))
    made = layout(workplace, fov_folder="fov")
    assert made.read(made.cases("train")[0]).maps["valid"].mean() == pytest.approx(1 / 3)


def test_validation_images_may_be_drawn_from_the_training_folder(workplace):
    write_folders(workplace, {"train": 10, "test": 2})
    made = layout(workplace, split={"val": 0.2, "seed": 3})
    names = {split: [case.id for case in made.cases(split)] for split in ("train", "val", "test")}
    assert {split: len(ids) for split, ids in names.items()} == {"train": 8, "val": 2, "test": 2}
    assert not set(names["train"]) & set(names["val"])
    assert made.has("val")
    assert not layout(workplace).has("val")


def test_a_test_folder_stands_beside_splits_of_one_folder(workplace):
    write_folders(workplace / "a", {"train": 5})
    write_folders(workplace / "b", {"train": 3})
    root = {"root": str(workplace / "a/train")}
    split = {"by": "lists", "val": ["00", "03"]}
    assert not layout(workplace, paths=root, split=split).has("test")
    made = layout(workplace, paths={**root, "test": str(workplace / "b/train")}, split=split)
    assert [case.id for case in made.cases("test")] == ["00", "01", "02"]
    assert made.cases("test")[0].image.parts[-4:-1] == ("b", "train", "image")
    assert [case.id for case in made.cases("train")] == ["01", "02", "04"]
    paths, twice = {**root, "test": str(workplace / "b/train")}, {**split, "test": ["01"]}
    assert "both `paths.test` and `split.test`" in told(lambda: layout(workplace, paths=paths, split=twice))


# ---- masks of many classes


def write_classes(root, numbers):
    """Two images whose masks hold `numbers` in stripes, and a field of view without its left half."""
    write_folders(root, {"train": 2}, size=(26, 32))
    (root / "train/fov").mkdir()
    stripes = np.repeat(np.array(numbers, np.uint8), 32 // len(numbers))[None].repeat(26, axis=0)
    for name in ("00.png", "01.png"):
        cv2.imwrite(str(root / "train/label" / name), stripes)
        cv2.imwrite(str(root / "train/fov" / name), np.repeat([[0] * 16 + [255] * 16], 26, axis=0).astype(np.uint8))
    return stripes


def test_a_mask_of_numbers_needs_no_more_than_how_many_classes_there_are(workplace):
    stripes = write_classes(workplace, [0, 1, 2, 3])
    made = layout(workplace, num_classes=4)
    sample = made.read(made.cases("train")[0])
    np.testing.assert_array_equal(sample.maps["mask"], stripes)
    assert sample.maps["valid"].all()
    np.testing.assert_array_equal(made.as_stored(sample.maps["mask"]), stripes)


def test_a_number_that_is_no_class_is_told_with_its_pixels(workplace):
    write_classes(workplace, [0, 1, 2, 9])
    made = layout(workplace, num_classes=3)
    assert "9 (208 pixels)" in told(made.read, made.cases("train")[0])
    (finding,) = (entry for entry in made.examine(made.cases("train")[0])[1] if entry.severity == "error")
    assert finding.code == "unknown_classes"


def test_what_is_ignored_or_outside_the_field_of_view_does_not_count(workplace):
    write_classes(workplace, [3, 7, 7, 255])
    classes = {"classes": ["cell", "wall"], "numbers": [3, 7], "ignore": [{"name": "unsure", "number": 255}]}
    made = layout(workplace, **classes, fov_folder="fov")
    assert made.spec.num_classes == 2
    for sample in (made.read(made.cases("train")[0]), made.examine(made.cases("train")[0])[0]):
        np.testing.assert_array_equal(sample.maps["valid"][0], [0] * 16 + [1] * 8 + [0] * 8)
        np.testing.assert_array_equal(sample.maps["mask"][0], [0] * 8 + [1] * 16 + [0] * 8)


def test_masks_painted_in_colours_work_in_image_folders_too(workplace):
    write_folders(workplace, {"train": 1}, size=(26, 26))
    painted = np.zeros((26, 26, 3), np.uint8)
    painted[:, 13:] = (30, 20, 10)  # OpenCV's order: blue first
    cv2.imwrite(str(workplace / "train/label/00.png"), painted)
    classes = [{"name": "back", "color": [0, 0, 0]}, {"name": "cell", "color": [10, 20, 30]}]
    made = layout(workplace, classes=classes, mask_format="rgb")
    mask = made.read(made.cases("train")[0]).maps["mask"]
    np.testing.assert_array_equal(mask[0], [0] * 13 + [1] * 13)
    np.testing.assert_array_equal(made.as_stored(mask), painted[:, :, ::-1])


def test_images_of_8_and_16_bits_in_one_set_are_a_warning_across_splits_too(workplace):
    root = write_folders(workplace, {"train": 3, "val": 2})
    said = "images differ in their bits: {} with 8 bits (such as `{}`) and {} with 16 bits (such as `{}`)"
    for number in range(2):
        path = root / f"val/image/{number:02d}.png"
        cv2.imwrite(str(path), cv2.imread(str(path)).astype(np.uint16) * 257)
    assert list(layout(root).compared(["train"])) == []
    (finding,) = layout(root).compared(["train", "val"])
    assert (finding.code, finding.severity) == ("mixed_bits", "warning")
    assert said.format(3, "train/image/00.png", 2, "val/image/00.png") in finding.message
