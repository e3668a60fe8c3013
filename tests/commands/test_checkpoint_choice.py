"""`--checkpoint` of `eval`, `predict` and `export`: the results of one checkpoint never replace those of another."""

import json
import shutil

import pytest
import yaml

from segcli.cli import complete
from segcli.engine.checkpoint import read_header

TESTS = "outputs/tests"


def scores(folder):
    return yaml.safe_load((folder / "test_metrics.yaml").read_text())


def test_results_of_the_last_checkpoint_stand_beside_those_of_the_best(run_cli, tiny_run, workplace):
    assert run_cli("eval", "tiny").code == 0
    best = scores(workplace / TESTS / "tiny")
    assert best["checkpoint"].endswith("best.safetensors")
    for words in (["tiny", "--checkpoint", "last"], [tiny_run / "checkpoints/last.safetensors"]):
        assert run_cli("eval", *words).code == 0
        assert scores(workplace / TESTS / "tiny") == best
        last = scores(workplace / TESTS / "tiny_last")
        assert last["checkpoint"].endswith("last.safetensors")
        assert last["epoch"] == 2
        shutil.rmtree(workplace / TESTS / "tiny_last")
    result = run_cli("eval", "tiny", "--checkpoint", "1", "--split", "val")
    assert scores(workplace / TESTS / "tiny_val_epoch_0001")["epoch"] == 1
    assert "epoch_0001.safetensors (epoch 1)" in result.out
    assert "epoch_0001.safetensors (epoch 1)" in (workplace / TESTS / "tiny_val_epoch_0001/report.html").read_text()
    assert run_cli("eval", "tiny", "--checkpoint", "best").code == 0
    assert scores(workplace / TESTS / "tiny") == best


@pytest.mark.parametrize("name", ["1", "epoch_0001", "epoch_1", "epoch_0001.safetensors"])
def test_an_epoch_is_named_by_its_number_or_its_file(run_cli, tiny_run, name):
    told = json.loads(run_cli("eval", "tiny", "--checkpoint", name, "--json").out)
    assert told["epoch"] == 1


def test_a_run_without_a_best_checkpoint_keeps_its_place_for_the_last(run_cli, tiny_run, workplace):
    (tiny_run / "checkpoints/best.safetensors").unlink()
    for words in (["tiny"], ["tiny", "--checkpoint", "last"]):
        assert run_cli("eval", *words).code == 0
    assert [path.name for path in (workplace / TESTS).iterdir()] == ["tiny"]


@pytest.mark.parametrize("name", ["7", "first", "../checkpoints/last", "²"])
def test_a_checkpoint_that_the_run_does_not_have_is_refused_with_those_it_has(run_cli, tiny_run, name):
    for command in (["eval", "tiny"], ["export", "tiny"], ["predict", "data/test/image", "--run", "tiny"]):
        result = run_cli(*command, "--checkpoint", name)
        assert result.code == 4
        assert f"has no checkpoint `{name}`" in result.err
        assert "it has best, epoch_0001, epoch_0002, last" in result.err


def test_a_checkpoint_file_and_the_option_exclude_each_other(run_cli, tiny_run):
    result = run_cli("eval", tiny_run / "checkpoints/best.safetensors", "--checkpoint", "last")
    assert result.code == 4
    assert "is a checkpoint, and `--checkpoint last` names another one" in result.err
    assert run_cli("predict", "data", "--model", "net.onnx", "--checkpoint", "last").code == 2


def test_predict_names_its_folder_after_the_checkpoint(run_cli, tiny_run, workplace):
    for words in ([], ["--checkpoint", "last"], ["--checkpoint", "1"]):
        result = run_cli("predict", "data/test/image", "--run", "tiny", *words)
        assert result.code == 0, result.err
    assert {path.name for path in (workplace / "outputs/predictions").iterdir()} == {
        "tiny",
        "tiny_last",
        "tiny_epoch_0001",
    }


def test_export_names_its_folder_after_the_checkpoint_and_its_card_has_the_scores_of_it(run_cli, tiny_run, workplace):
    assert run_cli("eval", "tiny").code == 0
    assert run_cli("eval", "tiny", "--checkpoint", "1").code == 0
    result = run_cli("export", "tiny", "--checkpoint", "1", "--format", "torchscript", "--json")
    assert result.code == 0, result.err
    told = json.loads(result.out)
    assert told["file"] == "outputs/exports/tiny_epoch_0001/tiny.torchscript"
    dice = scores(workplace / TESTS / "tiny_epoch_0001")["average_metrics"]["dice"]
    assert f"| dice | {dice:.4f} |" in (workplace / told["card"]).read_text()


def test_a_checkpoint_that_was_copied_elsewhere_replaces_no_results_of_the_best(run_cli, tiny_run, workplace):
    for name in ("last", "mine"):
        shutil.copy(tiny_run / "checkpoints/epoch_0001.safetensors", workplace / f"{name}.safetensors")
        assert run_cli("eval", workplace / f"{name}.safetensors").code == 0
    assert {path.name for path in (workplace / TESTS).iterdir()} == {"tiny_last", "tiny"}
    shutil.copy(workplace / "mine.safetensors", tiny_run / "checkpoints/mine.safetensors")
    assert run_cli("eval", "tiny", "--checkpoint", "mine").code == 0
    assert scores(workplace / TESTS / "tiny_mine")["epoch"] == 1


def test_tab_lists_the_checkpoints_of_the_run_that_was_typed(tiny_run):
    class Typed:
        params = {"words": ["tiny"]}

    assert complete.checkpoints(Typed, "") == ["best", "epoch_0001", "epoch_0002", "last"]
    assert complete.checkpoints(Typed, "ep") == ["epoch_0001", "epoch_0002"]
    Typed.params = {"run": ["nowhere"]}
    assert complete.checkpoints(Typed, "") == ["best", "last"]


def test_the_checkpoints_of_the_fixture_differ(tiny_run):
    epochs = {path.stem: read_header(path)["progress"]["epoch"] for path in (tiny_run / "checkpoints").iterdir()}
    assert (epochs["epoch_0001"], epochs["last"]) == (1, 2)
