"""Volumes with structures that may be absent, through the whole engine."""

import math
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from factories import SMALL, bodies, volumes_experiment, write_experiment, write_hdf5

from segcli.config.load import load_run
from segcli.core.registry import MODELS
from segcli.core.types import Output
from segcli.data.loader import TrainLoader
from segcli.engine.assembly import assemble
from segcli.engine.checkpoint import read_checkpoint
from segcli.engine.events import Silent
from segcli.engine.inference.inferer import Inferer
from segcli.engine.runtime import choose_precision

SADAAN = {"model": {"type": "sadaan", **SMALL["sadaan"]}, "training__loss": "sadaan"}


@pytest.fixture
def config(workplace):
    """Write a tiny experiment on volumes; keyword arguments as those of `experiment`."""

    def make(**changes):
        if not (workplace / "data").exists():
            write_hdf5(workplace / "data")
        values = volumes_experiment(workplace / "data", **changes)
        return write_experiment(workplace / "tiny.yaml", values)

    return make


def last(name="tiny"):
    return read_checkpoint(Path(f"outputs/experiments/{name}/checkpoints/last.safetensors"))


SOLID = [name for name in MODELS.names() if 3 in MODELS.load(name).can_ndim and "mask" in MODELS.load(name).can_output]


@pytest.mark.parametrize("name", SOLID)
def test_every_network_for_volumes_trains_on_structures(name, run_cli, config):
    result = run_cli("train", config(model={"type": name, **SMALL[name]}))
    assert result.code == 0, result.err
    history = yaml.safe_load(Path("outputs/experiments/tiny/metrics_history.yaml").read_text())
    assert all(math.isfinite(entry["train"]["loss"]) and math.isfinite(entry["val"]["val_loss"]) for entry in history)
    assert set(history[0]["val_per_class"]["presence_accuracy"]) == {"ball", "box"}
    assert any(value.shape[:1] == (2,) for value in last().below("model").values())


def test_all_seven_parts_of_sadaan_are_logged_for_training_and_validation(run_cli, config):
    assert run_cli("train", config(**SADAAN)).code == 0
    (entry, _) = yaml.safe_load(Path("outputs/experiments/tiny/metrics_history.yaml").read_text())
    parts = ["segmentation", "dice", "focal_seg", "absence", "attention_supervision", "false_positive_suppression"]
    for part in [*parts, "confidence"]:
        assert math.isfinite(entry["train"][f"loss_{part}"])
        assert math.isfinite(entry["val"][f"val_loss_{part}"])


def test_a_loss_that_needs_outputs_which_the_model_has_not_is_refused(run_cli, config):
    result = run_cli("train", config(training__loss="sadaan"))
    assert result.code == 2
    assert "`sadaan` needs the outputs `presence`, `gate`, `attention`, `confidence`, and model `unet`" in result.err


EVERYTHING = {
    "data__patch_size": [12, 8, 8],
    "data__patches_per_image": 2,
    "data__augmentation": {"preset": "heavy", "flip_axes": [0, 2]},
    "training__epochs": 3,
    "training__ema": 0.9,
    "training__gradient_accumulation_steps": 2,
}


def test_a_run_of_sadaan_on_crops_resumes_with_the_bits_of_one_never_stopped(run_cli, config, monkeypatch):
    file = config(**SADAAN, **EVERYTHING)
    assert run_cli("train", file, "name=whole").code == 0
    with monkeypatch.context() as patch:
        # stopped after the first optimizer step of the second epoch, as by SIGTERM
        from segcli.engine.training import trainer

        settle = trainer.Trainer._settle

        def stopping(self):
            if self.progress.epoch == 1:
                self.stop.signum = 15
            settle(self)

        patch.setattr(trainer.Trainer, "_settle", stopping)
        assert run_cli("train", file, "name=stopped").code == 143
    assert last("stopped").header["progress"]["batch"] > 0
    assert run_cli("resume", "stopped").code == 0
    whole, resumed = last("whole"), last("stopped")
    assert [key for key, value in whole.tensors.items() if not torch.equal(value, resumed.tensors[key])] == []
    assert whole.header["history"] == resumed.header["history"]


def test_results_do_not_depend_on_the_number_of_workers(run_cli, config):
    for workers in (0, 2):
        changes = {**SADAAN, **EVERYTHING, "training__epochs": 1, "data__num_workers": workers}
        assert run_cli("train", config(**changes), f"name=workers{workers}").code == 0
    one, other = last("workers0"), last("workers2")
    assert [key for key, value in one.tensors.items() if not torch.equal(value, other.tensors[key])] == []


def _first_batch(loader):
    batch = next(iter(loader.epoch(0)))
    loader.close()
    return {name: values.numpy() for name, values in batch.tensors.items()}


def test_spawned_workers_read_the_same_as_forked_ones(config):
    parts = assemble(load_run(config(data__num_workers=1)))
    source, cases = parts.source(parts.layout.cases("train"), Silent()), parts.layout.cases("train")
    forked = _first_batch(TrainLoader(source, parts.pipeline, cases, seed=1, pin_memory=False))
    loader = TrainLoader(source, parts.pipeline, cases, seed=1, pin_memory=False)
    loader.loader.multiprocessing_context = multiprocessing.get_context("spawn")
    spawned = _first_batch(loader)
    for name, values in forked.items():
        np.testing.assert_array_equal(values, spawned[name])


