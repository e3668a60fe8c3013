"""Gradient accumulation: batches that share an optimizer step give the gradient of one big batch."""

import pytest
import torch
from factories import write_folders

from segcli.config.load import load_run
from segcli.engine.events import Silent
from segcli.engine.runfolder import RunFolder
from segcli.engine.stopping import StopSignal
from segcli.engine.training.session import open_session


def steps(config, monkeypatch, **data):
    """Gradients of each optimizer step of the first epoch, with batch norms in evaluation mode."""
    run = load_run(config, [f"data.{key}={value}" for key, value in data.items()])
    trainer = open_session(run, RunFolder(run.folder), Silent(), StopSignal())
    monkeypatch.setattr(trainer, "_begin_epoch", trainer.parts.network.eval)
    taken = []

    def take(*_):
        taken.append(trainer.step.stepper.gradients())
        trainer.step.stepper.restore_gradients({})

    monkeypatch.setattr(trainer.step, "update", take)
    trainer._train_epoch()
    trainer.close()
    return taken


@pytest.mark.parametrize(("images", "limit"), [(5, "null"), (6, "null"), (9, 2)])
def test_a_group_of_uneven_batches_gives_the_gradient_of_one_big_batch(images, limit, tiny, monkeypatch, workplace):
    write_folders(workplace / "data", {"train": images, "val": 1})
    config = tiny(data={"num_workers": 0}, training={"gradient_accumulation_steps": 3, "loss": {"bce": 1.0}})
    parts = steps(config, monkeypatch, batch_size=2, limit_batches=limit)
    (whole,) = steps(
        tiny(data={"num_workers": 0}, training={"loss": {"bce": 1.0}}),
        monkeypatch,
        batch_size=images if limit == "null" else 4,
        limit_batches=1,
    )
    assert len(parts) == 1
    for name, value in whole.items():
        torch.testing.assert_close(parts[0][name], value, rtol=1e-4, atol=1e-6)


def test_each_step_of_an_epoch_weighs_its_own_images(tiny, monkeypatch, workplace):
    write_folders(workplace / "data", {"train": 7, "val": 1})
    config = tiny(data={"num_workers": 0}, training={"gradient_accumulation_steps": 2, "loss": {"bce": 1.0}})
    parts = steps(config, monkeypatch, batch_size=2)  # 2 + 2 and 2 + 1
    config = tiny(data={"num_workers": 0}, training={"loss": {"bce": 1.0}})
    wholes = steps(config, monkeypatch, batch_size=4)  # 4 and 3
    assert len(parts) == len(wholes) == 2
    for part, whole in zip(parts, wholes, strict=True):
        for name, value in whole.items():
            torch.testing.assert_close(part[name], value, rtol=1e-4, atol=1e-6)
