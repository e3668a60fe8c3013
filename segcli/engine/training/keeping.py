"""State of a training as a snapshot, and back: of all processes that share it, as many as before or others."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from segcli.core.randomness import seed_of
from segcli.engine.runtime import random_state, restore_random_state, seed_everything
from segcli.engine.training.monitor import other_meaning
from segcli.engine.training.snapshot import OfRank, Snapshot
from segcli.engine.world import World

if TYPE_CHECKING:
    from segcli.engine.training.trainer import Trainer

__all__ = ["on_host", "restore", "snapshot_of"]


def snapshot_of(trainer: "Trainer") -> Snapshot:
    """Return the state of the run between two optimizer steps, in which all processes are."""
    stepper, began = trainer.step.stepper, trainer.epoch_began
    so_far_s = 0.0 if began is None else time.monotonic() - began
    first, *others = trainer.world.gathered(
        OfRank(random_state(trainer.parts.device), on_host(trainer.step.totals.state(), trainer.world))
    )
    return Snapshot(
        config=trainer.run.resolved(),
        progress=replace(trainer.progress, elapsed_s=trainer.progress.elapsed_s + so_far_s),
        stepper=stepper.tensors(),
        random=first.random,
        tally=first.tally,
        others=others,
        scaler=stepper.scaler.state_dict(),
        scheduler=trainer.schedule.state,
        monitor=trainer.monitor.state,
        history=trainer.history,
        best_validation=trainer.best_validation,
        warnings=trainer.listener.warnings,
        dataset=trainer.dataset,
    )


def restore(trainer: "Trainer", snapshot: Snapshot) -> None:
    """Restore the state of a stopped run."""
    trainer.step.stepper.restore(snapshot.stepper, snapshot.scaler)
    trainer.progress = snapshot.progress
    if trainer.memory is not None:
        trainer.memory.rewind(epoch=trainer.progress.epoch + 1, batch=trainer.progress.batch)
    trainer.history = snapshot.history
    trainer.best_validation = snapshot.best_validation
    trainer.listener.go_on_from(snapshot.warnings)
    if snapshot.scheduler:
        trainer.schedule.state = snapshot.scheduler
    is_loss = trainer.monitor.name in trainer.parts.loss_values
    why = other_meaning(snapshot.config, trainer.run.resolved(), is_loss=is_loss)
    message = trainer.monitor.restore(snapshot.monitor, snapshot.history, why=why)
    if message is not None:
        trainer.listener.warn(message)
        trainer.schedule.forget_monitored()
    device = trainer.parts.device
    tally = snapshot.tally_of(trainer.world.rank, trainer.world.size)
    trainer.step.totals.restore({name: value.to(device) for name, value in tally.items()})
    random = snapshot.random_of(trainer.world.rank)
    if random is not None:
        restore_random_state(random, device)
    else:  # there were fewer processes
        seed_everything(seed_of(trainer.run.seed, "training", trainer.world.rank, trainer.progress.step))


def on_host(tensors: dict[str, Tensor], world: World) -> dict[str, Tensor]:
    """Move tensors to where processes exchange objects; a process alone exchanges none."""
    return tensors if world.is_alone else {name: value.cpu() for name, value in tensors.items()}
