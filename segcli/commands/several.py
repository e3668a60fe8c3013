"""Training on several processes: what only the first one does, and how a restarted one goes on."""

from pathlib import Path
from typing import Any

from segcli.commands.locate import Located
from segcli.config.schema import Run
from segcli.core.files import read_keys
from segcli.core.ranks import job, place
from segcli.engine.checkpoint import Checkpoint, read_checkpoint
from segcli.engine.events import Listener
from segcli.engine.runfolder import RunFolder
from segcli.engine.world import World
from segcli.vram.choice import with_fitting_batch

__all__ = ["chosen_checkpoint", "facts", "fitting_for_all", "goes_on", "newest_after_restart"]


def facts(world: World) -> dict[str, Any]:
    """Describe the processes, for the environment of a run; empty for a process alone."""
    return {} if world.is_alone else {"processes": world.size, "job": job()}


def goes_on(folder: RunFolder, world: World) -> bool:
    """Tell whether this command has begun the run in the folder, and was started again since then."""
    here = place()
    if here is None or not here.restarts:
        return False
    return world.told(world.is_first and folder.last.exists() and read_keys(folder.environment).get("job") == job())


def newest_after_restart(located: Located, world: World, listener: Listener) -> Located:
    """Return the run with its newest checkpoint if this command has begun it or gone on with it before."""
    here = place()
    if here is None or not goes_on(RunFolder(located.folder), world):
        return located
    listener.notice(f"a process has ended: all were started again ({here.restarts}), from the newest checkpoint")
    return Located(located.folder)


def fitting_for_all(run: Run, listener: Listener, world: World) -> Run:
    """Replace `data.batch_size: auto` by the largest batch that fits on the GPUs of all processes together.

    Raises:
        SegcliError: As `with_fitting_batch`.
    """
    if not run.data.fit_batch_size:
        return run
    return world.told(with_fitting_batch(run, listener) if world.is_first else run)


def chosen_checkpoint(located: Located, folder: RunFolder, listener: Listener, world: World) -> tuple[Checkpoint, Path]:
    """Read the checkpoint that the user named, or the newest intact one; all processes read the same.

    Raises:
        CheckpointError: There is no intact checkpoint.
    """
    if located.checkpoint is not None:
        return read_checkpoint(located.checkpoint), located.checkpoint
    if not world.is_first:
        path = world.told(folder.last)
        return read_checkpoint(path), path
    checkpoint, path, warnings = folder.newest()
    for warning in warnings:
        listener.warn(warning)
    world.told(path)
    return checkpoint, path
