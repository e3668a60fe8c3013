"""Results for 2D images: a mask with the name and the size of each image."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from segcli.commands.answers.frames import Frames
from segcli.commands.answers.pixels import Found, PixelAnswers
from segcli.core.errors import ConfigError, DataError
from segcli.core.types import Array
from segcli.data.classes.lettering import legend_below
from segcli.data.classes.painting import overlay
from segcli.data.images import as_rgb
from segcli.data.samples import Case
from segcli.engine.events import Listener
from segcli.engine.inference.prediction import Prediction
from segcli.engine.inference.predictor import InMemory
from segcli.files import create
from segcli.files.png import PNG
from segcli.report.video import video_to

__all__ = ["PictureAnswers"]


class PictureAnswers(PixelAnswers):
    """Writes PNG files; for large images, tiled TIFF files, band by band."""

    ndim = 2
    add_frame: Callable[[Path, Array], None] | None = None
    """Function that adds a frame to the video; None without a video."""
    frames: Frames | None = None
    """Frames of several processes."""

    # ---- the plan

    def jobs(self, listener: Listener) -> list[Case]:
        """Plan the results, including a video."""
        self.listener, video = listener, self.options.video
        self._targets: dict[Path, Path] = {}
        if video is not None and video.exists() and not self.options.overwrite:
            raise ConfigError(f"`{video}` exists", hint="replace it with `--overwrite`, or give another name")
        cases = super().jobs(listener)
        count = self.parts.layout.made_grey(cases)
        if count:
            images = "1 RGB image is" if count == 1 else f"{count} RGB images are"
            listener.notice(f"{images} converted to grey: the network takes one channel")
        return cases

    def target(self, path: Path) -> Path:
        """Name the mask after the image."""
        if path not in self._targets:
            target = self.parts.layout.answer_path(self.folder, path)
            self._targets[path] = target.with_suffix(".tif") if self._is_large(path) else target
        return self._targets[path]

    def _is_large(self, path: Path) -> bool:
        if not self.parts.can_stream:
            return False
        try:
            with self.parts.layout.opened(path, self._page) as picture:
                return picture.is_large
        except DataError:  # reported when the image is read
            return False

    @property
    def _page(self) -> int | None:
        """Return the page to predict of files of several pages: the option, or else the key of the data set."""
        stated: int | None = getattr(self.parts.layout, "page", None)
        return stated if self.options.page is None else self.options.page

    def _cases(self, path: Path, listener: Listener) -> list[Case]:
        cases, page = super()._cases(path, listener), self.options.page
        return cases if page is None else [replace(case, index=page) for case in cases]

    def beside(self, case: Case) -> dict[str, Path]:
        """Name the requested files beside the mask; for large images, only those with a value for each pixel."""
        target, options = self.target(case.image), self.options
        asked = {"probability": options.probabilities, "uncertainty": options.uncertainty}
        if target.suffix == ".png":
            asked = {**dict.fromkeys(self._codings, True), "overlay": options.overlays, **asked}
        return {
            kind: target.with_name(f"{target.stem}_{kind}{target.suffix}")
            for kind, is_asked in asked.items()
            if is_asked
        }

    def shared(self) -> dict[str, Path]:
        """Name the video."""
        return {} if self.options.video is None else {"--video": self.options.video}

    @property
    def _codings(self) -> list[str]:
        """Return the codings of classes that the masks of the data set do not use."""
        own = "color" if self._samples else "index"
        return [coding for coding in self.parts.task.pictures(self._example) if coding != own]

    @cached_property
    def _example(self) -> Array:
        """Return the mask of one pixel as the data set stores it: it has the type and the channels of every mask."""
        task = self.parts.task
        nothing = np.zeros((task.outputs[0].channels, 1, 1), np.float32)
        return self.parts.layout.as_stored(task.decide(nothing, self.parts.inference.threshold))

    @property
    def _samples(self) -> int:
        """Return the channels of the masks of the data set; 0 for class numbers."""
        return self._example.shape[2] if self._example.ndim == 3 else 0

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Keep the video open; of several processes, the frames wait for those of the others."""
        if self.options.video is None or self.world is None:
            with video_to(self.options.video, self.options.fps) as self.add_frame:
                yield
            return
        self.frames = Frames(self.options.video, self.options.fps, self.folder, self.world)
        with self.frames.opened() as self.add_frame:
            yield

    def join(self, states: Sequence[dict[str, Any]], jobs: Sequence[Case]) -> None:
        """Take over the results, and make the video."""
        super().join(states, jobs)
        if self.frames is not None:
            self.frames.join({job.image: index for index, job in enumerate(jobs)})

    # ---- an image

    def write_found(self, case: Case, found: Found) -> None:
        """Write the mask and the requested files beside it."""
        paths = {**self.beside(case), "mask": self.target(case.image)}
        if found.picture is None:
            ((_, prediction),) = found.bands
            assert isinstance(found.pixels, InMemory)
            shares = self._write_whole(paths, case.image, found.pixels.image, prediction)
        else:
            shares = self._write_bands(paths, found)
        order = ORDER if found.picture is None else ORDER[::-1]
        files = {kind: str(paths[kind]) for kind in order if kind in paths}
        # for a single mask, only its share
        share = shares if len(shares) > 1 else next(iter(shares.values()))
        source = self.fields.source(case.image)
        field = {} if source is None else {"fov": source}
        self.done.written.append({"image": str(case.image), **files, **field, "share": share})

    def finish(self) -> None:
        """Tell where the fields of view came from."""
        if self.fields.summary is not None:
            self.listener.notice(self.fields.summary)
        if self.fields.warning is not None:
            self.listener.warn(self.fields.warning)

    def _write_whole(
        self, paths: dict[str, Path], source: Path, image: Array, prediction: Prediction
    ) -> dict[str, float]:
        task = self.parts.task
        answer = self.parts.decided(prediction)
        pictures: dict[str, Callable[[], Array]] = {
            "mask": lambda: self.parts.layout.as_stored(answer),
            **task.pictures(answer),
            "probability": lambda: _probability(prediction),
            "uncertainty": lambda: _in_16_bits(prediction.uncertainty),
        }
        if "overlay" in paths or self.add_frame is not None:
            over = overlay(as_rgb(image), *task.tinted(answer))
            pictures["overlay"] = lambda: (
                over if len(task.classes) == 1 else legend_below(over, *task.legend(task.shares(answer)))
            )
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
            self.relay.warn(f"`{found.picture.path}` is too large for an overlay or a video: only its mask is written")
        task, size = self.parts.task, found.pixels.size
        shares: dict[str, float] = {}
        with ExitStack() as stack:  # closes the mask last: if the mask exists, the result is complete
            add: dict[str, Any] = {
                "mask": stack.enter_context(create(paths["mask"], size, self._example.dtype, channels=self._samples))
            }
            for kind in [kind for kind in ORDER[::-1] if kind in paths and kind != "mask"]:
                add[kind] = stack.enter_context(create(paths[kind], size, np.uint16))
            for rows, prediction in found.bands:
                answer = self.parts.decided(prediction)
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
"""Order in which pictures are written: if the mask exists, the result is complete."""


def _probability(prediction: Prediction) -> Array:
    """Convert the probability to 16 bits; with several classes, that of the predicted class."""
    return _in_16_bits(prediction.confidence)


def _in_16_bits(values: Array) -> Array:
    """Scale values from 0 to 1 to 0 to 65535."""
    scaled: Array = np.rint(values * 65535).astype(np.uint16)
    return scaled
