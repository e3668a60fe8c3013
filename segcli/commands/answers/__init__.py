"""Answers of a prediction: pictures, volumes or classes. What every kind of them keeps stands here."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from segcli.core.names import safe_name
from segcli.engine.events import Listener
from segcli.engine.inference.predictor import Overrides, Predictor
from segcli.report.results import Predicted

__all__ = ["Answers", "Job", "PredictOptions", "note"]

PREDICTIONS = Path("outputs") / "predictions"


@dataclass(frozen=True)
class PredictOptions:
    """Says what is written, and how."""

    out: Path | None = None
    """Folder of the results; `outputs/predictions/<run>` when left out."""
    overlays: bool = False
    """Also write the image with the mask's outline on it."""
    probabilities: bool = False
    """Also write the probability as a 16-bit image."""
    uncertainty: bool = False
    """Also write how uncertain each pixel is, as a 16-bit image."""
    video: Path | None = None
    """Also write the overlays as a video, in the order of the images."""
    fps: float = 10.0
    """Frames per second of the video."""
    overwrite: bool = False
    skip_existing: bool = False
    """Pass over images whose mask is there."""

    def folder(self, name: str) -> Path:
        """Give the folder of the results of a network, whose name a file may say."""
        return self.out or PREDICTIONS / safe_name(name)


class Job(Protocol):
    """One image, volume or sample that gets an answer."""

    @property
    def image(self) -> Path:
        """File or folder that a failure is noted for."""
        ...


class Answers(ABC):
    """Finds what is to be predicted, and writes what is found in it.

    Args:
        inputs: Files, folders and globs.
        opened: Open the networks; called when the inputs are found, where that takes no network.
        options: What is written.
        extensions: Ends of the names of images beside those that are known.

    Raises:
        DataError: An input is nothing.
        SegcliError: A network or the device fail.
    """

    notes_writing: ClassVar[bool] = False
    """True where the others go on where an answer cannot be written; else the command ends."""

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
        """Name an option that this kind of answers does not have.

        Raises:
            ConfigError: It was given.
        """
        return

    def files_of(self, inputs: Sequence[str], extensions: Sequence[str]) -> list[Path]:
        """Find the files that the inputs name, as far as that takes no network."""
        return []

    @abstractmethod
    def agree(self) -> str:
        """Bring the networks together, and give them one name.

        Raises:
            ConfigError: They do not go together.
        """

    @abstractmethod
    def jobs(self, listener: Listener) -> Sequence[Any]:
        """Plan all results, and give what is to be predicted.

        Raises:
            ConfigError: A result would replace another one, an input, or what is there.
            DataError: There is nothing to predict.
        """

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold open what all answers share, such as a video."""
        yield

    @abstractmethod
    def read(self, job: Any) -> Any:
        """Read ahead, in a thread of its own, what a job needs.

        Raises:
            DataError: It cannot be read.
        """

    @abstractmethod
    def find(self, job: Any, given: Any) -> Any:
        """Run the network on what was read; what is large is left for `write`, to be run band by band.

        Raises:
            DataError: It is not as the network needs it.
        """

    def is_streamed(self, found: Any) -> bool:
        """Say whether the network still runs while an answer is written, which then does not happen behind it."""
        return False

    @abstractmethod
    def write(self, job: Any, found: Any) -> None:
        """Write the answer, the mask last: where it is, everything is.

        Raises:
            DataError: It cannot be written, or a part of a large image cannot be read.
        """

    def finish(self) -> None:
        """Complete what all answers share, when the last is written."""
        return


def note(done: Predicted, path: Path, message: str, listener: Listener) -> None:
    """Note a failure, and tell it."""
    done.failed.append({"file": str(path), "message": message})
    listener.warn(message)
