"""Training, scoring and export from Python are those of the commands; Ctrl-C and signals end them with a checkpoint."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from factories import SMALL, experiment, write_experiment, write_folders
from safetensors.numpy import load_file

import segcli

WEIGHTS = "checkpoints/last.safetensors"


def weights(run):
    return load_file(Path("outputs/experiments") / run / WEIGHTS)


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


@pytest.fixture
def config(workplace):
    """An experiment file with dropout, augmentation and a cosine schedule, which must go on exactly."""
    model = {"type": "sa_unet", **SMALL["sa_unet"]}
    return write_experiment(
        workplace / "tiny.yaml",
        experiment(
            write_folders(workplace / "data"),
            model=model,
            data__augmentation={"preset": "light"},
            training__epochs=3,
            training__scheduler="cosine",
        ),
    )


class Interrupting(segcli.Silent):
    """Does something once, after some batches of a training."""

    def __init__(self, act, *, at):
        self.act, self.at, self.seen, self.threads = act, at, [], set()

    def step(self, event):
        self.threads.add(threading.current_thread())
        self.seen.append((event.epoch, event.batch))
        if len(self.seen) == self.at:
            self.act()


def test_training_and_resuming_have_the_bits_of_the_commands(run_cli, config):
    assert run_cli("train", config, "name=command").code == 0
    run = segcli.load(config, "name=python", "training.epochs=2")
    trained = segcli.train(run)
    assert (trained.run, trained.epochs) == ("python", 2)
    resumed = segcli.resume(trained, "training.epochs=3")
    assert resumed.epochs == 3
    short = segcli.load(config, "name=python", "training.epochs=3")
    with pytest.raises(segcli.ConfigError, match="overwrite") as caught:
        segcli.train(short)
    assert caught.value.exit_code == 2
    segcli.train(short, overwrite=True)
    assert_same(weights("python"), weights("command"))
    called = yaml.safe_load(Path("outputs/experiments/python/environment.yaml").read_text())["command_line"]
    assert called[0] == "python"


@pytest.fixture
def every_step(monkeypatch):
    """Lets each batch be told."""
    monkeypatch.setattr("segcli.engine.training.trainer.REPORT_EVERY_S", -1.0)


@pytest.fixture
def answering():
    """Let SIGINT raise, also where the suite runs in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("every_step", "answering")
def test_ctrl_c_saves_a_checkpoint_from_which_the_run_goes_on_exactly(run_cli, config):
    assert run_cli("train", config, "name=whole").code == 0
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def press():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)  # until the main thread has heard it

    listener = Interrupting(press, at=5)  # the second batch of the second epoch
    with pytest.raises(KeyboardInterrupt):
        segcli.train(segcli.load(config, "name=stopped"), listener=listener)
    assert {each: signal.getsignal(each) for each in before} == before
    assert listener.seen[-1] == (2, 2)
    assert listener.threads.isdisjoint({threading.main_thread()})
    resumed = segcli.resume("stopped")
    assert resumed.epochs == 3
    assert_same(weights("stopped"), weights("whole"))


@pytest.mark.usefixtures("every_step")
def test_signals_are_handled_where_the_program_asks_for_it(config):
    before = signal.getsignal(signal.SIGTERM)
    handlers = []

    def act():
        handlers.append(signal.getsignal(signal.SIGTERM))
        signal.raise_signal(signal.SIGTERM)

    listener = Interrupting(act, at=2)
    with pytest.raises(segcli.Stopped) as caught:
        segcli.train(segcli.load(config), handle_signals=True, listener=listener)
    assert caught.value.exit_code == 143
    assert handlers[0] != before
    assert signal.getsignal(signal.SIGTERM) == before
    assert listener.threads == {threading.main_thread()}
    assert segcli.resume().epochs == 3


def test_a_training_in_a_thread_of_the_program_needs_no_other(config):
    listener, failures = Interrupting(lambda: None, at=1), []

    def work():
        try:
            segcli.train(segcli.load(config, "training.epochs=1"), handle_signals=True, listener=listener)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failures == []
    assert listener.threads == {thread}


def test_an_error_of_a_training_reaches_the_caller(config):
    for path in Path("data/train/image").iterdir():
        path.unlink()
    with pytest.raises(segcli.DataError) as caught:
        segcli.train(segcli.load(config))
    assert caught.value.exit_code == 3
    assert not Path("outputs").exists()


@pytest.mark.usefixtures("tiny_run")
def test_scores_checks_and_exports_are_those_of_the_commands(run_cli):
    run = segcli.load("outputs/experiments/tiny/config.yaml")
    told = run_cli("eval", "tiny", "--json", "--out", "command", "--threshold", "0.4", "--split", "val")
    scored = segcli.evaluate(run, out="python", threshold=0.4, split="val")
    averages = json.loads(told.out)["average_metrics"]
    assert json.loads(json.dumps(scored.as_dict()["average_metrics"]).replace("NaN", "null")) == averages
    assert len(averages) > 5
    assert Path("python/report.html").exists()
    checked = json.loads(run_cli("data", "check", "outputs/experiments/tiny/config.yaml", "--json").out)
    assert segcli.check(run).as_dict() == checked
    assert segcli.evaluate("tiny", checkpoint=1, out="first").epoch == 1
    exported = segcli.export("tiny", format="torchscript", bake=True)
    assert exported.file == Path("outputs/exports/tiny/tiny_baked.torchscript")
    assert exported.file.exists()
    with pytest.raises(segcli.ConfigError, match="exists"):
        segcli.export("tiny", format="torchscript", bake=True)
    with pytest.raises(segcli.ConfigError, match=r"`threshold=2` is not a number from 0 to 1"):
        segcli.evaluate("tiny", threshold=2)


def test_mistakes_of_a_config_are_errors_with_all_of_them(config):
    with pytest.raises(segcli.ConfigError) as caught:
        segcli.load(config, "training.epoch=3", "sed=1")
    assert "did you mean `epochs`?" in str(caught.value)
    assert "did you mean `seed`?" in str(caught.value)
    with pytest.raises(segcli.ConfigError, match=r"no config file `other\.yaml`"):
        segcli.load("other.yaml")
    with pytest.raises(segcli.ConfigError, match=r"example\.invalid"):
        segcli.load("https://example.invalid/a.yaml")
    with pytest.raises(segcli.SegcliError, match="no run under"):
        segcli.evaluate()
