"""Two processes that each keep a share of the network (`training.strategy: fsdp`) train as one process does."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import made_once
from factories import SMALL, experiment, volumes_experiment, write_folders, write_hdf5
from processes import fitted, in_float64, not_finite, opened, restored, together

from segcli.engine.checkpoint import read_checkpoint
from segcli.engine.training.snapshot import Snapshot
from segcli.engine.world import World
from segcli.nn.shards import is_shard, own_share

pytestmark = pytest.mark.posix

# batches of 3, 3 and 1: uneven shares, and a last batch without an image for the second process
SHARED = {"data__batch_size": 3, "logging__visualization_interval": None, "training__strategy": "fsdp"}


def masks(folder: Path) -> dict[str, Any]:
    return experiment(
        write_folders(folder, {"train": 7, "val": 3}, size=(32, 32)),
        **SHARED,
        training__epochs=2,
        data__augmentation="medium",
        training__loss={"bce": 0.5, "dice": {"weight": 0.5, "pooled": True}},
        training__ema={"decay": 0.9},
        training__gradient_clip_norm=0.05,
        model={"type": "unet", "depths": [3, 5, 8], "checkpoint_activations": True},
    )


def structures(folder: Path) -> dict[str, Any]:
    return volumes_experiment(
        write_hdf5(folder, {"train": 7, "val": 3}),
        **SHARED,
        training__epochs=1,
        training__gradient_accumulation_steps=2,
        training__optimizer={"type": "sgd", "learning_rate": 0.1},
        model={"type": "sadaan", **SMALL["sadaan"]},
        training__loss="sadaan",
    )


KINDS = {each.__name__: each for each in (masks, structures)}


def held(trainer: Any) -> tuple[int, int]:
    """Numbers of weights and of optimizer state in this process, and what there is of each."""
    stepper = trainer.step.stepper
    weights = list(stepper.network.parameters())
    states = [value for state in stepper.optimizer.state.values() for value in state.values() if value.ndim]
    assert all(is_shard(each) for each in [*weights, *states, *stepper.averaged.parameters()])
    return tuple(sum(own_share(each).numel() for each in values) for values in (weights, states))


def make(folder: Path) -> None:
    experiments = {name: kind(folder / name) for name, kind in KINDS.items()}
    plain = experiment(folder / "masks", **SHARED, training__epochs=1)

    def skipped(world: World) -> dict[str, Any]:
        with in_float64(), not_finite(world):
            values = {**plain, "debug": {"on_nan": "skip"}}
            return fitted(opened(values, world, folder / f"skipped_{world.size}_{world.rank}"))

    def work(world: World) -> dict[str, Any]:
        bf16 = {**plain, "training": {**plain["training"], "amp": "bf16"}}
        done: dict[str, Any] = {
            "shared": {},
            "alone": {},
            "skipped": [skipped(world), skipped(World.alone())],
            "bf16": [fitted(opened(bf16, those, folder / f"bf16_{world.rank}")) for those in (world, World.alone())],
        }
        with in_float64():
            for name, values in experiments.items():
                trainer = opened(values, world, folder / f"{name}_2")
                done["shared"][name] = fitted(trainer)
                if name == "masks":
                    done["held"] = held(trainer)
            mine = list(experiments)[world.rank]
            done["alone"][mine] = fitted(opened(experiments[mine], World.alone(), folder / f"{mine}_1"))
            last = Snapshot.from_checkpoint(read_checkpoint(folder / "masks_2/checkpoints/last.safetensors"))
            for name, those in (("again", world), ("on_one", World.alone())):
                trainer = restored(opened(experiments["masks"], those, folder / f"{name}_{world.rank}"), last)
                done[name] = {name: value.numpy() for name, value in trainer.step.stepper.tensors().items()}
        return done

    (folder / "done").write_bytes(pickle.dumps(together(2, work, folder / "processes")))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_once(tmp_path_factory, "shards", make)


@pytest.fixture(scope="module")
def done(made):
    return pickle.loads((made / "done").read_bytes())


@pytest.mark.parametrize("name", KINDS)
def test_weights_state_and_history_are_those_of_one_process(done, name):
    alone = {**done[0]["alone"], **done[1]["alone"]}[name]
    first, second = done[0]["shared"][name], done[1]["shared"][name]
    assert first["weights"].keys() == alone["weights"].keys()
    for tensor, values in alone["weights"].items():
        np.testing.assert_allclose(first["weights"][tensor], values, rtol=0, atol=1e-9, err_msg=tensor)
        assert np.array_equal(first["weights"][tensor], second["weights"][tensor]), tensor
    for entry, other in zip(alone["history"], first["history"], strict=True):
        for split in ("train", "val"):
            assert other[split] == pytest.approx(entry[split], rel=0, abs=1e-9, nan_ok=True)


def test_a_batch_that_is_not_finite_in_one_process_is_skipped_in_all(done):
    shared, alone = done[0]["skipped"]
    assert alone["history"][0]["train"]["loss"] > 0
    for tensor, values in alone["weights"].items():
        np.testing.assert_allclose(shared["weights"][tensor], values, rtol=0, atol=1e-9, err_msg=tensor)
        assert np.array_equal(shared["weights"][tensor], done[1]["skipped"][0]["weights"][tensor]), tensor


def test_half_precision_gives_the_losses_of_one_process(done):
    shared, alone = done[0]["bf16"]
    assert shared["history"][0]["train"]["loss"] == pytest.approx(alone["history"][0]["train"]["loss"], rel=0.02)
    for tensor, values in shared["weights"].items():
        assert values.dtype in (np.float32, np.int64)
        assert np.array_equal(values, done[1]["bf16"][0]["weights"][tensor]), tensor


def test_each_process_keeps_about_half_of_weights_and_optimizer_state(done):
    weights = sum(v.size for name, v in done[0]["alone"]["masks"]["weights"].items() if name.startswith("model/"))
    for (own, state), other in zip((each["held"] for each in done), (done[1]["held"], done[0]["held"]), strict=True):
        assert own + other[0] <= weights
        assert 0.35 < own / (own + other[0]) < 0.65
        assert state == 2 * own


def test_the_checkpoint_holds_whole_tensors_and_one_process_or_two_take_what_is_theirs(done, made):
    checkpoint = read_checkpoint(made / "masks_2/checkpoints/last.safetensors")
    alone = read_checkpoint(made / "masks_1/checkpoints/last.safetensors")
    names = {name: value.shape for name, value in alone.tensors.items()}
    assert {name: value.shape for name, value in checkpoint.tensors.items() if "/rank1/" not in name} == names
    for name, values in done[0]["again"].items():
        assert np.array_equal(values, checkpoint.tensors[name].numpy()), name
        assert np.array_equal(values, done[1]["again"][name]), name
        assert np.array_equal(values, done[0]["on_one"][name]), name


def test_a_fold_trained_in_shares_is_predicted_with_and_exported_by_one_process(run_together, run_cli, tiny, workplace):
    config = tiny(training__strategy="fsdp", training__epochs=1, model__depths=[4, 8])
    ended = run_together("train", config, "--folds", 2, "--fold", 1, "--processes", 2)
    assert (ended.code, ended.left) == (0, 0), ended.err
    run, images = Path("outputs/experiments/tiny/fold_1"), workplace / "data/val/image"
    assert not (run.parent / "fold_2").exists()
    predicted = run_cli("predict", images, "--run", run, "--out", "masks")
    assert predicted.code == 0, predicted.err
    assert len(list(Path("masks").iterdir())) == len(list(images.iterdir()))
    exported = run_cli("export", run)
    assert exported.code == 0, exported.err
    last = run_cli("train", config, "--folds", 2, "--fold", 2)
    assert "all 2 folds are trained" in last.err
