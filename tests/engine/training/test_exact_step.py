"""A training step in slots: the gradient of a plain step, and what it refuses."""

import copy

import pytest
import torch
from factories import SMALL, experiment, volumes_experiment, write_folders, write_hdf5
from processes import in_float64, opened
from torch import nn

from segcli.config.load import run_from_values
from segcli.core.errors import ConfigError
from segcli.engine.assembly import assemble
from segcli.engine.training.stepping.exact import ExactStep
from segcli.engine.training.stepping.lockstep import Lockstep
from segcli.engine.world import World

FIVE = {"data__batch_size": 5, "training__gradient_accumulation_steps": 2, "training__metrics": ["dice"]}


def images(folder):
    return experiment(
        write_folders(folder, {"train": 7}, size=(32, 32)),
        **FIVE,
        model={"type": "roinet", **SMALL["roinet"]},
    )


def volumes(folder):
    return volumes_experiment(
        write_hdf5(folder, {"train": 7, "val": 1}),
        **FIVE,
        model={"type": "unet", "depths": [4, 8], "checkpoint_activations": True},
        training__loss={"bce": 0.5, "dice": {"weight": 0.5, "pooled": True}},
    )


@pytest.mark.parametrize("kind", [images, volumes])
def test_two_batches_give_gradient_losses_and_statistics_of_a_plain_step(kind, tmp_path):
    values, found = kind(tmp_path / "data"), []
    with in_float64():
        for reduce in ("fast", "exact"):
            values = copy.deepcopy(values)
            values["training"]["reduce"] = reduce
            values["data"]["slot_size"] = 2
            trainer = opened(values, World.alone(), tmp_path / reduce)
            trainer._begin_epoch()
            for number, loaded in enumerate(trainer.train.epoch(0)):  # 5 images in 3 slots, then 2 in one
                assert trainer.step.take(loaded, share=(0.7, 0.3)[number], place="here")
            network = trainer.parts.network
            gradients = {name: each.grad for name, each in network.named_parameters()}
            found.append((gradients, dict(network.named_buffers()), trainer.step.totals.averages()))
    (gradients, buffers, losses), (in_slots, buffers_in_slots, losses_in_slots) = found
    assert losses_in_slots == pytest.approx(losses, rel=0, abs=1e-9)
    for expected, values in ((gradients, in_slots), (buffers, buffers_in_slots)):
        assert values.keys() == expected.keys()
        for name, each in expected.items():
            torch.testing.assert_close(values[name], each, rtol=0, atol=1e-9, msg=name)


def test_a_batch_that_is_not_finite_in_one_slot_changes_nothing(tmp_path):
    values = images(tmp_path / "data") | {"debug": {"on_nan": "skip"}}
    values["training"]["reduce"] = "exact"
    trainer = opened(values, World.alone(), tmp_path)
    trainer._begin_epoch()
    loaded = next(iter(trainer.train.epoch(0)))
    loaded.tensors["image"][1] = float("nan")
    before = {name: each.clone() for name, each in trainer.parts.network.named_buffers()}
    assert not trainer.step.take(loaded, share=1.0, place="here")
    after = dict(trainer.parts.network.named_buffers())
    assert [name for name, each in before.items() if not torch.equal(each, after[name])] == []
    assert all(each.grad is None for each in trainer.parts.network.parameters())
    assert trainer.step.totals.losses() == {}


class Counting(nn.Module):
    """Counts the images that it has seen."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen += len(x)
        return x


class Choosing(nn.Module):
    """Normalises some images only."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(x) if x.sum() > 0 else x


class OwnNorm(nn.BatchNorm2d):
    def forward(self, x):
        return 2.0 * super().forward(x)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Counting, "changes numbers other than those of batch norms"),
        (Choosing, "takes other batch norms for other images"),
        (OwnNorm, "layer `.*` is a batch norm of its own kind, `OwnNorm`"),
    ],
)
def test_a_network_that_cannot_be_cut_into_slots_is_refused(tmp_path, layer, message, monkeypatch):
    values = images(tmp_path / "data")
    values |= {"model": {"type": "unet", "depths": [4, 8]}}
    values["training"]["reduce"] = "exact"
    parts = assemble(run_from_values(values, source="test"))
    first = parts.network.down[0]
    parts.network.down[0] = nn.Sequential(layer(3) if layer is OwnNorm else layer(), first)
    loaded = next(iter(opened(values, World.alone(), tmp_path).train.epoch(0)))
    loaded.tensors["image"][1:3] = -1.0
    with pytest.raises(ConfigError, match=message):
        ExactStep(parts).take(loaded, share=1.0, place="here")


def test_an_error_of_one_function_ends_all():
    lockstep, seen = Lockstep(sum), []

    def work(number):
        lockstep.meet(torch.tensor(1.0))
        if number == 1:
            raise KeyError("of a test")
        seen.append(float(lockstep.meet(torch.tensor(1.0))))

    states = [torch.get_rng_state()] * 3
    with pytest.raises(KeyError, match="of a test"):
        lockstep.run([lambda number=number: work(number) for number in range(3)], states)
    assert seen == []
    assert lockstep.run([lambda: lockstep.meet(torch.tensor(2.0))] * 3, states) == [6.0] * 3


def test_each_function_has_random_numbers_of_its_own_and_the_others_stay():
    lockstep = Lockstep(sum)

    def work():
        first = torch.rand(1)
        lockstep.meet(first)
        return float(first), float(torch.rand(1))

    states = [torch.Generator().manual_seed(seed).get_state() for seed in (1, 2, 1)]
    before = torch.get_rng_state()
    one, two, three = lockstep.run([work] * 3, states)
    assert one == three != two
    assert torch.equal(torch.get_rng_state(), before)
    drawn = torch.rand(2, generator=torch.Generator().manual_seed(1)).tolist()
    assert one == pytest.approx(drawn)
