import copy

import pytest
import torch
from factories import experiment

from segcli.config.load import run_from_values
from segcli.core.errors import CheckpointError, DataError
from segcli.engine.assembly import assemble
from segcli.engine.training.stepping.guard import FiniteGuard
from segcli.engine.training.stepping.stepper import Stepper


def stepper(**changes):
    values = experiment(".", **changes)
    return Stepper(assemble(run_from_values(values, source="test")))


def batch(seed=0, count=4):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(count, 3, 16, 16, generator=generator)
    mask = torch.rand(count, 1, 16, 16, generator=generator) < 0.3
    return {"image": image, "mask": mask, "valid": torch.ones_like(mask)}


def train(made, steps, first=0):
    for step in range(first, first + steps):
        values, _ = made.forward_loss(batch(step))
        made.backward(values["loss"], 1.0)
        made.update(0.01, step)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", {"type": "sgd", "momentum": 0.9}])
def test_going_on_from_saved_tensors_is_the_same_to_the_bit(optimizer):
    changes = {"training__optimizer": optimizer, "training__ema": 0.9}
    whole, first, second = (stepper(**changes) for _ in range(3))
    train(whole, 4)
    train(first, 2)
    second.restore(copy.deepcopy(first.tensors()), first.scaler.state_dict())
    train(second, 2, first=2)
    one, other = whole.tensors(), second.tensors()
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_tensors_of_another_network_are_refused():
    with pytest.raises(CheckpointError, match="does not fit the run"):
        stepper(model__depths=[4, 8, 16]).restore(stepper().tensors(), {})


def test_two_half_batches_accumulate_to_the_whole():
    whole, halves = stepper(training__loss="bce"), stepper(training__loss="bce")
    for made in (whole, halves):
        made.network.eval()  # batch norm would see different batches
    values, _ = whole.forward_loss(batch())
    whole.backward(values["loss"], 1.0)
    for part in (slice(0, 2), slice(2, 4)):
        values, _ = halves.forward_loss({name: value[part] for name, value in batch().items()})
        halves.backward(values["loss"], 0.5)
    for one, other in zip(whole.network.parameters(), halves.network.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-6, rtol=1e-4)


def test_the_gradient_is_clipped_before_the_step():
    made = stepper(training__gradient_clip_norm=1e-3, training__optimizer={"type": "sgd", "momentum": 0.0})
    before = [parameter.detach().clone() for parameter in made.network.parameters()]
    values, _ = made.forward_loss(batch())
    made.backward(values["loss"], 1.0)
    made.update(1.0, 0)
    moved = torch.cat([(a - b).flatten() for a, b in zip(before, made.network.parameters(), strict=True)]).norm()
    assert moved.item() == pytest.approx(1e-3, rel=1e-2)


def test_the_averaged_weights_are_a_running_mean_that_starts_fast():
    made = stepper(training__ema=0.9)
    expected = made.network.head.weight.detach().clone()
    for step in range(30):
        train(made, 1, first=step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * made.network.head.weight.detach()
    torch.testing.assert_close(made.averaged.head.weight, expected, atol=1e-6, rtol=1e-5)
    assert made.best_network is made.averaged


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_its_batch(value):
    guard = FiniteGuard(torch.device("cpu"))
    guard.watch(torch.tensor(1.0), "batch 1")
    with pytest.raises(DataError, match="the loss is not finite in batch 2"):
        guard.watch(torch.tensor(value), "batch 2")


def test_an_update_without_a_gradient_leaves_the_weights_and_the_loss_scale_alone():
    made = stepper()
    made.scaler = torch.amp.GradScaler("cpu", enabled=True)  # which has nothing to look at
    before = copy.deepcopy(made.network.state_dict())
    made.update(0.1, 0)
    assert all(torch.equal(before[name], value) for name, value in made.network.state_dict().items())
    values, _ = made.forward_loss(batch())
    made.backward(values["loss"], 1.0)
    made.update(0.1, 1)
    assert any(not torch.equal(before[name], value) for name, value in made.network.state_dict().items())


def test_running_statistics_are_averaged_like_the_weights():
    made = stepper(training__ema={"decay": 0.9})
    key = "down.0.1.running_mean"
    expected = made.network.state_dict()[key].clone()
    for step in range(4):
        train(made, 1, first=step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * made.network.state_dict()[key]
    averaged = made.averaged.state_dict()
    torch.testing.assert_close(averaged[key], expected)
    assert not torch.equal(averaged[key], made.network.state_dict()[key])
    assert averaged["down.0.1.num_batches_tracked"] == 4
