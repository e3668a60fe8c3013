from pathlib import Path

import cv2
import numpy as np
import pytest

from segcli.core.errors import ConfigError, DataError
from segcli.report import video
from segcli.report.video import video_to


def frame(value, size=(32, 48)):
    return np.full((*size, 3), (value, 0, 0), np.uint8)


@pytest.mark.parametrize("ending", ["mp4", "avi"])
def test_frames_become_a_video_that_opencv_reads_back(tmp_path, ending):
    path = tmp_path / f"out.{ending}"
    with video_to(path, 5.0) as add:
        for value in (250, 20, 120):
            add(Path("x.png"), frame(value))
    played = cv2.VideoCapture(str(path))
    assert played.get(cv2.CAP_PROP_FPS) == pytest.approx(5.0)
    reds = []
    while True:
        more, picture = played.read()
        if not more:
            break
        assert picture.shape == (32, 48, 3)
        reds.append(int(picture[16, 24, 2]))
    assert reds == pytest.approx([250, 20, 120], abs=12)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_frames_of_two_sizes_are_refused_and_no_half_video_stays(tmp_path):
    def write(path):
        with video_to(path, 5) as add:
            add(Path("a.png"), frame(1))
            add(Path("b.png"), frame(1, (16, 48)))

    with pytest.raises(DataError, match=r"`a.png` is 32x48, `b.png` 16x48"):
        write(tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_ending_and_no_frames_are_told(tmp_path):
    with pytest.raises(ConfigError, match=r"its name must end in .mp4 or .avi"), video_to(tmp_path / "a.mkv", 5):
        pass
    with pytest.raises(DataError, match="every image failed"), video_to(tmp_path / "a.mp4", 5):
        pass
    assert list(tmp_path.iterdir()) == []


def test_without_a_path_there_is_no_video():
    with video_to(None, 5) as add:
        assert add is None


@pytest.mark.parametrize("ending", ["mp4", "avi"])
def test_a_video_that_is_cut_off_by_a_full_disk_is_told_and_removed(tmp_path, monkeypatch, ending):
    close = video._Frames.close

    def cut_off(frames):
        close(frames)
        if frames.file.exists():
            frames.file.write_bytes(frames.file.read_bytes()[:300])

    monkeypatch.setattr(video._Frames, "close", cut_off)

    def write():
        with video_to(tmp_path / f"clip.{ending}", 5.0) as add:
            for value in range(4):
                add(Path("x.png"), frame(value))

    with pytest.raises(DataError, match=r"cannot write the video .*: 0 of 4 frames are in it"):
        write()
    assert list(tmp_path.iterdir()) == []
