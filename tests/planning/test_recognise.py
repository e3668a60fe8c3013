"""What is recognised in folders of every layout, by pixels where names say nothing."""

import json
import shutil
import unicodedata
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest
import tifffile
from factories import STREET, blobs, street, write_hdf5, write_nifti, write_nuclei, write_sequences
from PIL import Image
from public_forms import bowl, save, write_pairs

from segcli.config.load import dataset_from_values
from segcli.planning.recognise import recognise


def keys_of(root: Path, **given):
    """Keys that are recognised, without `paths.root`."""
    found = recognise(root, "x", given)
    keys = {key: value for key, value in found.keys.items() if key != "paths"}
    return keys, found


NAMINGS = {
    "suffix": ("a/{}.png", "b/{}_manual1.png", {"label_suffix": "_manual1"}),
    "both": ("a/{}_test.tif", "b/{}_manual1.gif", {"image_suffix": "_test", "label_suffix": "_manual1"}),
    "prefix": ("a/img_{}.png", "b/mask_{}.png", {"image_prefix": "img_", "label_prefix": "mask_"}),
    "beside": ("{}.png", "{}_seg.png", {"label_suffix": "_seg", "image_folder": ".", "label_folder": "."}),
    "beside with a prefix": ("{}.png", "gt-{}.png", {"label_prefix": "gt-", "image_folder": ".", "label_folder": "."}),
    "nested": ("x/y/{}.jpg", "x/z/{}-label.png", {"image_folder": "y", "label_folder": "z", "label_suffix": "-label"}),
}


@pytest.mark.parametrize("naming", NAMINGS)
def test_images_and_masks_are_paired_by_any_prefix_and_suffix(tmp_path, naming):
    image, mask, expected = NAMINGS[naming]
    keys, found = keys_of(write_pairs(tmp_path / "d", image=image, mask=mask))
    affixes = {key: value for key, value in keys.items() if key.endswith(("prefix", "suffix"))}
    folders = {"image_folder": "a", "label_folder": "b"}
    assert {"image_folder": keys["image_folder"], "label_folder": keys["label_folder"], **affixes} == folders | expected
    assert (found.task, keys["num_classes"], keys["num_channels"], found.questions) == ("binary", 1, 3, [])


def test_the_masks_decide_over_the_names_of_folders(tmp_path):
    keys, _ = keys_of(write_pairs(tmp_path, image="labels/{}.png", mask="images/{}.png"))
    assert (keys["image_folder"], keys["label_folder"]) == ("labels", "images")


def test_folders_of_splits_are_used_by_name_and_by_content(tmp_path):
    for folder, count in (("training", 6), ("test", 2)):
        write_pairs(tmp_path / "named" / folder, count, image="i/{}_" + folder + ".png", mask="m/{}.png")
    keys, found = keys_of(tmp_path / "named")
    assert keys["image_suffix"] == ["_training", "_test"]
    assert found.keys["paths"]["train"].endswith("named/training")
    assert keys["split"] == {"val": 0.17}
    for folder, count in (("p", 2), ("q", 6), ("r", 2)):
        write_pairs(tmp_path / "unnamed" / folder, count)
    _, found = keys_of(tmp_path / "unnamed")
    assert [Path(found.keys["paths"][split]).name for split in ("train", "val", "test")] == ["q", "p", "r"]
    assert [(each.key, each.is_open) for each in found.questions] == [("paths.train", False)]


def test_a_test_folder_without_masks_is_left_out(tmp_path):
    for folder in ("training", "test"):
        write_pairs(tmp_path / folder, 4)
    shutil.rmtree(tmp_path / "test/b")
    (tmp_path / "test/c").mkdir()
    keys, found = keys_of(tmp_path)
    assert found.keys["paths"] == {"root": (tmp_path / "training").as_posix()}
    assert (keys["image_folder"], keys["label_folder"], keys["split"]) == ("a", "b", {"by": "fraction", "val": 0.25})
    assert found.notes == ["`test` has no masks and is not used"]


