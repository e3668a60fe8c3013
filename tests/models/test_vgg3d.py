from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from segcli.config.sections import ModelSection
from segcli.core.errors import CheckpointError, ConfigError
from segcli.core.types import IOSpec
from segcli.engine.checkpoint import Checkpoint, write_checkpoint
from segcli.engine.weights import load_pretrained
from segcli.models.vgg3d import VGG3D

TINY = {"depths": [2, 4, 6], "convolutions": 1, "classifier_size": 8, "dropout": 0.0}


def build(size=(8, 8, 8), channels=1, classes=3, seed=0, **config):
    torch.manual_seed(seed)
    return VGG3D(VGG3D.Config(**{**TINY, **config}), io=IOSpec(3, channels, {"class": classes}, size=size))


def volume(seed=1, size=(8, 8, 8)):
    return torch.randn(4, 1, *size, generator=torch.Generator().manual_seed(seed))


def test_the_default_is_five_doubling_blocks_and_a_classifier_of_4096():
    torch.manual_seed(0)
    model = VGG3D(VGG3D.Config(classifier_size=8), io=IOSpec(3, 1, {"class": 2}, size=(80, 80, 80)))
    convolutions = [layer for layer in model.features if isinstance(layer, nn.Conv3d)]
    assert [layer.out_channels for layer in convolutions] == [32, 32, 64, 64, 128, 128, 256, 256, 512, 512]
    kinds = [type(layer).__name__ for layer in model.features][:7]
    assert kinds == ["Conv3d", "BatchNorm3d", "ReLU", "Conv3d", "BatchNorm3d", "ReLU", "MaxPool3d"]
    assert model.classifier[0].in_features == 512 * 2 * 2 * 2  # 80 halved five times, rounded down
    assert VGG3D.Config().classifier_size == 4096
    assert VGG3D.Config().dropout == 0.5


@pytest.mark.parametrize(("size", "width"), [((8, 8, 8), 6), ((16, 9, 24), 6 * 2 * 1 * 3)])
def test_the_width_of_the_classifier_follows_from_the_size_of_the_images(size, width):
    model = build(size)
    assert model.classifier[0].in_features == width
    assert model(volume(size=size))["class"].shape == (4, 3)


def test_images_of_no_common_size_or_of_too_small_a_size_are_refused():
    with pytest.raises(ConfigError, match="needs images of one size"):
        VGG3D(VGG3D.Config(), io=IOSpec(3, 1, {"class": 2}))
    with pytest.raises(ConfigError, match=r"halves its input 3 times, and images of 8x8x7 voxels are too small"):
        build((8, 8, 7))


def test_each_block_may_have_its_own_number_of_convolutions():
    model = build(convolutions=[1, 3, 2])
    kinds = "".join({nn.Conv3d: "c", nn.MaxPool3d: "p"}.get(type(layer), "") for layer in model.features)
    assert kinds == "cpcccpccp"
    assert build(convolutions=[2, 2, 2]).state_dict().keys() == build(convolutions=2).state_dict().keys()
    with pytest.raises(ValidationError, match="has 2 numbers for the 3 blocks of `depths`"):
        VGG3D.Config(**{**TINY, "convolutions": [2, 2]})


# ---- pretrained features


def loaded(path, **config):
    """A network with the weights of a file, and the lines that tell what was loaded."""
    section = ModelSection.model_validate({"type": "vgg3d", "weights": path, **TINY, **config})
    torch.manual_seed(0)
    model = section.build(io=IOSpec(3, 1, {"class": 3}, size=(8, 8, 8)))
    return model, load_pretrained(section, model)[0]


