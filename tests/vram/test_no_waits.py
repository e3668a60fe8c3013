"""A training step never waits for the GPU; it is played on the simulated one, so that no GPU is needed."""

import pytest
import torch
from factories import SMALL, experiment
from torch import Tensor

from segcli.config.load import run_from_values
from segcli.core.registry import LOSSES, METRICS, MODELS
from segcli.engine.training.stepping.guard import FiniteGuard
from segcli.vram import scenario
from segcli.vram.inputs import inputs_of
from segcli.vram.stand_in import MAKERS, READS, Stepping

FETCHES = {Tensor.cpu, Tensor.numpy, Tensor.tolist}
ON_HOST = {"boundary"}
"""Losses whose distance maps are computed on the CPU."""


class Watched(Stepping):
    """Notes what makes a process wait: values that are read, and copies that are not asynchronous."""

    def __init__(self, run_backward):
        super().__init__(run_backward)
        self.waits, self.sent = [], []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        first, to = args[0] if args else None, (kwargs or {}).get("device")
        on_gpu = isinstance(first, Tensor) and first.device.type == "cuda"
        if on_gpu and func in {*READS, *FETCHES}:
            self.waits.append(func.__name__)
        if func in MAKERS and not isinstance(first, Tensor) and to is not None and torch.device(to).type == "cuda":
            self.waits.append(f"{func.__name__} from values of Python")
        found = super().__torch_function__(func, types, args, kwargs)
        if func is Tensor.to and found.device != first.device:
            self.sent.append(found.device.type)
            if on_gpu or not (kwargs or {}).get("non_blocking"):
                self.waits.append(f"copy from {first.device.type} to {found.device.type}")
        return found


@pytest.fixture
def step_of(monkeypatch):
    """Plays the training step of a run and returns the watch over it."""
    made = []

    def watched(run_backward):
        made.append(Watched(run_backward))
        return made[-1]

    def play(**changes):
        values = {"data__image_size": [64, 64], "training__amp": "bf16", "training__gradient_clip_norm": 1.0, **changes}
        run = run_from_values(experiment(".", **values), source="test")
        scenario.play_training(run, inputs_of(run), validate=False)
        return made[-1]  # the one before watched how the parts were made

    monkeypatch.setattr(scenario, "Stepping", watched)
    return play


@pytest.mark.parametrize("name", [name for name in MODELS.names() if name not in ("sadaan", "vgg3d")])
def test_no_network_waits_for_the_gpu_in_a_step(step_of, name):
    step = step_of(model={"type": name, **SMALL.get(name, {})}, training__ema={"enabled": True})
    assert step.waits == []
    assert set(step.sent) == {"cuda"}  # the watch is there, and has seen the batch go


@pytest.mark.parametrize("classes", [1, 3])
def test_no_loss_and_no_metric_of_training_waits_for_the_gpu(step_of, classes):
    kind = "cross_entropy" if classes > 1 else "bce"
    names = [name for name in LOSSES.names() if name not in {"bce", "cross_entropy", "sadaan", *ON_HOST}]
    kinds = {name: METRICS.load(name) for name in METRICS.names()}
    metrics = [name for name, each in kinds.items() if not each.costly and (classes > 1 or not each.needs_classes)]
    step = step_of(
        dataset__num_classes=classes, training__loss=dict.fromkeys([kind, *names], 0.1), training__metrics=metrics
    )
    assert step.waits == []


def test_a_loss_that_is_computed_on_the_cpu_is_seen_to_wait(step_of):
    assert step_of(training__loss={"boundary": 1.0}).waits == ["cpu", "cpu", "copy from cpu to cuda"] * 2


def test_the_check_of_a_loss_on_a_gpu_asks_whether_its_copy_has_arrived_and_does_not_wait(monkeypatch):
    events, copies = [], []

    class Event:
        def __init__(self):
            self.arrived = False
            events.append(self)

        def record(self):
            copies.append("recorded")

        def query(self):
            return self.arrived

        def synchronize(self):
            assert self.arrived, "the loop waits for the GPU"

    empty, copied = torch.empty, Tensor.copy_

    def pinned(*size, pin_memory, **options):
        assert pin_memory, "a copy to memory that is not page-locked waits"
        return empty(*size, **options)

    def copy(target, source, *, non_blocking):
        assert non_blocking
        copies.append("copied")
        return copied(target, source)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch, "empty", pinned)
    monkeypatch.setattr(Tensor, "copy_", copy)
    guard = FiniteGuard(torch.device("cuda"))
    guard.watch(torch.tensor(1.0), "batch 1")
    guard.watch(torch.tensor(2.0), "batch 2")
    assert copies == ["copied", "recorded"] * 2  # the event stands behind the copy
    assert len(guard.pending) == 2
    events[0].arrived = True
    guard.watch(torch.tensor(3.0), "batch 3")
    assert [each.place for each in guard.pending] == ["batch 2", "batch 3"]
