"""Jobs read ahead, in groups whose data share a call of the network."""

from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from segcli.commands.answers import Answers
from segcli.engine.inference.joint.sizes import MANY

__all__ = ["Read", "read_ahead"]


@dataclass(frozen=True)
class Read:
    """Holds the data of a job, or the reason why it cannot be read."""

    position: int
    given: Any = None
    error: Exception | None = None
    key: Hashable = None
    most: int = 1
    """Jobs of this key that share a call of the network."""


def read_ahead(pool: Executor, answers: Answers, jobs: Sequence[Any], positions: Sequence[int]) -> Iterator[list[Read]]:
    """Yield jobs in their order, in groups, while the next group is being read; fewer than `MANY` come one by one.

    Args:
        pool: Thread that reads.
        answers: Reads the data.
        jobs: All jobs.
        positions: Positions of the jobs to read.
    """
    reads = (_read(answers, jobs, position, alone=len(positions) < MANY) for position in positions)
    groups = _groups(reads)
    following = pool.submit(next, groups, None)
    while (group := following.result()) is not None:
        following = pool.submit(next, groups, None)
        yield group


def _read(answers: Answers, jobs: Sequence[Any], position: int, *, alone: bool) -> Read:
    try:
        given = answers.read(jobs[position])
    except Exception as error:  # raised in the turn of the job, when those before it are predicted
        return Read(position, error=error)
    key, most = (None, 1) if alone else answers.together(given)
    return Read(position, given, key=key, most=most)


def _groups(reads: Iterator[Read]) -> Iterator[list[Read]]:
    """Put jobs that follow each other together: as many as share a call, and else each by itself."""
    group: list[Read] = []
    for read in reads:
        if group and (read.key, read.most) != (group[0].key, group[0].most):
            yield from ([each] for each in group)
            group = []
        group.append(read)
        if len(group) == read.most:
            yield group
            group = []
    yield from ([each] for each in group)
