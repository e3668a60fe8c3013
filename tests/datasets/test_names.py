"""Names that differ only in the Unicode form of their letters are one name in every layout."""

import unicodedata

import nibabel
import numpy as np
import pytest
import tifffile
import yaml
from factories import nucleus, write_folders, write_nuclei, write_sequences
from PIL import Image

from segcli.config.load import load_dataset
from segcli.core.errors import DataError
from segcli.core.names import existing
from segcli.data.images import natural_key
from segcli.data.split_settings import SplitSettings
from segcli.data.splits import divide

NAME = "Müller"
COMPOSED, APART = (unicodedata.normalize(form, NAME) for form in ("NFC", "NFD"))
assert COMPOSED != APART


def layout(root, **keys):
    file = root.parent / "set.yaml"
    file.write_text(yaml.safe_dump({"paths": {"root": str(root)}, **keys}, allow_unicode=True))
    return load_dataset(file, whole_run=False).build()


def pictures(root, **keys):
    return layout(root, num_channels=3, mean=[0.4] * 3, std=[0.2] * 3, **keys)


@pytest.mark.parametrize(("ours", "theirs"), [(COMPOSED, APART), (APART, COMPOSED)])
def test_images_and_masks_are_paired_and_opened_by_their_real_names(tmp_path, ours, theirs):
    root = write_folders(tmp_path / "data", {"train": 1, "val": 1})
    for kind, name in (("image", ours), ("label", theirs)):
        (root / "train" / kind / "00.png").rename(root / "train" / kind / f"{name}_x.png")
    made = pictures(root)
    (case,) = made.cases("train")
    assert case.id == f"{COMPOSED}_x"
    mask = np.asarray(Image.open(root / "train/label" / f"{theirs}_x.png"))
    np.testing.assert_array_equal(made.read(case).maps["mask"], mask > 0)
    assert list(made.inspect("train")) == []
    (case,) = pictures(root, image_suffix=f"{theirs[1:]}_x", label_suffix=f"{ours[1:]}_x").cases("train")
    assert (case.id, case.label.name) == ("M", f"{theirs}_x.png")


def test_two_files_of_one_name_are_told_as_doubles(tmp_path):
    root = write_folders(tmp_path / "data", {"train": 2, "val": 1})
    for number, name in enumerate((COMPOSED, APART)):
        (root / f"train/image/0{number}.png").rename(root / f"train/image/{name}.png")
    (root / "train/label/00.png").rename(root / f"train/label/{APART}.png")
    found = {finding.code: finding.message for finding in pictures(root).inspect("train")}
    assert "which differ only in the Unicode form of their letters" in found["same_stem"]


def test_lists_split_files_and_patterns_name_images_in_any_form(tmp_path):
    for line in (APART, COMPOSED, f"{APART}.png", f"{APART[:3]}*"):
        settings = SplitSettings(by="lists", train=[line], val=["b"])
        assert divide([COMPOSED, "b"], settings, tmp_path).sides["train"] == [COMPOSED]
    (tmp_path / "split.yaml").write_text(yaml.safe_dump({"train": [APART], "val": ["b"]}, allow_unicode=True))
    settings = SplitSettings(by="fraction", val=0.5)
    assert divide([COMPOSED, "b"], settings, tmp_path).sides == {"train": [COMPOSED], "val": ["b"], "test": []}


def test_sequences_are_one_name_in_folders_of_images_and_masks_and_in_the_data_set_file(tmp_path):
    root = write_sequences(tmp_path / "data", {"Video_000": 2, "Video_001": 2})
    (root / "Images/Video_000").rename(root / "Images" / APART)
    (root / "Labels/Video_000").rename(root / "Labels" / COMPOSED)
    keys = {"format": "sequences", "classes": [{"name": "a", "color": [1, 2, 3]}, {"name": "b", "color": [4, 5, 6]}]}
    split = {"train": [APART], "val": ["Video_001"]}
    made = pictures(root, **keys, split=split, include=[COMPOSED, "Video*"])
    cases = made.cases("train")
    assert [(case.id, case.label.is_file()) for case in cases] == [(f"{COMPOSED}/{n:04d}", True) for n in (1, 2)]
    (root / "Images" / COMPOSED).mkdir()
    with pytest.raises(DataError, match=r"two folders in .* have the name"):
        pictures(root, **keys, split=split).cases("train")


def test_volumes_and_label_maps_are_paired(tmp_path):
    root = tmp_path / "data"
    for folder, name in (("imagesTr", APART), ("labelsTr", COMPOSED)):
        (root / folder).mkdir(parents=True)
        for stem in (name, "b"):
            nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)).to_filename(root / folder / f"{stem}.nii.gz")
    made = layout(root, format="nifti_volumes", num_classes=1, split={"train": [APART], "val": ["b"]})
    (case,) = made.cases("train")
    assert (case.id, case.image.name, case.label.name) == (COMPOSED, f"{APART}.nii.gz", f"{COMPOSED}.nii.gz")


def test_samples_of_a_table_their_classes_and_their_splits_are_compared_in_one_form(tmp_path):
    root = write_nuclei(tmp_path / "data", 4)
    (root / "0001").rename(root / APART)
    table = (root / "classes.csv").read_text().replace("0001,large", f"{COMPOSED},große{APART}")
    (root / "classes.csv").write_text(table.replace("large", f"große{COMPOSED}"))
    keys = {"format": "tiff_volumes", "crop_size": [8, 16, 16], "split": {"val": [APART, "0002"]}}
    made = layout(root, **keys)
    assert made.names == sorted(["small", f"große{COMPOSED}"])
    case = next(case for case in made.cases("val") if case.id == COMPOSED)
    np.testing.assert_array_equal(made.read(case).image[..., 0], nucleus(0)[0])
    assert [finding.message for finding in made.inspect("train")] == []
    assert len(layout(root, **keys, classes=[f"große{APART}", "small"]).cases("train")) == 2


def test_folders_of_the_data_set_file_are_found_in_any_form(tmp_path):
    (tmp_path / APART / "x").mkdir(parents=True)
    assert existing(tmp_path, f"{COMPOSED}/x") == tmp_path / APART / "x"
    assert existing(tmp_path, f"{COMPOSED}/y") == tmp_path / f"{COMPOSED}/y"
    assert natural_key(tmp_path / "²") == natural_key(tmp_path / "²")  # a digit that is no number


def test_upper_and_lower_case_are_two_names_but_one_extension(tmp_path):
    root = write_nuclei(tmp_path / "data", 4)
    for kind in ("raw", "mask"):
        (root / f"0001/{kind}/z0.tif").rename(root / f"0001/{kind}/z0.TIFF")
    (root / "0002/mask").rename(root / "0002/Mask")
    made = layout(root, format="tiff_volumes", crop_size=[8, 16, 16], apply_mask=True, split={"val": ["0004"]})
    found = {finding.code: finding.message for finding in made.inspect("train")}
    assert list(found) == ["missing_label"]
    assert f"sample `{root / '0002'}` has no mask" in found["missing_label"]


def test_slices_are_told_as_doubles(tmp_path):
    root = write_nuclei(tmp_path / "data", 4)
    tifffile.imwrite(root / "0001/raw/z3.tiff", np.zeros((16, 16), np.uint16))
    made = layout(root, format="tiff_volumes", crop_size=[8, 16, 16], split={"val": ["0004"]})
    found = {finding.code: finding.message for finding in made.inspect("train")}
    assert "have the same name: `z3.tif` and `z3.tiff`" in found["unreadable_image"]
