"""Answers to 2D images: a mask with the name and the size of each."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from segcli.commands.answers.pixels import Found, PixelAnswers
from segcli.core.errors import ConfigError, DataError
from segcli.core.names import safe_name
from segcli.core.types import Array
from segcli.data.classes.painting import overlay
from segcli.data.samples import Case
from segcli.engine.events import Listener
from segcli.engine.inference.predictor import InMemory, Prediction
from segcli.files import create, open_picture
from segcli.files.png import PNG
from segcli.report.video import video_to

__all__ = ["PictureAnswers"]


class PictureAnswers(PixelAnswers):
    """PNG files; of large images, tiled TIFF files that are written band by band."""

    ndim = 2
    add_frame: Callable[[Path, Array], None] | None = None
    """Takes a frame of the video; None without one."""

    # ---- the plan

    def jobs(self, listener: Listener) -> list[Case]:
        """Plan the results, among them a video."""
        self.listener, video = listener, self.options.video
        self._targets: dict[Path, Path] = {}
        if video is not None and video.exists() and not self.options.overwrite:
            raise ConfigError(f"`{video}` exists", hint="replace it with `--overwrite`, or give another name")
        return super().jobs(listener)

    def target(self, path: Path) -> Path:
        """Name the mask by the image."""
        if path not in self._targets:
            self._targets[path] = self.folder / safe_name(f"{path.stem}{'.tif' if self._is_large(path) else '.png'}")
        return self._targets[path]

    def _is_large(self, path: Path) -> bool:
        if not self.parts.can_stream:
            return False
        try:
            with open_picture(path, self.ndim) as picture:
                return picture.is_large
        except DataError:  # told when its turn comes
            return False

    def beside(self, case: Case) -> dict[str, Path]:
        """Name what is asked for by the mask; of large images, only what has a value for each pixel."""
        target, options = self.target(case.image), self.options
        asked = {"probability": options.probabilities, "uncertainty": options.uncertainty}
        if target.suffix == ".png":
            asked = {self._other: self.parts.task.target == "classes", "overlay": options.overlays, **asked}
        return {
            kind: target.with_name(f"{target.stem}_{kind}{target.suffix}") for kind, wanted in asked.items() if wanted
        }

    def shared(self) -> dict[str, Path]:
        """Name the video."""
        return {} if self.options.video is None else {"--video": self.options.video}

    @property
    def _other(self) -> str:
        """Coding of classes that is not that of the data set's own masks."""
        return "index" if self._samples else "color"

    @cached_property
    def _example(self) -> Array:
        """Answer to one pixel as the data set's own masks hold it, which tells the type and the channels of all."""
        task = self.parts.task
        nothing = np.zeros((task.outputs[0].channels, 1, 1), np.float32)
        return self.parts.layout.as_stored(task.decide(nothing, self.parts.inference.threshold))

    @property
    def _samples(self) -> int:
        """Channels of the data set's own masks; 0 for numbers."""
        return self._example.shape[2] if self._example.ndim == 3 else 0

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the video open."""
        with video_to(self.options.video, self.options.fps) as self.add_frame:
            yield

    # ---- an image

    def write_found(self, case: Case, found: Found) -> None:
        """Write the mask and what is asked for beside it."""
        paths = {**self.beside(case), "mask": self.target(case.image)}
        if found.picture is None:
            ((_, prediction),) = found.bands
            assert isinstance(found.pixels, InMemory)
            shares = self._write_whole(paths, case.image, found.pixels.image, prediction)
        else:
            shares = self._write_bands(paths, found)
        order = ORDER if found.picture is None else ORDER[::-1]
        files = {kind: str(paths[kind]) for kind in order if kind in paths}
        # of one mask, its share alone
        share = shares if len(shares) > 1 else next(iter(shares.values()))
        self.done.written.append({"image": str(case.image), **files, "share": share})

    def _write_whole(
        self, paths: dict[str, Path], source: Path, image: Array, prediction: Prediction
    ) -> dict[str, float]:
        task = self.parts.task
        answer = task.decide(prediction.probs, self.parts.inference.threshold)
        pictures: dict[str, Callable[[], Array]] = {
            "mask": lambda: self.parts.layout.as_stored(answer),
            "color": lambda: task.painted(answer),
            "index": lambda: answer,
            "probability": lambda: _probability(prediction),
            "uncertainty": lambda: _in_16_bits(prediction.uncertainty),
        }
        if "overlay" in paths or self.add_frame is not None:
            over = overlay(image, *task.tinted(answer))
            pictures["overlay"] = lambda: over
            if self.add_frame is not None:
                self.add_frame(source, over)
        for kind in ORDER:
            if kind in paths:
                PNG.write(paths[kind], pictures[kind]())
        return task.shares(answer)

    def _write_bands(self, paths: dict[str, Path], found: Found) -> dict[str, float]:
        """Predict and write a large image band by band."""
        if self.options.overlays or self.options.video is not None:
            assert found.picture is not None
            self.listener.warn(
                f"`{found.picture.path}` is too large for an overlay or a video: its mask alone is written"
            )
        task, size = self.parts.task, found.pixels.size
        shares: dict[str, float] = {}
        with ExitStack() as stack:  # which closes the mask last: where it is, everything is
            add: dict[str, Any] = {
                "mask": stack.enter_context(create(paths["mask"], size, self._example.dtype, channels=self._samples))
            }
            for kind in [kind for kind in ORDER[::-1] if kind in paths and kind != "mask"]:
                add[kind] = stack.enter_context(create(paths[kind], size, np.uint16))
            for rows, prediction in found.bands:
                answer = task.decide(prediction.probs, self.parts.inference.threshold)
                add["mask"](self.parts.layout.as_stored(answer))
                if "probability" in add:
                    add["probability"](_probability(prediction))
                if "uncertainty" in add:
                    add["uncertainty"](_in_16_bits(prediction.uncertainty))
                weight = (rows.stop - rows.start) / size[0]
                for name, share in task.shares(answer).items():
                    shares[name] = shares.get(name, 0.0) + weight * share
        return shares


ORDER = ("uncertainty", "probability", "overlay", "index", "color", "mask")
"""Pictures in the order in which they are written: where the mask is, everything is."""


def _probability(prediction: Prediction) -> Array:
    """Give the probability in 16 bits; of classes, that of the one that was found."""
    return _in_16_bits(prediction.probs.max(axis=0))


def _in_16_bits(values: Array) -> Array:
    """Give values from 0 to 1 as 0 to 65535."""
    scaled: Array = np.rint(values * 65535).astype(np.uint16)
    return scaled
