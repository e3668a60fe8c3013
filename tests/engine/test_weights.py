"""Every network starts from weights of a run, or of another program."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from factories import SMALL, experiment, write_experiment
from torch import nn

from segcli.config.load import load_run
from segcli.config.sections import ModelSection
from segcli.core.errors import CheckpointError, ConfigError
from segcli.core.registry import MODELS
from segcli.core.types import IOSpec
from segcli.engine.checkpoint import read_checkpoint
from segcli.engine.weights import load_pretrained

CASES = [
    (name, ndim)
    for name in MODELS.names()
    for ndim in MODELS.load(name).can_ndim
    if name == "deeplabv3_plus" or "weights" not in MODELS.load(name).Config.model_fields
]
"""Networks without a key `weights` of their own for other formats, and one with it that also takes whole networks."""
UNET = {"depths": [4, 8, 16]}


def section(kind="unet", weights=None, **keys):
    return ModelSection.model_validate({"type": kind, "weights": weights, **keys})


def made(chosen, *, ndim=2, channels=3, classes=1, seed=0):
    """A network for this many channels and classes, with random weights and statistics."""
    outputs = [name for name in chosen.kind.can_output if name != "gate"]
    torch.manual_seed(seed)
    network = chosen.build(io=IOSpec(ndim, channels, dict.fromkeys(outputs, classes), size=(16,) * ndim))
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.uniform_(-0.5, 0.5)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    return network.eval()


def saved(path, network, wrap=lambda state: state):
    torch.save(wrap(network.state_dict()), path)
    return path


def picture(channels, seed=3):
    return torch.randn(2, channels, 16, 16, generator=torch.Generator().manual_seed(seed))


def fine_tuned(path, *, channels=3, classes=1, **keys):
    """A U-Net that was made with another seed and has loaded the weights, and the lines about it."""
    chosen = section("unet", path, **{**UNET, **keys})
    network = made(chosen, channels=channels, classes=classes, seed=7)
    return network, load_pretrained(chosen, network)[0]


@pytest.mark.parametrize(("name", "ndim"), CASES)
def test_every_network_loads_all_but_what_depends_on_channels_and_classes(name, ndim, tmp_path):
    own = {"keep_classifier": True} if name == "vgg3d" else {}
    chosen = section(name, tmp_path / "net.pth", **SMALL[name], **own)
    old = made(chosen, ndim=ndim, channels=3, classes=2, seed=1)
    script = {"epoch": 3, "model_state_dict": {f"module.{key}": value for key, value in old.state_dict().items()}}
    torch.save(script, tmp_path / "net.pth")
    network = made(chosen, ndim=ndim, channels=1, classes=4, seed=2)
    fresh = {key: value.clone() for key, value in network.state_dict().items()}
    lines, fit = load_pretrained(chosen, network)
    assert "prefix `module.` of the names removed" in lines[0]
    before, now = old.state_dict(), network.state_dict()
    same = [key for key, value in now.items() if value.shape == before[key].shape]
    assert [key for key in same if not torch.equal(now[key], before[key])] == []
    other = [key for key in now if key not in same]
    assert sorted([*fit.missing, *(text.split("`")[1] for text in fit.adapted)]) == sorted(other)
    assert fit.adapted
    assert fit.missing
    assert all(torch.equal(now[key], fresh[key]) for key in fit.missing)


@pytest.mark.parametrize(("before", "after"), [(3, 1), (1, 3), (1, 4), (4, 3)])
def test_equal_channels_give_the_same_output_after_the_number_of_channels_changed(before, after, tmp_path):
    old = made(section(**UNET), channels=before)
    network, lines = fine_tuned(saved(tmp_path / "net.pt", old), channels=after)
    assert any(f"`down.0.0.weight` adapted from {before} to {after} input channels" in line for line in lines)
    if before == 4:
        return  # three of four are taken, so that the output differs
    torch.testing.assert_close(
        network(picture(1).expand(-1, after, -1, -1))["mask"], old(picture(1).expand(-1, before, -1, -1))["mask"]
    )


class Script(nn.Module):
    """The U-Net of an earlier script: other names, decoder from the bottom up, biases before batch norms."""

    def __init__(self, widths, channels=3):
        super().__init__()

        def double(below, here):
            layers = []
            for width in (below, here):
                layers += [nn.Conv2d(width, here, 3, padding=1), nn.BatchNorm2d(here), nn.ReLU()]
            return nn.Sequential(*layers)

        self.encoder = nn.ModuleList(double(a, b) for a, b in zip([channels, *widths], widths, strict=False))
        pairs = list(zip(widths[1:], widths, strict=False))[::-1]
        self.widen = nn.ModuleList(nn.ConvTranspose2d(deep, skip, 2, stride=2) for deep, skip in pairs)
        self.decoder = nn.ModuleList(double(2 * skip, skip) for _, skip in pairs)
        self.final = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x):
        skips = []
        for level, block in enumerate(self.encoder):
            x = block(nn.functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for widen, block, skip in zip(self.widen, self.decoder, skips[-2::-1], strict=True):
            x = block(torch.cat([skip, widen(x)], 1))
        return self.final(x)


@pytest.fixture
def script():
    """Random weights and statistics."""
    torch.manual_seed(11)
    network = Script(UNET["depths"])
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.uniform_(-0.5, 0.5)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    return network.eval()


PATTERNS = {
    "encoder.*": "down.*",
    "widen.0.*": "up.1.up.*",
    "widen.1.*": "up.0.up.*",
    "decoder.0.*": "up.1.conv.*",
    "decoder.1.*": "up.0.conv.*",
    "final.*": "head.*",
}


@pytest.mark.parametrize("how", ["order", PATTERNS], ids=["order", "patterns"])
def test_the_network_of_an_earlier_script_computes_the_same_under_our_names(how, script, tmp_path):
    path = saved(tmp_path / "old.pth", script, lambda state: {"model_state_dict": state, "optimizer": {"lr": 0.1}})
    network, lines = fine_tuned(path, weights_map=how)
    assert script(picture(3)).std() > 0.01
    torch.testing.assert_close(network(picture(3))["mask"], script(picture(3)))
    assert any("old.pth`: `encoder.0.0.weight` is `down.0.0.weight` (4x3x3x3)" in line for line in lines)
    assert any(line.endswith("none missing, new from the seed") for line in lines)
    assert any("10 biases subtracted from the running means" in line for line in lines)


def test_shape_and_order_pair_the_first_convolution_of_other_channels_too(script, tmp_path):
    network, lines = fine_tuned(saved(tmp_path / "old.pth", script), channels=1, weights_map="order")
    grey = picture(1)
    torch.testing.assert_close(network(grey)["mask"], script(grey.expand(-1, 3, -1, -1)))
    assert any("adapted from 3 to 1" in line for line in lines)


class Code:
    def __reduce__(self):
        return (print, ("run",))


def spoilt(state):
    return {**state, "up.0.up.bias": torch.full_like(state["up.0.up.bias"], torch.nan)}


@pytest.mark.parametrize(
    ("wrap", "keys", "message"),
    [
        (
            lambda _: {"model_state_dict": Code()},
            {},
            r"net.pt` holds no weights \(it needs the code of `(\w+\.)?print`",
        ),
        (lambda _: {"a.weight": torch.zeros(3)}, {}, r"nothing in .*net.pt` fits model `unet`; it has a.weight\n"),
        (lambda _: {}, {}, "it is empty"),
        (lambda state: {1: torch.zeros(3), **state}, {}, "net.pt` holds no state dict of tensors"),
        (lambda state: {name: value.to("meta") for name, value in state.items()}, {}, "` has no values"),
        (lambda state: {**state, "head.weight": state["head.weight"].to_sparse()}, {}, "net.pt` is a sparse tensor"),
        (
            lambda state: {**state, "up.0.up.bias": torch.full((4,), 1e300, dtype=torch.float64)},
            {},
            "that are not finite",
        ),
        (spoilt, {}, r"holds values that are not finite \(up.0.up.bias\)"),
        (lambda state: state, {"depths": [4, 8, 32]}, r"down.2.0.weight 16x8x3x3 instead of 32x8x3x3.* and 6 more"),
        (lambda state: state, {"weights_sha256": "0" * 64}, "but `model.weights_sha256` is 0000"),
        (lambda state: state, {"weights_map": {"enc.*": "down.*"}}, r"`enc.\*`, which matches no tensor of the file"),
        (lambda state: state, {"weights_map": {"up.*": "x"}}, r"do not have the same number of `\*`"),
        (lambda state: state, {"weights_map": {"up.*.weight": "up.*.bias"}}, "the same name `up.0.up.bias`"),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_one_sentence(wrap, keys, message, tmp_path, capsys):
    path = saved(tmp_path / "net.pt", made(section(**UNET)), wrap)
    with pytest.raises((CheckpointError, ConfigError), match=message):
        fine_tuned(path, **keys)
    assert "run" not in capsys.readouterr().out


def test_a_first_layer_without_channels_is_not_adapted(tmp_path):
    path = saved(
        tmp_path / "net.pt", made(section(**UNET)), lambda state: {**state, "down.0.0.weight": torch.zeros(4, 0, 3, 3)}
    )
    lines = fine_tuned(path)[1]
    assert any("1 (down.0.0.weight 4x0x3x3 instead of 4x3x3x3) skipped" in line for line in lines), lines


def test_a_run_without_a_checkpoint_is_told_and_not_proposed(workplace, run_cli, tiny_run):
    (workplace / "outputs/experiments/bare/checkpoints").mkdir(parents=True)
    said = run_cli("train", workplace / "tiny.yaml", "name=next", "model.weights=bare")
    assert said.code == 2
    assert "no file and no run `bare` with a checkpoint" in said.err
    assert "the folder is there, and has no `checkpoints/best.safetensors`" in " ".join(said.err.split())


def test_weights_of_a_run_come_from_its_best_checkpoint_and_are_no_longer_needed_then(run_cli, tiny_run, workplace):
    config = workplace / "tiny.yaml"
    words = ("train", config, "name=next", "model.weights=tiny", "training.epochs=1", "training.freeze=[down.0]")
    words = (*words, "training.optimizer.rates={'up.*': 0.5}")
    told = " ".join(run_cli(*words, "--dry-run").err.split())
    assert "best.safetensors`, 40 (down.0.0.weight" in told
    assert "learning rate times 0.5: `up.0.up` to `up.0.conv.4`, 8 tensors with 580 parameters" in told
    assert "epoch 1: `down.0.0` to `down.0.4` frozen" in told
    assert not (workplace / "outputs/experiments/next").exists()
    assert run_cli(*words).code == 0
    folder = workplace / "outputs/experiments/next"
    listed = (folder / "weights.yaml").read_text()
    assert "best.safetensors" in listed
    assert "down.0.0.weight: down.0.0.weight" in listed
    from_run = torch_model(tiny_run, "best")["down.0.0.weight"]
    assert torch.equal(torch_model(folder, "last")["down.0.0.weight"], from_run)
    config_then = read_checkpoint(folder / "checkpoints/last.safetensors").header["config"]["model"]
    assert config_then["weights"] == str(tiny_run / "checkpoints/best.safetensors")
    assert len(config_then["weights_sha256"]) == 64
    check = json.loads(run_cli("data", "check", config, "model.weights=tiny", "--json").out)
    assert any("best.safetensors`, 40 (down.0.0.weight" in finding["message"] for finding in check["findings"])
    shutil.rmtree(tiny_run)
    for command in (("eval", "next"), ("predict", "data/test/image", "--run", "next"), ("resume", "next")):
        result = run_cli(*command)
        assert result.code == 0, result.err


def torch_model(folder, name):
    return read_checkpoint(folder / f"checkpoints/{name}.safetensors").below("model")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("model.weights=tini", "`model.weights`: no file and no run `tini` with a checkpoint"),
        ("model.weights=gone.pth", "no file `gone.pth` with pretrained weights"),
        ("training.freeze=encoder.*", "`training.freeze` has `encoder.*`, which matches no parameter"),
        ("training.freeze=['*']", "`training.freeze` freezes every parameter: nothing would be trained"),
        ("training.optimizer.rates={enc: 0.1}", "`training.optimizer.rates` has `enc`, which matches no parameter"),
        ("training.optimizer.rates={up: 0}", "training.optimizer.rates.up: must be greater than 0.0, got 0"),
        ("training.freeze={up: 0}", "training.freeze.up: must be at least 1, got 0"),
    ],
)
def test_data_check_says_what_training_would_say(key, message, run_cli, tiny_run, workplace):
    said = run_cli("train", workplace / "tiny.yaml", "name=next", key)
    assert said.code == 2, said.err
    assert message in said.err
    checked = run_cli("data", "check", workplace / "tiny.yaml", key, "--json")
    found = json.loads(checked.out)["findings"] if checked.code == 1 else [{"message": checked.err}]
    assert any(message in finding["message"] for finding in found)
    hint = {"model.weights=tini": "mean `tiny`?", "training.freeze=encoder.*": "modules are down.0, down.1, up.0, head"}
    assert hint.get(key, "") in said.err


def test_weights_beside_the_experiment_file_are_found_from_any_folder(tmp_path):
    saved(tmp_path / "net.pt", made(section(**UNET)))
    values = experiment(tmp_path, model={"type": "unet", "weights": "net.pt"})
    assert load_run(write_experiment(tmp_path / "run.yaml", values)).model.weights == Path(tmp_path / "net.pt")
