"""Layers are frozen and learn at rates of their own, in every network."""

import pytest
import torch
from factories import experiment
from torch import nn

from segcli.config.load import run_from_values
from segcli.engine.assembly import assemble
from segcli.engine.checkpoint import read_checkpoint
from segcli.engine.training.stepping.stepper import Stepper
from segcli.nn.rates import factors_of, split_groups
from segcli.vram.forecast import Forecaster

DEEP = {"model": {"type": "unet", "depths": [4, 8, 16]}}


def stepper(**changes):
    return Stepper(assemble(run_from_values(experiment(".", **{**DEEP, **changes}), source="test")))


def frozen(made, epoch):
    """Modules with frozen parameters in an epoch."""
    made.network.train()
    made.network.epoch_begins(epoch)
    return {".".join(name.split(".")[:2]) for name, each in made.network.named_parameters() if not each.requires_grad}


DOWN = {"down.0", "down.1", "down.2"}


@pytest.mark.parametrize(
    ("keys", "epochs"),
    [
        ({"freeze": "down"}, [DOWN] * 6),
        ({"freeze": ["down.*"], "unfreeze_every": 2}, [DOWN] * 2 + [{"down.0", "down.1"}] * 2 + [{"down.0"}] * 2),
        ({"freeze": {"down.2": 1, "down.*": 3}}, [DOWN] + [{"down.0", "down.1"}] * 2 + [set()] * 3),
        ({"freeze": {"down.0": None, "down.*": 1}, "unfreeze_every": 4}, [DOWN] + [{"down.0"}] * 3 + [set()] * 2),
    ],
)
def test_layers_are_frozen_until_their_epoch_in_whichever_epoch_a_run_goes_on(keys, epochs):
    made = stepper(**{f"training__{key}": value for key, value in keys.items()})
    assert [frozen(made, epoch) for epoch in range(6)] == epochs
    assert frozen(made, 1) == epochs[1]
    norms = [module for name, module in made.network.named_modules() if name in ("down.0.1", "down.0.4")]
    assert [norm.training for norm in norms] == [False, False]


def batch(seed):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(4, 1, 16, 16, generator=generator) < 0.3
    image = torch.randn(4, 3, 16, 16, generator=generator)
    return {"image": image, "mask": mask, "valid": torch.ones_like(mask)}


def moved(made, rate):
    """How far each parameter moves in the first step."""
    before = {name: each.detach().clone() for name, each in made.network.named_parameters()}
    made.backward(made.forward_loss(batch(0))[0]["loss"], 1.0)
    made.update(rate, 0)
    return {name: each.detach() - before[name] for name, each in made.network.named_parameters()}


def test_a_rate_scales_what_its_parameters_move_and_that_of_the_first_pattern_counts():
    plain = {"type": "sgd", "momentum": 0.0, "learning_rate": 0.1}
    scaled = {**plain, "rates": {"down.0.0.weight": 2.0, "down": 0.25, "head.*": 0.5}}
    one, other = (moved(stepper(training__optimizer=each), 0.1) for each in (plain, scaled))
    for name, step in one.items():
        factor = {"down": 0.25, "head": 0.5}.get(name.partition(".")[0], 1.0)
        factor = 2.0 if name == "down.0.0.weight" else factor
        torch.testing.assert_close(other[name], factor * step, rtol=1e-3, atol=1e-7)


def test_groups_of_weight_decay_are_split_and_keep_their_decay():
    network = stepper().network
    weights = [each for each in network.parameters() if each.ndim > 1]
    others = [each for each in network.parameters() if each.ndim == 1]
    groups = [{"params": weights, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    split_groups(optimizer, network, factors_of(network, {"down.*": 0.1}, []))
    found = [(group["weight_decay"], group["lr"]) for group in optimizer.param_groups]
    assert found == [(0.1, 0.1), (0.1, 1.0), (0.0, 0.1), (0.0, 1.0)]
    held = [id(each) for group in optimizer.param_groups for each in group["params"]]
    assert sorted(held) == sorted(id(each) for each in network.parameters())


@pytest.mark.parametrize("scheduler", ["cosine", "plateau"])
def test_a_run_resumed_while_layers_are_unfrozen_has_the_same_bits(scheduler, run_cli, tiny, workplace):
    config = tiny(
        **DEEP,
        training__epochs=3,
        training__scheduler=scheduler,
        training__ema=0.9,
        training__optimizer={"type": "adamw", "rates": {"down.*": 0.1, "head": 2.0}},
        training__freeze=["down.*"],
        training__unfreeze_every=1,
        checkpoint={"save_every": 1},
    )
    assert run_cli("train", config).code == 0
    folder = workplace / "outputs/experiments/tiny"
    whole = read_checkpoint(folder / "checkpoints/last.safetensors").tensors
    assert "optimizer/down.1.0.weight/exp_avg" in whole
    assert "optimizer/down.0.0.weight/exp_avg" not in whole
    first = read_checkpoint(folder / "checkpoints/epoch_0001.safetensors").tensors
    assert torch.equal(first["model/down.0.1.running_mean"], whole["model/down.0.1.running_mean"])
    assert not torch.equal(first["model/down.1.1.running_mean"], whole["model/down.1.1.running_mean"])
    for epoch in (1, 2):
        assert run_cli("resume", folder / f"checkpoints/epoch_000{epoch}.safetensors").code == 0
        again = read_checkpoint(folder / "checkpoints/last.safetensors").tensors
        assert again.keys() == whole.keys()
        assert [name for name in whole if not torch.equal(whole[name], again[name])] == []


def test_the_forecast_counts_neither_gradients_nor_optimizer_state_of_what_stays_frozen():
    values = experiment(".", **DEEP, data__image_size=[32, 32])
    run = run_from_values(values, source="test")
    network: nn.Module = assemble(run).network
    size = sum(each.numel() * 4 for each in network.down.parameters())
    free, kept = (
        Forecaster(run_from_values(values, overrides, source="test")).forecast().kinds
        for overrides in ([], ["training.freeze=[down]"])
    )
    assert free["gradients"] - kept["gradients"] == size
    # two moments of each value, and the number of steps of each tensor
    assert 0 <= free["optimizer"] - kept["optimizer"] - 2 * size <= 4 * len(list(network.down.parameters()))
    assert kept["parameters"] == free["parameters"]