@pytest.mark.parametrize("form", ["text files", "table"])
def test_a_list_of_splits_is_followed(tmp_path, form):
    write_pairs(tmp_path)
    sides = {"train": ["00", "01", "02"], "val": ["03"], "test": ["04", "05"]}
    if form == "table":
        lines = [f"{name}.png,{side}" for side, names in sides.items() for name in names]
        (tmp_path / "list.csv").write_text("\n".join(["file,set", *lines]))
    else:
        for side, names in sides.items():
            (tmp_path / f"{side}.txt").write_text("\n".join(names))
    keys, _ = keys_of(tmp_path)
    expected = sides if form == "table" else {side: f"{side}.txt" for side in sides}
    assert keys["split"] == {"by": "lists", **expected}


def test_both_eyes_of_a_person_are_one_group_and_few_groups_give_no_test_split(tmp_path):
    keys, found = keys_of(write_pairs(tmp_path, names=[f"P{n}_{side}" for n in range(6) for side in "LR"]))
    assert "6 groups" in found.reasons["split.group"]
    assert (keys["split"]["by"], keys["split"]["val"], "test" in keys["split"]) == ("fraction", 0.17, False)


# ---- several folders of masks


def test_of_two_observers_the_first_is_proposed_and_the_other_is_named(tmp_path):
    write_pairs(tmp_path, mask="one/{}_1stHO.png")
    write_pairs(tmp_path, mask="two/{}_2ndHO.png", paint=lambda mask: cv2.dilate(mask, np.ones((3, 3), np.uint8)))
    keys, found = keys_of(tmp_path)
    assert (keys["label_folder"], keys["label_suffix"], found.sure["label_folder"]) == ("one", "_1stHO", "guess")
    assert [option.given for option in found.questions[0].options] == [("label_folder=one",), ("label_folder=two",)]
    keys, found = keys_of(tmp_path, label_folder="two")
    assert (keys["label_folder"], keys["label_suffix"], found.questions) == ("two", "_2ndHO", [])


def test_masks_of_different_things_are_asked_about(tmp_path):
    write_pairs(tmp_path)
    write_pairs(tmp_path, mask="c/{}.png", paint=lambda mask: 255 - cv2.dilate(mask, np.ones((9, 9), np.uint8)))
    _, found = keys_of(tmp_path)
    assert [(each.key, each.is_open) for each in found.questions] == [("label_folder", True)]
    assert "of the pixels, as a mask of the background does" in found.questions[0].text


def test_a_field_of_view_is_no_mask(tmp_path):
    disc = cv2.circle(np.zeros((96, 96), np.uint8), (48, 48), 46, 255, -1)
    write_pairs(tmp_path, mask="b/{}_m.png", size=(96, 96))
    write_pairs(tmp_path, mask="a_field/{}_f.png", paint=lambda _: disc, size=(96, 96))
    keys, found = keys_of(tmp_path)
    assert (keys["label_folder"], keys["fov_folder"], keys["fov_suffix"]) == ("b", "a_field", "_f")
    assert found.questions == []


