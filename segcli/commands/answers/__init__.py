"""Results of `segcli predict`: pictures, volumes or classes. This file holds their common interface."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from segcli.core.errors import SegcliError
from segcli.core.names import safe_name
from segcli.engine.events import Listener
from segcli.engine.inference.predictor import Overrides, Predictor
from segcli.engine.inference.tiles.tile_team import TileTeam
from segcli.report.results import Predicted

if TYPE_CHECKING:
    from segcli.engine.world import World

__all__ = ["Answers", "Cost", "Job", "PredictOptions", "note"]

PREDICTIONS = Path("outputs") / "predictions"


@dataclass(frozen=True)
class PredictOptions:
    """Selects the results to write."""

    out: Path | None = None
    """Folder of the results; default: `outputs/predictions/<run>`."""
    overlays: bool = False
    """Also write the image with the mask drawn on it."""
    probabilities: bool = False
    """Also write the probability as a 16-bit image."""
    uncertainty: bool = False
    """Also write the uncertainty of each pixel, as a 16-bit image."""
    video: Path | None = None
    """Also write the overlays as a video, in the order of the images."""
    fps: float = 10.0
    """Frames per second of the video."""
    page: int | None = None
    """Page to predict of 2D files of several pages, counted from 0; None: as the data set states."""
    overwrite: bool = False
    fov: Path | None = None
    """Folder of field-of-view masks, named as the images."""
    skip_existing: bool = False
    """Skip images whose mask exists."""
    mark: str = ""
    """End of the name of the default folder, which tells the checkpoint."""

    def folder(self, name: str) -> Path:
        """Return the folder of the results; the name may come from a file, so it is made safe."""
        return self.out or PREDICTIONS / safe_name(f"{name}{self.mark}")


class Job(Protocol):
    """Identifies one image, volume or sample to predict."""

    @property
    def image(self) -> Path:
        """Return the file or folder that is named if the prediction fails."""
        ...


@dataclass(frozen=True)
class Cost:
    """Tells how much work a job is, to share out jobs between processes."""

    pixels: int
    """Pixels, or another number that grows like the time of a job."""
    groups: int = 1
    """Calls of the network, each for a group of tiles, that can be shared out."""


class Answers(ABC):
    """Finds the images to predict, and writes the predictions.

    Args:
        inputs: Files, folders and globs.
        opened: Opens the networks; called after the inputs are found, if that needs no network.
        options: Selects the results to write.
        extensions: File extensions of images, in addition to the known ones.

    Raises:
        DataError: An input does not exist.
        SegcliError: A network or the device fails.
    """

    notes_writing: ClassVar[bool] = False
    """True: if a result cannot be written, the other inputs are still predicted. False: the command ends."""

    world: "World | None" = None
    """Processes that share out the jobs; None for a single process."""
    relay: Listener
    """Receives messages about the current job."""

    def __init__(
        self,
        inputs: Sequence[str],
        opened: Callable[[], Sequence[Predictor]],
        options: PredictOptions,
        *,
        extensions: Sequence[str] = (),
    ) -> None:
        self.inputs, self.options = inputs, options
        self.files = self.files_of(inputs, extensions)
        self.members = list(opened())
        name = self.agree()
        self.done = Predicted(name, self.members[0].source, options.folder(name))
        """Results that were written so far."""

    @classmethod
    def refuse(cls, overrides: Overrides, options: PredictOptions) -> None:
        """Refuse options that these results do not have.

        Raises:
            ConfigError: Such an option was given.
        """
        return

    def files_of(self, inputs: Sequence[str], extensions: Sequence[str]) -> list[Path]:
        """Find the files that the inputs name; empty if that needs a network."""
        return []

    @abstractmethod
    def agree(self) -> str:
        """Check that the networks fit together, and return their common name.

        Raises:
            ConfigError: The networks do not fit together.
        """

    @abstractmethod
    def jobs(self, listener: Listener) -> Sequence[Any]:
        """Plan all results, and list the jobs.

        Raises:
            ConfigError: A result would replace another result, an input, or an existing file.
            DataError: There is nothing to predict.
        """

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Keep shared files open, such as a video."""
        yield

    @abstractmethod
    def read(self, job: Any) -> Any:
        """Read the data of a job; called ahead, in a separate thread.

        Raises:
            DataError: The data cannot be read.
        """

    @abstractmethod
    def find(self, job: Any, given: Any) -> Any:
        """Run the network on the data; a large image is predicted later by `write`, band by band.

        Raises:
            DataError: The data do not fit the network.
        """

    def together(self, given: Any) -> tuple[Hashable, int]:
        """Tell which data can share a call of the network, those with an equal key, and how many of them."""
        return None, 1

    def find_together(self, jobs: Sequence[Any], given: Sequence[Any]) -> list[Any]:
        """Run the network on data that share a call, with the results of `find`.

        Raises:
            DataError: The data of a job do not fit the network.
        """
        return [self.find(job, each) for job, each in zip(jobs, given, strict=True)]

    def is_streamed(self, found: Any) -> bool:
        """Tell whether `write` runs the network itself; the result is then written without a thread."""
        return False

    @abstractmethod
    def write(self, job: Any, found: Any) -> None:
        """Write the result, the mask last: if the mask exists, the result is complete.

        Raises:
            DataError: The result cannot be written, or a part of a large image cannot be read.
        """

    def close(self) -> None:
        """Complete the files of this process after its last result."""
        return

    def finish(self) -> None:
        """Complete the files of all results; of several processes, only the first one does."""
        return

    # ---- several processes

    @property
    def is_first(self) -> bool:
        """Tell whether this process writes what belongs to all results."""
        return self.world is None or self.world.is_first

    @abstractmethod
    def cost(self, job: Any) -> Cost:
        """Estimate the work of a job."""

    def block(self, job: Any) -> Hashable:
        """Return what a job has in common with the others that the same process must predict."""
        return self.key(job)

    @abstractmethod
    def key(self, job: Any) -> Hashable:
        """Return what tells a job from all others."""

    @abstractmethod
    def key_of(self, entry: dict[str, Any]) -> Hashable:
        """Return the key of the job of an entry of `done.written`."""

    @contextmanager
    def shared_by(self, team: TileTeam) -> Iterator[None]:
        """Let several processes share out the tiles of the next jobs."""
        yield

    def help(self, job: Any) -> None:
        """Compute this process's share of the tiles of a job that the first process predicts.

        Raises:
            DataError: The data cannot be read.
        """
        raise NotImplementedError

    def state(self, planned: int) -> dict[str, Any]:
        """Return what this process has to tell the others.

        Args:
            planned: Failures that all processes found before the jobs were shared out.
        """
        return {"written": self.done.written, "failed": self.done.failed[planned:], "presence": self.done.presence}

    def join(self, states: Sequence[dict[str, Any]], jobs: Sequence[Any]) -> None:
        """Take over the `state` of all processes, in the order of the jobs."""
        position = {self.key(job): index for index, job in enumerate(jobs)}
        files: dict[str, int] = {}
        for index, job in enumerate(jobs):
            files.setdefault(str(job.image), index)
        planned = len(self.done.failed) - len(states[0 if self.world is None else self.world.rank]["failed"])
        written = [entry for state in states for entry in state["written"]]
        failed = [entry for state in states for entry in state["failed"]]
        self.done.written[:] = sorted(written, key=lambda entry: position[self.key_of(entry)])
        self.done.failed[planned:] = sorted(failed, key=lambda entry: files[entry["file"]])


def note(done: Predicted, path: Path, error: SegcliError, listener: Listener) -> None:
    """Record a failure, and warn with the way out."""
    done.failed.append({"file": str(path), "message": error.message})
    listener.warn(f"{error.message} ({error.hint})" if error.hint else error.message)