def test_features_of_blocks_with_other_convolutions_are_refused_with_the_numbers_that_fit(tmp_path):
    other = build(seed=1, convolutions=[1, 3, 2])
    torch.save(other.state_dict(), tmp_path / "net.pt")
    told = r"have 1, 3, 2 convolutions, those of `model.convolutions` 2, 2, 2"
    with pytest.raises(CheckpointError, match=told) as it:
        loaded(tmp_path / "net.pt", convolutions=2)
    assert it.value.hint == "set `model.convolutions=[1, 3, 2]`"
    fitting, _ = loaded(tmp_path / "net.pt", convolutions=[1, 3, 2])
    assert equal(features_of(fitting), features_of(other))


def features_of(model):
    return {name: value for name, value in model.state_dict().items() if name.startswith("features.")}


def equal(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


WRAPPED = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"epoch": 3, "state_dict": state},
    "model_state_dict": lambda state: {"model_state_dict": state, "optimizer": {"lr": 0.1}},
    "module": lambda state: {f"module.{name}": value for name, value in state.items()},
    "nested module": lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}},
}


@pytest.mark.parametrize("wrapping", WRAPPED)
def test_features_are_taken_from_a_checkpoint_however_it_is_wrapped(wrapping, tmp_path):
    other = build(seed=1, classes=7, classifier_size=32)
    torch.save(WRAPPED[wrapping](other.state_dict()), tmp_path / "net.pt")
    before = build().classifier[0].weight
    model, lines = loaded(tmp_path / "net.pt")
    taken, skipped, missing = lines[-3:]
    assert ("prefix `module.` of the names removed" in lines[0]) == ("module" in wrapping.split())
    assert equal(features_of(model), features_of(other))
    assert torch.equal(model.classifier[0].weight, before)
    assert "18 (features.0.weight" in taken
    assert "6 (classifier.0.weight 32x6 instead of 8x6" in skipped
    assert "6 (classifier.0.weight, classifier.0.bias" in missing


@pytest.mark.parametrize("section", ["model", "ema"])
def test_features_are_taken_from_a_run_of_our_own_the_averaged_ones_where_there_are_any(section, tmp_path):
    other, decoy = build(seed=1), build(seed=2)
    tensors = {f"model/{name}": value for name, value in decoy.state_dict().items()}
    tensors |= {f"{section}/{name}": value for name, value in other.state_dict().items()}
    tensors |= {"optimizer/features.0.weight/step": torch.tensor(3.0)}
    write_checkpoint(tmp_path / "best.safetensors", Checkpoint({}, tensors))
    model, _ = loaded(tmp_path / "best.safetensors")
    assert equal(features_of(model), features_of(other))


def test_a_classifier_of_the_same_shape_is_taken_only_on_request(tmp_path):
    other = build(seed=1)
    torch.save(other.state_dict(), tmp_path / "net.pt")
    model, lines = loaded(tmp_path / "net.pt", keep_classifier=True)
    assert lines[2].endswith("none missing, new from the seed")
    assert equal(other.state_dict(), model.state_dict())


def test_biases_of_a_checkpoint_go_into_the_batch_norm_that_follows(tmp_path):
    torch.manual_seed(5)
    layers = []
    for below, width in ((1, 2), (2, 4), (4, 6)):
        layers += [nn.Conv3d(below, width, 3, padding=1), nn.BatchNorm3d(width), nn.ReLU(), nn.MaxPool3d(2)]
    features = nn.Sequential(*layers)
    features(volume())  # statistics that are not 0 and 1
    features.eval()
    torch.save({f"features.{name}": value for name, value in features.state_dict().items()}, tmp_path / "net.pt")
    model = loaded(tmp_path / "net.pt")[0].eval()
    torch.testing.assert_close(model.features(volume(2)), features(volume(2)))


class Code:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": Code()}, "holds no weights"),
        ([1, 2], "holds no state dict of tensors"),
        ({"epoch": 3}, "holds no state dict of tensors"),
        ({"encoder.weight": torch.zeros(3)}, "nothing in .* fits model `vgg3d`; it has encoder.weight"),
    ],
)
def test_what_is_no_checkpoint_of_such_a_network_is_told_in_one_sentence(content, message, tmp_path, capsys):
    torch.save(content, tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=message):
        loaded(tmp_path / "net.pt")
    assert "run" not in capsys.readouterr().out


