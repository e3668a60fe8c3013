"""Images and masks in one folder, or in several folders of pairs: what tells them apart, in training and to predict."""

import nibabel as nib
import numpy as np
import public_forms_folders as forms
import pytest
from PIL import Image
from public_forms import bowl, brats, isic

from segcli.commands.answers.inputs import files_of
from segcli.config.load import dataset_from_values
from segcli.core.errors import DataError


def made(root, **keys):
    values = {"name": "x", "paths": {"root": str(root)}, "split": {"by": "lists", "train": ["*"]}, **keys}
    return dataset_from_values(values, source="a test").build()


HERE = {"image_folder": ".", "label_folder": "."}


def test_extensions_tell_masks_from_images_of_the_same_stem(tmp_path):
    forms.one_stem(tmp_path)
    layout = made(tmp_path, **HERE, label_extensions=["PNG"])
    found = layout.cases("train")
    assert [case.id for case in found] == ["cat", "cow", "dog", "fox", "hen", "owl"]
    sample = layout.read(found[1])
    np.testing.assert_array_equal(sample.image, np.array(Image.open(tmp_path / "cow.jpg")))
    np.testing.assert_array_equal(sample.maps["mask"], np.array(Image.open(tmp_path / "cow.png")) > 0)


@pytest.mark.parametrize("others", [["tif"], []])
def test_the_way_out_of_masks_with_another_extension_is_its_key(tmp_path, others):
    forms.one_stem(tmp_path)
    findings = made(tmp_path, **HERE, label_extensions=others).inspect("train")
    hints = [finding.hint for finding in findings if finding.code == "missing_label"]
    assert hints == [
        f"`{name}.png` is there: add `png` to `label_extensions` in the data-set file to read it"
        for name in ("cat", "cow", "dog", "fox", "hen", "owl")
    ]


def test_a_pattern_that_leaves_nothing_out_is_told(tmp_path):
    forms.chase(tmp_path)
    keys = {**HERE, "label_suffix": "_1stHO", "split": {"by": "fraction", "val": 0.3}}
    layout = made(tmp_path, **keys, exclude=["*_2ndHO", "Image_01L.jpg", "Image_00?"])
    told = [each for each in layout.compared(["train", "val"]) if each.code == "unused_pattern"]
    assert [each.message for each in told] == ["`exclude` names `Image_01L.jpg`, which fits no image"]
    assert "named without extension, such as `Image_" in told[0].hint


@pytest.mark.parametrize(("key", "value"), [("exclude", ["*"]), ("label_extensions", ["png", "jpg"])])
def test_the_key_that_leaves_no_image_is_named(tmp_path, key, value):
    forms.one_stem(tmp_path)
    keys = {"label_extensions": ["png"], "split": {"by": "fraction", "val": 0.2}, key: value}
    findings = [each for each in made(tmp_path, **HERE, **keys).inspect("train") if each.code == "empty_split"]
    assert [f"`{key}`" in each.hint for each in findings] == [True]


def test_excluded_images_are_left_out_with_their_masks(tmp_path):
    forms.chase(tmp_path)
    keys = {**HERE, "label_suffix": "_1stHO", "split": {"by": "fraction", "val": 0.3}}
    layout = made(tmp_path, **keys, exclude=["*_2ndHO", "Image_00?"])
    names = [case.id for split in ("train", "val") for case in layout.cases(split)]
    assert sorted(names) == [f"Image_0{number}{side}" for number in (1, 2, 3) for side in "LR"]
    assert list(layout.inspect("train")) == []


def test_folders_that_differ_beside_the_star_are_paired_by_what_it_stands_for(tmp_path):
    forms.masks_of_two(tmp_path)
    layout = made(tmp_path, image_folder="*_images", label_folder="*_masks")
    found = layout.cases("train")
    assert [case.id for case in found] == ["test/5", "test/6", *(f"train/{number}" for number in range(5))]
    for case in found:
        assert case.label == tmp_path / f"{case.id.split('/')[0]}_masks/{case.id.split('/')[1]}.png"


def test_masks_that_a_star_of_the_images_fits_are_no_images(tmp_path):
    forms.buildings(tmp_path)
    layout = made(tmp_path / "tiff", image_folder="*", label_folder="*_labels")
    assert [case.label is None for case in layout.cases("train")] == [False] * 9


def test_a_share_validates_where_only_the_test_is_listed(tmp_path):
    forms.one_stem(tmp_path)
    split = {"by": "lists", "val": 0.2, "test": ["owl"]}
    layout = made(tmp_path, **HERE, label_extensions=["png"], split=split)
    sides = {side: [case.id for case in layout.cases(side)] for side in ("train", "val", "test")}
    assert (len(sides["train"]), len(sides["val"]), sides["test"]) == (4, 1, ["owl"])


@pytest.mark.parametrize(
    ("write", "keys", "images"),
    [
        (isic, {"label_suffix": "_segmentation"}, "ISIC_???????.jpg"),
        (forms.one_stem, {"label_extensions": ["png"]}, "*.jpg"),
        (forms.chase, {"label_suffix": "_1stHO", "exclude": ["*_2ndHO"]}, "Image_???.jpg"),
    ],
)
def test_masks_beside_their_images_are_not_predicted(tmp_path, write, keys, images):
    write(tmp_path)
    layout = made(tmp_path, **HERE, **keys)
    taken = layout.leading([path for path in sorted(tmp_path.iterdir()) if "_2ndHO" not in path.name])
    assert taken == sorted(tmp_path.glob(images))
    mask = next(path for path in sorted(tmp_path.iterdir()) if path not in taken)
    assert layout.leading([mask]) == [mask]


def test_label_maps_beside_the_channels_of_a_case_are_not_predicted(tmp_path):
    brats(tmp_path)
    keys = {"image_folder": "*", "label_folder": "*", "label_suffix": "_seg", "classes": ["a", "b"], "numbers": [1, 4]}
    channels = ["_flair", "_t1", "_t1ce", "_t2"]
    layout = made(tmp_path, format="nifti_volumes", **keys, channel_suffixes=channels, split={})
    folder = tmp_path / "BraTS20_Training_001"
    assert layout.leading(sorted(folder.iterdir())) == [folder / "BraTS20_Training_001_flair.nii.gz"]
    image = layout.read(layout.all_cases("train")[1]).image
    stored = [nib.load(folder / f"{folder.name}{each}.nii.gz").get_fdata() for each in channels]
    np.testing.assert_array_equal(image, np.stack(stored, axis=-1))


def test_the_folder_of_an_image_with_masks_of_objects_stands_for_the_image(tmp_path):
    bowl(tmp_path)
    folder = tmp_path / "02f3a9"
    assert files_of([str(folder)], 2) == [folder / "images/02f3a9.png"]


def test_a_link_that_leads_nowhere_is_an_input_and_a_pattern_of_folders_alone_is_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    (link := tmp_path / "a.png").symlink_to("a.png")
    assert files_of([str(link)], 2) == files_of([str(tmp_path / "*.png")], 2) == [link]
    with pytest.raises(DataError, match="fits folders only"):
        files_of([str(tmp_path / "fold*")], 2)