def test_a_structure_outside_the_crop_is_absent_in_it(config):
    parts = assemble(load_run(config(data__patch_size=[8, 8, 4], data__foreground_share=0.0)))
    seen = set()
    for index in range(20):
        ready = parts.pipeline.for_training(parts.layout.read(parts.layout.cases("train")[0]), epoch=0, index=index)
        arrays = {name: torch.tensor(values)[None] for name, values in ready.arrays.items()}
        batch = parts.task.targets(arrays)
        expected = ready.arrays["mask"].any(axis=(0, 1, 2))
        assert batch["presence"][0].tolist() == expected.tolist()
        seen.add(tuple(expected.tolist()))
    assert len(seen) > 1


def test_crops_around_foreground_show_each_structure_about_as_often(config):
    parts = assemble(load_run(config(data__patch_size=[8, 8, 4], data__foreground_share=1.0)))
    sample = parts.layout.read(parts.layout.cases("train")[0])
    shown = np.array(
        [
            parts.pipeline.for_training(sample, epoch=0, index=index).arrays["mask"].any(axis=(0, 1, 2))
            for index in range(60)
        ]
    )
    assert shown.any(axis=1).all()
    assert (shown.mean(axis=0) > 0.3).all()


def test_a_crop_is_normalised_as_the_whole_volume_is(config):
    parts = assemble(load_run(config(data__patch_size=[8, 8, 4])))
    sample = parts.layout.read(parts.layout.cases("train")[0])
    whole = parts.pipeline.for_evaluation(sample).arrays["image"]
    assert whole.mean() == pytest.approx(0, abs=1e-5)
    crop = parts.pipeline.for_training(sample, epoch=0, index=0).arrays["image"]
    windows = np.lib.stride_tricks.sliding_window_view(whole[0], (8, 8, 4))
    assert np.isclose(windows, crop[0], atol=1e-6).all(axis=(3, 4, 5)).any()


def test_volumes_are_resized_with_all_masks_and_scored_at_their_stored_size(run_cli, config):
    result = run_cli("train", config(data__image_size=[8, 12, 8]))
    assert result.code == 0, result.err
    parts = assemble(load_run(config(data__image_size=[8, 12, 8])))
    sample = parts.pipeline.resized(parts.layout.read(parts.layout.cases("train")[0]))
    assert sample.image.shape == (8, 12, 8, 1)
    assert sample.maps["mask"].shape == (8, 12, 8, 2)
    ready = parts.pipeline.for_evaluation(sample)
    assert ready.geometry.stored == ready.stored_maps["mask"].shape[:3] == (16, 16, 8)


def test_presence_in_tiles_is_that_of_the_tile_that_is_surest(config):
    class Answer(torch.nn.Module):
        def forward(self, image):
            return {"mask": image, "gate": image.flatten(2).mean(2)}

    image = torch.zeros(1, 1, 16, 8, 8)
    image[:, :, 12:] = 1.0
    precision = choose_precision("off", torch.device("cpu"))
    outputs = (Output("mask", 1), Output("gate", 1, has_pixels=False))
    inferer = Inferer(Answer(), outputs, tile=(8, 8, 8), overlap=0.0, multiple=1, precision=precision, batch_size=2)
    outputs = inferer.logits(image)
    torch.testing.assert_close(outputs["mask"], image)
    assert outputs["gate"].tolist() == [[0.5]]


def test_a_mask_of_a_structure_judged_absent_is_empty(config):
    parts = assemble(load_run(config(**SADAAN)))
    logits = torch.full((1, 2, 4, 4, 4), 9.0)
    outputs = {"mask": logits, "gate": torch.tensor([[1.0, -1.0]])}
    probs = parts.task.probabilities(logits, parts.task.presence(outputs))
    found = parts.task.decide(probs[0].numpy(), 0.5)
    assert found[..., 0].all()
    assert not found[..., 1].any()
    assert parts.task.presence({"mask": logits}) is None


def test_the_scenario_of_a_case_travels_with_it(config):
    parts = assemble(load_run(config()))
    assert [case.group for case in parts.layout.cases("val")] == [bodies(1000 + index)[2] for index in range(4)]


def test_what_a_network_finds_is_drawn_slice_by_slice(run_cli, config):
    result = run_cli("train", config(logging__visualization_interval=1, training__epochs=1))
    assert result.code == 0, result.err
    assert len(list(Path("outputs/experiments/tiny/visualizations/epoch_001").glob("*.png"))) == 4


def test_recomputing_activations_changes_no_bit_of_a_training(run_cli, config):
    for name, again in (("kept", False), ("again", True)):
        model = {**SADAAN["model"], "checkpoint_activations": again}
        assert run_cli("train", config(**{**SADAAN, "model": model}), f"name={name}").code == 0
    kept, again = last("kept"), last("again")
    assert [key for key, value in kept.tensors.items() if not torch.equal(value, again.tensors[key])] == []


def test_memory_is_given_back_every_so_many_steps(run_cli, config, monkeypatch):
    from segcli.engine.training import trainer

    calls = []
    monkeypatch.setattr(trainer, "give_memory_back", calls.append)
    assert run_cli("train", config(training__memory_cleanup_frequency=2)).code == 0
    assert len(calls) == 3  # six steps: six cases in batches of two, two epochs


def test_the_memory_forecast_knows_masks_of_structures(run_cli, config):
    result = run_cli("profile-memory", config(**SADAAN, data__patch_size=[8, 8, 4]))
    assert result.code == 0, result.err
