"""Files whose bytes are held while several rules look at them."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from segcli.core.errors import DataError
from segcli.data.faults.damaged import damaged
from segcli.data.faults.endings import cut_ends
from segcli.data.images import read_image
from segcli.files import open_picture
from segcli.files._content import content_of, files_held


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_a_held_file_is_read_once_for_header_pixels_and_checks(tmp_path, monkeypatch, ending):
    path = tmp_path / f"image{ending}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (70, 50, 3), dtype=np.uint8))
    expected, opened, open_path = read_image(path), [], Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, *given, **named: opened.append(self) or open_path(self, *given, **named)
    )
    monkeypatch.setattr("builtins.open", lambda file, *_: pytest.fail(f"{file} is opened again"))
    with files_held():
        image = read_image(path)
        assert [*cut_ends(path), *damaged(path, image)] == []
    assert (image == expected).all()
    assert opened == [path]


def test_bytes_are_held_no_longer_than_they_are_wanted(tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(b"one")
    with files_held():
        assert content_of(path) == b"one"
        path.write_bytes(b"two")
        assert content_of(path) == b"one"
    assert content_of(path) == b"two"


def test_a_file_of_no_known_kind_is_named_the_same_from_its_held_bytes(tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(b"no picture at all")
    with pytest.raises(DataError) as alone:
        read_image(path)
    with files_held(), pytest.raises(DataError) as held:
        read_image(path)
    assert held.value.message == alone.value.message
    assert str(path) in held.value.message
    assert "BytesIO" not in held.value.message


@pytest.mark.posix
@pytest.mark.parametrize(("name", "axes"), [("a.png", 2), ("a.tif", 2), ("a.nii", 3), ("a.h5", 3)])
def test_a_named_pipe_is_refused_in_place_of_waiting_for_its_writer(tmp_path, name, axes):
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="is a named pipe, not a file"):
        open_picture(tmp_path / name, axes)
