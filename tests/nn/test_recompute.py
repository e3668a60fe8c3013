import copy

import pytest
import torch
from factories import SMALL

from segcli.core.registry import MODELS
from segcli.core.types import IOSpec

SIDE = 16
"""Of images for networks that are made for one size."""


def network(name, ndim):
    torch.manual_seed(0)
    kind = MODELS.load(name)
    size = (SIDE,) * ndim if kind.needs_size else None
    return kind(kind.Config(**SMALL[name]), io=IOSpec(ndim, 1, dict.fromkeys(kind.can_output, 2), size=size))


def step(model, image):
    torch.manual_seed(1)  # dropout and the like
    total = sum(value.square().mean() for value in model(image).values())
    total.backward()
    return total.detach()


CASES = [(name, MODELS.load(name).can_ndim[-1]) for name in MODELS.names()]


@pytest.mark.parametrize(("name", "ndim"), CASES)
def test_loss_gradients_and_statistics_are_those_of_the_network_that_keeps_everything(name, ndim):
    plain, thrifty = network(name, ndim), network(name, ndim)
    thrifty.checkpoint_activations()
    image = torch.randn(2, 1, *(SIDE if plain.needs_size else plain.stride * 4,) * ndim)
    for _ in range(2):
        assert torch.equal(step(plain, image), step(thrifty, image))
    assert list(plain.state_dict()) == list(thrifty.state_dict())
    for (key, one), other in zip(plain.state_dict().items(), thrifty.state_dict().values(), strict=True):
        assert torch.equal(one, other), key
    for (key, one), other in zip(plain.named_parameters(), thrifty.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad), key


def test_fewer_bytes_are_kept_for_backward():
    kept = {}
    for thrifty in (False, True):
        model = network("unet", 3)
        if thrifty:
            model.checkpoint_activations()
        seen = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, seen=seen: seen.append(x.nbytes) or x, lambda x: x):
            model(torch.randn(1, 1, 16, 16, 16))
        kept[thrifty] = sum(seen)
    assert kept[True] < 0.5 * kept[False]


def test_a_copy_works_on_its_own_weights():
    model = network("unet", 2)
    model.checkpoint_activations()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    image = torch.randn(1, 1, 8, 8)
    assert not twin(image)["mask"].any()
    assert model(image)["mask"].any()
