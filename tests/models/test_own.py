"""A user's own network in one file."""

import pytest
import torch
import yaml
from factories import experiment, write_experiment, write_folders

from segcli.core.registry import MODELS
from segcli.core.types import IOSpec
from segcli.engine.checkpoint import read_checkpoint

PLAIN = """
from torch import nn

class Thin(nn.Module):
    stride = 2

    def __init__(self, in_channels, out_channels, width=4):
        super().__init__()
        self.down = nn.Conv2d(in_channels, width, 2, stride=2)
        self.up = nn.ConvTranspose2d(width, out_channels, 2, stride=2)

    def forward(self, image):
        return self.up(self.down(image).relu())

class Wrong(Thin):
    def forward(self, image):
        return self.down(image)

class Failing(Thin):
    def forward(self, image):
        raise RuntimeError("no such luck")

class Drawing(Thin):
    def forward(self, image):
        return super().forward(nn.functional.dropout(image, 0.2))  # in validation, too
"""
OURS = """
from torch import nn
from segcli.core.types import ConfigModel
from segcli.models import Network

class Flat(Network):
    class Config(ConfigModel):
        width: int = 4

    def __init__(self, config, *, io):
        super().__init__(io)
        self.body = nn.Conv2d(io.in_channels, config.width, 3, padding=1)
        self.head = nn.Conv2d(config.width, io.outputs["mask"], 1)

    def forward(self, image):
        return {"mask": self.head(self.body(image).relu())}
"""


@pytest.fixture
def mine(workplace, tiny):
    """Makes an experiment in a folder of its own with the user's file beside it; returns the experiment's path."""
    tiny()

    def make(kind, code=PLAIN, **keys):
        folder = workplace / "mine"
        folder.mkdir(exist_ok=True)
        (folder / "net.py").write_text(code)
        values = experiment(workplace / "data", model={"type": f"net.py:{kind}", **keys})
        return write_experiment(folder / "run.yaml", values)

    return make


@pytest.mark.parametrize(("kind", "code"), [("Thin", PLAIN), ("Flat", OURS)])
def test_it_trains_resumes_evaluates_and_predicts_like_any_other(kind, code, mine, run_cli, workplace):
    assert run_cli("train", mine(kind, code, width=6), "checkpoint.save_every=1").code == 0
    folder = workplace / "outputs/experiments/tiny"
    whole = read_checkpoint(folder / "checkpoints/last.safetensors").tensors
    assert any(value.shape[:1] == (6,) for value in whole.values())
    assert run_cli("resume", folder / "checkpoints/epoch_0001.safetensors").code == 0
    again = read_checkpoint(folder / "checkpoints/last.safetensors").tensors
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
    assert run_cli("eval").code == 0
    assert run_cli("predict", "data/test/image").code == 0
    resolved = yaml.safe_load((folder / "config.yaml").read_text())["model"]
    assert resolved["type"] == f"{workplace / 'mine/net.py'}:{kind}"
    assert len(resolved["sha256"]) == 64


def test_a_network_that_draws_at_random_in_validation_resumes_to_the_bit(mine, run_cli, workplace):
    config = mine("Drawing")
    write_folders(workplace / "data", {"val": 8})  # as many as share a call of the network in bf16, if it let them
    assert run_cli("train", config, "training.amp=true", "training.epochs=3", "checkpoint.save_every=1").code == 0
    folder = workplace / "outputs/experiments/tiny"
    whole, history = read_checkpoint(folder / "checkpoints/last.safetensors").tensors, values_of(folder)
    assert run_cli("resume", folder / "checkpoints/epoch_0001.safetensors").code == 0
    again = read_checkpoint(folder / "checkpoints/last.safetensors").tensors
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
    assert values_of(folder) == history


def values_of(folder):
    return [entry["val"] for entry in yaml.safe_load((folder / "metrics_history.yaml").read_text())]


def test_another_content_of_the_file_is_refused_until_it_is_asked_for(mine, run_cli, workplace):
    assert run_cli("train", mine("Thin")).code == 0
    path = workplace / "mine/net.py"
    path.write_text(PLAIN + "\n# changed\n")
    result = run_cli("eval")
    assert result.code == 2
    told = " ".join(result.err.split())
    assert f"the file is not the one that the run was trained with: `{path}` has the SHA-256 `" in told
    assert "which runs now" not in told
    digest = result.err.partition("model.sha256=")[2].partition("`")[0]
    assert run_cli("eval", "tiny", f"model.sha256={digest}").code == 0
    path.unlink()
    result = run_cli("eval")
    assert result.code == 2
    assert f"no file `{path}` with the model `Thin`" in result.err


@pytest.mark.parametrize(
    ("kind", "keys", "text"),
    [
        ("Thim", {}, "has no network `Thim`"),
        ("Thin", {"widht": 3}, "cannot be made from these keys: got an unexpected keyword argument 'widht'"),
        ("Wrong", {}, "gives {'mask': (1, 4, 16, 16)} for an image of 32x32 pixels, expected {'mask': (1, 1, 32, 32)}"),
        ("Failing", {}, "fails on an image of 32x32 pixels (RuntimeError: no such luck)"),
    ],
)
def test_mistakes_are_told_before_the_training(kind, keys, text, mine, run_cli, workplace):
    result = run_cli("train", mine(kind, **keys))
    assert result.code == 2
    assert text in " ".join(result.err.split())
    assert not (workplace / "outputs").exists()


def test_a_file_that_cannot_be_imported_is_told(mine, run_cli):
    result = run_cli("train", mine("Thin", "import nothing_like_this\n"))
    assert result.code == 2
    assert "cannot be imported (ModuleNotFoundError: No module named 'nothing_like_this')" in " ".join(
        result.err.split()
    )
    assert "did you mean" in run_cli("train", mine("Thim")).err


@pytest.mark.parametrize("answer", ["logits", "{'mask': logits}", "{'out': logits, 'aux': logits.mean()}"])
@pytest.mark.parametrize("arguments", ["num_classes", "in_channels, num_classes, ndim", "**unused"])
def test_a_network_returns_logits_alone_or_by_name_and_gets_only_the_arguments_that_it_has(answer, arguments, tmp_path):
    path = tmp_path / "net.py"
    path.write_text(f"""
from torch import nn

class Any(nn.Module):
    def __init__(self, {arguments}):
        super().__init__()
        self.body = nn.Conv2d(3, 1, 1)

    def forward(self, image):
        logits = self.body(image)
        return {answer}
""")
    name = f"{path}:Any"
    kind = MODELS.load(name, digest=MODELS.digest(name))
    made = kind(kind.Config(), io=IOSpec(2, 3, {"depth": 1}, pixels="depth"))
    found = made(torch.ones(1, 3, 8, 8))
    torch.testing.assert_close(found["depth"], made.network.body(torch.ones(1, 3, 8, 8)))
