import random
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from segcli.config.load import load_run
from segcli.engine.assembly import assemble
from segcli.engine.checkpoint import read_checkpoint, write_checkpoint
from segcli.engine.runtime import Precision
from segcli.engine.training.precision import timed as timed_precision
from segcli.engine.training.precision.timed import bf16_gain


@pytest.fixture
def machine(monkeypatch):
    """A processor that has bf16 or emulates it, on which it is so many times as fast; gives the list of timings."""

    def make(*, fast, gain, smallest=0.0):
        timed = []
        for module in ("segcli.engine.runtime", "segcli.engine.training.precision.timed"):
            monkeypatch.setattr(f"{module}.has_fast_bf16", lambda: fast)
        monkeypatch.setattr(timed_precision, "bf16_gain", lambda parts: timed.append(parts) or gain)
        monkeypatch.setattr(timed_precision, "LEAST_WORK", smallest)
        return timed

    return make


def taken(folder):
    """Precisions that the files of a run state."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    header = read_checkpoint(folder / "checkpoints/last.safetensors").header
    environment = yaml.safe_load((folder / "environment.yaml").read_text())
    assert config["training"]["amp"] == header["config"]["training"]["amp"]
    return config["training"]["amp"], environment["precision"]


def test_auto_takes_bf16_where_a_step_is_faster_and_resumes_with_it_on_any_processor(run_cli, tiny, machine, workplace):
    timed = machine(fast=True, gain=2.314)
    result = run_cli("train", tiny(training__epochs=1))
    told = "precision bf16, chosen by `training.amp: auto`: a step in bf16 is 2.31 times as fast, timed on this machine"
    assert told in result.err
    folder = workplace / "outputs/experiments/tiny"
    assert taken(folder) == ("bf16", "bf16")
    machine(fast=False, gain=1 / 7.8)
    resumed = run_cli("resume", "tiny", "training.epochs=2").err
    assert taken(folder) == ("bf16", "bf16")
    assert "a step takes 7.8 times as long as in float32" in resumed
    assert "this processor emulates bf16, as it has neither AVX-512 BF16 nor AMX" in resumed
    assert "predictions are computed in float32" in run_cli("eval", "tiny").err
    assert len(timed) == 1


@pytest.mark.parametrize(
    ("fast", "gain", "smallest", "keys", "why"),
    [
        (
            True,
            1.19,
            0.0,
            {},
            "a step in bf16 is 1.19 times as fast, timed on this machine; less than 1.2 is not taken",
        ),
        (None, 0.4, 0.0, {}, "a step in bf16 is 0.40 times as fast, timed on this machine; less than 1.2 is not taken"),
        (None, None, 0.0, {}, "bf16 could not be timed"),
        (False, 9.0, 0.0, {}, "this processor would emulate bf16, as it has neither AVX-512 BF16 nor AMX"),
        (True, 9.0, 1e9, {}, "the steps of this network are too short to gain from bf16"),
        (
            True,
            9.0,
            0.0,
            {"training__reduce": "exact"},
            "`training.reduce: exact` gives the same bits on all processors",
        ),
    ],
)
def test_auto_takes_float32_elsewhere_and_tells_why(run_cli, tiny, machine, workplace, fast, gain, smallest, keys, why):
    machine(fast=fast, gain=gain, smallest=smallest)
    result = run_cli("train", tiny(training__epochs=1, **keys))
    assert f"precision fp32, chosen by `training.amp: auto`: {why}" in " ".join(result.err.split())
    assert taken(workplace / "outputs/experiments/tiny") == ("off", "fp32")


def test_a_second_training_of_a_network_takes_what_the_first_one_timed(run_cli, tiny, machine, workplace):
    timed = machine(fast=True, gain=2.0)
    config = tiny(training__epochs=1)
    run_cli("train", config, "--dry-run")
    assert not list((workplace / "outputs").glob("cache/precision_*"))  # a rehearsal writes nothing
    run_cli("train", config)
    assert len(timed) == 2
    timed = machine(fast=True, gain=1.0)
    assert "2.00 times as fast" in run_cli("train", config, "name=again", "seed=3").err
    assert timed == []
    run_cli("train", config, "name=wide", "model.depths=[4,16]")
    assert len(timed) == 1


def test_a_run_of_an_earlier_version_whose_config_says_auto_stays_in_float32(run_cli, tiny, machine, workplace):
    machine(fast=False, gain=None)
    run_cli("train", tiny(training__epochs=1))
    last = workplace / "outputs/experiments/tiny/checkpoints/last.safetensors"
    checkpoint = read_checkpoint(last)
    checkpoint.header["config"]["training"]["amp"] = "auto"
    write_checkpoint(last, checkpoint)
    timed = machine(fast=True, gain=9.0)
    assert run_cli("resume", "tiny", "training.epochs=2").code == 0
    assert taken(workplace / "outputs/experiments/tiny") == ("auto", "fp32")
    assert timed == []


def test_a_run_in_fp16_does_not_train_on_a_cpu_but_predicts_in_float32(run_cli, tiny, machine, workplace):
    machine(fast=True, gain=1.0)
    run_cli("train", tiny(training__epochs=1))
    best = workplace / "outputs/experiments/tiny/checkpoints/best.safetensors"
    checkpoint = read_checkpoint(best)
    checkpoint.header["config"]["training"]["amp"] = "fp16"
    write_checkpoint(best, checkpoint)
    result = run_cli("eval", "tiny")
    assert result.code == 0
    assert "predictions are computed in float32: fp16 is for GPUs" in result.err
    assert run_cli("train", tiny(training__amp="fp16"), "name=other").code == 5


@pytest.mark.parametrize("volumes", [False, True])
def test_a_step_is_timed_in_the_context_of_a_training_thin_volumes_included(tiny, monkeypatch, volumes):
    parts, used, autocast = assemble(load_run(tiny(data__patch_size=[16, 16]))), [], Precision.autocast
    monkeypatch.setattr(Precision, "autocast", lambda self: used.append(self) or autocast(self))
    bf16_gain(replace(parts, precision=replace(parts.precision, volumes=volumes)))
    assert {(each.dtype, each.volumes) for each in used} == {(torch.bfloat16, volumes), (None, volumes)}


def test_timing_moves_no_random_generator_and_no_weight(tiny):
    parts = assemble(load_run(tiny(data__patch_size=[16, 16])))
    weights = {name: value.clone() for name, value in parts.network.state_dict().items()}
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    state = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    assert 0.01 < bf16_gain(parts) < 100.0
    assert torch.equal(torch.get_rng_state(), state[0])
    assert random.getstate() == state[1]
    assert (np.random.get_state()[1] == state[2]).all()
    assert all(torch.equal(value, weights[name]) for name, value in parts.network.state_dict().items())
    assert parts.network.training
    assert all(parameter.grad is None for parameter in parts.network.parameters())


def test_a_network_that_takes_no_random_image_is_not_timed(tiny, monkeypatch):
    parts = assemble(load_run(tiny()))

    def refuse(image):
        raise ValueError("no")

    monkeypatch.setattr(type(parts.network), "forward", lambda self, image: refuse(image))
    assert bf16_gain(parts) is None
