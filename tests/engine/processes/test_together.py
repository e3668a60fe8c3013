"""What processes decide together: to skip a batch, to split it, to stop between two steps, and to go on elsewhere."""

import functools
import pickle
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import made_once
from factories import SMALL, experiment, write_folders
from processes import fitted, in_float64, not_finite, opened, restored, together

from segcli.core.errors import Stopped
from segcli.engine.checkpoint import read_checkpoint
from segcli.engine.training.clock.rehearsal import fitted_to_clock
from segcli.engine.training.snapshot import Snapshot
from segcli.engine.training.stepping.step import TrainingStep
from segcli.engine.training.trainer import Trainer
from segcli.engine.world import World

pytestmark = pytest.mark.posix


def values(folder: Path, **changes: Any) -> dict[str, Any]:
    """Seven images in batches of 3, 3 and 1, on a network with random regions that are dropped."""
    settings = {"data__batch_size": 3, "data__augmentation": "medium", "training__metrics": ["dice", "auc"]}
    model = {"type": "sa_unet", **SMALL["sa_unet"]}
    return experiment(folder, **{**settings, "model": model, "logging__visualization_interval": None, **changes})


def skipped(data: Path, folder: Path, world: World) -> dict[str, Any]:
    """Train where the loss of the second batch is not finite in the last process."""
    with not_finite(world):
        return fitted(opened(values(data, debug__on_nan="skip", training__epochs=1), world, folder))


def halved(data: Path, folder: Path, world: World) -> dict[str, Any]:
    """Train where the memory of the last process is exhausted in the middle of its second batch."""
    trainer = opened(values(data, debug__on_oom="halve", training__epochs=1), world, folder)
    calls: list[None] = []

    def exhausted(module: torch.nn.Module, _: Any) -> None:
        calls.append(None)
        if len(calls) == 2 and world.rank == world.size - 1 and module.training:
            raise torch.OutOfMemoryError("out of memory in a test")

    trainer.parts.network.head.register_forward_pre_hook(exhausted)
    return {**fitted(trainer), "warnings": trainer.listener.warnings}


def halved_late(data: Path, folder: Path, world: World) -> dict[str, Any]:
    """Train where the memory of the last process is exhausted by the metrics of its second batch."""
    trainer = opened(values(data, debug__on_oom="halve", training__epochs=1), world, folder)
    calls, add = [], trainer.step.totals.add

    def exhausted(*arguments: Any) -> None:
        calls.append(None)
        if len(calls) == 2 and world.rank == world.size - 1:
            raise torch.OutOfMemoryError("out of memory in a test")
        add(*arguments)

    trainer.step.totals.add = exhausted
    return {**fitted(trainer), "warnings": trainer.listener.warnings}


def unsynchronised(data: Path, folder: Path, world: World) -> dict[str, Any]:
    """Train with batch norms of each process's own images."""
    return fitted(opened(values(data, training__sync_batchnorm=False, training__epochs=1), world, folder))


def stopped(trainer: Trainer) -> list[Any]:
    """Stop in the middle of the second epoch, at a signal that only the last process has received."""
    seen: list[Any] = []
    world = trainer.world
    with pytest.MonkeyPatch.context() as patch:
        take = TrainingStep.take

        def asked(self: TrainingStep, loaded: Any, **options: Any) -> bool:
            if options["place"] == "epoch 2, batch 2" and world.rank == world.size - 1:
                trainer.stop.join(signal.SIGTERM)
            if loaded.counts:
                seen.extend((options["place"], case.id) for case in loaded.cases)
            return take(self, loaded, **options)

        patch.setattr(TrainingStep, "take", asked)
        with pytest.raises(Stopped) as caught:
            trainer.fit()
    assert caught.value.exit_code == 128 + signal.SIGTERM
    return seen


