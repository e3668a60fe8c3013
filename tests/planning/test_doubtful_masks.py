"""Masks that can be read in two ways: objects or classes, smoothed or not, white or black on the other."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from public_forms import save, volume, write_pairs

from segcli.core.errors import DataError
from segcli.planning.facts import Recognised
from segcli.planning.recognise import recognise

Paint = Callable[[np.ndarray, int], np.ndarray]


def disks(seed: int, count: int, size: int = 128) -> np.ndarray:
    """Draw disks that do not touch, numbered from top to bottom."""
    cells = np.random.default_rng(seed).permutation(36)[:count]
    numbers = np.zeros((size, size), np.int32)
    for number, cell in enumerate(sorted(cells), start=1):
        centre = (int(cell % 6) * 21 + 11, int(cell // 6) * 21 + 11)
        cv2.circle(numbers, centre, 5 + number % 4, number, -1)
    return numbers


def painted(root: Path, paint: Paint, counts: tuple[int, ...] = (14, 9, 12, 16, 11, 13), **given: object) -> Recognised:
    """Recognise a folder whose masks are painted from numbered disks and the number of their image."""
    for index, count in enumerate(counts):
        numbers = disks(index, count)
        noise = np.random.default_rng(index).normal(90, 20, (*numbers.shape, 3)) + 70 * (numbers > 0)[..., None]
        save(root / f"images/{index}.png", noise.clip(0, 255).astype(np.uint8))
        save(root / f"masks/{index}.png", paint(numbers, index))
    return recognise(root, "x", given)


def strange(numbers: np.ndarray, index: int) -> np.ndarray:
    """Number objects like a tracker, with gaps, and alike in every image."""
    return (numbers * 37).astype(np.uint16)


def over_all(numbers: np.ndarray, index: int) -> np.ndarray:
    """Number objects so that the numbers go on from image to image."""
    return np.where(numbers, numbers + 20 * index, 0).astype(np.uint8)


def numbered(numbers: np.ndarray, index: int) -> np.ndarray:
    """Number objects as programs do, by their first pixel."""
    return cv2.connectedComponents((numbers > 0).astype(np.uint8))[1].astype(np.uint8)


def coloured(numbers: np.ndarray, index: int) -> np.ndarray:
    """Give each object a colour."""
    colours = np.random.default_rng(index).integers(30, 255, (40, 3), np.uint8)
    colours[0] = 0
    return colours[numbers]


def with_class(numbers: np.ndarray, index: int) -> np.ndarray:
    """Add thousands for the class to the numbers."""
    return np.where(numbers, 1000 * (1 + numbers % 2) + numbers, 0).astype(np.uint16)


def classes(numbers: np.ndarray, index: int, levels: tuple[int, ...] = (0, 100, 200)) -> np.ndarray:
    """Divide objects into two classes."""
    return np.array(levels, np.uint8)[np.where(numbers, 1 + numbers % 2, 0)]


def smoothed(numbers: np.ndarray, index: int, levels: tuple[int, ...]) -> np.ndarray:
    """Average four pixels into one, which leaves few numbers between the levels."""
    large = cv2.resize(classes(numbers, index, levels), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    return cv2.resize(np.roll(large, 1, (0, 1)), numbers.shape, interpolation=cv2.INTER_AREA)


def outline(numbers: np.ndarray, index: int) -> np.ndarray:
    """Paint white disks with a grey pixel around them."""
    white = (numbers > 0).astype(np.uint8)
    return np.where(white, 255, 128 * cv2.dilate(white, np.ones((3, 3), np.uint8))).astype(np.uint8)


@pytest.mark.parametrize("paint", [strange, over_all])
def test_objects_are_told_from_classes_by_numbers_that_have_gaps_or_go_on(tmp_path, paint):
    found = painted(tmp_path, paint)
    assert (found.task, found.keys["mask_threshold"], found.questions) == ("binary", 0, [])


def test_numbers_that_a_table_names_are_classes(tmp_path):
    tmp_path.joinpath("classes.csv").write_text(
        "id,name\n" + "".join(f"{number},kind {number}\n" for number in range(17)), encoding="utf-8"
    )
    found = painted(tmp_path, lambda numbers, index: numbers.astype(np.uint8))
    assert (found.task, found.keys["classes"][1]) == ("multiclass", "kind 1")


def test_few_objects_from_top_to_bottom_are_asked_about_and_both_answers_are_followed(tmp_path):
    found = painted(tmp_path, numbered, (3, 5, 4, 5))
    assert (found.task, found.keys["mask_threshold"]) == ("binary", 0)
    (question,) = found.questions
    assert [option.given for option in question.options] == [("mask_threshold=0",), ("mask_format=index",)]
    several = painted(tmp_path, numbered, (3, 5, 4, 5), mask_format="index")
    assert (several.task, len(several.keys["classes"]), several.questions) == ("multiclass", 6, [])


@pytest.mark.parametrize(
    ("paint", "message"),
    [
        (coloured, "number single objects by their colours"),
        (with_class, "the objects of 2 classes, which are the thousands: 1002, 1004, 1006"),
        (partial(smoothed, levels=(0, 100, 200)), "occur only along outlines: smoothing has left them"),
        (lambda numbers, index: cv2.blur(np.eye(3, dtype=np.uint8)[classes(numbers, index, (0, 1, 2))] * 240, (2, 2)),
         "colours in the masks occur only along outlines"),
        (lambda numbers, index: np.full(numbers.shape, 255, np.uint8), "all 6 masks hold nothing but 255"),
    ],
)  # fmt: skip
def test_masks_that_would_become_many_false_classes_are_refused(tmp_path, paint, message):
    with pytest.raises(DataError) as error:
        painted(tmp_path, paint)
    assert message in error.value.message


def test_frames_whose_masks_number_objects_are_refused_and_their_numbers_can_be_stated_as_classes(tmp_path):
    for index, count in enumerate((14, 9, 12, 16, 11, 13)):
        numbers, name = disks(index, count), f"clip{index % 2}/{index:03d}.png"
        image = np.random.default_rng(index).normal(90, 20, (*numbers.shape, 3)) + 70 * (numbers > 0)[..., None]
        save(tmp_path / "frames" / name, image.clip(0, 255).astype(np.uint8))
        save(tmp_path / "masks" / name, numbers.astype(np.uint8))
    with pytest.raises(DataError, match="number single objects, up to 16 in one"):
        recognise(tmp_path, "x", {"format": "sequences"})
    found = recognise(tmp_path, "x", {"format": "sequences", "mask_format": "index"})
    assert len(found.keys["classes"]) == 17


def test_objects_with_a_class_are_foreground_where_this_is_stated(tmp_path):
    found = painted(tmp_path, with_class, mask_threshold=0)
    assert (found.task, found.keys["num_classes"], found.keys["mask_threshold"]) == ("binary", 1, 0)


def test_thin_strokes_of_many_classes_are_not_taken_for_smoothed_outlines(tmp_path):
    def strokes(numbers: np.ndarray, index: int) -> np.ndarray:
        edges = cv2.morphologyEx((numbers > 0).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8))
        return (edges * 40 * (1 + numbers.max(axis=0, keepdims=True) % 5)).astype(np.uint8)

    assert len(painted(tmp_path, strokes).keys["classes"]) == 6


def test_few_numbers_that_smoothing_left_are_cut_in_the_middle(tmp_path):
    found = painted(tmp_path, partial(smoothed, levels=(0, 255, 255)))
    assert (found.task, found.keys["mask_threshold"], found.sure["mask_threshold"]) == ("binary", 127, "likely")


def test_a_grey_outline_is_asked_about_and_classes_of_objects_are_not(tmp_path):
    found = painted(tmp_path / "o", outline)
    (question,) = found.questions
    answers = [option.given for option in question.options]
    assert answers == [("mask_format=index",), ("mask_threshold=127",), ("mask_threshold=128",)]
    assert painted(tmp_path / "o", outline, mask_threshold=127).keys["mask_threshold"] == 127
    plain = painted(tmp_path / "c", classes)
    assert (plain.keys["numbers"], plain.questions) == ([0, 100, 200], [])


def test_masks_that_are_mostly_white_are_asked_about_and_black_objects_can_be_stated(tmp_path):
    paint: Paint = lambda numbers, index: np.where(numbers, 0, 255).astype(np.uint8)  # noqa: E731
    (question,) = painted(tmp_path, paint).questions
    assert question.options[1].given == (
        "mask_format=index",
        "numbers=[255, 0]",
        "classes=[background, foreground]",
    )
    stated = {"mask_format": "index", "numbers": [255, 0], "classes": ["background", "foreground"]}
    found = painted(tmp_path, paint, **stated)
    assert ({key: found.keys[key] for key in stated}, found.questions) == (stated, [])
    assert painted(tmp_path / "w", lambda numbers, index: 255 - paint(numbers, index)).questions == []


def test_white_behind_colours_is_the_background(tmp_path):
    colours = np.array([[255, 255, 255], [200, 0, 0], [0, 0, 200]], np.uint8)
    found = painted(tmp_path, lambda numbers, index: colours[classes(numbers, index, (0, 1, 2))])
    first, *others = found.keys["classes"]
    assert first == {"name": "background", "color": [255, 255, 255]}
    assert [each["name"] for each in others] == ["class_1", "class_2"]


def test_numbers_below_zero_are_refused_with_a_way_out(tmp_path):
    for index in range(4):
        numbers = disks(index, 8)
        save(tmp_path / f"images/{index}.png", np.random.default_rng(index).integers(0, 255, (128, 128), np.uint8))
        mask = np.where(numbers, 1 + numbers % 2, -1).astype(np.int16)
        save(tmp_path / f"masks/{index}.tif", mask)
    with pytest.raises(DataError) as error:
        recognise(tmp_path, "x", {})
    assert error.value.message == "the masks hold -1, and classes have numbers from 0"


def test_label_maps_that_number_objects_are_told(tmp_path):
    for index, count in enumerate((9, 12, 10)):
        labels = np.repeat(disks(index, count)[..., None], 6, axis=2).astype(np.uint8)
        image = np.random.default_rng(index).normal(90, 20, labels.shape)
        volume(tmp_path / f"cells/images/{index}.nii.gz", image.astype(np.float32))
        volume(tmp_path / f"cells/labels/{index}.nii.gz", labels)
        halves = np.concatenate([labels, np.flip(labels, 0)])
        volume(tmp_path / f"organs/images/{index}.nii.gz", np.concatenate([image, image]).astype(np.float32))
        volume(tmp_path / f"organs/labels/{index}.nii.gz", halves)
    organs = recognise(tmp_path / "organs", "x", {})
    notes = recognise(tmp_path / "cells", "x", {}).notes
    assert [note for note in notes if "single objects, up to 12 in one" in note]
    assert not [note for note in organs.notes if "single objects" in note]


def test_folders_of_words_are_kinds_of_images_and_no_splits(tmp_path):
    for kind, count in (("benign", 6), ("malignant", 2)):
        write_pairs(tmp_path / kind, count, image="images/{}.png", mask="masks/{}.png")
    found = recognise(tmp_path, "x", {})
    assert (found.keys["image_folder"], found.keys["label_folder"]) == ("*/images", "*/masks")
    assert (found.keys["split"]["by"], found.questions) == ("fraction", [])


def test_of_two_folders_of_masks_the_one_named_so_is_proposed(tmp_path):
    for index in range(8):
        numbers = disks(index, 14)
        clip, name = f"{index % 2 + 1:02d}", f"{index // 2:03d}.tif"
        image = np.random.default_rng(index).normal(90, 20, numbers.shape) + 70 * (numbers > 0)
        save(tmp_path / clip / f"t{name}", image.clip(0, 255).astype(np.uint8))
        marker = cv2.erode(numbers.astype(np.uint16), np.ones((7, 7), np.uint8))
        for folder, mask in (("SEG/man_seg", numbers), ("PTS/man_point", marker)):
            save(tmp_path / f"{clip}_GT/{folder}{name}", mask.astype(np.uint16))
    found = recognise(tmp_path, "x", {})
    assert found.keys["label_folder"] == "*_GT/SEG"
    (question,) = found.questions
    assert (question.is_open, question.options[1].given) == (False, ("label_folder=*_GT/PTS",))


def test_a_few_extreme_pixels_do_not_stretch_the_range_and_eight_bits_in_sixteen_are_noticed(tmp_path):
    for index in range(4):
        numbers = disks(index, 9)
        grey = (np.random.default_rng(index).normal(90, 20, numbers.shape) + 70 * (numbers > 0)).clip(1, 250)
        hot = grey.astype(np.float32)
        hot[0, 0] = 1e7
        for name, image in (("hot", hot), ("low", grey.astype(np.uint16))):
            save(tmp_path / name / f"images/{index}.tif", image)
            save(tmp_path / name / f"masks/{index}.png", (numbers > 0).astype(np.uint8) * np.uint8(255))
    low, high = recognise(tmp_path / "hot", "x", {}).keys["intensity_range"]
    assert (0 < low < 60, 150 < high <= 250) == (True, True)
    assert recognise(tmp_path / "low", "x", {}).keys["intensity_range"] == [0, 255]


def test_masks_that_were_not_read_are_told_for_they_may_hold_further_classes(tmp_path, monkeypatch):
    told = "6 of 8 masks were read: `segcli data check` finds numbers of the others that are no class"
    counts = (14, 9, 12, 16, 11, 13, 12, 10)
    assert told not in painted(tmp_path, classes, counts).notes
    monkeypatch.setattr("segcli.planning.pictures.SURVEY_S", 0.0)
    assert told in painted(tmp_path, classes, counts).notes
