"""Presence of structures in `eval`, `predict` and exported files."""

import csv
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from factories import bodies
from volumes import bright, by_hand, masks_of, predicted, train_volumes

from segcli.commands.answers.volumes import _Table
from segcli.commands.ensemble import ensemble
from segcli.core.onnx_runtime import load_onnxruntime
from segcli.data.samples import Sample
from segcli.engine.export.portable import open_portable
from segcli.engine.inference.predictor import InMemory

ROOT = Path(__file__).parents[2]


@pytest.fixture
def trained(workplace, run_cli):
    """Trains a run on volumes; keyword arguments as those of `experiment`."""
    return partial(train_volumes, workplace, run_cli)


def test_a_structure_is_present_where_any_tile_shows_it_and_absent_otherwise_everywhere():
    parts, image = by_hand(bright), np.full((20, 8, 8, 1), 0.6, np.float32)
    dark = parts.predict(Sample(image))
    assert dark.present.tolist() == [False, False]
    assert not dark.probs.any()
    image[17, 3, 3] = 1.0
    found = parts.predict(Sample(image))
    assert found.present.tolist() == [True, False]
    assert (found.probs[0] > 0.5).all()
    assert not found.probs[1].any()
    for place, part in parts.bands(InMemory(image)):
        np.testing.assert_array_equal(part.probs, found.probs[:, place])


def test_several_networks_judge_presence_by_the_mean_of_their_probabilities():
    image = np.full((8, 8, 8, 1), 1.0, np.float32)
    against = by_hand(lambda images: {**bright(images), "gate": np.full((len(images), 2), -2.0, np.float32)})
    silent = by_hand(lambda images: {"mask": bright(images)["mask"]})
    for members, expected in (
        ([by_hand(bright), against], True),  # sigmoid(5) = 0.993 and sigmoid(-2) = 0.119: above a half
        ([by_hand(bright), against, against], False),  # 0.410, though the sum of the gates is above 0
        ([by_hand(bright), silent, against], True),  # one that does not judge has no say
    ):
        found = ensemble(members).predict(Sample(image))
        assert found.present.tolist() == [expected, False]
        assert (found.probs[0] > 0).all() == expected
    assert silent.predict(Sample(image)).present is None


