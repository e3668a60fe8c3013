import copy
import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import onnx
import pytest
import torch
import yaml

from segcli.commands import export as command
from segcli.core.errors import ConfigError
from segcli.core.onnx_runtime import load_onnxruntime
from segcli.core.registry import MODELS
from segcli.core.types import IOSpec
from segcli.data.samples import as_unit
from segcli.engine.checkpoint import read_checkpoint
from segcli.engine.export.description import SCALES
from segcli.engine.export.exporter import Exportable, Normalization
from segcli.engine.export.portable import open_portable

FOLDER = "outputs/exports/tiny"


@pytest.fixture
def trained(tiny_of):
    """A trained run called `tiny`."""
    tiny_of(2)


@pytest.fixture
def exported(tiny_exports, workplace):
    """The run `tiny` with its scores and two ONNX files."""
    shutil.copytree(tiny_exports.folder, workplace, dirs_exist_ok=True)
    return tiny_exports


def of_image(workplace):
    """An image of the test split as a network takes it, and as it is stored."""
    stored = cv2.imread(str(workplace / "data/test/image/00.png"))[:, :, ::-1]
    pixels = (stored.astype(np.float32) / 255 - np.float32(0.4)) / np.float32(0.2)
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0)[None]), np.ascontiguousarray(stored[None])


def test_an_onnx_file_runs_with_onnxruntime_alone_at_any_size_and_says_what_it_is(exported, workplace):
    values = json.loads(exported.told["plain"])
    shapes = [tuple(entry["shape"]) for entry in values["differences"]]
    assert len(set(shapes[:3])) == 3
    assert len(set(shapes[3:])) == 3
    assert [entry["input"] for entry in values["differences"]] == ["random"] * 3 + ["00.png"] * 3
    assert max(entry["logits"] for entry in values["differences"]) < 1e-4

    file = workplace / values["file"]
    onnx.checker.check_model(str(file), full_check=True)
    session = load_onnxruntime(purpose="a test").InferenceSession(str(file))
    (given,), (mask,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape) == ("image", ["batch", 3, "2*h", "2*w"])
    assert mask.name == "mask"
    facts = session.get_modelmeta().custom_metadata_map
    described = json.loads(facts["segcli"])
    assert described["classes"] == [{"name": "foreground"}]
    assert (described["mean"], described["std"], described["stride"]) == ([0.4] * 3, [0.2] * 3, 2)
    assert json.loads(facts["mean"]) == [0.4] * 3
    assert "paths" not in described["dataset"]  # of the machine that trained, and nobody's business
    assert session.run(None, {"image": np.zeros((4, 3, 62, 30), np.float32)})[0].shape == (4, 1, 62, 30)


@pytest.mark.usefixtures("trained", "fresh_parity")
@pytest.mark.parametrize("kind", ["torchscript", "pt2"])
def test_the_other_formats_give_what_the_checkpoint_gives(run_cli, workplace, kind):
    assert run_cli("predict", "data/test/image/00.png", "--probabilities").code == 0
    result = run_cli("export", "tiny", "--format", kind)
    assert result.code == 0, result.err
    network = open_portable(workplace / FOLDER / f"tiny.{kind}")
    logits = network(of_image(workplace)[0])["mask"][0, 0]
    probs = cv2.imread(str(workplace / "outputs/predictions/tiny/00_probability.png"), cv2.IMREAD_UNCHANGED) / 65535
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), probs, atol=2e-5)
    assert network.description.threshold == 0.5


@pytest.mark.usefixtures("exported")
@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_a_baked_file_takes_stored_pixels_and_gives_probabilities(run_cli, workplace, kind):
    for options in ([], ["--bake"]) if kind == "torchscript" else ():
        result = run_cli("export", "tiny", "--format", kind, *options)
        assert result.code == 0, result.err
    normalised, stored = of_image(workplace)
    plain = open_portable(workplace / FOLDER / f"tiny.{kind}")(normalised)["mask"]
    baked = open_portable(workplace / FOLDER / f"tiny_baked.{kind}")(stored)
    assert stored.dtype == np.uint8
    np.testing.assert_allclose(baked["mask"], plain, atol=1e-5)
    np.testing.assert_allclose(baked["probabilities"], 1 / (1 + np.exp(-plain)), atol=1e-6)


@pytest.mark.usefixtures("trained")
def test_a_file_that_differs_is_told_and_not_kept(run_cli, workplace, monkeypatch):
    write_file = command.write_file

    def planted(path, kind, network, description, example):
        changed = copy.deepcopy(network)
        changed.network.head.bias.data += 2e-4
        write_file(path, kind, changed, description, example)

    monkeypatch.setattr(command, "write_file", planted)
    result = run_cli("export", "tiny", "--format", "torchscript")
    assert result.code == 4
    assert "the exported network differs from the original on `random` of shape 1x3x32x32" in result.err
    assert "tolerance 0.0001; the file was removed" in result.err
    assert list((workplace / FOLDER).glob("*")) == []
    assert run_cli("export", "tiny", "--format", "torchscript", "--tolerance", "1e-3").code == 0


