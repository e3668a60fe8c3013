"""Whole JPEG files of every form are not taken for damaged ones."""

import io

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from segcli.data.faults.damaged import damaged
from segcli.data.faults.endings import cut_ends

FORMS = {
    "plain": {},
    "full colour": {"subsampling": 0},
    "half colour": {"subsampling": 1},
    "short codes": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "many restarts": {"restart_marker_blocks": 3},
    "coarse": {"quality": 20},
}
NOISE = np.random.default_rng(0).integers(0, 256, (100, 65, 3), dtype=np.uint8)
PIXELS = {
    "noise": NOISE,
    "clouds": cv2.GaussianBlur(NOISE, (0, 0), 4),
    "black": np.zeros_like(NOISE),
    "the grey of missing blocks": np.full((48, 64, 3), 128, np.uint8),
    "one block": NOISE[:8, :8],
}


def stored(pixels: np.ndarray, mode: str = "RGB", **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, "JPEG", **options)
    return stream.getvalue()


@pytest.mark.parametrize("form", FORMS)
def test_whole_files_are_not_damaged(tmp_path, form):
    path = tmp_path / "a.jpg"
    for mode in ("RGB", "L"):
        for pixels in PIXELS.values():
            path.write_bytes(stored(pixels, mode, **FORMS[form]))
            assert list(damaged(path)) == []


def test_whole_files_whose_missing_blocks_would_be_grey_by_chance_are_not_damaged(tmp_path):
    path = tmp_path / "a.jpg"
    for top in range(40):
        for quality in (75, 90, 95):
            path.write_bytes(stored(PIXELS["clouds"][top : top + 16, :64], "L", quality=quality))
            assert list(damaged(path)) == []


def test_progressive_files_and_jpeg_in_tiff_files_are_damaged_if_a_part_is_missing(tmp_path):
    path, content = tmp_path / "a.jpg", stored(NOISE, progressive=True)
    path.write_bytes(content[:2000] + content[2040:])
    assert [finding.code for finding in damaged(path, NOISE)] == ["damaged_file"]
    path = tmp_path / "a.tif"
    for options in ({"tile": (48, 48)}, {"rowsperstrip": 32, "photometric": "ycbcr"}):
        tifffile.imwrite(path, PIXELS["clouds"], compression="jpeg", **options)
        assert list(damaged(path, NOISE)) == []
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            end = page.dataoffsets[1] + page.databytecounts[1]
        content = path.read_bytes()
        path.write_bytes(content[: end - 202] + bytes(200) + content[end - 2 :])
        assert [finding.code for finding in damaged(path, NOISE)] == ["damaged_file"]


@pytest.mark.parametrize("form", ["plain", "full colour", "half colour", "short codes"])
def test_a_file_without_its_last_pixels_or_with_more_data_is_damaged(tmp_path, form):
    path, content = tmp_path / "a.jpg", stored(NOISE[:, :64], **FORMS[form])
    for changed, words in (
        (content[:-90] + content[-2:], "end before the last pixel"),
        (content[:-300] + content[-1800:], "go on behind the last pixel"),
    ):
        path.write_bytes(changed)
        assert [words in finding.message for finding in damaged(path)] == [True]


def test_a_jpeg_file_without_its_last_bytes_is_cut_off_unless_something_follows_its_end(tmp_path):
    path, content = tmp_path / "a.jpg", stored(NOISE)
    for changed, codes in ((content, []), (content + b"more", []), (content[:-2], ["cut_off_file"])):
        path.write_bytes(changed)
        assert [finding.code for finding in cut_ends(path)] == codes
