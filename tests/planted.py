"""Clean data sets of every layout, and the faults that can be planted in them, one at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import tifffile
from factories import write_nuclei

COUNTS = {"train": 8, "val": 3, "test": 3}
SIZE = (96, 96)


def cells(seed: int, size: tuple[int, int] = SIZE, count: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """A noisy grey image with several bright ellipses, and their mask of 0 and 255."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, np.uint8)
    for _ in range(count):
        centre = tuple(int(value) for value in rng.integers(8, min(size) - 8, 2))
        axes = (int(rng.integers(5, 9)), int(rng.integers(5, 9)))
        cv2.ellipse(mask, centre, axes, int(rng.integers(180)), 0, 360, 255, -1)
    image = cv2.GaussianBlur(rng.normal(80, 40, size), (0, 0), 1.2) + (mask > 0) * 70
    return image.clip(0, 250).astype(np.uint8), mask


@dataclass
class Set:
    """A clean data set on disk, and its keys."""

    root: Path
    keys: dict[str, Any]
    places: dict[str, list[tuple[Path, Path]]]
    """Image and mask of each case by split."""

    def write(self, split: str, index: int, *, image: np.ndarray | None = None, mask: np.ndarray | None = None) -> None:
        for path, pixels in zip(self.places[split][index], (image, mask), strict=True):
            if pixels is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path), pixels)

    def read(self, split: str, index: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in self.places[split][index])
        return image, mask


def folders(root: Path) -> Set:
    places = {
        split: [
            (root / split / "image" / f"{split}{i:02d}.png", root / split / "label" / f"{split}{i:02d}.png")
            for i in range(count)
        ]
        for split, count in COUNTS.items()
    }
    return _pictures(Set(root, {"paths": {"root": str(root)}, "num_channels": 1, "num_classes": 1}, places))


def sequences(root: Path) -> Set:
    places = {
        split: [
            (root / "Images" / f"Video_{split}" / f"{i:04d}.png", root / "Labels" / f"Video_{split}" / f"{i:04d}.png")
            for i in range(count)
        ]
        for split, count in COUNTS.items()
    }
    keys = {
        "format": "sequences",
        "paths": {"root": str(root)},
        "num_channels": 1,
        "classes": [{"name": "background", "color": [0, 0, 0]}, {"name": "cell", "color": [255, 255, 255]}],
        "split": {split: [f"Video_{split}"] for split in COUNTS},
    }
    return _pictures(Set(root, keys, places))


def _pictures(made: Set) -> Set:
    seed = 0
    for split, members in made.places.items():
        for index in range(len(members)):
            image, mask = cells(seed)
            made.write(split, index, image=image, mask=mask)
            seed += 1
    return made