def test_numbered_objects_are_one_class_and_give_way_to_a_plain_mask(tmp_path):
    def cells(seed: int):
        numbers = np.zeros((64, 64), np.uint16)
        for number in range(9 + seed):
            top, left = 12 * (number // 5) + 1, 12 * (number % 5) + 1
            numbers[top : top + 8, left : left + 8] = number + 1
        return numbers

    for index in range(4):
        save(tmp_path / f"a/{index}.png", blobs(index, (64, 64))[0])
        save(tmp_path / f"b/{index}.png", cells(index))
    keys, _ = keys_of(tmp_path)
    assert (keys["num_classes"], keys["mask_threshold"]) == (1, 0)
    for index in range(4):
        save(tmp_path / f"c/{index}.png", (cells(index) > 0).astype(np.uint8) * 255)
    keys, found = keys_of(tmp_path)
    assert (keys["label_folder"], "mask_threshold" in keys) == ("c", False)
    assert "`b` numbers the objects of `c` and is not used" in found.notes


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_masks_of_objects_belong_to_their_image_in_folders_of_any_unicode_form(tmp_path, form):
    bowl(tmp_path)
    for folder in sorted(tmp_path.iterdir()):
        name = unicodedata.normalize(form, f"é{folder.name}")
        (folder / f"images/{folder.name}.png").rename(folder / f"images/{name}.png")
        folder.rename(tmp_path / name)
    keys, found = keys_of(tmp_path)
    assert (keys["image_folder"], keys["label_suffix"]) == ("*/images", "masks")
    cases = dataset_from_values({"name": "x", **found.keys}, source="a test").build().cases("train")
    assert [case.label.name for case in cases] == ["masks"] * 5


# ---- codings


def test_blurred_masks_are_cut_in_the_middle(tmp_path):
    soft = lambda mask: cv2.resize(cv2.resize(mask, (60, 60), interpolation=cv2.INTER_AREA), (120, 120))  # noqa: E731
    write_pairs(tmp_path / "smooth", size=(120, 120), paint=soft)
    write_pairs(tmp_path / "jpeg", mask="b/{}.jpg", size=(120, 120))
    for folder in ("smooth", "jpeg"):
        keys, found = keys_of(tmp_path / folder)
        assert (keys["num_classes"], keys["mask_threshold"], found.task) == (1, 127, "binary")


def test_jpeg_masks_of_a_few_numbers_are_masks(tmp_path):
    root = write_pairs(tmp_path / "d", mask="b/{}.jpg")
    for path in (root / "b").iterdir():
        pixels = np.full((48, 48), 4, np.uint8)
        pixels[8:24, 8:32] = 250  # whole blocks of JPEG, which it keeps but for a few levels
        pixels[40:, 40:] = 252
        save(path, pixels)
    keys, _ = keys_of(root)
    assert (keys["label_folder"], keys["num_classes"]) == ("b", 1)
    assert 100 < keys["mask_threshold"] < 150


def test_a_palette_and_its_void_give_numbered_classes(tmp_path):
    for index in range(4):
        pixels, mask = blobs(index)
        numbers = (mask > 0).astype(np.uint8) * 3
        numbers[:4] = 7
        numbers[-2:] = 255
        picture = Image.fromarray(numbers, mode="P")
        picture.putpalette([value for color in range(256) for value in (color, 255 - color, color // 2)])
        save(tmp_path / f"a/{index}.jpg", pixels)
        (tmp_path / "b").mkdir(exist_ok=True)
        picture.save(tmp_path / f"b/{index}.png")
    keys, _ = keys_of(tmp_path)
    assert keys["mask_format"] == "index"
    assert (keys["classes"], keys["numbers"]) == (["background", "class_3", "class_7"], [0, 3, 7])
    assert keys["ignore"] == [{"name": "void", "number": 255}]


def test_other_two_values_get_a_threshold(tmp_path):
    keys, _ = keys_of(write_pairs(tmp_path, paint=lambda mask: mask // 255 * np.uint8(40)))
    assert (keys["num_classes"], keys["mask_threshold"]) == (1, 20)


def test_grey_images_in_three_channels_and_twelve_bits_are_noticed(tmp_path):
    write_pairs(tmp_path / "grey")
    for path in (tmp_path / "grey/a").iterdir():
        save(path, np.repeat(np.array(Image.open(path))[..., :1], 3, axis=2))
    keys, _ = keys_of(tmp_path / "grey")
    assert (keys["color"], keys["num_channels"]) == ("grey", 1)
    for index in range(4):
        pixels, mask = blobs(index, channels=1)
        (tmp_path / "deep/a").mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(tmp_path / f"deep/a/{index}.tif", pixels[..., 0].astype(np.uint16) * 12)
        save(tmp_path / f"deep/b/{index}.png", mask)
    keys, _ = keys_of(tmp_path / "deep")
    assert (keys["num_channels"], keys["intensity_range"]) == (1, [0, 4095])


# ---- sequences and colours


def test_sequences_are_told_from_split_folders_and_use_the_table_of_colours(tmp_path):
    write_sequences(tmp_path / "d", {"c001": 4, "c002": 2, "c003": 2})
    (tmp_path / "d/Images").rename(tmp_path / "d/p")
    (tmp_path / "d/Labels").rename(tmp_path / "d/q")
    lines = [f"{n},{name},{r},{g},{b}" for n, (name, (r, g, b)) in enumerate(STREET.items())]
    (tmp_path / "d/t.csv").write_text("\n".join(["id,name,r,g,b", *lines]))
    keys, _ = keys_of(tmp_path / "d")
    assert (keys["format"], keys["images"], keys["labels"], keys["ignore"]) == ("sequences", "p", "q", ["void"])
    assert keys["classes"] == [{"name": name, "color": list(color)} for name, color in STREET.items()]
    assert keys["split"] == {"val": 0.2}


def test_colours_without_a_table_get_names_and_black_is_asked_about(tmp_path):
    paints = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)], np.uint8)
    for index in range(4):
        image, numbers = street(index)
        save(tmp_path / f"a/{index}.png", np.repeat(np.repeat(image, 2, 0), 2, 1))
        save(tmp_path / f"b/{index}.png", np.repeat(np.repeat(paints[np.minimum(numbers, 3)], 2, 0), 2, 1))
    keys, found = keys_of(tmp_path)
    assert (keys["mask_format"], keys["ignore"], found.sure["ignore"]) == ("rgb", ["void"], "guess")
    assert [each["name"] for each in keys["classes"]] == ["class_1", "class_2", "class_3", "void"]
    keys, _ = keys_of(tmp_path, ignore=[], classes=["margin", "sky", "road", "car"])
    assert [each["name"] for each in keys["classes"]] == ["margin", "sky", "road", "car"]
    assert [each["color"] for each in keys["classes"][:2]] == [[0, 0, 0], [0, 0, 255]]


def test_the_colours_of_a_known_data_set_give_its_names(tmp_path):
    paints = np.array([(128, 64, 128), (0, 0, 142), (70, 130, 180), (220, 20, 60), (0, 0, 0)], np.uint8)
    for index in range(3):
        save(tmp_path / f"a/{index}.png", blobs(index)[0])
        save(tmp_path / f"b/{index}.png", np.repeat(np.repeat(paints[np.arange(48) // 10], 1, 0)[None], 48, 0))
    keys, found = keys_of(tmp_path)
    assert {each["name"] for each in keys["classes"]} == {"road", "car", "sky", "person", "void"}
    assert "Cityscapes" in found.reasons["classes"]


# ---- volumes


def test_nifti_pairs_are_told_by_their_voxels_and_named_by_the_decathlon(tmp_path):
    write_nifti(tmp_path / "d", 4)
    (tmp_path / "d/imagesTr").rename(tmp_path / "d/y")
    (tmp_path / "d/labelsTr").rename(tmp_path / "d/x")
    keys, _ = keys_of(tmp_path / "d")
    assert (keys["image_folder"], keys["label_folder"]) == ("y", "x")
    assert (keys["classes"], keys["numbers"], keys["split"]) == (["label_1", "label_2"], [1, 2], {"val": 0.25})
    (tmp_path / "d/dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "ball", "2": "box"}}))
    assert keys_of(tmp_path / "d")[0]["classes"] == ["ball", "box"]


def test_channels_of_cases_whose_numbers_have_no_zeros_in_front_belong_to_their_case(tmp_path):
    for image in sorted((write_nifti(tmp_path) / "imagesTr").iterdir()):
        number = int(image.name[5:7])
        case = f"case_{number if number < 3 else 10 * (number - 2)}"
        (tmp_path / "labelsTr" / image.name).rename(tmp_path / "labelsTr" / f"{case}.nii.gz")
        shutil.copyfile(image, image.with_name(f"{case}_0001.nii.gz"))
        image.rename(image.with_name(f"{case}_0000.nii.gz"))
    keys, found = keys_of(tmp_path)
    assert keys["channel_suffixes"] == ["_0000", "_0001"]
    assert found.about.startswith("6 NIfTI volumes")


def test_the_folders_of_nnunet_are_read_with_all_channels_or_with_the_stated_one(tmp_path):
    write_nifti(tmp_path, 4)
    for path in sorted((tmp_path / "imagesTr").iterdir()):
        stem = path.name.removesuffix(".nii.gz")
        (path.parent / f"{stem}_0001.nii.gz").write_bytes(path.read_bytes())
        path.rename(path.parent / f"{stem}_0000.nii.gz")
    (tmp_path / "imagesTs").mkdir()
    (tmp_path / "imagesTs/case_90_0000.nii.gz").write_bytes(next((tmp_path / "imagesTr").iterdir()).read_bytes())
    labels = {"background": 0, "ball": 1, "box": 2}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels, "channel_names": {"0": "T1", "1": "T2"}}))
    keys, found = keys_of(tmp_path)
    assert (keys["channel_suffixes"], keys["num_channels"]) == (["_0000", "_0001"], 2)
    assert (keys["classes"], keys["numbers"], found.questions) == (["ball", "box"], [1, 2], [])
    keys, _ = keys_of(tmp_path, image_suffix="_0001")
    assert (keys["image_suffix"], keys["num_channels"], "channel_suffixes" in keys) == ("_0001", 1, False)


def test_label_maps_beside_their_images_are_found_and_read_with_a_prefix(tmp_path):
    write_nifti(tmp_path, 3)
    for folder, prefix in (("imagesTr", "mr-"), ("labelsTr", "seg-")):
        for path in (tmp_path / folder).iterdir():
            path.rename(tmp_path / f"{prefix}{path.name}")
        (tmp_path / folder).rmdir()
    keys, found = keys_of(tmp_path)
    assert (keys["image_prefix"], keys["label_prefix"], keys["image_folder"]) == ("mr-", "seg-", ".")
    cases = dataset_from_values({"name": "x", **found.keys}, source="test").build().cases("train")
    assert [(case.image.name[:3], case.label.name[:4]) for case in cases] == [("mr-", "seg-")] * len(cases)


def test_hounsfield_units_are_noticed(tmp_path):
    write_nifti(tmp_path, 2)
    for path in (tmp_path / "imagesTr").iterdir():
        image = nib.load(path)
        voxels = (np.asarray(image.dataobj) * 1500 - 1000).astype(np.int16)
        voxels[0, 0, 0] = -1000
        nib.save(nib.Nifti1Image(voxels, image.affine), path)
    assert keys_of(tmp_path)[0]["intensity_range"] == [-200, 300]


def test_hdf5_files_are_assigned_by_name_or_size(tmp_path):
    write_hdf5(tmp_path / "d")
    keys, found = keys_of(tmp_path / "d")
    assert (keys["format"], found.task, list(found.keys["paths"])) == ("hdf5_volumes", "structures", ["root"])
    (tmp_path / "d/train.h5").rename(tmp_path / "d/z.h5")
    (tmp_path / "d/val.h5").rename(tmp_path / "d/y.h5")
    (tmp_path / "d/test.h5").unlink(missing_ok=True)
    (tmp_path / "d/metadata.json").unlink()
    keys, found = keys_of(tmp_path / "d")
    assert {side: Path(path).name for side, path in found.keys["paths"].items()} == {
        "root": "d",
        "train": "z.h5",
        "val": "y.h5",
    }
    assert keys["classes"] == ["structure_1", "structure_2"]


def test_folders_of_slices_with_a_table_are_classified(tmp_path):
    write_nuclei(tmp_path)
    for sample in tmp_path.iterdir():
        if sample.is_dir():
            (sample / "raw").rename(sample / "q")
            (sample / "mask").rename(sample / "p")
    text = (tmp_path / "classes.csv").read_text().replace("sample_id", "nucleus").replace("class", "kind", 1)
    (tmp_path / "classes.csv").unlink()
    (tmp_path / "t.csv").write_text(text)
    keys, found = keys_of(tmp_path)
    assert (keys["raw_folder"], keys["mask_folder"], keys["apply_mask"]) == ("q", "p", True)
    assert (keys["classes_csv"], keys["id_column"], keys["class_column"]) == ("t.csv", "nucleus", "kind")
    assert (keys["crop_size"], keys["classes"], found.task) == ([8, 16, 16], ["large", "small"], "classification")


def test_a_single_image_is_learnt_from_without_a_split(tmp_path):
    keys, found = keys_of(write_pairs(tmp_path / "d", 1))
    assert keys["split"] == {"by": "fraction", "val": 0.0}
    layout = dataset_from_values({"name": "x", **found.keys}, source="a test").build()
    assert [case.id for case in layout.all_cases("train")] == ["00"]
    assert not layout.has("val")


@pytest.mark.parametrize("folder", ["my $data", "a $$", "${HOME}"])
def test_a_dollar_in_the_name_of_a_folder_is_no_variable(tmp_path, folder):
    found = recognise(write_pairs(tmp_path / folder), "x", {})
    layout = dataset_from_values({"name": "x", **found.keys}, source="a test").build()
    assert layout.root == tmp_path / folder
