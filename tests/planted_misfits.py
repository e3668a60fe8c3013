"""Faults by which masks lie on the wrong image, or turned on their own, and masks of slices that hide too much."""

import cv2
import h5py
import numpy as np
import tifffile
from planted import PICTURES, Set, fault
from planted_forms import a_sample_is_a_negative
from planted_volumes import MASK, a_mask_that_is_not_learnt_is_shifted, change_nifti


@fault("mask_of_another_image", f"{PICTURES} nifti")
def two_masks_are_exchanged(made: Set) -> None:
    one, other = (made.places[split][i][1] for split, i in (("train", 3), ("val", 1)))
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


@fault("mask_of_another_image", f"{PICTURES} nifti")
def the_mask_of_another_image_was_copied(made: Set) -> None:
    made.places["train"][3][1].write_bytes(made.places["test"][0][1].read_bytes())


@fault("mask_of_another_image", "hdf5")
def two_masks_of_a_file_are_exchanged(made: Set) -> None:
    with h5py.File(made.root / "train.h5", "r+") as file:
        file["masks"][2:4] = file["masks"][2:4][::-1]


@fault("shifted_mask", PICTURES)
def a_mask_is_mirrored(made: Set) -> None:
    made.write("train", 3, mask=np.ascontiguousarray(made.read("train", 3)[1][:, ::-1]))


@fault("shifted_mask", PICTURES)
def a_mask_is_turned_by_180_degrees(made: Set) -> None:
    made.write("train", 3, mask=np.ascontiguousarray(made.read("train", 3)[1][::-1, ::-1]))


@fault("shifted_mask", "nifti")
def a_label_map_is_turned_by_90_degrees(made: Set) -> None:
    change_nifti(made, MASK, lambda voxels: np.rot90(voxels, axes=(1, 2)))


@fault("shifted_mask", "hdf5")
def a_mask_of_a_file_is_shifted_along_two_axes(made: Set) -> None:
    with h5py.File(made.root / "train.h5", "r+") as file:
        file["masks"][3] = np.roll(file["masks"][3], (2, 9), (1, 3))


@fault("shifted_mask", "stacks")
def a_mask_that_is_applied_is_shifted(made: Set) -> None:
    made.keys["apply_mask"] = True
    a_mask_that_is_not_learnt_is_shifted(made)


@fault("negative_image", "stacks")
def a_sample_whose_mask_is_applied_is_a_negative(made: Set) -> None:
    made.keys["apply_mask"] = True
    a_sample_is_a_negative(made)


@fault("empty_mask", "stacks")
def a_mask_that_is_applied_is_empty(made: Set) -> None:
    made.keys["apply_mask"] = True
    for z in range(8):
        tifffile.imwrite(made.root / "0004" / "mask" / f"z{z}.tif", np.zeros((16, 16), np.uint8))


@fault("blurred_mask", "stacks")
def slices_of_a_mask_are_smoothed(made: Set) -> None:
    for z in (3, 4):
        path = made.root / "0004" / "mask" / f"z{z}.tif"
        tifffile.imwrite(path, cv2.GaussianBlur((tifffile.imread(path) > 0) * np.uint8(255), (3, 3), 0.8))


@fault("unreadable_label", "stacks")
def a_slice_of_a_mask_that_is_not_learnt_is_cut_off(made: Set) -> None:
    path = made.root / "0004" / "mask" / "z3.tif"
    path.write_bytes(path.read_bytes()[:-100])