@pytest.mark.usefixtures("trained")
def test_half_precision_stays_within_its_own_tolerance_and_halves_the_weights(run_cli, workplace):
    result = run_cli("export", "tiny", "--half", "--json")
    assert result.code == 0, result.err
    values = json.loads(result.out)
    assert values["tolerance"] == 2e-2
    assert 0 < max(entry["probabilities"] for entry in values["differences"]) < 2e-2
    model = onnx.load(str(workplace / FOLDER / "tiny_float16.onnx"))
    kinds = {entry.data_type for entry in model.graph.initializer if len(entry.dims) == 4}
    assert kinds == {onnx.TensorProto.FLOAT16}


@pytest.mark.usefixtures("trained")
def test_weights_of_8_bits_cost_what_an_independent_count_says(run_cli, workplace):
    result = run_cli("export", "tiny", "--int8", "--json")
    assert result.code == 0, result.err
    dice = json.loads(result.out)["dice"]
    assert f"{dice['checkpoint']:.4f}" in run_cli("eval", "tiny", "--split", "val").out

    session = load_onnxruntime(purpose="a test").InferenceSession(str(workplace / FOLDER / "tiny_int8.onnx"))
    scores = []
    for name in ("00", "01"):
        stored = cv2.imread(str(workplace / f"data/val/image/{name}.png"))[:, :, ::-1]
        truth = cv2.imread(str(workplace / f"data/val/label/{name}.png"), 0) > 0
        pixels = (stored.astype(np.float32) / 255 - np.float32(0.4)) / np.float32(0.2)
        logits = session.run(None, {"image": np.ascontiguousarray(np.moveaxis(pixels, -1, 0)[None])})[0]
        found = logits[0, 0] >= 0
        scores.append(2 * (found & truth).sum() / (found.sum() + truth.sum()))
    assert dice["exported"] == pytest.approx(np.mean(scores), abs=1e-9)


@pytest.mark.usefixtures("trained")
def test_weights_of_8_bits_that_cost_too_much_are_not_kept(run_cli, workplace, monkeypatch):
    quantise = command.quantise

    def planted(source, target, description):
        model = onnx.load(source)
        (bias,) = (entry for entry in model.graph.initializer if entry.name.endswith("head.bias"))
        bias.CopyFrom(onnx.numpy_helper.from_array(np.full(1, -100, np.float32), bias.name))  # finds nothing
        onnx.save(model, source)
        quantise(source, target, description)

    monkeypatch.setattr(command, "quantise", planted)
    result = run_cli("export", "tiny", "--int8", "--max-dice-loss", "-1")
    assert result.code == 2
    result = run_cli("export", "tiny", "--int8", "--max-dice-loss", "0.001")
    assert result.code == 4
    assert "with `--int8` Dice on the validation images falls from" in result.err
    assert list((workplace / FOLDER).glob("*")) == []


@pytest.mark.usefixtures("trained")
def test_without_the_data_random_inputs_suffice_and_it_is_told(run_cli, workplace):
    (workplace / "data").rename(workplace / "elsewhere")
    result = run_cli("export", "tiny", "--format", "torchscript")
    assert result.code == 0, result.err
    assert "compared on random inputs only" in result.err
    result = run_cli("export", "tiny", "--format", "torchscript", "--bake")
    assert result.code == 3
    assert "`--bake` needs an image of the data set" in result.err
    result = run_cli(
        "export", "tiny", f"dataset.paths.root={workplace / 'elsewhere'}", "--format", "torchscript", "--bake"
    )
    assert result.code == 0, result.err


def test_statistics_of_each_image_cannot_be_baked_in(run_cli, tiny):
    assert run_cli("train", tiny(training__epochs=1, data__preprocessing={"normalize": "per_image"})).code == 0
    result = run_cli("export", "tiny", "--bake")
    assert result.code == 2
    assert "`--bake` cannot include `data.preprocessing.normalize: per_image`" in result.err


@pytest.mark.usefixtures("trained")
def test_nothing_is_overwritten_unasked_and_what_was_filled_in_stays(run_cli, workplace):
    words = ("export", "tiny", "--format", "torchscript")
    assert run_cli(*words).code == 0
    result = run_cli(*words)
    assert result.code == 2
    assert "tiny.torchscript` exists" in result.err
    card = workplace / FOLDER / "README.md"
    card.write_text(card.read_text().replace("weights**: not stated", "weights**: CC BY 4.0"))
    assert run_cli(*words, "--half").code == 0
    text = card.read_text()
    assert "weights**: CC BY 4.0" in text
    assert "| `tiny_float16.torchscript` | torchscript | float16 |" in text
    assert "| `tiny.torchscript` | torchscript | float32 |" in text
    card.write_text("mine")
    result = run_cli(*words, "--overwrite")
    assert result.code == 0
    assert run_cli(*words, "--overwrite").code == 0
    card.write_text("mine")
    (workplace / FOLDER / "tiny.torchscript").unlink()
    result = run_cli(*words)
    assert result.code == 2
    assert "README.md` is not a model card of segcli" in result.err
    assert card.read_text() == "mine"


