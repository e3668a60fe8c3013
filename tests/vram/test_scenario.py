import sys
from bisect import bisect_right
from collections import Counter
from pathlib import Path

import pytest
import torch
from factories import SMALL, experiment, nuclei_experiment

from segcli.config.load import run_from_values
from segcli.core.errors import ConfigError
from segcli.core.registry import MODELS
from segcli.engine.assembly import assemble
from segcli.engine.runtime import random_state
from segcli.engine.training.stepping.step import TrainingStep
from segcli.vram.backward import Saved, backward
from segcli.vram.forecast import Forecaster
from segcli.vram.inputs import inputs_of
from segcli.vram.recorder import Log
from segcli.vram.replay import replayed
from segcli.vram.scenario import play_prediction, play_training

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


def make(name="unet", **changes):
    if name == "vgg3d":
        return run_from_values(nuclei(**changes), source="test")
    values = {
        "model": {"type": name, **SMALL.get(name, {})},
        "data__image_size": [64, 64],
        "data__batch_size": 2,
        "training__amp": "off",
        **changes,
    }
    # a file of one's own runs where an override names it
    named = [f"model.type={values['model']['type']}"] if ".py:" in values["model"]["type"] else []
    return run_from_values(experiment(".", **values), named, source="test")


def nuclei(**changes):
    """Keys of a run on nuclei that are not at hand."""
    size = {"crop_size": [16, 16, 16], "classes": ["large", "small"]}
    model = {"type": "vgg3d", **SMALL["vgg3d"]}
    dataset = {f"dataset__{key}": value for key, value in size.items()}
    return nuclei_experiment(Path("nowhere"), **dataset, **{"model": model, "training__amp": "off", **changes})


def played(run, **options):
    return play_training(run, inputs_of(run), **options)


def bytes_of(tensors):
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def real_batch(run, network):
    loaded = inputs_of(run).training_batch(run, network.stride)
    generator = torch.Generator().manual_seed(0)
    loaded.tensors["image"].normal_(generator=generator)
    loaded.tensors["class" if run.task_name == "classification" else "mask"].random_(0, 2, generator=generator)
    loaded.tensors["valid"].fill_(1)
    return loaded


def real_step(run):
    return TrainingStep(assemble(run))


@pytest.mark.parametrize("name", MODELS.names())
def test_what_is_kept_for_backward_is_what_a_real_step_saves(name):
    run = make(name)
    step = real_step(run)
    network = step.parts.network
    weights = {parameter.untyped_storage().data_ptr() for parameter in [*network.parameters(), *network.buffers()]}
    loaded = real_batch(run, network)
    seen = {}

    def pack(tensor):
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    batch = step.parts.task.targets(dict(loaded.tensors))
    batch["image"] = batch["image"].to(memory_format=step.parts.memory_format)
    given = {tensor.untyped_storage().data_ptr() for tensor in batch.values()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        values, outputs = step.stepper.forward_loss(batch)
    # results that live although no backward pass needs them
    alive = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage()
        for tensor in [*values.values(), *outputs.values()]
    }
    saved = sum(storage.nbytes() for key, storage in {**seen, **alive}.items() if key not in weights | given)
    log = played(run, validate=False, device=CPU).log
    assert sum(log.blocks[number].size for number in log.kept) == pytest.approx(saved, rel=0.001)


@pytest.mark.parametrize("name", MODELS.names())
def test_the_backward_pass_node_by_node_gives_the_gradients_of_the_engine(name):
    run = make(name, training__loss={"cross_entropy": 1.0} if name == "vgg3d" else {"bce": 0.5, "dice": 0.5})
    step = real_step(run)
    network, loaded = step.parts.network, None
    found = []
    for own in (False, True):
        torch.manual_seed(0)
        loaded = real_batch(run, network)
        saved = Saved()
        with saved.hooks:
            values, _ = step.stepper.forward_loss(step.parts.task.targets(loaded.tensors))
        backward(values["loss"], saved, lambda number: None) if own else values["loss"].backward()
        found.append([parameter.grad.clone() for parameter in network.parameters()])
        network.zero_grad(set_to_none=True)
    for engine, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, engine, rtol=1e-4, atol=1e-6)


