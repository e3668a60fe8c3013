"""What TensorBoard shows of choices and test scores, read back from its event files and from a server."""

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request

import pytest
from event_files import EVERYTHING, approximately, events, history, next_second, scalars
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData


@pytest.fixture
def folder(workplace):
    """Run folder of the tiny experiment."""
    return workplace / "outputs/experiments/tiny"


# ---- hyper-parameters


def hyperparameters(folder):
    contents = events(folder / "tensorboard").PluginTagToContent("hparams")
    values = HParamsPluginData.FromString(contents["_hparams_/session_start_info"]).session_start_info.hparams
    return {name: value.string_value or value.number_value for name, value in values.items()}


def test_what_was_chosen_stands_beside_what_came_of_it(run_cli, tiny, folder):
    assert run_cli("train", tiny(logging__tensorboard=True)).code == 0
    chosen, last = hyperparameters(folder), history(folder)[-1]
    expected = {
        "model.type": "unet",
        "model.depths": "[4, 8]",
        "training.optimizer.learning_rate": 0.01,
        "training.loss.bce.weight": 0.5,
        "training.epochs": 2.0,
        "training.ema.enabled": "false",
        "seed": 42.0,
    }
    assert {key: chosen[key] for key in expected} == expected
    found = scalars(folder / "tensorboard")
    assert found["final/val_dice"] == approximately([(2, last["val"]["val_dice"])])
    assert found["final/train_loss_bce"] == approximately([(2, last["train"]["loss_bce"])])
    assert found["best/val_dice"] == approximately([(2, max(e["val"]["val_dice"] for e in history(folder)))])
    lines = {path.name for path in (folder / "tensorboard").iterdir() if path.is_dir()}
    assert lines == {"train", "val"}


def test_a_run_that_is_trained_further_has_its_new_hyper_parameters(run_cli, tiny, folder):
    assert run_cli("train", tiny(logging__tensorboard=True)).code == 0
    next_second()
    assert run_cli("resume", "tiny", "training.epochs=3").code == 0
    assert hyperparameters(folder)["training.epochs"] == 3.0
    assert [step for step, _ in scalars(folder / "tensorboard")["final/val_dice"]] == [3]


# ---- scores on the test split


def test_test_scores_stand_at_the_epoch_of_their_checkpoint_and_once(run_cli, tiny, folder):
    config = tiny(logging__tensorboard=True, training__epochs=3, checkpoint={"save_every": 1})
    assert run_cli("train", config).code == 0
    expected = {}
    for epoch in (3, 1, 3, 2, 1):
        done = run_cli("eval", folder / f"checkpoints/epoch_000{epoch}.safetensors", "--json")
        assert done.code == 0
        expected[epoch] = json.loads(done.out)
    found = scalars(folder / "tensorboard/test")
    for name in ("dice", "auc", "recall"):
        values = [(epoch, expected[epoch]["average_metrics"][name]) for epoch in (1, 2, 3)]
        assert found[f"test/{name}"] == approximately(values)
    assert found["test/loss_bce"] == approximately([(e, expected[e]["losses"]["loss_bce"]) for e in (1, 2, 3)])
    assert len(list((folder / "tensorboard/test").iterdir())) == 1
    assert "test/dice" not in scalars(folder / "tensorboard")


def test_a_later_score_of_an_epoch_replaces_the_earlier(run_cli, tiny, folder):
    assert run_cli("train", tiny(logging__tensorboard=True, training__epochs=1)).code == 0
    for threshold in (0.1, 0.9):
        done = json.loads(run_cli("eval", "--threshold", threshold, "--json").out)
    recall = done["average_metrics"]["recall"]
    assert scalars(folder / "tensorboard/test")["test/recall"] == approximately([(1, recall)])


def test_a_resumed_run_keeps_its_test_scores(run_cli, tiny, folder):
    assert run_cli("train", tiny(logging__tensorboard=True, training__epochs=1)).code == 0
    assert run_cli("eval").code == 0
    before = scalars(folder / "tensorboard/test")
    assert run_cli("resume", "tiny", "training.epochs=2").code == 0
    assert str(scalars(folder / "tensorboard/test")) == str(before)  # NaN is not equal to itself


def test_a_checkpoint_by_itself_is_scored_and_recorded_nowhere(run_cli, tiny, folder, workplace):
    assert run_cli("train", tiny(logging__tensorboard=True, training__epochs=1)).code == 0
    alone = workplace / "elsewhere/best.safetensors"
    alone.parent.mkdir()
    shutil.move(folder / "checkpoints/best.safetensors", alone)
    shutil.rmtree(folder)
    result = run_cli("eval", alone)
    assert result.code == 0
    assert "is not in a run folder: its scores are not sent to trackers" in result.err
    assert list(workplace.rglob("events.out.*")) == []


def test_no_event_files_appear_where_none_are_wanted(run_cli, tiny, workplace):
    assert run_cli("train", tiny(training__epochs=1)).code == 0
    assert run_cli("eval").code == 0
    assert list(workplace.rglob("events.out.*")) == []


# ---- a real server


@pytest.fixture
def server(workplace):
    """Answers of a TensorBoard server on `outputs/experiments`, by path below `data/`."""
    folder = workplace / "outputs/experiments"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--host", "127.0.0.1", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--load_fast", "false", "--reload_interval", "1"], stderr=subprocess.PIPE, text=True
    )
    try:
        told = next((line for line in process.stderr if " at http://" in line), "")
        address = re.search(r"http://\S+", told)
        assert address, "the server did not start"

        def ask(path):
            with urllib.request.urlopen(f"{address[0]}data/{path}", timeout=30) as answer:
                return json.load(answer)

        yield ask
    finally:
        process.kill()
        process.communicate()


def test_a_tensorboard_server_shows_the_run(run_cli, tiny, request):
    assert run_cli("train", tiny(logging=EVERYTHING)).code == 0
    assert run_cli("eval").code == 0
    ask = request.getfixturevalue("server")
    deadline = time.monotonic() + 60
    while len(ask("runs")) < 4 or "tiny/tensorboard/test" not in ask("plugin/scalars/tags"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    tags = ask("plugin/scalars/tags")
    assert {"train/loss_bce", "val/dice", "learning_rate", "final/val_dice"} <= set(tags["tiny/tensorboard"])
    for line in ("train", "val"):
        assert {"comparison/dice", "comparison/iou"} <= set(tags[f"tiny/tensorboard/{line}"])
    assert {"test/dice", "test/iou", "test/auc"} <= set(tags["tiny/tensorboard/test"])
    assert set(ask("plugin/images/tags")["tiny/tensorboard"]) == {"images/00", "images/01"}
    assert "activations/head" in ask("plugin/histograms/tags")["tiny/tensorboard"]
    assert ask("plugin/graphs/info")["tiny/tensorboard"]["run_graph"]
    points = ask("plugin/scalars/scalars?run=tiny%2Ftensorboard%2Fval&tag=comparison%2Fdice")
    assert [step for _, step, _ in points] == [1, 2]