@pytest.mark.usefixtures("exported")
def test_damaged_scores_are_left_out_of_the_card(run_cli, workplace):
    words = ("export", "tiny", "--format", "torchscript", "--overwrite")
    card = workplace / FOLDER / "README.md"
    assert run_cli(*words).code == 0
    assert "2 images of split test" in card.read_text()
    (workplace / "outputs/tests/tiny/test_metrics.yaml").write_text("- no scores: [")
    result = run_cli(*words)
    assert result.code == 0, result.err
    assert "2 images of split test" not in card.read_text()


@pytest.mark.parametrize("kind", ["plain", "baked"])
def test_the_card_has_the_scores_and_its_program_runs_and_finds_the_mask_of_predict(run_cli, workplace, exported, kind):
    assert run_cli("predict", "data/test/image/00.png").code == 0
    text = exported.cards[kind]
    scores = yaml.safe_load((workplace / "outputs/tests/tiny/test_metrics.yaml").read_text())
    assert "2 images of split test" in text
    assert "6 training and 2 validation images" in text
    dice, interval = scores["average_metrics"]["dice"], scores["confidence_intervals"]["dice"]
    assert f"| dice | {dice:.4f} | {interval['low']:.4f} to {interval['high']:.4f} |" in text
    program = text.split("```python\n")[1].split("```")[0]
    assert len(program.strip().splitlines()) <= 10
    load = "import cv2\ndef load(): return cv2.imread('../../../data/test/image/00.png')[:, :, ::-1]\n"
    end = "cv2.imwrite('found.png', mask.astype(np.uint8) * 255)\n"
    subprocess.run([sys.executable, "-c", load + program + end], cwd=workplace / FOLDER, check=True)
    np.testing.assert_array_equal(
        cv2.imread(str(workplace / FOLDER / "found.png"), 0),
        cv2.imread(str(workplace / "outputs/predictions/tiny/00.png"), 0),
    )


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated:DeprecationWarning")
def test_the_averaged_weights_are_exported_where_there_are_any(run_cli, tiny, workplace):
    assert run_cli("train", tiny(name="averaged", training__ema={"decay": 0.9})).code == 0
    assert run_cli("export", "averaged", "--format", "torchscript").code == 0
    file = torch.jit.load(workplace / "outputs/exports/averaged/averaged.torchscript")
    checkpoint = read_checkpoint(workplace / "outputs/experiments/averaged/checkpoints/best.safetensors")
    exported = file.state_dict()["network.head.bias"]
    assert torch.equal(exported, checkpoint.tensors["ema/head.bias"])
    assert not torch.equal(exported, checkpoint.tensors["model/head.bias"])


@pytest.mark.usefixtures("trained")
def test_a_missing_package_is_named_with_the_way_to_install_it(run_cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = run_cli("export", "tiny")
    assert result.code == 2
    assert "`--format onnx` needs the package `onnx`" in result.err
    assert "`pip install 'segcli[export]'`" in result.err


@pytest.mark.parametrize(("dtype", "text"), [("int16", None), ("int32", "has int32"), ("float64", "has float64")])
def test_the_type_of_pixels_that_a_baked_file_takes_is_one_that_it_can_scale(dtype, text):
    preprocessing = SimpleNamespace(by_image=False, normalize=True)
    parts = SimpleNamespace(run=SimpleNamespace(data=SimpleNamespace(preprocessing=preprocessing)))
    real = ("a.nii", SimpleNamespace(image=np.zeros((2, 2, 2, 1), dtype)))
    if text is None:
        assert command._baked_dtype(parts, real) == dtype
        return
    with pytest.raises(ConfigError, match=text):
        command._baked_dtype(parts, real)


def test_stored_values_of_16_bits_with_a_sign_are_normalised_as_in_training():
    stored = np.array([-1000, 0, 400, 32767], np.int16).reshape(1, 1, 1, 4, 1)
    normalisation = Normalization("int16", np.array([-50.0], np.float32), np.array([300.0], np.float32))
    network = MODELS.load("unet")(MODELS.load("unet").Config(depths=[2, 4]), io=IOSpec(3, 1, {"mask": 1}))
    ready = Exportable(network, SimpleNamespace(), baked=normalisation)
    found = ready._normalized(torch.from_numpy(stored), SCALES["int16"]).numpy().reshape(-1)
    np.testing.assert_allclose(found, (as_unit(stored).reshape(-1) + 50) / 300, rtol=1e-6)
