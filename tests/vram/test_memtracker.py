"""The forecast against PyTorch's own count of the same step, in fp32 on the CPU."""

from functools import partial
from itertools import accumulate
from pathlib import Path

import pytest
import torch
from factories import SMALL, experiment, nuclei_experiment
from torch.autograd.graph import register_multi_grad_hook
from torch.distributed._tools.mem_tracker import MemTracker
from torch.profiler import ProfilerActivity, profile
from torch.testing._internal.distributed.fake_pg import FakeStore

from segcli.config.load import load_run, run_from_values
from segcli.core.registry import MODELS
from segcli.engine.assembly import Site, assemble
from segcli.engine.training.stepping.step import TrainingStep
from segcli.vram.inputs import inputs_of
from segcli.vram.replay import replayed
from segcli.vram.scenario import _Unwatched, play_training, precision_of
from segcli.vram.sharing import ALONE, Group, Pretended
from segcli.vram.stand_in import Stepping, placed, stand_in

CPU = torch.device("cpu")
MODEL_CASES = [(name, ndim) for name in MODELS.names() for ndim in MODELS.load(name).can_ndim]
WIDE = {"type": "unet", "depths": [16, 32, 64]}
ORGANS = {"format": "hdf5_volumes", "paths": {"root": "."}, "num_channels": 1, "classes": ["ball", "box"]}


def make(name, ndim=2, **changes):
    """A run of a small network; SADAAN on volumes with its own loss."""
    values = {
        "model": {"type": name, **SMALL[name]},
        "data__image_size": [64, 64] if ndim == 2 else [16, 16, 16],
        "training__amp": "off",
        **changes,
    }
    if "mask" not in MODELS.load(name).can_output:
        del values["data__image_size"]  # crops have one
        return run_from_values(
            nuclei_experiment(Path("nowhere"), **values, dataset__classes=["large", "small"]), source="test"
        )
    values = experiment(".", **values)
    if ndim == 3:
        values["dataset"] = ORGANS
        if name == "sadaan":
            values["training"]["loss"] = "sadaan"
    return run_from_values(values, source="test")


SHIPPED = sorted(Path(__file__).parents[2].glob("configs/experiments/*.yaml"))
# Their networks are compared in small above, and one of the three that have SADAAN is here in full size.
LONG = (
    "camvid_deeplabv3_plus",
    "brain_structures_sadaan",
    "organs_sadaan",
    "exp003_utrans",
    "exp004_transroinet",
    "exp002_roinet",
)
LARGE = [
    pytest.param(path, id=path.stem, marks=pytest.mark.slow if path.stem in LONG else ())
    for path in SHIPPED
    if not path.stem.endswith("_small")
]


def forecast(run, group=ALONE):
    """Peak without rounding, and the most of each kind."""
    log = play_training(run, inputs_of(run), validate=False, device=CPU, group=group).log
    used = peak = 0
    for event in log.events:
        used += log.blocks[event].size if event >= 0 else -log.blocks[~event].size
        peak = max(peak, used)
    return {"peak": peak, **replayed(log).kinds}


def train(run, parts, after_batch=lambda: None, step=None):
    """Train two steps, and give what took them."""
    inputs = inputs_of(run)
    step = step or TrainingStep(parts, guard=_Unwatched())  # a loss has no value to look at
    for _ in range(2):
        for _ in range(step.group):
            loaded = inputs.training_batch(run, parts.network.stride)
            for name, values in loaded.tensors.items():
                values.normal_() if name == "image" else values.fill_(1) if name == "valid" else values.random_(0, 2)
            step.take(loaded, share=1.0 / step.group, place="test")
            del loaded, values  # on a GPU, only the step has a copy
            after_batch()
        step.update(1e-4, 0)
    return step


def tracked(run, site=None, world=None):
    """MemTracker's peak of a step, and what took it."""
    parts = assemble(run, site=site)
    step = None if world is None else TrainingStep(parts, guard=_Unwatched(), world=world)  # shares out the network
    tracker = MemTracker()
    tracker.track_external(parts.network)
    with tracker:
        step = train(run, parts, tracker.reset_mod_stats, step)
    return tracker.get_tracker_snapshot("peak")[CPU]["Total"], step


