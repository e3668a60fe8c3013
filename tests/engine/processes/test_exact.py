"""`training.reduce: exact`: any number of processes, and any change of it on the way, ends in the same bits."""

import hashlib
import os
import pickle
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import made_once
from factories import experiment, volumes_experiment, write_folders, write_hdf5
from processes import exit_codes, fitted, opened, together

from segcli.engine.checkpoint import read_checkpoint
from segcli.engine.training.snapshot import Snapshot
from segcli.engine.training.stepping.stepper import Stepper
from segcli.engine.world import World

pytestmark = pytest.mark.posix

COMMON = {
    "training__epochs": 2,
    "training__reduce": "exact",
    "training__ema": {"decay": 0.9},
    "training__metrics": ["dice", "auc"],
    "checkpoint__every_minutes": 0,
    "logging__visualization_interval": None,
}


def images(folder: Path) -> dict[str, Any]:
    """Batches of 6 images and 1: uneven shares, and a last batch with fewer slots than processes."""
    return experiment(
        write_folders(folder, {"train": 7, "val": 3}, size=(32, 32)),
        **COMMON,
        data__batch_size=6,
        data__augmentation="medium",
        model={"type": "unet", "depths": [4, 8], "dropout": 0.2},
        training__gradient_clip_norm=0.05,
    )


def volumes(folder: Path) -> dict[str, Any]:
    """Batches of 7 volumes and 2 in slots of 2, a loss of the whole batch, and blocks that run again in backward."""
    return volumes_experiment(
        write_hdf5(folder, {"train": 9, "val": 2}),
        **COMMON,
        data__batch_size=7,
        data__slot_size=2,
        model={"type": "unet", "depths": [4, 8], "dropout": 0.2, "checkpoint_activations": True},
        training__loss={"bce": 0.5, "dice": {"weight": 0.5, "pooled": True}},
    )


KINDS = {each.__name__: each for each in (images, volumes)}
FIRST, SECOND = 1, 3
"""Optimizer steps before which four processes die, and then the one that has gone on: both within an epoch."""


def ended(done: dict[str, Any]) -> dict[str, str]:
    """Digests of the weights of all kinds, of the optimizer's state, and of the history."""
    digests = {}
    for kind in ("model/", "ema/", "optimizer/"):
        digest = hashlib.sha256()
        for name, array in sorted(done["weights"].items()):
            if name.startswith(kind):
                digest.update(name.encode() + array.tobytes())
        digests[kind] = digest.hexdigest()
    return {**digests, "history": repr(done["history"])}


def made_to_die(step: int) -> None:
    """Let this process die before an optimizer step."""
    update = Stepper.update

    def updated(self: Stepper, rate: float, number: int) -> None:
        if number == step:
            os.kill(os.getpid(), signal.SIGKILL)
        update(self, rate, number)

    Stepper.update = updated  # type: ignore[method-assign]


def make(folder: Path) -> None:
    experiments = {name: kind(folder / name) for name, kind in KINDS.items()}

    def never(world: World) -> dict[str, Any]:
        trainers = {name: opened(each, world, folder / f"{name}_{world.size}") for name, each in experiments.items()}
        return {name: ended(fitted(trainer)) for name, trainer in trainers.items()}

    def going_on(name: str, world: World) -> dict[str, str]:
        trainer = opened(experiments[name], world, folder / f"{name}_killed")
        last = folder / f"{name}_killed/checkpoints/last.safetensors"
        if last.exists():
            trainer.restore(Snapshot.from_checkpoint(read_checkpoint(last)))
        return ended(fitted(trainer))

    def dying(name: str, step: int) -> Callable[[World], None]:
        def work(world: World) -> None:
            made_to_die(step)
            going_on(name, world)

        return work

    done = {f"never {size}": together(size, never, folder / f"processes_{size}") for size in (1, 2, 4)}
    for name in experiments:
        assert exit_codes(4, dying(name, FIRST), folder) == [-signal.SIGKILL] * 4
        assert exit_codes(1, dying(name, SECOND), folder) == [-signal.SIGKILL]
        done[f"killed {name}"] = together(2, partial(going_on, name), folder / f"on_{name}")
    (folder / "done").write_bytes(pickle.dumps(done))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = made_once(tmp_path_factory, "exact", make)
    return pickle.loads((folder / "done").read_bytes())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [2, 4])
def test_weights_and_history_have_the_bits_of_one_process(done, kind, size):
    (alone,) = done["never 1"]
    assert [each[kind] for each in done[f"never {size}"]] == [alone[kind]] * size


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_killed_and_goes_on_with_other_numbers_of_processes_ends_in_the_same_bits(done, kind):
    (alone,) = done["never 1"]
    assert done[f"killed {kind}"] == [alone[kind]] * 2