def body(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy volume of 8 x 64 x 64 voxels with bright ellipses, and their mask of 0 and 1."""
    planes = [cells(1000 + seed, (64, 64)) for _ in range(8)]
    rng = np.random.default_rng(seed)
    mask = np.stack([plane[1] > 0 for plane in planes])
    mask[0] = mask[-1] = False
    image = 0.3 + 0.3 * mask + rng.normal(0, 0.06, mask.shape)
    return image.clip(0, 1).astype(np.float32), mask.astype(np.uint8)


def nifti(root: Path) -> Set:
    places, seed = {}, 0
    for split, count in COUNTS.items():
        places[split] = []
        for i in range(count):
            pair = tuple(root / folder / f"{split}_{i:02d}.nii.gz" for folder in ("imagesTr", "labelsTr"))
            for path, voxels in zip(pair, body(seed), strict=True):
                save_nifti(path, voxels)
            places[split].append(pair)
            seed += 1
    names = {split: [f"{split}_{i:02d}" for i in range(count)] for split, count in COUNTS.items()}
    keys = {"format": "nifti_volumes", "paths": {"root": str(root)}, "classes": ["cell"]}
    return Set(root, {**keys, "split": {"val": names["val"], "test": names["test"]}}, places)


def save_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray | None = None) -> None:
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([3.0, 1, 1, 1]) if affine is None else affine), path)


def load_nifti(path: Path) -> np.ndarray:
    import nibabel

    return np.asarray(nibabel.load(path).dataobj)


def hdf5(root: Path) -> Set:
    import json

    root.mkdir(parents=True, exist_ok=True)
    about = {"structure_names": ["cell"], "num_structures": 1, "image_size": [8, 64, 64], "spacing_mm": [3.0, 1, 1]}
    (root / "metadata.json").write_text(json.dumps(about))
    seed = 0
    for split, count in COUNTS.items():
        cases = [body(seed + i) for i in range(count)]
        seed += count
        with h5py.File(root / f"{split}.h5", "w") as file:
            file["images"] = np.stack([image for image, _ in cases])
            file["masks"] = np.stack([mask[None] for _, mask in cases])
            file["presence_labels"] = np.ones((count, 1), np.uint8)
    return Set(root, {"format": "hdf5_volumes", "paths": {"root": str(root)}}, {})


def stacks(root: Path) -> Set:
    write_nuclei(root, 14)
    names = [f"{number + 1:04d}" for number in range(14)]
    keys = {"format": "tiff_volumes", "paths": {"root": str(root)}, "crop_size": [8, 16, 16]}
    return Set(root, {**keys, "split": {"val": names[8:11], "test": names[11:]}}, {})


SETS: dict[str, Callable[[Path], Set]] = {
    "folders": folders,
    "sequences": sequences,
    "nifti": nifti,
    "hdf5": hdf5,
    "stacks": stacks,
}
FAULTS: dict[str, tuple[str, str, Callable[[Set], None]]] = {}
"""Codes, layouts and function of each fault by its name."""


def fault(code: str, layouts: str) -> Callable[[Callable[[Set], None]], Callable[[Set], None]]:
    def kept(plant: Callable[[Set], None]) -> Callable[[Set], None]:
        FAULTS[plant.__name__] = (code, layouts, plant)
        return plant

    return kept


PICTURES = "folders sequences"


@fault("missing_label", PICTURES)
def a_mask_is_missing(made: Set) -> None:
    made.places["train"][3][1].unlink()


@fault("extra_label", PICTURES)
def a_mask_has_no_image(made: Set) -> None:
    path = made.places["train"][7][1]
    cv2.imwrite(str(path.with_name(path.name.replace("7", "8"))), made.read("train", 7)[1])


@fault("same_stem", PICTURES)
def two_images_have_one_stem(made: Set) -> None:
    path = made.places["train"][3][0]
    cv2.imwrite(str(path.with_suffix(".bmp")), made.read("train", 3)[0])


@fault("unreadable_image", PICTURES)
def an_image_is_cut_off(made: Set) -> None:
    path = made.places["train"][3][0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


@fault("unreadable_image", PICTURES)
def a_jpeg_is_cut_off(made: Set) -> None:
    path = made.places["train"][3][0]
    content = cv2.imencode(".jpg", made.read("train", 3)[0])[1].tobytes()
    path.unlink()
    path.with_suffix(".jpg").write_bytes(content[: len(content) * 3 // 4])


@fault("unreadable_image", PICTURES)
def an_image_is_empty(made: Set) -> None:
    made.places["train"][3][0].write_bytes(b"")


@fault("unreadable_label", PICTURES)
def a_mask_is_cut_off(made: Set) -> None:
    path = made.places["train"][3][1]
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


@fault("size_mismatch", PICTURES)
def a_mask_has_another_size(made: Set) -> None:
    made.write("train", 3, mask=made.read("train", 3)[1][:-8])


@fault("wrong_channels", PICTURES)
def an_image_has_colours(made: Set) -> None:
    made.write("train", 3, image=cv2.cvtColor(made.read("train", 3)[0], cv2.COLOR_GRAY2BGR))


@fault("mixed_bits", PICTURES)
def an_image_has_16_bits(made: Set) -> None:
    made.write("train", 3, image=made.read("train", 3)[0].astype(np.uint16) * 257)


@fault("alpha", PICTURES)
def an_image_has_an_alpha_channel(made: Set) -> None:
    from PIL import Image

    path = made.places["train"][3][0]
    Image.fromarray(np.dstack([made.read("train", 3)[0], np.full(SIZE, 200, np.uint8)]), "LA").save(path)


@fault("unexpected_values", "folders")
def a_mask_is_smoothed(made: Set) -> None:
    made.write("train", 3, mask=cv2.blur(made.read("train", 3)[1], (3, 3)))


@fault("unexpected_values", "folders")
def a_mask_is_a_jpeg(made: Set) -> None:
    path, mask = made.places["train"][3][1], made.read("train", 3)[1]
    path.unlink()
    cv2.imwrite(str(path.with_suffix(".jpg")), mask, [cv2.IMWRITE_JPEG_QUALITY, 60])


@fault("unknown_colors", "sequences")
def a_mask_has_a_stray_colour(made: Set) -> None:
    mask = cv2.cvtColor(made.read("train", 3)[1], cv2.COLOR_GRAY2BGR)
    mask[:4, :4] = (10, 200, 99)
    made.write("train", 3, mask=mask)


@fault("mixed_mask_coding", "folders")
def a_mask_is_coded_as_0_and_1(made: Set) -> None:
    made.write("train", 3, mask=made.read("train", 3)[1] // 255)


@fault("inverted_mask", PICTURES)
def a_mask_is_inverted(made: Set) -> None:
    made.write("train", 3, mask=255 - made.read("train", 3)[1])


@fault("empty_mask", "folders")
def a_mask_is_empty(made: Set) -> None:
    made.write("train", 3, mask=np.zeros(SIZE, np.uint8))


@fault("constant_image", PICTURES)
def an_image_is_constant(made: Set) -> None:
    made.write("train", 3, image=np.full(SIZE, 7, np.uint8))


@fault("unreadable_image", PICTURES)
def an_image_holds_nan(made: Set) -> None:
    path, image = made.places["train"][3][0], made.read("train", 3)[0].astype(np.float32) / 255
    image[4, 4] = np.nan
    path.unlink()
    tifffile.imwrite(path.with_suffix(".tif"), image)


@fault("saturated_image", PICTURES)
def an_image_is_saturated(made: Set) -> None:
    image, _ = made.read("train", 3)
    image[:, :36] = 255
    made.write("train", 3, image=image)


@fault("shifted_mask", PICTURES)
def a_mask_is_shifted(made: Set) -> None:
    made.write("train", 3, mask=np.roll(made.read("train", 3)[1], (9, -6), (0, 1)))


@fault("shifted_mask", PICTURES)
def all_masks_are_shifted(made: Set) -> None:
    for split, members in made.places.items():
        for index in range(len(members)):
            made.write(split, index, mask=np.roll(made.read(split, index)[1], 6, 0))


@fault("same_image_in_two_splits", PICTURES)
def an_image_is_in_two_splits(made: Set) -> None:
    image, mask = made.read("train", 3)
    made.write("test", 1, image=image, mask=mask)


@fault("nearly_same_image_in_two_splits", PICTURES)
def a_mirrored_and_compressed_copy_is_in_another_split(made: Set) -> None:
    image, mask = made.read("train", 3)
    small = cv2.resize(image[:, ::-1], None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)
    small = cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 70])[1], cv2.IMREAD_GRAYSCALE)
    flipped = cv2.resize(mask[:, ::-1], small.shape[::-1], interpolation=cv2.INTER_NEAREST)
    made.write("test", 1, image=small, mask=flipped)


@fault("tiles_in_two_splits", PICTURES)
def two_tiles_of_a_picture_are_in_two_splits(made: Set) -> None:
    image, mask = cells(77, (192, 192), 30)
    made.write("train", 3, image=image[:96, :96], mask=mask[:96, :96])
    made.write("val", 1, image=image[:96, 96:], mask=mask[:96, 96:])


@fault("same_but_for_case", "folders")
def two_names_differ_only_in_capital_letters(made: Set) -> None:
    for path in made.places["train"][7]:
        path.rename(path.with_name("TRAIN06.png"))


@fault("same_stem", "folders")
def two_names_differ_only_in_their_unicode_form(made: Set) -> None:
    for kind in (0, 1):
        for index, name in ((6, "\u00e9.png"), (7, "e\u0301.png")):
            path = made.places["train"][index][kind]
            path.rename(path.with_name(name))


@fault("gaps_in_numbers", PICTURES)
def an_image_is_left_out(made: Set) -> None:
    for path in made.places["train"][4]:
        path.unlink()


@fault("divided_neighbours", "folders")
def slices_of_one_volume_are_strewn_over_the_splits(made: Set) -> None:
    noise = np.random.default_rng(5).normal(0, 1, (14 + 8, *SIZE))
    blurred = np.stack([cv2.GaussianBlur(plane, (0, 0), 3) for plane in noise])
    weights = np.exp(-(np.arange(-4, 5) ** 2) / (2 * 1.1**2))
    slices = [np.tensordot(weights, blurred[at : at + 9], 1) for at in range(14)]
    places = [(split, index) for split, members in made.places.items() for index in range(len(members))]
    for number, at in enumerate(np.random.default_rng(1).permutation(14)):
        split, index = places[at]
        unit = slices[number] / slices[number].std()
        made.write(split, index, image=(90 + 40 * unit).clip(0, 254).astype(np.uint8), mask=(unit > 1) * np.uint8(255))
        for path in made.places[split][index]:
            path.rename(path.with_name(f"slice{number:02d}.png"))


@fault("class_share_differs", PICTURES)
def the_masks_of_a_split_mean_something_else(made: Set) -> None:
    for index in range(COUNTS["test"]):
        image = cells(500 + index)[0]
        mask = np.zeros(SIZE, np.uint8)
        mask[40:44, 40:46] = 255
        made.write("test", index, image=np.where(mask > 0, 240, image // 2 + 40).astype(np.uint8), mask=mask)


@fault("absent_class", "sequences")
def a_class_is_absent_in_a_split(made: Set) -> None:
    for index in range(COUNTS["val"]):
        made.write("val", index, mask=np.zeros(SIZE, np.uint8))


@fault("size_mismatch turned", "folders")
def only_the_image_states_an_orientation(made: Set) -> None:
    from PIL import Image

    image, mask = cells(3, (96, 80))
    path = made.places["train"][3][0]
    path.unlink()
    made.write("train", 3, mask=mask)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(image).save(path.with_suffix(".jpg"), exif=exif)


@fault("turned_alone turned", PICTURES)
def only_the_image_is_turned_upside_down_by_its_header(made: Set) -> None:
    from PIL import Image

    path, image = made.places["train"][3][0], made.read("train", 3)[0]
    exif = Image.Exif()
    exif[274] = 3
    path.unlink()
    Image.fromarray(image).save(path.with_suffix(".jpg"), exif=exif)


@fault("cut_off_file", PICTURES)
def the_last_bytes_of_a_mask_are_missing(made: Set) -> None:
    path = made.places["train"][3][1]
    path.write_bytes(path.read_bytes()[:-6])


@fault("shifted_mask", PICTURES)
def a_mask_is_shifted_by_three_pixels(made: Set) -> None:
    made.write("train", 3, mask=np.roll(made.read("train", 3)[1], 3, 1))


@fault("saturated_image", "folders")
def an_image_is_saturated_and_saved_as_jpeg(made: Set) -> None:
    path, image = made.places["train"][3][0], made.read("train", 3)[0]
    image[:, :40] = 255
    path.unlink()
    cv2.imwrite(str(path.with_suffix(".jpg")), image)


@fault("divided_subjects", "folders")
def a_group_is_in_two_folders(made: Set) -> None:
    made.keys["split"] = {"group": "(.)$"}


@fault("same_but_for_case", "sequences")
def two_folders_differ_only_in_capital_letters(made: Set) -> None:
    for kind in ("Images", "Labels"):
        (made.root / kind / "Video_val").rename(made.root / kind / "VIDEO_TRAIN")
    made.keys["split"]["val"] = ["VIDEO_TRAIN"]


# ---- volumes


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
    path = made.places["train"][3][1]
    save_nifti(path, load_nifti(path)[1:])


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
    path = made.places["train"][3][1]
    save_nifti(path, load_nifti(path) * np.uint8(9))


@fault("extreme_values", "nifti")
def a_few_voxels_are_far_from_all_others(made: Set) -> None:
    path = made.places["train"][3][0]
    voxels = load_nifti(path).copy()
    voxels[2, 2, :3] = 900
    save_nifti(path, voxels)


@fault("intensities_differ", "nifti")
def a_volume_has_another_scale(made: Set) -> None:
    path = made.places["train"][3][0]
    save_nifti(path, load_nifti(path) * 1000)


@fault("shifted_mask", "nifti")
def a_label_map_is_shifted(made: Set) -> None:
    path = made.places["train"][3][1]
    save_nifti(path, np.roll(load_nifti(path), 7, 2))


@fault("inverted_mask", "nifti")
def a_label_map_is_inverted(made: Set) -> None:
    path = made.places["train"][3][1]
    save_nifti(path, 1 - load_nifti(path))


@fault("empty_mask", "nifti")
def a_label_map_is_empty(made: Set) -> None:
    path = made.places["train"][3][1]
    save_nifti(path, load_nifti(path) * np.uint8(0))


@fault("nearly_same_image_in_two_splits", "nifti")
def a_mirrored_volume_is_in_another_split(made: Set) -> None:
    for one, other in zip(made.places["train"][3], made.places["test"][1], strict=True):
        save_nifti(other, np.ascontiguousarray(load_nifti(one)[:, :, ::-1]))


@fault("constant_image", "nifti")
def a_volume_is_constant(made: Set) -> None:
    path = made.places["train"][3][0]
    save_nifti(path, np.full_like(load_nifti(path), 0.5))


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


@fault("slices_without_partner mask_mismatch", "stacks")
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