@pytest.fixture
def watched_alike(monkeypatch):
    """Take out of the comparison what a watch itself does to a step.

    While any watch is on, PyTorch's engine adds no gradients in place (`can_accumulate_inplace` in `input_buffer.cpp`):
    the forecast, which does, is told not to. And MemTracker's hooks hold the gradient of an output of a module until
    those of its other outputs have come; for totals the first will do.
    """
    monkeypatch.setattr("segcli.vram.backward._added", lambda first, second: first + second)
    hook = partial(register_multi_grad_hook, mode="any")
    monkeypatch.setattr("torch.distributed._tools.mod_tracker.register_multi_grad_hook", hook)


def bytes_of(tensors):
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def assert_same(found, measured, step):
    assert found["peak"] == pytest.approx(measured, rel=1e-4)
    weights = list(step.stepper.network.parameters())
    states = [value for state in step.stepper.optimizer.state.values() for value in state.values()]
    assert found["parameters"] == found["gradients"] == bytes_of(weights)
    assert found.get("buffers", 0) == bytes_of([*step.stepper.network.buffers(), *step.parts.loss.buffers()])
    assert found["optimizer"] == bytes_of(states)


@pytest.mark.usefixtures("watched_alike")
@pytest.mark.parametrize(("name", "ndim"), MODEL_CASES)
def test_the_peak_is_that_of_memtracker_on_the_same_step_done_for_real(name, ndim):
    run = make(name, ndim)
    assert_same(forecast(run), *tracked(run))


@pytest.mark.usefixtures("watched_alike")
@pytest.mark.parametrize("path", LARGE)
def test_the_peak_of_a_shipped_experiment_in_full_size_is_that_of_memtracker(path):
    size = ["data.image_size=[64,64,64]"] if path.stem.endswith("sadaan") else []  # else the data have it
    run = load_run(path, ["training.amp=off", "device=cpu", *size])
    found = forecast(run)
    # the step and the engine are PyTorch's and run without data; only reads of values are led aside
    with stand_in(), Stepping(torch.autograd.backward):
        assert_same(found, *tracked(run, Site(CPU, precision_of(run, CPU), placed)))


@pytest.mark.usefixtures("watched_alike")
@pytest.mark.parametrize(
    ("strategy", "gpus", "model", "changes"),
    [
        ("ddp", 2, WIDE, {}),
        ("fsdp", 4, WIDE, {"training__gradient_accumulation_steps": 2}),
        ("fsdp", 3, {**WIDE, "checkpoint_activations": True}, {"training__optimizer": {"type": "sgd"}}),
        ("fsdp", 2, {"type": "sadaan", **SMALL["sadaan"]}, {}),  # the network has parameters outside of its units
    ],
)
def test_the_peak_on_one_gpu_of_several_is_that_of_memtracker(strategy, gpus, model, changes):
    """All that is left out is what is sent: the processes are PyTorch's fake ones."""
    size = {"data__image_size": [32, 32], "data__batch_size": 2, "training__strategy": strategy}
    run = make(model["type"], model=model, **size, **changes)
    found = forecast(run, Group(gpus, strategy))
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=gpus)
    try:
        measured, step = tracked(run, world=Pretended(0, gpus, 0))
    finally:
        torch.distributed.destroy_process_group()
    assert found["peak"] == pytest.approx(measured, rel=2e-3)
    whole = bytes_of(step.stepper.network.parameters())
    if strategy == "fsdp":
        assert found["parameters"] < 1.2 * whole / gpus
        assert found["gathered"] > 0
    else:
        assert found["parameters"] == found["gradients"] == whole <= found["buckets"]


@pytest.mark.usefixtures("watched_alike")
@pytest.mark.parametrize(("name", "ndim"), [("unet", 2), ("utrans", 2), ("unet", 3), ("sadaan", 3)])
def test_activations_that_are_computed_again_lower_the_peak_as_memtracker_has_it(name, ndim):
    again = {"type": name, **SMALL[name], "checkpoint_activations": True}
    kept, recomputed = forecast(make(name, ndim)), forecast(make(name, ndim, model=again))
    assert recomputed["peak"] < 0.9 * kept["peak"]
    assert recomputed["activations"] < 0.7 * kept["activations"]
    assert_same(recomputed, *tracked(make(name, ndim, model=again)))


@pytest.mark.parametrize("name", ["sadaan", "sa_unet", "unet"])
def test_without_a_watch_the_peak_is_what_the_process_asked_for(name):
    run = make(name)
    parts = assemble(run)
    before = bytes_of([*parts.network.parameters(), *parts.network.buffers()])
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        train(run, parts)
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    course = accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    assert forecast(run)["peak"] == pytest.approx(before + max(course), rel=0.02)
