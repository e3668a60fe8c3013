"""Further forms of folders: what is recognised, and that the layout then finds each image with its mask."""

import re
from functools import partial

import public_forms_folders as forms
import pytest
from public_forms import Form

from segcli.config.load import dataset_from_values
from segcli.core.errors import DataError
from segcli.planning.recognise import recognise

LISTS = {"by": "lists"}
NAMES = LISTS | forms.LISTED
FORMS = {
    "two stains": Form(
        forms.stains,
        {"channel_suffixes": ["_DAPI", "_GFP"], "num_channels": 2, "image_suffix": None, "label_suffix": "_mask"},
        {"train": 5, "val": 1},
    ),
    "ultrasound of two kinds": Form(
        forms.ultrasound,
        {"image_folder": "*", "label_suffix": "_mask", "exclude": ["benign (1)_mask_1", "malignant (1)_mask_1"]},
        {"train": 8, "val": 2},
        ("2 of 12 images have no mask and are left out",),
    ),
    "images and masks of CamVid": Form(
        forms.camvid,
        {"image_folder": "*", "label_folder": "*annot", "split": LISTS | {"train": ["train/*"], "val": ["val/*"]}},
        {"train": 5, "val": 2},
    ),
    "BDD100K": Form(
        forms.drives,
        {"image_folder": "images/*", "label_folder": "labels/*", "label_suffix": "_train_id"},
        {"train": 6, "val": 2},
    ),
    "folders of kinds of patients": Form(
        forms.discs,
        {"image_folder": "Training400/*", "label_folder": "Annotation-Training400/Masks/*", "numbers": [0, 128, 255]},
        {"train": 7, "val": 1},
    ),
    "clips of splits": Form(
        forms.videos,
        {"image_folder": "*/images/*", "label_folder": "*/labels/*"},
        {"train": 6, "val": 3},
    ),
    "comma10k": Form(
        forms.comma, {"image_folder": "imgs*", "label_folder": "masks*", "exclude": None}, {"train": 7, "val": 1}
    ),
    "IDRiD": Form(
        forms.lesions,
        {"image_folder": "1. Originals/*", "label_folder": "2. Truth/*/1. Microaneurysms", "label_suffix": "_MA"},
        {"train": 4, "val": 1, "test": 2},
        ("`2. Truth/*/2. Haemorrhages` is not used",),
        ("label_folder!",),
    ),
    "Mapillary": Form(
        forms.vistas,
        {"label_folder": "v2/labels", "classes": ["background", "class_1", "class_2", "class_3"]},
        {"train": 5, "val": 2},
    ),
    "DeepGlobe": Form(
        forms.satellites,
        {"image_folder": ".", "image_suffix": "_sat", "label_suffix": "_mask"},
        {"train": 5, "val": 1},
        ("`valid` has no masks and is not used",),
    ),
    "two stages of the Data Science Bowl": Form(
        forms.bowl_of_two_stages,
        {"image_folder": "*/images", "label_folder": "*"},
        {"train": 5, "val": 1},
        ("`stage1_test` is not used",),
    ),
    "ISBI 2012": Form(
        forms.isbi,
        {"image_suffix": "-volume", "label_suffix": "-labels", "exclude": ["test"]},
        {"train": 1},
        ("1 of 2 images have no label map and are left out",),
    ),
    "nnU-Net with labels of the test": Form(
        forms.nnunet_with_test,
        {"image_folder": "images*", "channel_suffixes": ["_0000", "_0001"], "num_channels": 2},
        {"train": 4, "val": 1, "test": 2},
    ),
    "volumes of training and test in one folder each": Form(
        forms.trained_and_tested_flat,
        {"image_folder": "*", "label_folder": "*", "label_suffix": "_gt"},
        {"train": 4, "val": 1, "test": 2},
    ),
    "label maps of two observers": Form(
        forms.two_observers,
        {"label_suffix": "_first", "exclude": ["*_second"], "image_suffix": None},
        {"train": 3, "val": 1},
        ("`*_second` is not used",),
        ("label_suffix",),
    ),
    "masks of two observers with prefixes": Form(
        forms.two_prefixes,
        {"image_prefix": "img_", "label_prefix": "gt1_", "color": None, "num_channels": 3},
        {"train": 5, "val": 1},
        ("6 of 12 images have no mask and are left out",),
    ),
    "visits of patients with two channels": Form(
        forms.visits,
        {"image_folder": "*/images", "label_folder": "*/masks", "exclude": None},
        {"train": 4, "val": 2},
        ("images of other names are not used, such as",),
    ),
    "TotalSegmentator": Form(
        forms.total,
        {"label_folder": "*/segmentations", "class_suffixes": ["liver", "spleen"], "classes": ["liver", "spleen"]},
        {"train": 3, "val": 1},
    ),
    "lists with columns": Form(
        partial(forms.write_lists, pattern="annotations/{}.txt", line="{} 1 1 1", joined=True),
        {"split": LISTS | {"val": 0.17, "test": "annotations/test.txt"}},
        {"train": 5, "val": 1, "test": 2},
    ),
    "lists of paths of images and masks": Form(
        partial(forms.write_lists, pattern="{}.txt", line="/data/images/{0}.jpg /data/masks/{0}.png"),
        {"split": LISTS | {side: f"{side}.txt" for side in forms.LISTED}},
        {"train": 5, "val": 1, "test": 2},
    ),
    "lists with other names": Form(
        partial(forms.write_lists, pattern="split/{}_list.txt", line="images/{}.jpg"),
        {"split": LISTS | {side: f"split/{side}_list.txt" for side in forms.LISTED}},
        {"train": 5, "val": 1, "test": 2},
    ),
    "a list with a stranger": Form(
        forms.write_with_a_stranger,
        {"split": NAMES},
        {"train": 5, "val": 1, "test": 2},
        ("lines of `train.txt`, `val.txt`, `test.txt` that name what is not there are left out: 1, such as `gone`",),
    ),
    "a column of splits": Form(
        partial(forms.write_table, header="image;age;split", line="{};3;{}"),
        {"split": NAMES},
        {"train": 5, "val": 1, "test": 2},
    ),
    "names that begin with their split": Form(
        partial(forms.write_pairs, image="{}.bmp", mask="{}_anno.bmp", names=forms.BEGINS),
        {"split": LISTS | {"val": 0.2, "test": ["test*"]}},
        {"train": 4, "val": 1, "test": 3},
    ),
    "a table for each split": Form(forms.write_tables, {"split": NAMES}, {"train": 5, "val": 1, "test": 2}),
    "a JSON file of splits": Form(forms.write_json, {"split": NAMES}, {"train": 5, "val": 1, "test": 2}),
    "folds of nnU-Net": Form(
        forms.nnunet_of_folds,
        {"split": {"train": [f"case_{number}" for number in (1, 2, 3, 4)], "val": ["case_0"]}},
        {"train": 4, "val": 1},
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_recognised_and_every_image_of_its_splits_has_a_mask(tmp_path, name):
    form = FORMS[name]
    form.write(tmp_path / "d")
    found = recognise(tmp_path / "d", "x", {})
    assert {key: found.keys.get(key) for key in form.keys} == form.keys
    assert [part for part in form.notes if not any(part in note for note in found.notes)] == []
    assert tuple(f"{each.key}{'!' * each.is_open}" for each in found.questions) == form.asks
    values = {
        "name": "x",
        **found.keys,
        "mean": [0.5] * found.keys["num_channels"],
        "std": [0.2] * found.keys["num_channels"],
    }
    layout = dataset_from_values(values, source="a test").build()
    assert {side: len(layout.cases(side)) for side in ("train", "val", "test") if layout.has(side)} == form.counts
    assert all(case.label is not None for side in form.counts for case in layout.cases(side))


@pytest.mark.parametrize(
    ("make", "message", "hint"),
    [
        (forms.capitals, "there are two data sets: images in `Train/Images`", "with the same capital letters"),
        (forms.polyps, "there are two data sets: images in `TrainDataset/image`", "name the folder of one of them"),
        (
            forms.numbered_in_red,
            "number single objects in one colour channel, up to 13 in one",
            "save masks of 0 and 255",
        ),
        (forms.outlines, "no masks beside the 4 images", "outlines, such as those in `0.json`, are no masks"),
        (forms.arrays, "holds no images that can be read: its files end in .npy", "write each array as an image"),
        (forms.itk, "its files end in .mhd, .raw", "SimpleITK.ReadImage('Case00.mhd')"),
    ],
)
def test_a_form_that_is_not_read_is_refused_with_the_way_out(tmp_path, make, message, hint):
    make(tmp_path / "d")
    with pytest.raises(DataError, match=re.escape(message)) as raised:
        recognise(tmp_path / "d", "x", {})
    assert hint in (raised.value.hint or "")