def moved(settings: dict[str, Any], folder: Path, world: World, other: World) -> dict[str, Any]:
    """Begin with some processes, and go on with others from the checkpoint."""
    where = folder / f"{world.size}_to_{other.size}"
    before = stopped(opened(settings, world, where))
    world.barrier()  # the first process writes
    if not world.is_alone and other.is_alone and not world.is_first:
        return {"before": before}
    checkpoint = read_checkpoint(where / "checkpoints/last.safetensors")
    trainer = opened(settings, other, where)
    trainer.restore(Snapshot.from_checkpoint(checkpoint))
    done = fitted(trainer)
    return {"before": before, "place": checkpoint.header["progress"], **done}


def timed(data: Path, folder: Path, world: World) -> dict[str, Any]:
    """Fill 43 s by a clock that only steps move, each by one second, or by two in the second process."""
    settings = values(data, training__minutes=43 / 60)
    del settings["training"]["epochs"]
    with pytest.MonkeyPatch.context() as patch:
        take, now = TrainingStep.take, [0.0]

        def slow(self: TrainingStep, *arguments: Any, **options: Any) -> bool:
            now[0] += 1.0 + world.rank
            return take(self, *arguments, **options)

        patch.setattr(TrainingStep, "take", slow)
        patch.setattr(time, "monotonic", lambda: now[0])
        trainer = fitted_to_clock(opened(settings, world, folder / "minutes"), 0.0, over=lambda _: None)
        stopped(trainer)
        elapsed_s = now[0]
    world.barrier()
    checkpoint = read_checkpoint(folder / "minutes/checkpoints/last.safetensors")
    config = checkpoint.header["config"]
    stated = values(data, training__epochs=config["training"]["epochs"])
    stated["data"]["limit_batches"] = config["data"]["limit_batches"]
    resumed = restored(opened(stated, world, folder / "minutes"), Snapshot.from_checkpoint(checkpoint))
    return {
        "length": (trainer.run.training.epochs, len(trainer.train), trainer.run.training.minutes),
        "elapsed_s": elapsed_s,
        "resumed": fitted(resumed),
        "stated": fitted(opened(stated, world, folder / "stated")),
        "left": (folder / "minutes/.timing").exists(),
    }


def compiled(data: Path, folder: Path, world: World) -> dict[str, Any]:
    """Train one batch with `torch.compile`, which stops at each norm over all processes, and without."""
    settings = values(data, data__limit_batches=1, training__epochs=1, model={"type": "unet", "depths": [2, 4]})
    graphs: list[None] = []

    def backend(graph: Any, _: Any) -> Any:
        graphs.append(None)
        return graph.forward

    plain = fitted(opened(settings, world, folder / "plain"))
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, of tensors that it looks at
        patch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
        settings["training"]["compile"] = True
        found = fitted(opened(settings, world, folder / "compiled"))
    return {"plain": plain, "compiled": found, "graphs": len(graphs)}


