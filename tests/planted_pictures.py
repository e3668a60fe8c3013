"""Faults of data sets of pictures: in their files, pixels, masks, names and splits."""

from collections.abc import Callable

import cv2
import numpy as np
import tifffile
from planted import COUNTS, PICTURES, SIZE, Set, cells, fault


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


@fault("size_mismatch", "folders")
def only_the_image_states_an_orientation(made: Set) -> None:
    from PIL import Image

    image, mask = cells(3, (96, 80))
    path = made.places["train"][3][0]
    path.unlink()
    made.write("train", 3, mask=mask)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(image).save(path.with_suffix(".jpg"), exif=exif)


@fault("turned_alone", PICTURES)
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


def _copy(made: Set, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Write a changed copy of a training case into the test split."""
    made.write("test", 1, **dict(zip(("image", "mask"), map(change, made.read("train", 3)), strict=True)))


@fault("nearly_same_image_in_two_splits", PICTURES)
def a_copy_without_its_upper_and_left_border_is_in_another_split(made: Set) -> None:
    _copy(made, lambda pixels: pixels[9:, 6:])


@fault("nearly_same_image_in_two_splits", PICTURES)
def a_copy_without_its_borders_is_mirrored_and_brought_to_the_old_size(made: Set) -> None:
    _copy(made, lambda pixels: cv2.resize(pixels[4:-5, 3:-6][:, ::-1], SIZE[::-1], interpolation=cv2.INTER_NEAREST))


@fault("nearly_same_image_in_two_splits", PICTURES)
def a_copy_with_a_black_border_is_in_another_split(made: Set) -> None:
    _copy(made, lambda pixels: cv2.copyMakeBorder(pixels, 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=0))


def _as_jpeg(made: Set, change: Callable[[bytes], bytes]) -> None:
    """Store a training image as a JPEG file, and change its bytes; the first 600 are its header."""
    path, image = made.places["train"][3][0], made.read("train", 3)[0]
    path.unlink()
    path.with_suffix(".jpg").write_bytes(change(cv2.imencode(".jpg", image)[1].tobytes()))


@fault("damaged_file", PICTURES)
def a_part_of_a_jpeg_file_is_missing(made: Set) -> None:
    _as_jpeg(made, lambda content: content[:-700] + content[-600:])


@fault("damaged_file", PICTURES)
def a_part_of_a_jpeg_file_is_there_twice(made: Set) -> None:
    _as_jpeg(made, lambda content: content[:-700] + content[-800:])


@fault("damaged_file", PICTURES)
def the_last_block_of_a_jpeg_file_is_missing_but_not_its_end(made: Set) -> None:
    _as_jpeg(made, lambda content: content[:-60] + content[-2:])


@fault("damaged_file", PICTURES)
def a_checksum_of_a_mask_is_wrong(made: Set) -> None:
    path = made.places["train"][3][1]
    content = bytearray(path.read_bytes())
    content[-13] ^= 255
    path.write_bytes(content)
