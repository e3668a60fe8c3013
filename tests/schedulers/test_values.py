"""Rates against PyTorch's own schedulers, step by step."""

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from segcli.core.registry import SCHEDULERS
from segcli.schedulers import Horizon

EPOCHS, STEPS = 6, 4
TOTAL = EPOCHS * STEPS


def rates(name, **options):
    kind = SCHEDULERS.load(name)
    schedule = kind(kind.Config(**options), base_lr=0.1, horizon=Horizon(EPOCHS, STEPS))
    return [schedule.rate(step) for step in range(TOTAL)]


def pytorch(make):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = make(optimizer)
    found = []
    for _ in range(TOTAL):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            lambda: rates("cosine", min_lr=0.01),
            lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, TOTAL, eta_min=0.01),
        ),
        (
            lambda: rates("poly", power=0.9),
            lambda optimizer: lr_scheduler.PolynomialLR(optimizer, TOTAL, power=0.9),
        ),
        (
            lambda: rates("step", step_size=2, gamma=0.5),
            lambda optimizer: lr_scheduler.StepLR(optimizer, 2 * STEPS, gamma=0.5),
        ),
        (lambda: rates("constant"), lambda optimizer: lr_scheduler.ConstantLR(optimizer, factor=1.0)),
        (
            lambda: rates("one_cycle", rise=7 / 23, start_factor=0.04, end_factor=4e-6),
            lambda optimizer: lr_scheduler.OneCycleLR(
                optimizer,
                0.1,
                total_steps=TOTAL,
                pct_start=8 / 24,
                div_factor=25,
                final_div_factor=1e4,
                cycle_momentum=False,
            ),
        ),
    ],
    ids=["cosine", "poly", "step", "constant", "one_cycle"],
)
def test_rates_agree_with_pytorch(ours, theirs):
    np.testing.assert_allclose(ours(), pytorch(theirs), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("warmup_epochs", [0.0, 1.5])
@pytest.mark.parametrize("name", ["cosine", "poly"])
def test_the_last_step_still_learns_and_the_end_is_reached_after_it(name, warmup_epochs):
    kind = SCHEDULERS.load(name)
    schedule = kind(kind.Config(), base_lr=0.1, horizon=Horizon(EPOCHS, STEPS, warmup_epochs))
    left = TOTAL - warmup_epochs * STEPS  # steps that decay
    share = {"cosine": 0.5 * (1 + np.cos(np.pi * (1 - 1 / left))), "poly": (1 / left) ** 0.9}[name]
    assert schedule.rate(TOTAL - 1) == pytest.approx(0.1 * share)
    assert schedule.rate(TOTAL) == pytest.approx(0.0)
    assert schedule.rate(round(warmup_epochs * STEPS)) == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["cosine", "poly", "one_cycle", "step", "constant"])
def test_a_training_of_one_step_learns(name):
    kind = SCHEDULERS.load(name)
    assert kind(kind.Config(), base_lr=0.1, horizon=Horizon(1, 1)).rate(0) > 0


def test_plateau_agrees_with_pytorch():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    theirs = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, threshold=1e-4, threshold_mode="abs")
    kind = SCHEDULERS.load("plateau")
    ours = kind(kind.Config(factor=0.5, patience=1), base_lr=0.1, horizon=Horizon(EPOCHS, STEPS))
    for loss in (1.0, 0.5, 0.6, 0.5, 0.49999, 0.4, 0.7, 0.7, 0.7, 0.7, 0.7, 0.1):
        ours.epoch_ended(loss)
        theirs.step(loss)
        assert ours.rate(0) == pytest.approx(optimizer.param_groups[0]["lr"])


def test_plateau_remembers():
    kind = SCHEDULERS.load("plateau")
    make = lambda: kind(kind.Config(patience=1), base_lr=0.1, horizon=Horizon(EPOCHS, STEPS))  # noqa: E731
    one = make()
    for loss in (1.0, 1.0):
        one.epoch_ended(loss)
    other = make()
    other.state = one.state
    for schedule in (one, other):
        schedule.epoch_ended(1.0)
    assert one.rate(0) == other.rate(0) == pytest.approx(0.01)
