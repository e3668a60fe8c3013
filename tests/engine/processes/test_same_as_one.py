"""Two processes that share a training do what one does: same samples, same steps, same history, same weights."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import made_once
from factories import (
    SMALL,
    experiment,
    nuclei_experiment,
    scenes_experiment,
    volumes_experiment,
    write_folders,
    write_hdf5,
    write_nifti,
    write_nuclei,
    write_sequences,
)
from processes import fitted, in_float64, opened, together, validated

from segcli.engine.world import World

pytestmark = pytest.mark.posix

# batches of 3, 3 and 1: uneven shares, and a last batch without an image for the second process
SHARED = {"training__epochs": 2, "data__batch_size": 3, "logging__visualization_interval": None}


def masks(folder: Path) -> dict[str, Any]:
    return experiment(
        write_folders(folder, {"train": 7, "val": 3}, size=(32, 32)),
        **SHARED,
        data__augmentation="medium",
        training__loss={"bce": 0.5, "dice": {"weight": 0.5, "pooled": True}},
        training__metrics=["dice", "auc", "hd95"],
        training__ema={"decay": 0.9},
        training__gradient_clip_norm=0.05,
    )


def classes(folder: Path) -> dict[str, Any]:
    write_sequences(folder, {"Video_000": 7, "Video_001": 3, "Video_002": 1})
    return scenes_experiment(
        folder, **SHARED, training__gradient_accumulation_steps=2, training__metrics=["mean_iou", "dice"]
    )


def structures(folder: Path) -> dict[str, Any]:
    return volumes_experiment(
        write_hdf5(folder, {"train": 7, "val": 3}),
        **SHARED,
        model={"type": "sadaan", **SMALL["sadaan"], "checkpoint_activations": True},
        training__loss="sadaan",
    )


def volumes(folder: Path) -> dict[str, Any]:
    pytest.importorskip("nibabel")
    write_nifti(folder, 8)
    return volumes_experiment(
        folder,
        **SHARED,
        training__loss={"cross_entropy": 1.0, "lovasz": 0.5, "soft_cldice": 0.1, "focal": 1.0, "tversky": 0.1},
        data__patch_size=[8, 8, 8],
        dataset__format="nifti_volumes",
        dataset__task="multiclass",
        dataset__classes=["nothing", "ball", "box"],
        dataset__split={"val": ["case_07"]},
    )


def images(folder: Path) -> dict[str, Any]:
    return nuclei_experiment(write_nuclei(folder, 10), **{**SHARED, "data__batch_size": 5}, model__dropout=0.0)


KINDS = {each.__name__: each for each in (masks, classes, structures, volumes, images)}


def make(folder: Path) -> None:
    experiments = {name: kind(folder / name) for name, kind in KINDS.items()}

    def trained(name: str, world: World) -> dict[str, Any]:
        where = folder / f"{name}_{world.size}"
        first = validated(opened(experiments[name], world, where))
        with in_float64():
            return {"validated": first, **fitted(opened(experiments[name], world, where))}

    def work(world: World) -> dict[str, Any]:
        shared = {name: trained(name, world) for name in experiments}
        mine = list(experiments)[world.rank :: 2]
        return {"shared": shared, "alone": {name: trained(name, World.alone()) for name in mine}}

    (folder / "done").write_bytes(pickle.dumps(together(2, work, folder / "processes")))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = made_once(tmp_path_factory, "same_as_one", make)
    return pickle.loads((folder / "done").read_bytes())


@pytest.fixture(params=list(KINDS))
def trained(request, done):
    name = request.param
    alone = {**done[0]["alone"], **done[1]["alone"]}[name]
    return alone, done[0]["shared"][name], done[1]["shared"][name]


def test_weights_are_those_of_one_process(trained):
    alone, first, second = trained
    for name, values in alone["weights"].items():
        np.testing.assert_allclose(first["weights"][name], values, rtol=0, atol=1e-9, err_msg=name)
        assert np.array_equal(first["weights"][name], second["weights"][name]), name


def test_histories_are_those_of_one_process(trained):
    alone, first, second = trained
    assert [entry["epoch"] for entry in alone["history"]] == [1, 2]
    for entry, other in zip(alone["history"], first["history"], strict=True):
        for split in ("train", "val"):
            assert other[split] == pytest.approx(entry[split], rel=0, abs=1e-9, nan_ok=True)
        assert other["learning_rate"] == entry["learning_rate"]
    assert repr(first["history"]) == repr(second["history"])


def test_validation_figures_of_the_same_weights_are_the_same_numbers(trained):
    alone, first, second = trained
    assert repr(alone["validated"]) == repr(first["validated"]) == repr(second["validated"])


def test_each_sample_is_seen_once_with_the_same_pixels(trained):
    alone, first, second = trained
    assert sorted(first["seen"] + second["seen"]) == sorted(alone["seen"])
    assert first["seen"]
    assert second["seen"]
