"""`intensity_range` that is not on the scale of the stored values, and values that are no numbers."""

import nibabel
import numpy as np
import pytest
import tifffile
from factories import blobs, write_folders, write_nifti, write_nuclei

from segcli.config.load import load_dataset


def checked(root, form, **keys):
    """Return what `data check` finds in the first case of a data set."""
    file = root / "set.yaml"
    values = {"format": form, "paths": {"root": str(root / "data")}, **keys}
    file.write_text("\n".join(f"{key}: {value}" for key, value in values.items()))
    made = load_dataset(file, whole_run=False).build()
    return {each.code: f"{each.message} ({each.hint})" for each in made.examine(made.cases("train")[0])[1]}


def pictures(root, low, high, **keys):
    write_folders(root / "data", {"train": 1, "val": 1})
    (path := root / "data/train/image/00.png").unlink()
    grey = np.interp(blobs(0)[0][..., 0].astype(float), (0, 255), (low, high))
    tifffile.imwrite(path.with_suffix(".tif"), grey.astype(np.float32 if low < 0 or high <= 1 else np.uint16))
    return checked(root, "image_folders", num_channels=1, num_classes=1, mean=[0.5], std=[0.5], **keys)


def volumes(root, low, high, **keys):
    for path in (write_nifti(root / "data", 2) / "imagesTr").iterdir():
        image = nibabel.load(path)
        voxels = np.asarray(image.dataobj, float)
        voxels = np.interp(voxels, (voxels.min(), voxels.max()), (low, high)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(voxels, image.affine), path)
    return checked(root, "nifti_volumes", classes="[ball, box]", split="{val: [case_01]}", **keys)


def stacks(root, low, high, **keys):
    for path in write_nuclei(root / "data", 4).glob("*/raw/*.tif"):
        plane = np.interp(tifffile.imread(path).astype(float), (0, 65535), (low, high))
        tifffile.imwrite(path, plane.astype(np.uint16))
    return checked(root, "tiff_volumes", crop_size="[8, 16, 16]", **keys)


@pytest.mark.parametrize("write", [pictures, volumes, stacks])
def test_a_range_that_leaves_nothing_of_an_image_is_told_as_such(tmp_path, write):
    (tmp_path / "high").mkdir()
    found = write(tmp_path / "high", 5000, 60000, intensity_range="[0, 255]")
    assert "are 255 or more, so they become 1 with `intensity_range: [0, 255]`" in found["outside_range"]
    (tmp_path / "low").mkdir()
    found = write(tmp_path / "low", 2, 200, intensity_range="[1000, 4095]")
    assert "is above 1000, so all of them become 0 with `intensity_range: [1000, 4095]`" in found["outside_range"]
    assert "constant_image" not in found
    (tmp_path / "right").mkdir()
    assert write(tmp_path / "right", 2, 4000, intensity_range="[0, 4095]") == {}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused_with_a_range_too(tmp_path, value):
    write_folders(tmp_path / "data", {"train": 1, "val": 1})
    (path := tmp_path / "data/train/image/00.png").unlink()
    grey = blobs(0)[0][..., 0].astype(np.float32)
    grey[3, 4] = value
    tifffile.imwrite(path.with_suffix(".tif"), grey)
    keys = {"num_channels": 1, "num_classes": 1, "mean": [0.5], "std": [0.5], "intensity_range": "[0, 255]"}
    found = checked(tmp_path, "image_folders", **keys)
    assert "00.tif` holds NaN or infinite values" in found["unreadable_image"]
