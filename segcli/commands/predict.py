"""`segcli predict`: find the inputs, plan all results, read ahead, predict, write behind, and note what failed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

from segcli.commands.answers import Answers, Job, PredictOptions, note
from segcli.core.errors import ConfigError, DataError
from segcli.engine.events import Listener
from segcli.engine.inference.predictor import Candidate, Overrides, Predictor
from segcli.engine.stopping import StopSignal
from segcli.report.results import Predicted

__all__ = ["predict", "write_all"]


def predict(
    inputs: Sequence[str],
    networks: Sequence[Candidate],
    overrides: Overrides,
    options: PredictOptions,
    *,
    listener: Listener,
) -> Predicted:
    """Write what one network, or several together, find in the inputs: masks, or a table of classes.

    Args:
        inputs: Files, folders and globs.
        networks: Those that predict; no weights are read before it is clear that they go together.
        overrides: What was set in place of what the networks say.
        options: What is written.
        listener: Hears what happens.

    Raises:
        ConfigError: The networks do not go together, a result would overwrite a file, or an option does not apply.
        DataError: No input can be predicted.
        SegcliError: A network or the device fail.
    """
    first = networks[0]
    for other in networks[1:]:
        if other.task is not first.task:
            raise ConfigError(
                f"`{first.source}` and `{other.source}` differ in the task ({first.task.__name__} and "
                f"{other.task.__name__})",
                hint="networks that are averaged were trained for one task",
            )

    def opened() -> list[Predictor]:
        return [network.open() for network in networks]

    kind = _kind_for(first)
    kind.refuse(overrides, options)
    return write_all(kind(inputs, opened, options, extensions=first.extensions), listener)


def _kind_for(network: Candidate) -> type[Answers]:
    """Choose who writes the answers."""
    if not network.task.has_pixels:
        from segcli.commands.answers.classes import ClassAnswers  # noqa: PLC0415 - loaded when it is needed

        return ClassAnswers
    if network.layout.ndim == 3:
        from segcli.commands.answers.volumes import VolumeAnswers  # noqa: PLC0415

        return VolumeAnswers
    from segcli.commands.answers.pictures import PictureAnswers  # noqa: PLC0415

    return PictureAnswers


def write_all(answers: Answers, listener: Listener) -> Predicted:
    """Read ahead, predict, write behind, and note what failed.

    Raises:
        ConfigError: A result would overwrite a file.
        DataError: There is nothing to predict, or an answer that the others need cannot be written.
        SegcliError: The device fails.
    """
    jobs = answers.jobs(listener)
    listener.stage("prediction", len(jobs))
    with (
        StopSignal(),
        answers.opened(),
        ThreadPoolExecutor(1, "read") as reader,
        ThreadPoolExecutor(1, "write") as pool,
    ):
        behind = _Behind(answers, pool, listener)
        try:
            for job, reading in _read_ahead(reader, jobs, answers.read):
                try:
                    found = answers.find(job, reading.result())
                except DataError as error:
                    note(answers.done, job.image, error.message, listener)
                else:
                    behind.write(job, found)
                listener.advance()
        finally:
            behind.settle()
    answers.finish()
    return answers.done


Given = TypeVar("Given")


def _read_ahead(
    pool: Executor, jobs: Iterable[Any], read: Callable[[Any], Given]
) -> Iterator[tuple[Any, "Future[Given]"]]:
    """Give each job with what was read for it, while the next one is being read."""
    waiting: list[tuple[Any, Future[Given]]] = []
    for job in jobs:
        waiting.append((job, pool.submit(read, job)))
        if len(waiting) > 1:
            yield waiting.pop(0)
    yield from waiting


class _Behind:
    """Writes an answer while the next one is found; one waits at most, whatever is slower."""

    def __init__(self, answers: Answers, pool: Executor, listener: Listener) -> None:
        self.answers, self.pool, self.listener = answers, pool, listener
        self.writing: tuple[Job, Future[None]] | None = None

    def write(self, job: Job, found: Any) -> None:
        """Begin to write an answer, when the one before it is settled."""
        self.settle()
        if not self.answers.is_streamed(found):
            self.writing = job, self.pool.submit(self.answers.write, job, found)
            return
        try:
            self.answers.write(job, found)
        except DataError as error:
            note(self.answers.done, job.image, error.message, self.listener)

    def settle(self) -> None:
        """Wait for an answer to be written, and note it where it cannot be."""
        if self.writing is None:
            return
        (job, future), self.writing = self.writing, None
        try:
            future.result()
        except DataError as error:
            if not self.answers.notes_writing:
                raise
            note(self.answers.done, job.image, error.message, self.listener)
