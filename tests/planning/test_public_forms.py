"""Folders in the form of public data sets: the right thing is recognised, checked without errors, and trained on."""

import json

import public_forms as forms
import public_forms_folders as more
import pytest
import yaml
from public_forms import Form

BINARY = {"format": "image_folders", "num_classes": 1, "num_channels": 3}
VOLUMES = {"format": "nifti_volumes", "classes": ["label_1", "label_2"], "numbers": [1, 2]}
FORMS = {
    "DRIVE": Form(
        forms.drive,
        BINARY
        | {"image_folder": "images", "label_folder": "1st_manual", "fov_folder": "mask", "label_suffix": "_manual1"}
        | {"image_suffix": ["_training", "_test"], "fov_suffix": ["_training_mask", "_test_mask"]},
        {"train": 5, "val": 1, "test": 2},
    ),
    "STARE": Form(
        forms.stare,
        BINARY
        | {"image_folder": "stare-images", "label_folder": "labels-ah", "label_suffix": ".ah", "extensions": ["ppm"]},
        {"train": 5, "val": 1},
    ),
    "ISIC": Form(
        forms.isic,
        BINARY | {"image_folder": ".", "label_folder": ".", "label_suffix": "_segmentation"},
        {"train": 5, "val": 1},
    ),
    "Cityscapes": Form(
        forms.cityscapes,
        {
            "format": "image_folders",
            "image_folder": "leftImg8bit/*/*",
            "label_folder": "gtFine/*/*",
            "image_suffix": "_leftImg8bit",
            "label_suffix": "_gtFine_color",
            "mask_format": "rgb",
            "ignore": ["void"],
            "split": {"by": "lists", "train": ["train/*"], "val": ["val/*"]},
        },
        {"train": 4, "val": 2},
    ),
    "ADE20K": Form(
        forms.ade20k,
        {
            "format": "sequences",
            "images": "images",
            "labels": "annotations",
            "mask_format": "index",
            "numbers": [1, 2, 3, 4],
            "split": {"train": ["training"], "val": ["validation"]},
        },
        {"train": 5, "val": 2},
    ),
    "Pascal VOC": Form(
        forms.voc,
        {
            "format": "image_folders",
            "image_folder": "JPEGImages",
            "label_folder": "SegmentationClass",
            "numbers": [0, 7, 15],
            "ignore": [{"name": "void", "number": 255}],
            "split": {
                "by": "lists",
                "train": "ImageSets/Segmentation/train.txt",
                "val": "ImageSets/Segmentation/val.txt",
            },
        },
        {"train": 5, "val": 2},
    ),
    "Kvasir": Form(forms.kvasir, BINARY | {"image_folder": "images", "label_folder": "masks"}, {"train": 5, "val": 1}),
    "Oxford pets": Form(
        forms.pets,
        {"image_folder": "images", "label_folder": "annotations/trimaps", "numbers": [1, 2, 3], "num_channels": 3},
        {"train": 5, "val": 1},
    ),
    "MoNuSeg": Form(
        forms.monuseg,
        BINARY | {"image_folder": "Tissue Images", "label_folder": "Labels", "mask_threshold": 0},
        {"train": 4, "val": 1},
    ),
    "Carvana": Form(
        forms.carvana,
        BINARY | {"image_folder": "train", "label_folder": "train_masks", "label_suffix": "_mask"},
        {"train": 4, "val": 2},
    ),
    "CHASE in one folder": Form(
        more.chase,
        BINARY | {"image_folder": ".", "label_folder": ".", "label_suffix": "_1stHO", "exclude": ["*_2ndHO"]},
        {"train": 6, "val": 2},
        notes=("`*_2ndHO` is not used: 8 files",),
    ),
    "image and mask of one stem": Form(
        more.one_stem,
        BINARY | {"image_folder": ".", "label_folder": ".", "label_extensions": ["png"]},
        {"train": 5, "val": 1},
    ),
    "image and mask of one stem in a folder for each clip": Form(
        more.one_stem_of_clips,
        BINARY | {"image_folder": "*", "label_folder": "*", "label_extensions": ["png"]},
        {"train": 8, "val": 4},
    ),
    "Massachusetts buildings": Form(
        more.buildings,
        BINARY
        | {"image_folder": "*", "label_folder": "*_labels"}
        | {"split": {"by": "lists", "train": ["train*"], "val": ["val*"], "test": ["test*"]}},
        {"train": 5, "val": 2, "test": 2},
    ),
    "images and masks of training and test": Form(
        more.masks_of_two,
        BINARY
        | {"image_folder": "*_images", "label_folder": "*_masks"}
        | {"split": {"by": "lists", "val": 0.2, "test": ["test/*"]}},
        {"train": 4, "val": 1, "test": 2},
    ),
    "FoodSeg103": Form(
        more.food,
        {"format": "image_folders", "image_folder": "Images/img_dir/*", "label_folder": "Images/ann_dir/*"}
        | {"split": {"by": "lists", "val": 0.2, "test": ["test/*"]}},
        {"train": 4, "val": 1, "test": 2},
    ),
    "Cell Tracking Challenge": Form(
        more.tracking,
        {"image_folder": "*", "label_folder": "*_GT/SEG", "image_prefix": "t", "label_prefix": "man_seg"}
        | {"num_classes": 1, "mask_threshold": 0, "exclude": ["01/002", "01/005", "02/002", "02/005"]},
        {"train": 4, "val": 4},
        notes=("touching objects become one", "4 of 12 images have no mask and are left out"),
    ),
    "a folder for each image": Form(
        forms.cases,
        BINARY | {"image_folder": "*", "label_folder": "*", "image_suffix": "image", "label_suffix": "mask"},
        {"train": 5, "val": 1},
    ),
    "DSB2018": Form(
        forms.bowl,
        BINARY | {"image_folder": "*/images", "label_folder": "*", "label_suffix": "masks"},
        {"train": 5, "val": 1},
        notes=("touching objects become one",),
    ),
    "clips": Form(
        forms.clips,
        BINARY | {"image_folder": "*/images", "label_folder": "*/masks"},
        {"train": 9, "val": 3},
    ),
    "folders of splits with a folder for each image": Form(
        forms.sides_of_cases,
        BINARY
        | {"image_folder": "*/*", "label_folder": "*/*", "image_suffix": "photo", "label_suffix": "truth"}
        | {"split": {"by": "lists", "train": ["train/*"], "val": ["val/*"]}},
        {"train": 4, "val": 2},
    ),
    "BraTS 2018": Form(
        forms.brats18,
        VOLUMES | {"image_folder": "*/*", "label_suffix": "_seg", "channel_suffixes": ["_flair", "_t1"]},
        {"train": 3, "val": 1},
    ),
    "KiTS": Form(
        forms.kits,
        VOLUMES | {"image_folder": "*", "image_suffix": "imaging", "label_suffix": "aggregated_AND_seg"},
        {"train": 3, "val": 1},
    ),
    "LiTS": Form(
        forms.lits,
        VOLUMES | {"image_prefix": "volume-", "label_prefix": "segmentation-", "intensity_range": [-200, 300]},
        {"train": 3, "val": 1},
    ),
    "BraTS": Form(
        forms.brats,
        VOLUMES
        | {"image_folder": "*", "label_folder": "*", "label_suffix": "_seg", "numbers": [1, 4], "num_channels": 4}
        | {"classes": ["label_1", "label_4"], "channel_suffixes": ["_flair", "_t1", "_t1ce", "_t2"]},
        {"train": 3, "val": 1},
    ),
    "BraTS in one folder": Form(
        more.flat_brats,
        VOLUMES
        | {"image_folder": ".", "label_folder": ".", "label_suffix": "_seg", "num_channels": 3}
        | {"channel_suffixes": ["_flair", "_t1", "_t1ce"]},
        {"train": 3, "val": 1},
    ),
    "AMOS": Form(
        more.amos,
        VOLUMES
        | {"image_folder": "images*", "label_folder": "labels*", "exclude": ["Ts/*"]}
        | {"split": {"train": ["Tr/*"], "val": ["Va/*"]}},
        {"train": 4, "val": 2},
        notes=("`imagesTs` is not used",),
    ),
    "volumes of training and testing": Form(
        more.trained_and_tested,
        VOLUMES
        | {"image_folder": "*/images", "label_folder": "*/labels", "split": {"val": 0.2, "test": ["testing/*"]}},
        {"train": 4, "val": 1, "test": 2},
    ),
    "ACDC": Form(
        forms.acdc,
        VOLUMES | {"image_folder": "*", "label_folder": "*", "label_suffix": "_gt", "exclude": ["*_4d"]},
        {"train": 6, "val": 2},
    ),
    "Decathlon": Form(
        forms.decathlon,
        VOLUMES | {"classes": ["edema", "tumour"], "num_channels": 2, "image_folder": "imagesTr"},
        {"train": 3, "val": 1},
    ),
    "nnU-Net": Form(
        forms.nnunet,
        VOLUMES | {"classes": ["ball", "box"], "num_channels": 2, "channel_suffixes": ["_0000", "_0001"]},
        {"train": 3, "val": 1},
    ),
    "TIFF stacks": Form(
        forms.stacks,
        VOLUMES | {"extensions": [".tif"], "image_folder": ".", "label_folder": ".", "label_suffix": "_mask"},
        {"train": 3, "val": 1},
    ),
    "a folder for each TIFF stack": Form(
        forms.stack_folders,
        {"extensions": [".tif"], "image_folder": "*", "label_folder": "*", "label_suffix": "mask", "numbers": [255]}
        | {"image_suffix": "raw"},
        {"train": 3, "val": 1},
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_folder_in_the_form_of_a_public_data_set_is_recognised_checked_and_trained_on(run_cli, workplace, name):
    form = FORMS[name]
    form.write(workplace / "data" / "set")
    made = run_cli("init", "data/set", "--json")
    assert made.code == 0, made.err
    answer = json.loads(made.out)
    keys = yaml.safe_load((workplace / answer["dataset"]).read_text())
    assert {key: keys.get(key) for key in form.keys} == form.keys
    assert answer["counts"] == form.counts
    assert [part for part in form.notes if not any(part in note for note in answer["notes"])] == []
    checked = run_cli("data", "check", answer["experiment"], "--json")
    assert [each for each in json.loads(checked.out)["findings"] if each["severity"] == "error"] == []
    assert checked.code == 0
    model = yaml.safe_load((workplace / answer["experiment"]).read_text())["model"]
    narrow = [4] * len(model["depths"])  # as deep as planned, so that all sizes are tried
    tried = run_cli("train", answer["experiment"], "--dry-run", "device=cpu", f"model.depths={narrow}")
    assert tried.code == 0, tried.err
