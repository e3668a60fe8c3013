import random

import numpy as np
import pytest
import torch
from torch import nn

from segcli.engine.training.activations import SAMPLE, Outputs, observed, undisturbed


class Restless(nn.Module):
    """Draws from every generator, and counts batches, whatever its mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(2)
        self.frozen = nn.BatchNorm2d(2).eval()

    def forward(self, image):
        random.random()
        np.random.rand()
        return self.frozen(self.norm(image + torch.rand(1)))


def test_looking_at_a_network_leaves_modes_statistics_and_generators_as_they_were():
    network, image = Restless(), torch.randn(1, 2, 4, 4)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    expected = torch.rand(3), np.random.rand(3), random.random()
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    with undisturbed(network, torch.device("cpu")):
        assert not network(image).requires_grad
    assert [network.training, network.norm.training, network.frozen.training] == [True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])
    assert random.random() == expected[2]


def test_all_is_put_back_when_looking_fails():
    network = Restless()
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError), undisturbed(network, torch.device("cpu")):
        network(torch.randn(1, 3, 4, 4))
    assert network.training
    assert torch.equal(torch.get_rng_state(), state)


def test_figures_of_several_calls_are_those_of_all_values_together():
    pieces = [torch.randn(2, 3, 5) * 4 + 100, torch.randn(7), torch.zeros(0), torch.tensor(3.0)]
    outputs = Outputs()
    for piece in pieces:
        outputs.add(piece)
    values = torch.cat([piece.flatten() for piece in pieces]).double().numpy()
    expected = {"mean": values.mean(), "std": values.std(), "min": values.min(), "max": values.max()}
    assert outputs.figures() == pytest.approx(expected, rel=1e-5)
    assert np.array_equal(outputs.sample(), values)


def test_a_histogram_has_evenly_taken_finite_values_and_not_too_many():
    outputs = Outputs()
    columns = torch.arange(1024.0).repeat(1024)
    columns[:512] = torch.inf
    outputs.add(columns)
    sample = outputs.sample()
    assert SAMPLE / 2 < len(sample) <= SAMPLE
    assert np.isfinite(sample).all()
    assert len(np.unique(sample)) == 1024
    assert sample.mean() == pytest.approx(511.5, rel=0.01)


def test_layers_are_heard_by_name_and_not_afterwards():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu, self.pair, self.idle = nn.ReLU(), nn.LSTM(3, 2), nn.ReLU()

        def forward(self, x):
            return self.pair(self.relu(self.relu(x) - 1.0))[0]

    network, x = Two(), torch.randn(4, 3)
    seen = observed(network, ["relu", "pair", "idle"], lambda: network(x))
    assert set(seen) == {"relu", "pair"}
    assert sum(count for count, _ in seen["relu"].pieces) == 2 * 12
    assert sum(count for count, _ in seen["pair"].pieces) == 4 * 2 + 2 + 2  # what it gives is a tuple of tuples
    network(x)
    assert sum(count for count, _ in seen["relu"].pieces) == 2 * 12


def test_a_network_names_its_blocks_that_have_weights():
    from segcli.core.registry import MODELS
    from segcli.core.types import IOSpec

    unet = MODELS.load("unet")
    network = unet(unet.Config(depths=[4, 8, 16]), io=IOSpec(2, 3, {"mask": 1}))
    assert network.activation_layers() == ["down.0", "down.1", "down.2", "up.0", "up.1", "head"]
