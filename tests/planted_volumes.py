"""Faults of data sets of volumes: NIfTI files, HDF5 files and stacks of slices."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import tifffile
from planted import Set, fault, save_nifti

IMAGE, MASK = 0, 1
"""Positions of the files of a case in its places."""


def load_nifti(path: Path) -> np.ndarray:
    import nibabel

    return np.asarray(nibabel.load(path).dataobj)


def change_nifti(made: Set, kind: int, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the voxels of the image or the mask of a training case."""
    path = made.places["train"][3][kind]
    save_nifti(path, np.ascontiguousarray(change(load_nifti(path))))


def _copy_volume(made: Set, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Write a changed copy of a training case into the test split."""
    for one, other in zip(made.places["train"][3], made.places["test"][1], strict=True):
        save_nifti(other, np.ascontiguousarray(change(load_nifti(one))))


@fault("turned_alone", "nifti")
def a_label_map_states_a_mirrored_axis(made: Set) -> None:
    path = made.places["train"][3][1]
    affine = np.diag([3.0, 1, -1, 1])
    affine[2, 3] = 63
    save_nifti(path, load_nifti(path), affine)


@fault("spacings_differ", "nifti")
def a_case_has_another_distance_of_slices(made: Set) -> None:
    for path in made.places["train"][3]:
        save_nifti(path, load_nifti(path), np.diag([3.6, 1, 1, 1]))


@fault("missing_label", "nifti")
def a_label_map_is_missing(made: Set) -> None:
    made.places["train"][3][1].unlink()


@fault("extra_label", "nifti")
def a_label_map_has_no_image(made: Set) -> None:
    made.places["train"][7][0].unlink()


@fault("size_mismatch", "nifti")
def a_label_map_has_another_size(made: Set) -> None:
    change_nifti(made, MASK, lambda voxels: voxels[1:])


@fault("geometry_differs", "nifti")
def a_label_map_lies_elsewhere(made: Set) -> None:
    path = made.places["train"][3][1]
    affine = np.diag([3.0, 1, 1, 1])
    affine[1, 3] = 5
    save_nifti(path, load_nifti(path), affine)


@fault("spacings_differ", "nifti")
def a_case_has_another_spacing(made: Set) -> None:
    for path in made.places["train"][3]:
        save_nifti(path, load_nifti(path), np.diag([6.0, 1, 1, 1]))


@fault("unreadable_case", "nifti")
def a_volume_is_cut_off(made: Set) -> None:
    path = made.places["train"][3][0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@fault("unreadable_case", "nifti")
def a_volume_holds_nan(made: Set) -> None:
    path = made.places["train"][3][0]
    voxels = load_nifti(path).copy()
    voxels[2, 2, 2] = np.nan
    save_nifti(path, voxels)


@fault("unreadable_case", "nifti")
def a_label_map_holds_a_strange_number(made: Set) -> None:
    change_nifti(made, MASK, lambda voxels: voxels * np.uint8(9))


@fault("extreme_values", "nifti")
def a_few_voxels_are_far_from_all_others(made: Set) -> None:
    path = made.places["train"][3][0]
    voxels = load_nifti(path).copy()
    voxels[2, 2, :3] = 900
    save_nifti(path, voxels)


@fault("intensities_differ", "nifti")
def a_volume_has_another_scale(made: Set) -> None:
    change_nifti(made, IMAGE, lambda voxels: voxels * 1000)


@fault("shifted_mask", "nifti")
def a_label_map_is_shifted(made: Set) -> None:
    change_nifti(made, MASK, lambda voxels: np.roll(voxels, 7, 2))


@fault("inverted_mask", "nifti")
def a_label_map_is_inverted(made: Set) -> None:
    change_nifti(made, MASK, lambda voxels: 1 - voxels)


@fault("empty_mask", "nifti")
def a_label_map_is_empty(made: Set) -> None:
    change_nifti(made, MASK, lambda voxels: voxels * np.uint8(0))


@fault("nearly_same_image_in_two_splits", "nifti")
def a_mirrored_volume_is_in_another_split(made: Set) -> None:
    _copy_volume(made, lambda voxels: voxels[:, :, ::-1])


@fault("constant_image", "nifti")
def a_volume_is_constant(made: Set) -> None:
    change_nifti(made, IMAGE, lambda voxels: np.full_like(voxels, 0.5))


def _edit(made: Set, split: str = "train") -> h5py.File:
    return h5py.File(made.root / f"{split}.h5", "r+")


@fault("wrong_presence", "hdf5")
def a_flag_contradicts_its_mask(made: Set) -> None:
    with _edit(made) as file:
        file["presence_labels"][3] = 0


@fault("unexpected_flag", "hdf5")
def a_flag_is_no_flag(made: Set) -> None:
    with _edit(made) as file:
        flags = file["presence_labels"][:].astype(np.float32)
        del file["presence_labels"]
        flags[3] = 0.4
        file["presence_labels"] = flags


@fault("wrong_count", "hdf5")
def a_mask_is_missing_in_the_file(made: Set) -> None:
    with _edit(made) as file:
        masks = file["masks"][:-1]
        del file["masks"]
        file["masks"] = masks


@fault("wrong_axes", "hdf5")
def structures_are_last(made: Set) -> None:
    with _edit(made) as file:
        masks = np.moveaxis(file["masks"][:], 1, -1)
        del file["masks"]
        file["masks"] = masks


@fault("unreadable_file", "hdf5")
def a_dataset_is_missing(made: Set) -> None:
    with _edit(made) as file:
        del file["masks"]


@fault("no_metadata", "hdf5")
def the_metadata_are_missing(made: Set) -> None:
    (made.root / "metadata.json").unlink()
    made.keys |= {"classes": ["cell"], "spacing_mm": [3.0, 1, 1]}


@fault("same_image_in_two_splits", "hdf5")
def a_case_is_in_two_files(made: Set) -> None:
    with _edit(made) as file, _edit(made, "test") as other:
        other["images"][1], other["masks"][1] = file["images"][3], file["masks"][3]


@fault("shifted_mask", "hdf5")
def a_mask_in_the_file_is_shifted(made: Set) -> None:
    with _edit(made) as file:
        file["masks"][3] = np.roll(file["masks"][3], 7, 3)


@fault("inverted_mask", "hdf5")
def a_mask_in_the_file_is_inverted(made: Set) -> None:
    with _edit(made) as file:
        file["masks"][3] = 1 - file["masks"][3]


@fault("unreadable_case", "hdf5")
def a_case_holds_infinity(made: Set) -> None:
    with _edit(made) as file:
        file["images"][3, 2, 2, 2] = np.inf


@fault("missing_slices", "stacks")
def a_slice_and_its_mask_are_missing(made: Set) -> None:
    for kind in ("raw", "mask"):
        (made.root / "0004" / kind / "z3.tif").unlink()


@fault("slices_without_partner", "stacks")
def a_slice_of_the_mask_is_missing(made: Set) -> None:
    (made.root / "0004" / "mask" / "z3.tif").unlink()


@fault("unreadable_image", "stacks")
def a_slice_is_cut_off(made: Set) -> None:
    path = made.root / "0004" / "raw" / "z3.tif"
    path.write_bytes(path.read_bytes()[:200])


@fault("missing_sample", "stacks")
def the_table_names_a_sample_that_is_not_there(made: Set) -> None:
    with (made.root / "classes.csv").open("a") as file:
        file.write("0099,large\n")


@fault("sample_without_class", "stacks")
def a_sample_is_not_in_the_table(made: Set) -> None:
    path = made.root / "classes.csv"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("0001")) + "\n")


@fault("two_classes", "stacks")
def a_sample_has_two_classes(made: Set) -> None:
    with (made.root / "classes.csv").open("a") as file:
        file.write("0004,large\n")


@fault("same_image_in_two_splits", "stacks")
def a_sample_is_in_two_splits(made: Set) -> None:
    for kind in ("raw", "mask"):
        for z in range(8):
            (made.root / "0012" / kind / f"z{z}.tif").write_bytes(
                (made.root / "0002" / kind / f"z{z}.tif").read_bytes()
            )


@fault("constant_image", "stacks")
def a_sample_is_constant(made: Set) -> None:
    for z in range(8):
        tifffile.imwrite(made.root / "0004" / "raw" / f"z{z}.tif", np.full((16, 16), 100, np.uint16))


@fault("extreme_values", "stacks")
def a_voxel_is_far_from_those_of_all_samples(made: Set) -> None:
    path = made.root / "0004" / "raw" / "z3.tif"
    voxels = tifffile.imread(path)
    voxels[2, 2] = 65535
    tifffile.imwrite(path, voxels)


@fault("divided_subjects", "stacks")
def two_samples_of_a_culture_are_in_two_splits(made: Set) -> None:
    table = (made.root / "classes.csv").read_text()
    for number, name in ((1, "c7_a"), (14, "c7_b")):
        (made.root / f"{number:04d}").rename(made.root / name)
        table = table.replace(f"{number:04d},", f"{name},")
    (made.root / "classes.csv").write_text(table)
    made.keys["split"]["test"] = ["0012", "0013", "c7_b"]


@fault("nearly_same_image_in_two_splits", "nifti")
def a_volume_whose_slices_are_reversed_is_in_another_split(made: Set) -> None:
    _copy_volume(made, lambda voxels: voxels[::-1])


@fault("nearly_same_image_in_two_splits", "nifti")
def a_volume_with_a_quarter_turn_is_in_another_split(made: Set) -> None:
    _copy_volume(made, lambda voxels: np.rot90(voxels, 1, (1, 2)))


@fault("nearly_same_image_in_two_splits", "nifti")
def a_volume_with_other_slices_is_in_another_split(made: Set) -> None:
    _copy_volume(made, lambda voxels: voxels.transpose(2, 0, 1)[::-1])


@fault("nearly_same_image_in_two_splits", "hdf5")
def a_case_whose_slices_are_reversed_is_in_another_file(made: Set) -> None:
    with _edit(made) as file, _edit(made, "test") as other:
        other["images"][1], other["masks"][1] = file["images"][3][::-1], file["masks"][3][:, ::-1]


@fault("nearly_same_image_in_two_splits", "stacks")
def a_sample_with_a_quarter_turn_is_in_another_split(made: Set) -> None:
    for kind in ("raw", "mask"):
        for z in range(8):
            slices = tifffile.imread(made.root / "0004" / kind / f"z{z}.tif")
            tifffile.imwrite(made.root / "0012" / kind / f"z{z}.tif", np.rot90(slices).copy())


@fault("shifted_mask", "nifti")
def a_label_map_is_shifted_by_three_slices(made: Set) -> None:
    change_nifti(made, MASK, lambda voxels: np.roll(voxels, 3, 0))


@fault("shifted_mask", "nifti")
def a_label_map_is_reversed_along_an_axis(made: Set) -> None:
    change_nifti(made, MASK, lambda voxels: voxels[:, :, ::-1])


@fault("shifted_mask", "nifti")
def a_label_map_has_exchanged_axes(made: Set) -> None:
    change_nifti(made, MASK, lambda voxels: voxels.transpose(0, 2, 1))


@fault("shifted_mask", "hdf5")
def a_mask_in_the_file_has_exchanged_axes(made: Set) -> None:
    with _edit(made) as file:
        file["masks"][3] = file["masks"][3].transpose(0, 1, 3, 2)


@fault("shifted_mask", "stacks")
def a_mask_that_is_not_learnt_is_shifted(made: Set) -> None:
    for z in range(8):
        path = made.root / "0005" / "mask" / f"z{z}.tif"
        tifffile.imwrite(path, np.roll(tifffile.imread(path), 4, 0))


@fault("repeated_slice", "stacks")
def a_slice_is_there_twice(made: Set) -> None:
    folder = made.root / "0004" / "raw"
    (folder / "z4.tif").write_bytes((folder / "z3.tif").read_bytes())


@fault("empty_slice", "stacks")
def a_slice_in_the_middle_is_black(made: Set) -> None:
    tifffile.imwrite(made.root / "0004" / "raw" / "z3.tif", np.zeros((16, 16), np.uint16))


@fault("exchanged_slices", "stacks")
def two_slices_are_exchanged(made: Set) -> None:
    for number in range(14):  # brighter from slice to slice, so that their order shows
        for z in range(8):
            path = made.root / f"{number + 1:04d}" / "raw" / f"z{z}.tif"
            rng = np.random.default_rng((number, z))
            noise, slope = rng.normal(0, 2, (16, 16)), 20 * np.hypot(*np.indices((16, 16)))
            tifffile.imwrite(path, (1000 + slope + 60 * z + 9 * number + noise).astype(np.uint16))
    one, other = (made.root / "0004" / "raw" / f"z{z}.tif" for z in (3, 4))
    before = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(before)
