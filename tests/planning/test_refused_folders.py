"""`segcli init` refuses folders in which it recognises no data set, and says why."""

import re

import numpy as np
import pytest
from public_forms import write_pairs

from segcli.core.errors import DataError
from segcli.planning.recognise import recognise


def empty(root):
    root.mkdir()


def no_masks(root):
    write_pairs(
        root, mask="b/{}.png", paint=lambda mask: np.random.default_rng(0).integers(0, 255, mask.shape, np.uint8)
    )


def alone(root):
    write_pairs(
        root,
        image="{}.png",
        mask="{}.png",
        paint=lambda mask: np.random.default_rng(1).integers(0, 9, mask.shape, np.uint8) * np.uint8(28),
    )


def broken(root):
    for name in "ab":
        (root / name).mkdir(parents=True)
        (root / name / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")


def two_sets(root):
    write_pairs(root / "p", image="photos/{}.png", mask="truth/{}.png")
    write_pairs(root / "q", image="images/{}.png", mask="masks/{}.png")


def no_images(root):
    root.mkdir()
    (root / "notes.docx").write_bytes(b"x")


def other_names(root):
    write_pairs(root, names=["kpqz", "mwtv"], image="a/{}.png", mask="c/{}.png")
    for index, path in enumerate(sorted((root / "c").iterdir())):
        path.rename(root / "c" / f"{index}.png")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (empty, "holds no files"),
        (no_images, "holds no images that can be read: its files end in .docx"),
        (no_masks, "no masks for the images in `a`, `b`: every file has the many colours or values of a photograph"),
        (alone, "no masks beside the 6 images"),
        (broken, "cannot read image"),
        (two_sets, "two data sets: images in `p/photos` and in `q/images`"),
        (other_names, "do not belong together by their names"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence(tmp_path, make, message):
    make(tmp_path / "d")
    with pytest.raises(DataError, match=re.escape(message)) as raised:
        recognise(tmp_path / "d", "x", {})
    assert raised.value.hint