@pytest.mark.parametrize("bake", [(), pytest.param(("--bake",), marks=pytest.mark.slow)])
def test_an_exported_file_predicts_volumes_and_their_presence_without_pytorch(trained, run_cli, bake):
    pytest.importorskip("onnxscript")
    trained(dataset__mean=[0.5], dataset__std=[0.2], inference__tile=[16, 16, 8], inference__overlap=0.5)
    file = json.loads(run_cli("export", "tiny", "--json", *bake).out)["file"]
    words = ["predict", "data/test.h5", "--out", "file", "--tta", "--overlay", "--json", "--model", file]
    program = (
        "import sys\n"
        "sys.modules['torch'] = None\n"  # importing it fails
        "from segcli.cli.main import run\n"
        f"sys.exit(run({words!r}))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    told = predicted(run_cli, "run", "data/test.h5", "--run", "tiny", "--tta", "--probabilities")
    assert json.loads(done.stdout)["presence"] == told["presence"]
    for case, (one, other) in enumerate(zip(masks_of("run"), masks_of("file"), strict=True)):
        clear = np.abs(np.load(f"run/test_{case:04d}_probabilities.npy") - 0.5) > 1e-4
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(one[clear], other[clear])


def test_an_exported_file_has_every_output_and_the_presence_in_its_probabilities(trained, run_cli):
    pytest.importorskip("onnxscript")
    trained(dataset__mean=[0.5], dataset__std=[0.2])
    result = run_cli("export", "tiny", "--bake", "--json")
    assert result.code == 0, result.err
    told = json.loads(result.out)
    file = open_portable(Path(told["file"]))
    outputs = file(np.stack([bodies(seed)[0] for seed in range(4)])[..., None].astype(file.description.input_dtype))
    assert set(outputs) == {"mask", "presence", "gate", "attention", "confidence", "probabilities"}
    present = (outputs["gate"] >= 0)[..., None, None, None]
    np.testing.assert_allclose(outputs["probabilities"], present / (1 + np.exp(-outputs["mask"])), atol=1e-5)
    card = Path(told["card"]).read_text()
    assert "segcli predict volumes/ --run tiny" in card
    assert "probabilities[outputs['gate'][0] < 0] = 0" in card


def presence(folder):
    """Rows of `presence.csv` by case and structure."""
    rows = csv.DictReader((Path(folder) / "presence.csv").read_text().splitlines())
    return {(row["case"], row["structure"]): row for row in rows}


def logistic(values):
    return 1.0 / (1.0 + np.exp(-values.astype(np.float64)))


def test_a_structure_without_a_voxel_is_absent_in_predict_eval_and_exported_files_and_all_tell_how_sure_it_is(
    trained, run_cli
):
    """The gate of this network is always open."""
    trained(training__loss={"type": "sadaan"}, data__preprocessing={"normalize": False})
    assert run_cli("export", "tiny", "--format", "onnx").code == 0
    onnx = "outputs/exports/tiny/tiny.onnx"
    for limit, some in (("1.0", False), ("0.0", True)):
        words = ("data/test.h5", "--threshold", limit)
        table = run_cli("predict", *words, "--run", "tiny", "--out", f"found{limit}").out
        assert "in brackets: confidence in presence or absence" in " ".join(table.split())
        assert ("absent" in table) is not some
        assert run_cli("predict", *words, "--model", onnx, "--out", f"exported{limit}").code == 0
        scored = run_cli("eval", "tiny", "--split", "test", "--threshold", limit, "--out", f"scored{limit}", "--json")
        told = json.loads(scored.out)
        found, exported, judged = (presence(f"{name}{limit}") for name in ("found", "exported", "scored"))
        assert {row["present"] for row in (*found.values(), *exported.values(), *judged.values())} == {str(int(some))}
        assert all((float(row["volume"]) > 0) is some for row in found.values())
        right = np.array([row["present"] == row["truth"] for row in judged.values()])
        assert told["average_metrics"]["presence_accuracy"] == pytest.approx(right.mean())
        assert len(judged) == len(right) == 4
    session, names = load_onnxruntime(purpose="a test").InferenceSession(onnx), ("presence", "confidence")
    with h5py.File("data/test.h5") as file:
        image = file["images"][:].astype(np.float32)[:, None]
    raw = dict(zip(names, session.run(names, {session.get_inputs()[0].name: image}), strict=True))
    for column, output in (("probability", "presence"), ("confidence", "confidence")):
        expected = logistic(raw[output]).ravel()
        for told_by in (found, exported, judged):
            np.testing.assert_allclose([float(row[column]) for row in told_by.values()], expected, atol=2e-4)
    error = abs(np.array([float(row["confidence"]) for row in judged.values()]) - right)
    per_image = [entry["presence_ece"] for entry in told["per_image"]]
    np.testing.assert_allclose(per_image, error.reshape(2, 2).mean(axis=1), atol=1e-4)
    assert "Confidence in presence, all structures together" in Path("scored0.0/report.html").read_text()


def test_a_confidence_that_was_not_calibrated_is_not_shown(trained, run_cli):
    trained(training__loss={"type": "sadaan", "confidence": 0.1})
    table = run_cli("predict", "data/test.h5", "--run", "tiny", "--out", "found").out
    assert "confidence" not in table
    assert {row["confidence"] for row in presence("found").values()} == {""}
    assert all(0.0 < float(row["probability"]) < 1.0 for row in presence("found").values())
    told = json.loads(run_cli("eval", "tiny", "--split", "test", "--json").out)
    assert "presence_ece" not in told["average_metrics"]


def test_rows_of_a_table_of_an_earlier_version_are_kept(tmp_path):
    path = tmp_path / "presence.csv"
    path.write_text("file,case,structure,present,volume,unit\na.h5,0,ball,1,6,mm³\n")
    table = _Table(tmp_path)
    table.keep()
    found = {"present": True, "volume": 3.0, "unit": "mm³", "probability": 0.75, "confidence": 0.5}
    table.write({"file": "b.h5", "case": "0", "structures": {"box": found}})
    assert path.read_text().splitlines() == [
        "file,case,structure,present,volume,unit,probability,confidence",
        "a.h5,0,ball,1,6,mm³,,",
        "b.h5,0,box,1,3,mm³,0.7500,0.5000",
    ]
