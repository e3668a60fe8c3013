"""Common part of the results for pictures and volumes: inputs, plan of the results, reading, and the network."""

import math
from abc import abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segcli.commands.answers import Answers, Cost, note
from segcli.commands.answers.claims import Claims
from segcli.commands.answers.inputs import files_of, passed_over
from segcli.commands.ensemble import ensemble
from segcli.core.errors import ConfigError, DataError
from segcli.core.files import remove_leftovers
from segcli.core.types import Array
from segcli.data.field_of_view import Field
from segcli.data.samples import Case, Sample
from segcli.data.sources import chunks_left_out
from segcli.datasets import Layout
from segcli.engine.events import Listener
from segcli.engine.inference.fields import Fields
from segcli.engine.inference.prediction import Prediction
from segcli.engine.inference.predictor import InMemory, Pixels
from segcli.engine.inference.tiles.tile_team import TileTeam
from segcli.files import Picture, Window, open_picture

__all__ = ["Found", "PixelAnswers"]


@dataclass(frozen=True)
class Found:
    """Holds the prediction of an image."""

    pixels: Pixels
    bands: Iterable[tuple[slice, Prediction]]
    """Rows with their probabilities, in order; for a large image, predicted while they are written."""
    picture: Picture | None = None
    """The large image; None if the whole image is in memory."""


@dataclass(frozen=True)
class _Given:
    """Holds an image and its field of view."""

    image: Sample | Picture
    field: Field | None


@dataclass(frozen=True)
class _Converted:
    """Converts a large image like the images of the data set."""

    image: Picture
    layout: Layout

    @property
    def size(self) -> tuple[int, ...]:
        """Return the spatial size."""
        return self.image.size

    def read(self, window: Window) -> Array:
        """Read and convert the pixels of a window."""
        return self.layout.converted(self.image.read(window), self.image.path)


