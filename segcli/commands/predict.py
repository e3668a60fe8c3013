"""`segcli predict`: find inputs, plan all results, predict, and record failures; reading and writing run in threads."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from segcli.commands.answers import Answers, Job, PredictOptions, note
from segcli.commands.answers.groups import Read, read_ahead
from segcli.core.errors import ConfigError, DataError
from segcli.core.files import names_flushed_once
from segcli.engine.events import Listener, Relay, heard_by
from segcli.engine.inference.predictor import Candidate, Overrides, Predictor
from segcli.engine.stopping import StopSignal
from segcli.report.results import Predicted

if TYPE_CHECKING:
    from segcli.engine.world import World

__all__ = ["predict", "write_all"]


def predict(
    inputs: Sequence[str],
    networks: Sequence[Candidate],
    overrides: Overrides,
    options: PredictOptions,
    *,
    listener: Listener,
    world: "World | None" = None,
) -> Predicted:
    """Predict the inputs with one network or an ensemble, and write masks or a table of classes.

    Args:
        inputs: Files, folders and globs.
        networks: Networks that predict. Their weights are read only after the networks are known to fit together.
        overrides: Settings that replace those of the networks.
        options: Selects the results to write.
        listener: Receives progress and warnings.
        world: Processes that share out the inputs; all of them return the results. Default: this process alone.

    Raises:
        ConfigError: The networks do not fit together, a result would overwrite a file, or an option does not apply.
        DataError: No input can be predicted.
        SegcliError: A network or the device fails.
    """
    first, listener = networks[0], heard_by(world, listener)
    for other in networks[1:]:
        if other.task is not first.task:
            raise ConfigError(
                f"`{first.source}` and `{other.source}` differ in the task ({first.task.__name__} and "
                f"{other.task.__name__})",
                hint="average only networks that were trained for the same task",
            )

    def opened() -> list[Predictor]:
        predictors = [network.open() for network in networks]
        notices = [text for each in predictors for text in (each.notice, each.looks)]
        for text in dict.fromkeys(text for text in notices if text is not None):
            listener.notice(text)
        return predictors

    kind = _kind_for(first)
    kind.refuse(overrides, options)
    return write_all(kind(inputs, opened, options, extensions=first.extensions), listener, world)


def _kind_for(network: Candidate) -> type[Answers]:
    """Choose the class that writes the results."""
    if not network.task.has_pixels:
        from segcli.commands.answers.classes import ClassAnswers  # noqa: PLC0415 - imported only when needed

        return ClassAnswers
    if network.layout.ndim == 3:
        from segcli.commands.answers.volumes import VolumeAnswers  # noqa: PLC0415

        return VolumeAnswers
    from segcli.commands.answers.pictures import PictureAnswers  # noqa: PLC0415

    return PictureAnswers


def write_all(answers: Answers, listener: Listener, world: "World | None" = None) -> Predicted:
    """Predict all inputs; read the next one and write the last one in threads, and record failures.

    Of several processes, each predicts and writes some of the inputs, and the first one tells of all.

    Raises:
        ConfigError: A result would overwrite a file.
        DataError: There is nothing to predict, or a result that the other results need cannot be written.
        SegcliError: The device fails.
    """
    answers.world = None if world is None or world.is_alone else world
    jobs = answers.jobs(listener)
    planned = len(answers.done.failed)
    answers.relay = relay = Relay(answers.world, listener)
    listener.stage("prediction", len(jobs))
    with StopSignal(), names_flushed_once(), answers.opened():
        _predict_each(answers, jobs, relay)
        answers.close()
        if answers.world is not None:
            relay.wait()
            states = answers.world.gathered((answers.state(planned), relay.messages))
            answers.join([state for state, _ in states], jobs)
            relay.tell([messages for _, messages in states])
    if answers.is_first:
        answers.finish()
    return answers.done


def _predict_each(answers: Answers, jobs: Sequence[Any], relay: Relay) -> None:
    """Predict all jobs, or this process's share of them."""
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as pool:
        behind = _Behind(answers, pool, relay)
        try:
            mine: Sequence[int] = range(len(jobs))
            if answers.world is not None:
                from segcli.commands.answers.sharing import plan_of, predict_together  # noqa: PLC0415 - with PyTorch

                answers.world.barrier()  # now all have looked at the folder of the results
                plan = answers.world.told(plan_of(answers, jobs, answers.world) if answers.is_first else None)
                assert plan is not None
                predict_together(answers, jobs, plan.together, answers.world, relay, behind.write)
                mine = plan.shares[answers.world.rank]
            for group in read_ahead(reader, answers, jobs, mine):
                _predict_group(answers, jobs, group, relay, behind)
        finally:
            behind.settle()


def _predict_group(answers: Answers, jobs: Sequence[Any], group: list[Read], relay: Relay, behind: "_Behind") -> None:
    """Predict the jobs of a group, and write their results behind; by one call of the network if they are several."""
    found = _found_together(answers, jobs, group)
    for index, read in enumerate(group):
        relay.position, job = read.position, jobs[read.position]
        try:
            if read.error is not None:
                raise read.error
            result = found[index] if found else answers.find(job, read.given)
        except DataError as error:
            note(answers.done, job.image, error, relay)
        else:
            behind.write(job, result, waiting=len(group))
        relay.advance()


def _found_together(answers: Answers, jobs: Sequence[Any], group: list[Read]) -> list[Any]:
    """Run the network once for several jobs; empty for a single job, or if one of them does not fit the network."""
    if len(group) == 1:
        return []
    try:
        return answers.find_together([jobs[read.position] for read in group], [read.given for read in group])
    except DataError:  # told when the jobs are predicted one by one
        return []


class _Behind:
    """Writes results while the next ones are predicted; at most as many wait as share a call of the network."""

    def __init__(self, answers: Answers, pool: Executor, listener: Listener) -> None:
        self.answers, self.pool, self.listener = answers, pool, listener
        self.writing: deque[tuple[Job, Future[None]]] = deque()

    def write(self, job: Job, found: Any, *, waiting: int = 1) -> None:
        """Start to write a result as soon as fewer than `waiting` others wait."""
        streamed = self.answers.is_streamed(found)
        self.settle(0 if streamed else waiting - 1)
        if not streamed:
            self.writing.append((job, self.pool.submit(self.answers.write, job, found)))
            return
        try:
            self.answers.write(job, found)
        except DataError as error:
            note(self.answers.done, job.image, error, self.listener)

    def settle(self, most: int = 0) -> None:
        """Wait until at most so many results are not written, and record failures."""
        while len(self.writing) > most:
            job, future = self.writing.popleft()
            try:
                future.result()
            except DataError as error:
                if not self.answers.notes_writing:
                    self._drop()
                    raise
                note(self.answers.done, job.image, error, self.listener)

    def _drop(self) -> None:
        """Give up what waits, after a failure that ends the command: the first failure is the one to tell."""
        for _, future in self.writing:
            future.cancel()
        self.writing.clear()