def make(folder: Path) -> None:
    data = write_folders(folder / "data", {"train": 7, "val": 3}, size=(32, 32))
    random = values(data, training__epochs=3)
    plain = {**values(data, training__epochs=3), "model": {"type": "unet", "depths": [4, 8]}}

    def work(world: World) -> dict[str, Any]:
        alone = World.alone()
        done: dict[str, Any] = {
            task.__name__: task(data, folder / task.__name__, world)
            for task in (skipped, halved, halved_late, unsynchronised, timed, compiled)
        }
        done["never"] = fitted(opened(random, world, folder / "never"))
        done["2 to 2"] = moved(random, folder, world, world)
        with in_float64():
            done["2 to 1"] = moved(plain, folder, world, alone)
            done["1 to 2"] = moved(plain, folder / str(world.rank), alone, world)
            done["alone"] = fitted(opened(plain, alone, folder / f"alone_{world.rank}"))
        return done

    (folder / "done").write_bytes(pickle.dumps(together(2, work, folder / "processes")))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = made_once(tmp_path_factory, "together", make)
    return pickle.loads((folder / "done").read_bytes())


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names of the weights that differ in a bit."""
    return [name for name, array in one["weights"].items() if not np.array_equal(array, other["weights"][name])]


def test_a_batch_that_is_not_finite_in_one_process_is_skipped_in_all(done):
    first, second = (each["skipped"] for each in done)
    assert differing(first, second) == []
    assert all(np.isfinite(array).all() for array in first["weights"].values())
    # 7 images without the batch of 3: the losses are those of 4 images
    assert first["history"][0]["train"]["loss"] > 0
    assert repr(first["history"]) == repr(second["history"])


@pytest.mark.parametrize("when", ["halved", "halved_late"])
def test_a_batch_that_does_not_fit_in_one_process_is_split_in_all(done, when):
    first, second = (each[when] for each in done)
    assert differing(first, second) == []
    assert repr(first["history"]) == repr(second["history"])
    for each in (first, second):
        assert each["warnings"] == [
            "out of memory in epoch 1, batch 2: from now on a batch of 3 goes through the network in 2 pieces "
            "(`debug.on_oom: halve`)"
        ]


def test_without_synchronised_norms_all_processes_keep_the_same_weights_and_scores(done):
    first, second = (each["unsynchronised"] for each in done)
    assert [name for name in differing(first, second) if "running" not in name and "tracked" not in name] == []
    assert repr(first["history"]) == repr(second["history"])


def test_minutes_give_all_processes_the_length_of_the_clock_of_the_first_and_the_bits_of_its_epochs(done):
    first, second = (each["timed"] for each in done)
    assert first["length"] == second["length"]
    epochs, batches, minutes = first["length"]
    assert minutes is None
    assert batches == 3, "the last batch has no image for the second process"
    assert 1 < epochs * batches <= 43 - (first["elapsed_s"] - 5.0)  # 5 steps were taken after the timing
    assert not first["left"]
    for each in (first, second):
        assert differing(each["stated"], each["resumed"]) == []
        assert repr(each["stated"]["history"]) == repr(each["resumed"]["history"])


def test_a_compiled_network_with_norms_over_all_processes_takes_the_same_step(done):
    for each in (process["compiled"] for process in done):
        assert each["graphs"] > 1
        for name, array in each["plain"]["weights"].items():
            np.testing.assert_allclose(each["compiled"]["weights"][name], array, rtol=1e-6, atol=1e-7, err_msg=name)


def test_a_signal_in_one_process_stops_all_between_the_same_steps(done):
    place = done[0]["2 to 2"]["place"]
    assert (place["epoch"], place["batch"], place["step"]) == (1, 2, 5)


def test_going_on_with_as_many_processes_gives_the_bits_of_a_run_never_stopped(done):
    for each in done:
        assert differing(each["never"], each["2 to 2"]) == []
    assert repr(done[0]["never"]["history"]) == repr(done[0]["2 to 2"]["history"])


@pytest.mark.parametrize("change", ["2 to 1", "1 to 2"])
def test_going_on_with_another_number_of_processes_goes_on_with_samples_schedule_and_history(done, change):
    alone, first = done[0]["alone"], done[0][change]
    for name, array in alone["weights"].items():
        np.testing.assert_allclose(first["weights"][name], array, rtol=0, atol=1e-9, err_msg=name)
    for entry, other in zip(alone["history"], first["history"], strict=True):
        assert other["learning_rate"] == entry["learning_rate"]
        for split in ("train", "val"):
            assert other[split] == pytest.approx(entry[split], rel=0, abs=1e-9, nan_ok=True)
    before = [entry for each in done[: 2 if change == "2 to 1" else 1] for entry in each[change]["before"]]
    after = [entry[:2] for each in done for entry in each[change].get("seen", [])]
    assert sorted(before + after) == sorted(entry[:2] for entry in alone["seen"])