class PixelAnswers(Answers):
    """Writes masks for files of any format that has the network's number of axes and channels.

    An image that cannot be read is recorded and skipped. This module does not load PyTorch; opening a checkpoint does.
    """

    ndim: int

    def files_of(self, inputs: Sequence[str], extensions: Sequence[str]) -> list[Path]:
        """Find the images that the inputs name."""
        return files_of(inputs, self.ndim, extensions)

    def agree(self) -> str:
        """Combine several networks into one that averages their probabilities."""
        self.parts = ensemble(self.members)
        has_field = [member for member in self.members if member.inference.fov == "auto"]
        judge = has_field[0] if has_field else self.parts  # the order of the networks does not matter
        self.fields = Fields(judge.layout, judge.inference.fov, self.options.fov, keeps=False)
        return self.parts.name

    @property
    def folder(self) -> Path:
        """Return the folder of the results."""
        return self.done.folder

    # ---- the plan

    @abstractmethod
    def target(self, path: Path) -> Path:
        """Name the file of the mask of an input."""

    @abstractmethod
    def beside(self, case: Case) -> dict[str, Path]:
        """Name the files beside the mask of a case, by their content."""

    def shared(self) -> dict[str, Path]:
        """Name the files that all results share, by the option that requests them."""
        return {}

    def jobs(self, listener: Listener) -> list[Case]:
        """Refuse two results with one file, skip existing results if asked, and find the cases of the other inputs."""
        options, claims = self.options, Claims([*self.files, *self.fields.files])
        targets = {path: self.target(path) for path in self.parts.layout.leading(self.files)}
        for path, target in targets.items():
            claims.take(target, path)
            self._refuse_existing(target)
        for option, file in self.shared().items():
            claims.take(file, option, "file")
        if options.skip_existing:
            remove_leftovers(self.folder)
            self.done.skipped.extend(str(path) for path, target in targets.items() if target.exists())
            targets = {path: target for path, target in targets.items() if not target.exists()}
        cases = [case for path in targets for case in self._cases(path, listener)]
        for message in passed_over(self.inputs, self.files) if self.ndim == 3 else ():
            listener.warn(message)
        for finding in chunks_left_out(None, cases, self.ndim):
            listener.warn(f"{finding.message} ({finding.hint})")
        for case in cases:
            for what, file in self.beside(case).items():
                claims.take(file, case.place, what)
                self._refuse_existing(file)
        return cases

    def _refuse_existing(self, file: Path) -> None:
        """Refuse to replace a result; with `--skip-existing`, files beside a missing mask are not complete."""
        if file.exists() and not (self.options.overwrite or self.options.skip_existing):
            raise ConfigError(
                f"`{file}` exists",
                hint="replace it with `--overwrite`, skip it with `--skip-existing`, or give another folder with "
                "`--out`",
            )

    def _cases(self, path: Path, listener: Listener) -> list[Case]:
        try:
            return self.parts.layout.inputs(path)
        except DataError as error:
            note(self.done, path, error, listener)
            return []

    # ---- an image

    def read(self, job: Case) -> "_Given":
        """Read an image and its field of view; only open a large image."""
        picture = self.parts.layout.opened(job.image, job.index)
        try:
            if self.parts.can_stream and picture.is_large:
                picture.prepare(self.folder)
                return _Given(picture, self._field(job, _Converted(picture, self.parts.layout)))
            sample = Sample(self.parts.layout.converted(picture.read(), picture.path))
        except BaseException:
            picture.close()
            raise
        picture.close()
        return _Given(sample, self._field(job, InMemory(sample.image)))

    def _field(self, job: Case, pixels: Pixels) -> Field | None:
        return self.fields.of(job.image, pixels.size, pixels.read) if self.ndim == 2 else None

    def find(self, job: Case, given: "_Given") -> Found:
        """Run the network on an image; for a large one, later, when its bands are written."""
        image, field = given.image, given.field
        if isinstance(image, Picture):
            pixels = _Converted(image, self.parts.layout)
            return Found(pixels, self.parts.bands(pixels, self.folder, field), image)
        return _found(image, self.parts.predict(image, field))

    def together(self, given: "_Given") -> tuple[Hashable, int]:
        """Let small images of one size share a call."""
        size = given.image.size
        return size, 1 if isinstance(given.image, Picture) else self.parts.at_once(size)

    def find_together(self, jobs: Sequence[Case], given: Sequence["_Given"]) -> list[Found]:
        """Run the network once for all images."""
        samples = [each.image for each in given if isinstance(each.image, Sample)]
        predictions = self.parts.predict_together(samples, [each.field for each in given])
        return [_found(sample, prediction) for sample, prediction in zip(samples, predictions, strict=True)]

    def is_streamed(self, found: Found) -> bool:
        """Tell whether the image is large."""
        return found.picture is not None

    def write(self, job: Case, found: Found) -> None:
        """Write the result, and close a large image."""
        try:
            self.write_found(job, found)
        finally:
            if found.picture is not None:
                found.picture.close()

    @abstractmethod
    def write_found(self, case: Case, found: Found) -> None:
        """Write the prediction of a case."""

    # ---- several processes

    def cost(self, job: Case) -> Cost:
        """Count the pixels that the network sees, and its calls; nothing for an image that cannot be read."""
        try:
            with open_picture(job.image, self.ndim, job.index) as picture:
                size = picture.size
        except DataError:  # told when the image is read
            return Cost(0)
        return Cost(math.prod(self.parts.pipeline.network_size(size)), self.parts.groups(size))

    def key(self, job: Case) -> str:
        """Return the place of an image."""
        return job.place

    def key_of(self, entry: dict[str, Any]) -> str:
        """Return the place of the image."""
        return str(entry["image"])

    def block(self, job: Case) -> Hashable:
        """Let one process write all volumes of a file."""
        return job.image if self.parts.layout.shares_file(job) else job.place

    @contextmanager
    def shared_by(self, team: TileTeam) -> Iterator[None]:
        """Let several processes share out the tiles of the next images."""
        own, self.parts = self.parts, replace(self.parts, team=team)
        try:
            yield
        finally:
            self.parts = own

    def help(self, job: Case) -> None:
        """Compute this process's share of the tiles of an image."""
        image = self.read(job).image
        try:
            self.parts.help(_Converted(image, self.parts.layout) if isinstance(image, Picture) else image)
        finally:
            if isinstance(image, Picture):
                image.close()

    def state(self, planned: int) -> dict[str, Any]:
        """Return results, and where fields of view came from."""
        return {**super().state(planned), "fields": self.fields.sources}

    def join(self, states: Sequence[dict[str, Any]], jobs: Sequence[Case]) -> None:
        """Take over results, and where fields of view came from."""
        super().join(states, jobs)
        self.fields.join((state["fields"] for state in states), (job.image for job in jobs))


def _found(image: Sample, prediction: Prediction) -> Found:
    return Found(InMemory(image.image), [(slice(0, image.size[0]), prediction)])
