"""Write frames as a video."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from segcli.core.errors import ConfigError, DataError
from segcli.core.files import replacing
from segcli.core.types import Array

__all__ = ["video_to"]

ROOM = 4096
"""Bytes that are written to see if there is any room."""
CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
"""Codecs that OpenCV has on every system, by file suffix."""


@contextmanager
def video_to(path: Path | None, fps: float) -> Iterator[Callable[[Path, Array], None] | None]:
    """Collect frames into a video; the file appears only when all frames are written.

    Args:
        path: File of the video, `.mp4` or `.avi`; None for no video.
        fps: Frames per second.

    Yields:
        A function that takes the image file and its frame `(H, W, 3)`; None without a video.

    Raises:
        ConfigError: There is no codec for this suffix.
        DataError: The frames differ in size, or the video cannot be written.
    """
    if path is None:
        yield None
        return
    codec = CODECS.get(path.suffix.lower())
    if codec is None:
        raise ConfigError(f"cannot write a video to `{path}`", hint=f"its name must end in {' or '.join(CODECS)}")
    with replacing(path) as temporary:
        frames = _Frames(path, temporary.with_suffix(path.suffix), codec, fps)
        try:
            yield frames.add
            frames.finish()
            frames.file.replace(temporary)
        finally:
            frames.close()
            frames.file.unlink(missing_ok=True)


class _Frames:
    def __init__(self, path: Path, file: Path, codec: str, fps: float) -> None:
        self.path, self.file, self.codec, self.fps = path, file, codec, fps
        self.writer: cv2.VideoWriter | None = None
        self.count = 0
        self.first: tuple[Path, tuple[int, ...]] | None = None

    def add(self, source: Path, frame: Array) -> None:
        """Append a frame."""
        height, width = frame.shape[:2]
        if self.first is None:
            self.first = source, (height, width)
            self.file.write_bytes(bytes(ROOM))  # raises an error on a full disk; OpenCV tells of none
            code = cv2.VideoWriter.fourcc(*self.codec)
            self.writer = cv2.VideoWriter(str(self.file), code, self.fps, (width, height))
            if not self.writer.isOpened():
                raise DataError(f"cannot write the video `{self.path}`", hint="try a name that ends in .avi")
        if self.first[1] != (height, width):
            before = "x".join(map(str, self.first[1]))
            raise DataError(
                f"the frames of a video must have one size: `{self.first[0]}` is {before}, `{source}` {height}x{width}",
                hint="predict images of one size, or leave `--video` out",
            )
        assert self.writer is not None
        self.count += 1
        self.writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def finish(self) -> None:
        """Finish the video; refuse a video without frames, or with fewer than it was given."""
        if self.first is None:
            raise DataError(f"no frame for the video `{self.path}`: every image failed")
        self.close()
        reader = cv2.VideoCapture(str(self.file))
        found = max(int(reader.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        reader.release()
        if found != self.count:  # the disk became full
            raise DataError(
                f"cannot write the video `{self.path}`: {found} of {self.count} frames are in it",
                hint="free space there",
            )

    def close(self) -> None:
        """Close the writer, which completes the file."""
        if self.writer is not None:
            self.writer.release()
            self.writer = None
