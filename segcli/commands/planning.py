"""Make a plan for a folder of images: choices by the facts, batch by the memory forecast, epochs by the clock."""

import tempfile
import time
from pathlib import Path

from segcli.commands.plan_memory import fitted_memory
from segcli.commands.train import report_of_timing
from segcli.config.load import run_from_values
from segcli.config.schema import Run
from segcli.core.process import command_began
from segcli.engine.events import Listener, Silent
from segcli.engine.runfolder import RunFolder
from segcli.engine.stopping import StopSignal
from segcli.engine.training.clock.length import fitted_interval
from segcli.engine.training.clock.rehearsal import measured_costs, with_length
from segcli.engine.training.session import open_session
from segcli.planning.facts import Measures, Plan, Recognised
from segcli.planning.machine import this_machine
from segcli.planning.plan import planned
from segcli.planning.room import Room

__all__ = ["plan_for", "run_of"]


def plan_for(
    found: Recognised,
    measures: Measures,
    *,
    minutes: float | None = None,
    vram: int | None = None,
    trains: bool = False,
    listener: Listener,
) -> Plan:
    """Plan an experiment for this machine, or for a GPU with other memory.

    Args:
        found: The data set.
        measures: What its pixels say.
        minutes: Minutes that the training takes; the epochs that fit are timed here and written down.
        vram: Bytes of the memory of a GPU; that of the GPU here, if there is one, when left out.
        trains: The training follows in the same command, whose minutes have begun.
        listener: Receives progress.

    Raises:
        ConfigError: The minutes are not enough for a single step.
        DeviceError: Not even the smallest plan fits into `vram`.
        DataError: An image cannot be read.
    """
    machine = this_machine(vram)

    def replanned(room: Room | None) -> tuple[Plan, Run]:
        made = planned(found, measures, machine, minutes, room)
        return made, run_of(found, made)

    plan = fitted_memory(replanned, measures, machine) if machine.is_gpu else replanned(None)[0]
    if minutes is not None and vram is None:
        _fit_clock(plan, run_of(found, plan), minutes, listener, began=command_began() if trains else None)
    return plan


def run_of(found: Recognised, plan: Plan) -> Run:
    """Make the run that the two files of a plan describe."""
    values = {"name": found.name, "dataset": {"name": found.name, **found.keys}, **plan.keys}
    return run_from_values(values, source=f"the plan for {found.root}")


def _fit_clock(plan: Plan, run: Run, minutes: float, listener: Listener, *, began: float | None) -> None:
    """Time the plan here, and write down the epochs that fit into the minutes.

    The training opens its session again, which counts; `began` is the time from which all else counts as well.
    """
    seconds, opened = 60.0 * minutes, time.monotonic()
    with tempfile.TemporaryDirectory() as place, StopSignal() as stop:
        trainer = open_session(run, RunFolder(Path(place)), Silent(), stop, rehearsal=True)
        opening_s = time.monotonic() - opened
        listener.stage("timing a few steps")
        costs = measured_costs(trainer, seconds, report_of_timing)
        seconds -= opening_s + (0.0 if began is None else time.monotonic() - began)
        batches, group = len(trainer.train), trainer.step.group
        interval = fitted_interval(costs, seconds, batches=batches, group=group)
        run = run.model_copy(update={"training": run.training.model_copy(update={"val_interval": interval})})
        fitted, text = with_length(run, costs, seconds, batches)
    training = plan.keys["training"]
    epochs = fitted.training.epochs
    plan.keys["training"] = training = {"epochs": epochs, **training}
    for key in ("minutes", "val_interval"):
        training.pop(key, None)
    plan.reasons.pop("training.val_interval", None)
    if costs.val_s and interval > 1:
        training["val_interval"] = min(interval, epochs)
        plan.reasons["training.val_interval"] = f"validations of {costs.val_s:.2g} s take about a tenth of the time"
    plan.reasons.pop("training.minutes", None)
    plan.reasons["training.epochs"] = text
    if fitted.data.limit_batches is not None:
        plan.keys["data"]["limit_batches"] = fitted.data.limit_batches
        plan.reasons["data.limit_batches"] = f"so that whole epochs fill {minutes:g} minute{'s' * (minutes != 1)}"
    plan.notes.append(text)
