"""Images that show a part of another image."""

from contextlib import closing
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

from segcli.data.faults.cropped import cropped
from segcli.data.faults.kept import Images
from segcli.data.faults.likeness import look_of
from segcli.data.faults.registered import CONFIRMED, agreement, grey_of
from segcli.data.faults.repeated import repeated
from segcli.data.faults.seen import seen
from segcli.data.samples import Case, Sample


def eye(seed: int) -> np.ndarray:
    """Draw a bright disc as in every photograph of an eye, with details of its own."""
    rng = np.random.default_rng(seed)
    image = np.zeros((200, 200), np.float32)
    cv2.circle(image, (100, 100), 90, 110, -1)
    details = cv2.GaussianBlur(rng.normal(0, 200, image.shape).astype(np.float32), (0, 0), 3)
    return (image + details * (image > 0)).clip(0, 255).astype(np.uint8)[:, :, None]


def copy(image: np.ndarray) -> np.ndarray:
    """Cut the borders off an eye, and mirror it."""
    height, width = image.shape[:2]
    return np.ascontiguousarray(image[9 * height // 100 : 95 * height // 100, width // 50 : 9 * width // 10][:, ::-1])


def test_a_part_is_found_with_its_place_and_confirmed_by_its_pixels():
    eyes = [eye(seed) for seed in range(8)]
    part = copy(eyes[2])
    train, test = ([look_of(image) for image in images] for images in (eyes[:4], [*eyes[4:], part]))
    best = max(cropped({"train": train, "test": test}), key=lambda found: found.likeness)
    assert (best.whole, best.part) == (("train", 2), ("test", 4))
    rows, columns = best.windows
    assert rows == pytest.approx((172 / 200, 18 / 200), abs=0.03)
    assert columns == pytest.approx((176 / 200, 4 / 200), abs=0.03)
    assert best.form in ((False, False, True), (True, True, False))
    assert agreement(grey_of(eyes[2]), grey_of(part), best.windows, best.form) > 0.9


def test_images_of_one_kind_are_no_parts_of_each_other():
    eyes = [grey_of(eye(seed)) for seed in range(6)]
    for windows in (((0.9, 0.05), (0.9, 0.05)), ((1.0, 0.0), (0.95, 0.0))):
        for one, other in combinations(eyes, 2):
            assert agreement(one, other, windows, (False, False, False)) < CONFIRMED / 2


def test_neighbouring_slices_that_agree_in_place_are_no_parts_of_each_other():
    rng = np.random.default_rng(0)
    one, other = (cv2.GaussianBlur(rng.normal(0, 60, (128, 128)), (0, 0), 2).astype(np.float32) for _ in range(2))
    windows = ((1.0, 0.0), (1.0, 0.0))
    assert agreement(one, one + other / 3, windows, (False, False, False)) == 0.0


@pytest.mark.parametrize("top", [255, 65535, 1e9])
def test_parts_of_large_images_are_found_without_decoding_these_once_more(top):
    dtype = {255: np.uint8, 65535: np.uint16}.get(top, np.float32)
    eyes = [cv2.resize(eye(seed), (640, 640)) for seed in range(6)]
    eyes.append(copy(eyes[1][:, :, None])[..., 0])
    with closing(Images()) as images:
        for i, pixels in enumerate(eyes):
            image = (pixels * (top / 255)).astype(dtype)[:, :, None]
            images.add("train" if i < 3 else "val", Case(f"{i}", Path(f"{i}.png")), seen(Sample(image=image, maps={})))
        found = list(repeated(images, lambda i: pytest.fail(f"image {i} is decoded once more")))
    assert [(finding.file, finding.others) for finding in found] == [(Path("6.png"), (Path("1.png"),))]
