"""Processes that share one training, for tests: forked, so that they need not import PyTorch again."""

import hashlib
import os
import pickle
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from segcli.config.load import run_from_values
from segcli.engine.events import Silent
from segcli.engine.inference.evaluator import evaluate
from segcli.engine.runfolder import RunFolder
from segcli.engine.stopping import StopSignal
from segcli.engine.training.session import open_session
from segcli.engine.training.snapshot import Snapshot
from segcli.engine.training.stepping.step import TrainingStep
from segcli.engine.training.stepping.stepper import Stepper
from segcli.engine.training.trainer import Trainer
from segcli.engine.world import World

LONGEST_S = 120.0


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as room:
        room.bind(("localhost", 0))
        return int(room.getsockname()[1])


def together(size: int, work: Callable[[World], Any], folder: Path) -> list[Any]:
    """Do `work` in `size` forked processes that know each other; returns what each has given, by rank."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    children = [_forked(rank, size, port, work, folder) for rank in range(size)]
    deadline = time.monotonic() + LONGEST_S
    codes: dict[int, int] = {}
    while len(codes) < size and time.monotonic() < deadline and not any(codes.values()):
        for rank, child in enumerate(children):
            if rank not in codes:
                pid, status = os.waitpid(child, os.WNOHANG)
                if pid:
                    codes[rank] = os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    for rank, child in enumerate(children):
        if rank not in codes:
            os.kill(child, 9)
            os.waitpid(child, 0)
    told = "\n".join(path.read_text() for path in sorted(folder.glob("*.failed")))
    assert codes == dict.fromkeys(range(size), 0), told or codes
    return [pickle.loads((folder / f"{rank}.done").read_bytes()) for rank in range(size)]


def exit_codes(size: int, work: Callable[[World], Any], folder: Path, port: int | None = None) -> list[int]:
    """Do `work` in forked processes that know each other, and wait until each has ended by itself."""
    port = port or free_port()
    children = [_forked(rank, size, port, work, folder) for rank in range(size)]
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def _forked(rank: int, size: int, port: int, work: Callable[[World], Any], folder: Path) -> int:
    child = os.fork()
    if child:
        return child
    try:
        names = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in names.items()})
        with World.joined("cpu") as world:
            done = work(world)
            (folder / f"{rank}.done").write_bytes(pickle.dumps(done))
    except BaseException:
        (folder / f"{rank}.failed").write_text(f"process {rank}:\n{traceback.format_exc()}")
        os._exit(1)
    os._exit(0)


@contextmanager
def in_float64() -> Iterator[None]:
    """Compute everything in float64, so that another order of sums shows in the last digits only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


@contextmanager
def not_finite(world: World) -> Iterator[None]:
    """Spoil the loss of the second batch in the last process."""
    with pytest.MonkeyPatch.context() as patch:
        forward, calls = Stepper.forward_loss, []

        def spoilt(self: Stepper, batch: Any) -> Any:
            calls.append(None)
            losses, outputs = forward(self, batch)
            if len(calls) == 2 and world.rank == world.size - 1:
                losses = {**losses, "loss": losses["loss"] * float("nan")}
            return losses, outputs

        patch.setattr(Stepper, "forward_loss", spoilt)
        yield


def opened(values: dict[str, Any], world: World, folder: Path) -> Trainer:
    """The trainer of an experiment in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    run = run_from_values({**values, "output": {"dir": str(folder)}}, source="test")
    trainer = open_session(run, RunFolder(folder), Silent(), StopSignal(handles=False), world=world)
    dtype = torch.get_default_dtype()
    trainer.parts.network.register_forward_pre_hook(lambda _, inputs: tuple(each.to(dtype) for each in inputs))
    if trainer.step.stepper.averaged is not None:
        trainer.step.stepper.averaged.register_forward_pre_hook(lambda _, inputs: tuple(i.to(dtype) for i in inputs))
    return trainer


def fitted(trainer: Trainer) -> dict[str, Any]:
    """Train to the end: weights, history, and each sample that was trained on with a digest of its pixels."""
    seen: list[tuple[str, str, str]] = []
    with pytest.MonkeyPatch.context() as patch:
        take = TrainingStep.take

        def noting(self: TrainingStep, loaded: Any, **options: Any) -> bool:
            if loaded.counts:
                digests = [hashlib.sha256(each.numpy().tobytes()).hexdigest() for each in loaded.tensors["image"]]
                place = options["place"]
                seen.extend((place, case.id, digest) for case, digest in zip(loaded.cases, digests, strict=True))
            return take(self, loaded, **options)

        patch.setattr(TrainingStep, "take", noting)
        trainer.fit()
    tensors = trainer.step.stepper.tensors()
    return {
        "weights": {name: value.detach().cpu().numpy() for name, value in tensors.items()},
        "history": trainer.history,
        "seen": seen,
    }


def validated(trainer: Trainer) -> tuple[dict[str, float], dict[str, Any]]:
    """All figures of a validation with the weights of now."""
    assert trainer.val is not None
    done = evaluate(trainer.parts, trainer.parts.network, trainer.val, world=trainer.world)
    trainer.parts.network.train()
    return done.averages(), done.remembered(2)


def restored(trainer: Trainer, snapshot: Snapshot) -> Trainer:
    """The trainer at the place of a snapshot, as `resume` makes it."""
    trainer.restore(snapshot)
    return trainer
