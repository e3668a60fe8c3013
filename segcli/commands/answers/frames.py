"""Frames of a video from several processes, which wait on the disk until their place in the video is known."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segcli.core.files import told_when_full, unfinished
from segcli.core.types import Array
from segcli.report.video import video_to

if TYPE_CHECKING:
    from segcli.engine.world import World

__all__ = ["Frames"]


class Frames:
    """Keeps the frames of this process, and makes the video of all frames in the first process.

    Args:
        video: File of the video.
        fps: Frames per second.
        folder: Folder of the results, which all processes see.
        world: The processes.
    """

    def __init__(self, video: Path, fps: float, folder: Path, world: "World") -> None:
        self.video, self.fps, self.world = video, fps, world
        self.aside = unfinished(folder / "frames")
        """Folder of the frames; `remove_leftovers` knows its name."""
        self.waiting: dict[Path, Path] = {}
        """Frame of each image."""
        self._add: Callable[[Path, Array], None] | None = None

    @contextmanager
    def opened(self) -> Iterator[Callable[[Path, Array], None]]:
        """Give the function that keeps a frame; the first process opens the video.

        Raises:
            ConfigError: There is no codec for the name of the video.
            DataError: The frames differ in size, or a file cannot be written.
        """
        try:
            with video_to(self.video if self.world.is_first else None, self.fps) as self._add:
                yield self.keep
        finally:
            shutil.rmtree(self.aside, ignore_errors=True)

    def keep(self, source: Path, frame: Array) -> None:
        """Keep the frame of an image."""
        path = self.aside / f"{len(self.waiting)}.npy"
        with told_when_full(path):
            self.aside.mkdir(parents=True, exist_ok=True)
            np.save(path, frame)
        self.waiting[source] = path

    def join(self, position: Mapping[Path, int]) -> None:
        """Put the frames of all processes into the video, in the order of the images."""
        every = {source: path for each in self.world.gathered(self.waiting) for source, path in each.items()}
        if self._add is not None:
            for source in sorted(every, key=position.__getitem__):
                self._add(source, np.load(every[source]))
        self.world.barrier()  # now the frames may go
