"""Share out a prediction between processes: whole files, and of large images the tiles."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segcli.commands.answers import Answers, Job, note
from segcli.core.errors import DataError
from segcli.engine.events import Relay
from segcli.engine.inference.tiles.tile_team import TileTeam

if TYPE_CHECKING:
    from segcli.engine.world import World

__all__ = ["Plan", "plan_of", "predict_together"]

GAIN = 0.9
"""Tiles are shared out if this takes at most this share of the time; whole files need no exchange."""


@dataclass(frozen=True)
class Plan:
    """Tells who predicts which job."""

    together: list[int]
    """Jobs whose tiles are shared out, one job after another."""
    shares: list[list[int]]
    """Jobs that each process predicts by itself."""


def plan_of(answers: Answers, jobs: Sequence[Any], world: "World") -> Plan:
    """Choose who predicts which job, so that all processes end at about the same time.

    Jobs whose results go into one file stay together.
    """
    blocks: dict[Hashable, list[int]] = {}
    for index, job in enumerate(jobs):
        blocks.setdefault(answers.block(job), []).append(index)
    pixels, groups = [], []
    for job in jobs:
        cost = answers.cost(job)
        pixels.append(cost.pixels)
        groups.append(cost.groups)
    rounds = [-(-count // world.size) / count for count in groups]

    def total(block: list[int]) -> float:
        return sum(pixels[index] for index in block)

    order = sorted(blocks.values(), key=total, reverse=True)
    best: tuple[float, Plan] | None = None
    for count in range(min(len(order), 2 * world.size) + 1):
        together = [index for block in order[:count] for index in block]
        alone = order[count:]
        shares = [[alone[number] for number in share] for share in world.shares([total(block) for block in alone])]
        time = sum(pixels[index] * rounds[index] for index in together)
        time += max(sum(map(total, share)) for share in shares)
        if best is None or time < GAIN * best[0]:
            flat = [sorted(index for block in share for index in block) for share in shares]
            best = time, Plan(sorted(together), flat)
    assert best is not None
    return best[1]


def predict_together(
    answers: Answers,
    jobs: Sequence[Any],
    together: Sequence[int],
    world: "World",
    relay: Relay,
    write: Callable[[Job, Any], None],
) -> None:
    """Predict the jobs whose tiles are shared out; the first process writes the results.

    Args:
        answers: Finds and writes the predictions.
        jobs: All jobs.
        together: Positions of the jobs to predict here.
        world: The processes.
        relay: Receives progress and messages.
        write: Writes a result; raises no `DataError` that is about its job alone.
    """
    team = TileTeam(world)
    with answers.shared_by(team):
        for index in together:
            job, relay.position, found = jobs[index], index, None
            try:
                with team.image():
                    if world.is_first:
                        found = answers.find(job, answers.read(job))
                        if answers.is_streamed(found):
                            answers.write(job, found)
                            found = None
                    else:
                        answers.help(job)
            except DataError as error:
                note(answers.done, job.image, error, relay)
            else:
                if found is not None:
                    write(job, found)
            if world.is_first:
                relay.advance()