def test_weights_that_are_not_there_are_a_mistake_of_the_config():
    with pytest.raises(ConfigError, match=r"no file `nowhere.pt` with pretrained weights"):
        loaded(Path("nowhere.pt"))


# ---- freezing


def learnt(model, epochs, *, steps=3):
    """State dict after each epoch of a training that knows nothing of freezing, with what the model told."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.5, fused=True)
    states, told = [], []
    for epoch in range(epochs):
        model.train()
        told.append(model.epoch_begins(epoch))
        for step in range(steps):
            loss = nn.functional.cross_entropy(model(volume(step))["class"], torch.tensor([0, 1, 2, 0]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        states.append({name: value.clone() for name, value in model.state_dict().items()})
    return states, told, optimizer


def changed(one, other):
    return {name for name, value in one.items() if not torch.equal(value, other[name])}


def test_frozen_features_do_not_change_by_a_bit_neither_weights_nor_statistics():
    model = build(freeze_features=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    (after,), (told,), optimizer = learnt(model, 1)
    assert changed(before, after) == {name for name in before if name.startswith("classifier.")}
    assert told.startswith("`features.0` to `features.9` frozen: 155 of ")
    assert {id(parameter) for parameter in optimizer.state} == {id(p) for p in model.classifier.parameters()}


def test_blocks_are_unfrozen_from_the_last_on_a_block_every_so_many_epochs():
    model = build(freeze_features=True, unfreeze_every=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    states, told, optimizer = learnt(model, 8)
    moved = [changed(one, other) for one, other in zip([before, *states], states, strict=False)]
    blocks = [{f"features.{at}" for at in block} for block in ((0, 1), (4, 5), (8, 9))]
    layers = [{name.rpartition(".")[0] for name in names if name.startswith("features.")} for names in moved]
    assert layers == [
        set(),
        set(),
        *[blocks[2]] * 2,
        *[blocks[2] | blocks[1]] * 2,
        *[blocks[2] | blocks[1] | blocks[0]] * 2,
    ]
    assert [bool(line) for line in told] == [True, False] * 3 + [True, False]
    assert told[2].startswith("`features.8` to `features.9` unfrozen: ")
    # the moments of a block begin when it is unfrozen
    steps = {name: int(optimizer.state[parameter]["step"]) for name, parameter in model.named_parameters()}
    assert (steps["features.0.weight"], steps["features.8.weight"], steps["classifier.0.weight"]) == (6, 18, 24)


def test_what_is_frozen_is_a_function_of_the_epoch_so_that_a_run_can_go_on_in_any():
    model = build(freeze_features=True, unfreeze_every=2)
    model.train()
    model.epoch_begins(5)
    frozen = {name for name, each in model.named_parameters() if not each.requires_grad}
    assert frozen == {"features.0.weight", "features.1.weight", "features.1.bias"}
    assert [module.training for module in model.features if isinstance(module, nn.BatchNorm3d)] == [False, True, True]
    assert model.eval().features[5].training is False
    assert model.train().features[1].training is False


def test_layers_are_frozen_by_name_and_pattern():
    model = build(freeze=["features.0.weight", "classifier.[03].*"])
    model.epoch_begins(0)
    frozen = {name for name, each in model.named_parameters() if not each.requires_grad}
    assert frozen == {"features.0.weight", *(f"classifier.{at}.{kind}" for at in (0, 3) for kind in ("weight", "bias"))}
    assert model.features[1].training


@pytest.mark.parametrize(
    ("patterns", "message"),
    [(["feature.*"], "`feature.*`, which matches no parameter"), (["*"], "freezes every parameter")],
)
def test_freezing_nothing_or_everything_is_a_mistake(patterns, message):
    with pytest.raises(ConfigError, match=message.replace("*", r"\*")):
        build(freeze=patterns)
