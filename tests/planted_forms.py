"""Faults by which files or values of a few cases differ in form: negatives, damage inside JPEG, missing partners."""

import io

import h5py
import numpy as np
import tifffile
from PIL import Image
from planted import PICTURES, Set, fault, save_nifti
from planted_volumes import IMAGE, MASK, change_nifti, load_nifti


@fault("negative_image", PICTURES)
def an_image_is_a_negative(made: Set) -> None:
    made.write("train", 3, image=255 - made.read("train", 3)[0])


@fault("negative_image", "nifti")
def a_volume_is_a_negative(made: Set) -> None:
    change_nifti(made, IMAGE, lambda voxels: 1 - voxels)


@fault("negative_image", "hdf5")
def a_volume_of_a_file_is_a_negative(made: Set) -> None:
    with h5py.File(made.root / "train.h5", "r+") as file:
        file["images"][3] = 1 - file["images"][3]


@fault("negative_image", "stacks")
def a_sample_is_a_negative(made: Set) -> None:
    paths = [made.root / "0004" / "raw" / f"z{z}.tif" for z in range(8)]
    voxels = np.stack([tifffile.imread(path) for path in paths])
    for path, plane in zip(paths, voxels.max() - (voxels - voxels.min()), strict=True):
        tifffile.imwrite(path, plane)


@fault("damaged_file", PICTURES)
def a_part_of_a_progressive_jpeg_file_is_missing(made: Set) -> None:
    path, stream = made.places["train"][3][0], io.BytesIO()
    Image.fromarray(made.read("train", 3)[0]).save(stream, "JPEG", quality=90, progressive=True)
    content = stream.getvalue()
    path.unlink()
    path.with_suffix(".jpg").write_bytes(content[:-900] + content[-860:])


@fault("damaged_file", PICTURES)
def a_part_of_the_jpeg_data_of_a_tiff_file_is_lost(made: Set) -> None:
    path = made.places["train"][3][0]
    pixels = made.read("train", 3)[0]
    path.unlink()
    path = path.with_suffix(".tif")
    tifffile.imwrite(path, pixels, compression="jpeg", tile=(48, 48))
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        end = page.dataoffsets[1] + page.databytecounts[1]
    content = path.read_bytes()
    path.write_bytes(content[: end - 302] + bytes(300) + content[end - 2 :])


@fault("extra_label", PICTURES)
def an_image_is_missing_but_not_its_mask(made: Set) -> None:
    made.places["train"][3][0].unlink()


@fault("full_mask", "nifti")
def a_label_map_is_all_foreground(made: Set) -> None:
    change_nifti(made, MASK, np.ones_like)


@fault("extra_label", "nifti")
def a_volume_is_missing_but_not_its_label_map(made: Set) -> None:
    made.places["train"][3][0].unlink()


@fault("sample_without_class", "stacks")
def a_sample_in_the_middle_is_not_in_the_table(made: Set) -> None:
    path = made.root / "classes.csv"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("0004")) + "\n")


@fault("missing_sample", "stacks")
def a_sample_of_the_table_lost_its_slices(made: Set) -> None:
    for path in (made.root / "0004" / "raw").iterdir():
        path.unlink()
    (made.root / "0004" / "raw").rmdir()


@fault("size_mismatch", "stacks")
def a_slice_has_another_size(made: Set) -> None:
    path = made.root / "0004" / "raw" / "z3.tif"
    tifffile.imwrite(path, tifffile.imread(path)[:-4])


@fault("slices_without_partner", "stacks")
def a_folder_of_slices_holds_a_picture_more(made: Set) -> None:
    folder = made.root / "0004" / "raw"
    (folder / "overview.tif").write_bytes((folder / "z3.tif").read_bytes())


@fault("same_stem", "nifti")
def a_volume_is_there_twice(made: Set) -> None:
    path = made.places["train"][3][0]
    save_nifti(path.with_suffix(""), load_nifti(path))


@fault("turned_alone", PICTURES)
def only_the_image_states_a_mirrored_orientation(made: Set) -> None:
    path, exif = made.places["train"][3][0], Image.Exif()
    exif[274] = 2
    Image.fromarray(made.read("train", 3)[0]).save(path, exif=exif)


@fault("narrow_range", "folders")
def an_image_of_16_bits_has_small_values(made: Set) -> None:
    for split, members in made.places.items():
        for index in range(len(members)):
            image = made.read(split, index)[0].astype(np.uint16)
            made.write(split, index, image=image * 257 if (split, index) != ("train", 3) else image * 6)
