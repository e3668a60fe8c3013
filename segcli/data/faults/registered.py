"""Confirms by their pixels that one image shows a part of another one."""

import cv2
import numpy as np

from segcli.core.types import Array
from segcli.data.faults.cropped import Form, Window, formed
from segcli.data.faults.reduced import is_resizable

__all__ = ["CONFIRMED", "SIDE", "agreement", "grey_of", "scaled_grey_of"]

SIDE = 128
"""Size along each axis of the pictures that are brought into line."""
CONFIRMED = 0.75
"""Correlation of the details from which the pixels are those of one image."""
STEPS, CLOSE_ENOUGH = 30, 1e-4
SMOOTH = 5
"""Side of the blur with which pictures are brought into line."""
SURROUNDINGS = 9
"""Side of the square around a pixel with which it is compared."""
MARGIN = 6
"""Pixels at the border that are not compared."""
BETTER = 0.2
"""By how much details must agree better in line than as the images are: neighbouring slices agree in place."""
LARGEST = 1000.0
"""Largest value of a picture that is kept as numbers of 16 bits."""
FAR = 0.1
"""Change of a length at which pictures have nothing to do with each other."""


def grey_of(image: Array) -> Array:
    """Reduce an image `(H, W, C)` to a grey picture of a fixed size."""
    if not is_resizable(image):
        image = image.mean(axis=2, dtype=np.float32, keepdims=True)
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA).reshape(SIDE, SIDE, -1)
    grey: Array = small.mean(axis=2, dtype=np.float32)
    return grey


def scaled_grey_of(image: Array) -> Array:
    """Reduce an image `(H, W, C)` to a grey picture, scaled so that numbers of 16 bits hold it."""
    grey = grey_of(image)
    scaled: Array = grey * np.float32(LARGEST / (float(np.abs(grey).max()) or 1.0))
    return scaled.astype(np.float16)


def agreement(whole: Array, part: Array, windows: tuple[Window, Window], form: Form) -> float:
    """Bring a part of an image into line with another image, and correlate their details; 0 where this fails.

    Args:
        whole: The grey picture of the image that shows more.
        part: That of the other image.
        windows: Rows and columns of the whole that the part seems to show.
        form: Form of the part that lies in the whole.
    """
    one, other = whole, np.ascontiguousarray(formed(part, form))
    (high, top), (wide, left) = windows
    place = np.array([[wide, 0, SIDE * left + wide / 2 - 0.5], [0, high, SIDE * top + high / 2 - 0.5]], np.float32)
    until = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, STEPS, CLOSE_ENOUGH)
    everywhere = np.full(one.shape, 255, np.uint8)
    try:
        _, found = cv2.findTransformECC(other, one, place.copy(), cv2.MOTION_AFFINE, until, everywhere, SMOOTH)
    except cv2.error:  # it does not converge
        return 0.0
    if np.abs(found[:, :2] - place[:, :2]).max() > FAR:
        return 0.0
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(one, found, (SIDE, SIDE), flags=how)
    inside = cv2.warpAffine(np.ones_like(one), found, (SIDE, SIDE), flags=how) > 1 - CLOSE_ENOUGH
    inside = cv2.erode(inside.astype(np.uint8), np.ones((3, 3)), iterations=MARGIN, borderValue=0) > 0
    if inside.mean() < 0.5:
        return 0.0
    in_line, in_place = _correlation(seen, other, inside), _correlation(one, other, inside)
    return in_line if in_line >= in_place + BETTER else 0.0


def _correlation(one: Array, other: Array, inside: Array) -> float:
    """Correlate the details of two pictures inside a region; 0 without details."""
    ours, theirs = (_details(each)[inside] for each in (one, other))
    return float(np.corrcoef(ours, theirs)[0, 1]) if min(ours.std(), theirs.std()) > 0 else 0.0


def _details(picture: Array) -> Array:
    detail = picture - cv2.blur(picture, (SURROUNDINGS, SURROUNDINGS))
    spread = float(np.abs(detail).mean()) or 1.0
    details: Array = np.tanh(detail / spread)
    return details
