"""Make a plan fit the memory of a GPU: first validation needs less, then the batch, the patch and the network."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from segcli.config.schema import Run
from segcli.core.errors import DeviceError
from segcli.planning.facts import Measures, Plan
from segcli.planning.machine import GIB, Machine
from segcli.planning.room import LEAST_BATCH, Room, smaller_patches
from segcli.vram.forecast import Forecaster
from segcli.vram.inputs import with_batch_size

__all__ = ["fitted_memory"]

FREE = 0.9
"""Share of the GPU's memory that a plan may fill."""
TILE = (512, 512)
"""Tile of 2D images where larger ones do not fit."""
PARTS = (2, 4)
"""Parts of a side to which a patch is shortened, at most: to a half before the network becomes narrower."""
Planned = tuple[Plan, Run]
Replanned = Callable[[Room | None], Planned]


def fitted_memory(replanned: Replanned, measures: Measures, machine: Machine) -> Plan:
    """Lower what a plan needs until the forecast fits, and tell why.

    Args:
        replanned: Makes the plan, and its run, for what the memory has room for; None: as if it were enough.
        measures: What the pixels say.
        machine: GPU that the plan is for.

    Raises:
        DeviceError: Not even the smallest patch of the narrowest network fits.
    """
    plan, run = replanned(None)
    inputs = Forecaster(run).inputs
    forecasts: list[tuple[Run, int]] = []

    def needed(tried: Run) -> int:
        found = next((size for each, size in forecasts if each == tried), None)
        if found is None:
            patch = tried.data.patch_size
            found = Forecaster(tried, inputs if patch is None else replace(inputs, train=tuple(patch))).device
            forecasts.append((tried, found))
        return found

    def fits(tried: Run) -> bool:
        return needed(tried) <= FREE * machine.memory_gib * GIB

    def trains(tried: Run) -> bool:
        return fits(_validated(tried)[-1])

    best = run
    if not fits(run):
        batches = range(run.data.batch_size, LEAST_BATCH - 1, -1)
        fewer = _first_that([(plan, with_batch_size(run, count)) for count in batches], trains)
        plan, trained = fewer or _smaller(replanned, plan, measures, trains, machine)
        best = next(each for each in _validated(trained) if fits(each))
    _write(plan, best)
    peak = needed(best) / GIB
    plan.reasons["data.batch_size"] = f"{machine.words}, and the forecast of a step is {peak:.1f} GiB"
    return plan


def _validated(run: Run) -> list[Run]:
    """Validate as planned, then one image at a time, then in small tiles, which costs time and no accuracy."""
    single = run.model_copy(update={"data": run.data.model_copy(update={"val_batch_size": 1})})
    tile = run.inference.tile
    if tile is None or len(tile) != len(TILE) or max(tile) <= max(TILE):
        return [run, single]
    small = run.inference.model_copy(update={"tile": list(TILE)})
    return [run, single, single.model_copy(update={"inference": small})]


def _write(plan: Plan, run: Run) -> None:
    """Write into a plan how many images a step has, and how it is validated."""
    plan.keys["data"]["batch_size"] = run.data.batch_size
    if run.data.val_batch_size is not None:
        plan.keys["data"]["val_batch_size"] = run.data.val_batch_size
        plan.reasons["data.val_batch_size"] = "several at once need more memory than the training"
    if run.inference.tile == list(TILE):
        plan.keys.setdefault("inference", {})["tile"] = list(TILE)
        plan.reasons["inference.tile"] = "larger ones need more memory than the training"


def _smaller(
    replanned: Replanned, plan: Plan, measures: Measures, fits: Callable[[Run], bool], machine: Machine
) -> Planned:
    """Find the first of ever smaller plans that fits; those of a batch of one come last."""
    for batch in (LEAST_BATCH, 1):
        for rooms in _rooms(plan, measures, machine, batch):
            best = _first_that([replanned(room) for room in rooms], fits)
            if best is not None:
                return best
    raise DeviceError(
        f"by the forecast, not even the smallest patch of the narrowest network fits {machine.words}",
        hint="plan for another GPU with `--vram`, or on the CPU",
    )


def _rooms(plan: Plan, measures: Measures, machine: Machine, batch: int) -> Iterator[list[Room]]:
    """List ever narrower networks, each with patches from large to small."""
    steps = range(plan.num_widths)
    if plan.patch_multiple is None:
        yield from ([Room(narrower=narrower, batch=batch)] for narrower in steps)
        return
    stated = plan.keys["data"].get("patch_size")
    whole = [int(each) for each in stated or measures.sizes.median]
    words = "x".join(map(str, whole))
    reason = f"the largest patch of which {batch} fit {machine.words}; in {words}, a step would hold fewer"
    if batch == 1:
        reason = f"the largest patch that fits {machine.words}, one at a time"
    for part in PARTS:
        patches = [tuple(whole) if stated else None, *smaller_patches(whole, plan.patch_multiple, part)]
        for narrower in steps:
            yield [
                Room(patch, reason if patch not in (None, tuple(whole)) else "", narrower, batch) for patch in patches
            ]


def _first_that(plans: Sequence[Planned], fits: Callable[[Run], bool]) -> Planned | None:
    """Find the first plan whose run fits, of plans that need ever less; None if the last one does not."""
    if not plans or not fits(plans[-1][1]):
        return None
    return plans[bisect_left(plans, True, hi=len(plans) - 1, key=lambda each: fits(each[1]))]
