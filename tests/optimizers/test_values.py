import subprocess
import sys

import pytest
import torch
from torch import nn

from segcli.core.registry import OPTIMIZERS


@pytest.mark.parametrize(
    ("name", "options", "reference"),
    [
        ("adam", {"weight_decay": 0.1}, lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1)),
        ("adamw", {"betas": [0.8, 0.9]}, lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.8, 0.9), weight_decay=0.01)),
        ("sgd", {"nesterov": True}, lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True)),
        (
            "rmsprop",
            {"momentum": 0.5, "alpha": 0.9, "centered": True, "weight_decay": 0.1},
            lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.9, momentum=0.5, centered=True, weight_decay=0.1),
        ),
    ],
)
def test_three_steps_agree_with_pytorch(name, options, reference):
    layers = []
    for make in (
        lambda p: OPTIMIZERS.load(name)(OPTIMIZERS.load(name).Config(learning_rate=0.01, **options)).build(p),
        reference,
    ):
        torch.manual_seed(0)
        layer, x = nn.Linear(5, 3), torch.randn(8, 5)
        optimizer = make(layer.parameters())
        for _ in range(3):
            optimizer.zero_grad()
            layer(x).square().sum().backward()
            optimizer.step()
        layers.append(layer)
    torch.testing.assert_close(layers[0].weight, layers[1].weight)


STEPS = """
import sys, torch
from segcli.core.registry import OPTIMIZERS
for name in OPTIMIZERS.names():
    layer = torch.nn.Linear(5, 3)
    optimizer = OPTIMIZERS.load(name)(OPTIMIZERS.load(name).Config()).build(layer.parameters())
    for _ in range(2):
        layer(torch.ones(2, 5)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
print([name for name in ("torch._dynamo", "torch._inductor") if name in sys.modules])
"""


def test_no_optimizer_loads_the_compiler_of_pytorch():
    assert subprocess.check_output([sys.executable, "-c", STEPS], text=True) == "[]\n"


def test_a_step_computes_no_gradients_and_calls_its_hooks():
    layer, seen = nn.Linear(5, 3), []
    optimizer = OPTIMIZERS.load("sgd")(OPTIMIZERS.load("sgd").Config()).build(layer.parameters())
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    layer(torch.ones(2, 5)).sum().backward()
    optimizer.step()
    assert seen == ["before", "after"]
    assert layer.weight.is_leaf
    assert torch.is_grad_enabled()
    assert isinstance(optimizer, torch.optim.SGD)
    assert type(optimizer).__name__ == "SGD"


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_steps_have_the_bits_of_pytorchs_own_class(name):
    layers = []
    for own in (True, False):
        torch.manual_seed(0)
        layer, x = nn.Linear(5, 3), torch.randn(8, 5)
        optimizer = OPTIMIZERS.load(name)(OPTIMIZERS.load(name).Config()).build(layer.parameters())
        if not own:
            optimizer.__class__ = type(optimizer).__mro__[1]
            assert optimizer.__class__.__module__.startswith("torch.optim.")
        for _ in range(3):
            layer(x).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        layers.append(layer)
    assert torch.equal(layers[0].weight, layers[1].weight)
    assert torch.equal(layers[0].bias, layers[1].bias)