def kept_by_layer(log):
    kept = Counter()
    for number in log.kept:
        kept[log.blocks[number].layer.rpartition(".")[2]] += log.blocks[number].size
    return kept


OWN = """
import torch

class Two(torch.nn.Module):
    stride = 1

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.first = torch.nn.Conv2d(in_channels, 16, 3, padding=1)
        self.second = torch.nn.Conv2d(16, out_channels, 1)
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, image):
        return self.second(self.drop(self.first(image).relu_()))
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "two.py").write_text(OWN)
    return f"{tmp_path}/two.py:Two"


def test_a_network_of_two_convolutions_keeps_what_a_person_counts(own):
    pixels = 2 * 64 * 64
    expected = {
        # conv1 saves its input, which is the batch; relu and conv2's input are one in-place tensor, dropped out
        "first": 16 * pixels * 4,
        "drop": 16 * pixels * 4 + 16 * pixels,  # what is left, and one byte of mask per value
        "second": 1 * pixels * 4,  # the logits
    }
    log = played(make(own, model={"type": own})).log
    kept = kept_by_layer(log)
    assert {name: kept[name] for name in expected} == expected


def test_bf16_halves_the_activations_and_keeps_copies_of_the_weights(own):
    pixels = 2 * 64 * 64
    log = played(make(own, model={"type": own}, training__amp="bf16")).log
    kept = kept_by_layer(log)
    weights = 2 * 3 * 16 * 9  # in bf16; the cast bias is not needed for backward and goes
    image = 3 * pixels * 2
    assert kept["first"] == 16 * pixels * 2 + weights + image
    assert kept["second"] == pixels * 2 + 2 * 16


@pytest.mark.parametrize(
    ("optimizer", "per_value", "per_tensor"),
    [
        ("adam", 8, 4),
        ("adamw", 8, 4),
        ({"type": "sgd", "momentum": 0.9}, 4, 0),
        ({"type": "sgd", "momentum": 0.0}, 0, 0),
    ],
)
def test_the_optimizer_state_is_exact(optimizer, per_value, per_tensor):
    run = make(training__optimizer=optimizer)
    network = assemble(run).network
    values = sum(parameter.numel() for parameter in network.parameters())
    expected = per_value * values + per_tensor * len(list(network.parameters()))
    assert replayed(played(run).log).kinds.get("optimizer", 0) == expected


def test_averaged_weights_are_a_second_copy_of_weights_and_buffers():
    kinds = replayed(played(make(training__ema=0.9)).log).kinds
    assert kinds["ema"] == kinds["parameters"] + kinds["buffers"]
    assert "ema" not in replayed(played(make()).log).kinds


def test_with_accumulation_the_gradients_live_through_the_next_forward_pass():
    once, twice = (replayed(played(make(training__gradient_accumulation_steps=steps)).log) for steps in (1, 2))
    assert twice.stages["training/forward"][0] - once.stages["training/forward"][0] >= twice.kinds["gradients"]


def test_the_first_gradient_of_a_weight_is_taken_over_and_the_next_is_added_to_it(own):
    run = make(model={"type": own}, training__gradient_accumulation_steps=2)
    log = played(run, validate=False, device=CPU).log
    starts = [moment.first_event for moment in log.moments]
    made = [
        event
        for position, event in enumerate(log.events)
        if event >= 0
        and log.blocks[event].size == 4 * 16 * 3 * 9
        and log.moments[bisect_right(starts, position) - 1].stage == "training/backward"
    ]
    assert len(made) == 4  # one for each of two batches in two steps
    assert [log.blocks[event].kind for event in made] == ["gradients", "temporary"] * 2


def test_attention_is_never_held_in_memory():
    heads, tokens = 2, 32 * 32
    for amp, element in (("bf16", 2), ("off", 4)):
        log = played(make("utrans", training__amp=amp)).log
        assert (
            max(block.size for block in log.blocks if block.kind != "workspace") < 2 * heads * tokens * tokens * element
        )
        # the logarithm of the sum that both kernels save: one float32 per head and token
        assert 4 * 2 * heads * tokens in {log.blocks[number].size for number in log.kept}


def test_what_is_frozen_to_the_end_has_no_gradients_and_what_is_unfrozen_before_has_them():
    keys = {"freeze_features": True, **SMALL["vgg3d"]}
    free, frozen, freed = (
        replayed(played(make("vgg3d", model={"type": "vgg3d", **own}, training__epochs=4)).log).kinds
        for own in (SMALL["vgg3d"], keys, {**keys, "unfreeze_every": 1})
    )
    features = sum(each.numel() * 4 for each in assemble(make("vgg3d")).network.features.parameters())
    assert free["gradients"] - frozen["gradients"] == features
    assert freed["gradients"] == free["gradients"]
    assert frozen["activations"] < free["activations"]


def test_prediction_holds_weights_and_no_gradients():
    run = make(training__ema=0.9)
    kinds = replayed(play_prediction(run, inputs_of(run)).log).kinds
    assert set(kinds) == {"parameters", "buffers", "temporary"}


@pytest.mark.parametrize(
    "changes",
    [
        {"training__amp": "fp16"},
        {"training__amp": "fp16", "training__gradient_clip_norm": 1.0},
        {"training__gradient_clip_norm": 1.0},
        {"training__channels_last": False},
        {"training__compile": True},
        {"training__loss": {"bce": 1.0, "lovasz": 1.0, "soft_cldice": 1.0, "focal": 1.0, "focal_tversky": 1.0}},
        {"training__loss": {"dice": 1.0, "boundary": 0.01}},
        {"training__metrics": ["dice", "hd95", "auc", "cldice"]},
        {"inference__tile": [32, 32], "inference__tta": True},
        {"data__patch_size": [32, 32], "debug__on_nan": "skip"},
    ],
)
def test_every_kind_of_step_can_be_played(changes):
    run = make(**changes)
    one, other = replayed(played(run).log), replayed(played(run).log)
    assert one == other
    assert one.peak > one.kinds["activations"] > 0
    assert {"training/backward", "training/optimizer", "validation/forward"} <= set(one.stages)


def test_two_forecasts_are_the_same_to_the_byte():
    run = make(training__amp="bf16")
    assert Forecaster(run).forecast() == Forecaster(run).forecast()


def test_playing_leaves_no_trace(own):
    before = random_state(CPU)
    played(make())
    after = random_state(CPU)
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert not torch.is_autocast_enabled("cuda")
    with pytest.raises((RuntimeError, AssertionError)):
        torch.empty(1, device="cuda") if not torch.cuda.is_available() else sys.exit()
    real_step(make()).take(real_batch(make(), assemble(make()).network), share=1.0, place="test")


def test_a_network_whose_sizes_depend_on_values_is_refused(tmp_path):
    odd = "if self.training:\n            image = image[image > 0].reshape(image.shape)\n        return "
    (tmp_path / "odd.py").write_text(OWN.replace("return ", odd))
    with pytest.raises(ConfigError, match="cannot be forecast") as refused:
        played(make(model={"type": f"{tmp_path}/odd.py:Two"}))
    assert "aten.nonzero" in refused.value.message


def test_values_that_a_step_reads_are_counted(tmp_path):
    reading = "scale = float(image.mean())\n        return scale * "
    (tmp_path / "reads.py").write_text(OWN.replace("return ", reading))
    assert played(make(model={"type": f"{tmp_path}/reads.py:Two"})).reads == 2  # once in each of two steps
    assert played(make()).reads == 0


def test_what_a_node_kept_is_freed_once_it_has_run():
    log = played(make(model={"type": "unet", "depths": [8, 8, 8]}), validate=False).log
    begins = max(moment.first_event for moment in log.moments if moment.stage == "training/forward")
    ends = max(moment.first_event for moment in log.moments if moment.stage == "training/backward")
    kept = set(log.kept)
    left = sum(log.blocks[number].size for number in kept)
    course = []
    for event in log.events[begins:ends]:
        if event < 0 and ~event in kept:
            left -= log.blocks[~event].size
        course.append(left)
    whole, middle = course[0], course[len(course) // 2]
    assert 0.1 * whole < middle < 0.8 * whole


def test_blocks_that_end_together_have_one_order():
    log = Log(events=[0, 1, 2, ~2, ~0, 3, ~1, ~3])
    log.settle()
    assert log.events == [0, 1, 2, ~0, ~2, 3, ~1, ~3]
