"""A trained run on volumes, and what its predictions hold."""

import json
from pathlib import Path

import h5py
import numpy as np
from factories import SMALL, volumes_experiment, write_experiment, write_hdf5

from segcli.config.schema import DatasetSection, Inference
from segcli.data.pipeline import Pipeline
from segcli.data.settings import DataSettings
from segcli.engine.inference.predictor import Predictor
from segcli.tasks.structures import Structures

# bias and threshold at 0: a network that has learnt nothing finds something
MODEL = {"type": "sadaan", **SMALL["sadaan"], "presence_threshold": 0.0, "absence_bias": 0.0}


def train_volumes(workplace, run_cli, **changes):
    """Train a run on volumes; keyword arguments as those of `experiment`."""
    write_hdf5(workplace / "data")
    values = volumes_experiment(workplace / "data", **{"model": MODEL, "training__epochs": 1, **changes})
    assert run_cli("train", write_experiment(workplace / "tiny.yaml", values)).code == 0


def masks_of(folder, name="test.h5"):
    with h5py.File(Path(folder) / name) as file:
        return file["masks"][:]


def predicted(run_cli, out, *words):
    """Summary of a prediction that succeeds."""
    result = run_cli("predict", "--out", out, "--json", *words)
    assert result.code == 0, result.err
    return json.loads(result.out)


def by_hand(forward):
    """A predictor of two structures whose network is a function of NumPy arrays."""
    dataset = {"format": "hdf5_volumes", "classes": ["ball", "box"], "num_classes": 2, "num_channels": 1}
    section = DatasetSection.model_validate({**dataset, "task": "structures"})
    return Predictor(
        name="hand",
        source=Path("hand"),
        layout=section.build(),
        pipeline=Pipeline(DataSettings(preprocessing={"normalize": False}), section.spec, stride=4),
        task=Structures(section.spec),
        inference=Inference(tile=[8, 8, 8], overlap=0.25),
        forward=forward,
    )


def bright(images):
    """The masks are what is bright, the first structure is there where the tile is very bright, the second nowhere."""
    is_there = images.reshape(len(images), -1).max(axis=1) > 0.9
    mask = np.concatenate([images * 8 - 4, images * 8 - 4], axis=1)
    gate = np.stack([np.where(is_there, 5.0, -1.0), np.full(len(images), -1.0)], axis=1)
    return {"mask": mask.astype(np.float32), "gate": gate.astype(np.float32)}
