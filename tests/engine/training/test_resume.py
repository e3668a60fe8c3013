"""A run that was stopped at any moment and resumed is the run that never stopped, bit for bit."""

import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from segcli.cli.main import run
from segcli.core.errors import CheckpointError, DataError
from segcli.core.platform import WINDOWS
from segcli.engine.checkpoint import Checkpoint, read_checkpoint, read_header
from segcli.engine.stopping import StopSignal
from segcli.engine.training.trainer import Trainer

EVERYTHING = {
    "training__epochs": 3,
    "training__gradient_accumulation_steps": 2,
    "training__gradient_clip_norm": 1.0,
    "training__warmup_epochs": 1.0,
    "training__scheduler": {"type": "cosine", "min_lr": 1e-4},
    "training__ema": {"decay": 0.9},
    "model__dropout": 0.2,
    "data__augmentation": "heavy",
    "data__patch_size": [32, 32],
    "data__patches_per_image": 2,
    "checkpoint__every_minutes": 0.0,
}
"""Whatever could make two runs differ: augmentation, crops, dropout, averaging, accumulation, schedule."""


def in_child(arguments: list[str], told: str = os.devnull, *, fresh: bool = False) -> int:
    """Start `segcli ARGUMENTS` in a forked process of its own group, and return its number.

    Args:
        arguments: Words of the command.
        told: File for what the command tells.
        fresh: Start Python again, as a shell does, instead of going on with what this process has imported.
    """
    child = os.fork()
    if child == 0:
        os.setsid()
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(told, os.O_WRONLY | os.O_CREAT), 2)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        code = 70
        try:
            if fresh:
                os.execv(sys.executable, [sys.executable, "-m", "segcli", *arguments])
            code = run(arguments)
        finally:
            os._exit(code)
    return child


def exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def final(folder: Path) -> Checkpoint:
    return read_checkpoint(folder / "checkpoints" / "last.safetensors")


def steps_done(folder: Path) -> int:
    try:
        return int(read_header(folder / "checkpoints" / "last.safetensors")["progress"]["step"])
    except CheckpointError:
        return -1


def assert_same(one: Checkpoint, other: Checkpoint) -> None:
    assert one.tensors.keys() == other.tensors.keys()
    assert [name for name in one.tensors if not torch.equal(one.tensors[name], other.tensors[name])] == []
    assert one.header["history"] == other.header["history"]


def kill_when(child: int, ready: Callable[[], bool], delay_s: float) -> None:
    """SIGKILL for the child, at `delay_s` after `ready`; its loader workers die with the pipe to it."""
    deadline = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)


@pytest.mark.posix
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_killed_at_several_moments_ends_with_the_bits_of_one_never_stopped(tiny, workplace, workers):
    config = str(tiny(**EVERYTHING, data__num_workers=workers))
    assert exit_code(in_child(["train", config, "name=whole"])) == 0
    whole = final(workplace / "outputs/experiments/whole")
    total = whole.header["progress"]["step"]

    rng = random.Random(workers)
    folder = workplace / "outputs/experiments/killed"
    child = in_child(["train", config, "name=killed"])
    killed_at = []
    for moment in sorted(rng.sample(range(total - 1), 3)):
        kill_when(child, lambda moment=moment: steps_done(folder) >= moment, rng.uniform(0, 0.05))
        assert exit_code(child) == -signal.SIGKILL
        killed_at.append(steps_done(folder))
        child = in_child(["resume", "killed"])
    assert exit_code(child) == 0
    assert min(killed_at) < total, killed_at
    assert_same(final(folder), whole)


@pytest.mark.posix
@pytest.mark.parametrize("name", ["SIGINT", pytest.param("SIGHUP", marks=pytest.mark.slow)])
def test_a_run_stopped_by_a_signal_in_an_epoch_ends_with_the_bits_of_one_never_stopped(tiny, workplace, name):
    signum = getattr(signal, name)
    changes = {"training__epochs": 2, "checkpoint__every_minutes": 10.0, "data__patches_per_image": 40}
    config = str(tiny(**{**EVERYTHING, **changes}))
    assert exit_code(in_child(["train", config, "name=whole"])) == 0
    folder = workplace / "outputs/experiments/stopped"
    child = in_child(["train", config, "name=stopped"])
    while steps_done(folder) < 0:
        time.sleep(0.002)
    time.sleep(0.4)
    os.kill(child, signum)
    assert exit_code(child) == 128 + signum
    progress = final(folder).header["progress"]
    assert progress["step"] > 0
    assert progress["batch"] > 0
    assert exit_code(in_child(["resume", "stopped"])) == 0
    assert_same(final(folder), final(workplace / "outputs/experiments/whole"))


def test_seconds_before_a_stop_within_an_epoch_count_as_training_time(run_cli, tiny, workplace, monkeypatch):
    """Each of the batches takes a second of a clock that stands still else."""
    now, taken = [0.0], []
    take = Trainer._take

    def slow(trainer, loaded, *, share):
        now[0] += 1.0
        taken.append(trainer.progress.batch)
        if len(taken) == 3:
            trainer.stop.signum = signal.SIGINT
        return take(trainer, loaded, share=share)

    config = tiny(training__epochs=2, data__patches_per_image=4, data__patch_size=[32, 32], data__num_workers=0)
    monkeypatch.setattr(Trainer, "_take", slow)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stopped = run_cli("train", config, "name=my run")
    assert stopped.code == 130
    assert stopped.err.splitlines()[-1] == "stopped; continue with: segcli resume 'outputs/experiments/my run'"
    folder = workplace / "outputs/experiments/my run"
    assert read_header(folder / "checkpoints/last.safetensors")["progress"]["elapsed_s"] == 3.0
    resumed = run_cli("resume", folder)
    assert resumed.code == 0, resumed.err
    assert f"epoch {1 + (max(taken) == 2)}, after batch 3\n" in resumed.err
    assert final(folder).header["progress"]["elapsed_s"] == len(taken)


def test_results_do_not_depend_on_the_number_of_workers(run_cli, tiny, workplace):
    config = tiny(**EVERYTHING)
    assert run_cli("train", config, "name=none").code == 0
    assert run_cli("train", config, "name=two", "data.num_workers=2").code == 0
    assert_same(final(workplace / "outputs/experiments/two"), final(workplace / "outputs/experiments/none"))


def test_another_seed_gives_other_weights(run_cli, tiny, workplace):
    config = tiny(**EVERYTHING)
    for seed in (1, 2):
        assert run_cli("train", config, f"name=seed{seed}", f"seed={seed}", "training.epochs=1").code == 0
    one, other = (final(workplace / f"outputs/experiments/seed{seed}").tensors for seed in (1, 2))
    assert not torch.equal(one["model/head.weight"], other["model/head.weight"])


@pytest.mark.parametrize(
    "scheduler",
    [
        {"type": "plateau", "patience": 1, "factor": 0.5, "min_delta": 10.0},
        {"type": "one_cycle"},
        {"type": "step", "step_size": 1},
    ],
)
def test_a_schedule_goes_on_where_it_was(run_cli, tiny, workplace, scheduler):
    config = tiny(training__epochs=4, training__scheduler=scheduler)
    assert run_cli("train", config, "name=whole").code == 0
    assert run_cli("train", config, "name=part", "checkpoint.save_every=2").code == 0
    part = workplace / "outputs/experiments/part"
    assert run_cli("resume", part / "checkpoints/epoch_0002.safetensors").code == 0
    whole, again = final(workplace / "outputs/experiments/whole"), final(part)
    assert_same(again, whole)


def test_the_schedule_of_dropblock_goes_on_where_it_was(run_cli, tiny, workplace):
    model = {"type": "sa_unet", "depths": [4, 8], "keep_prob": 0.5}
    config = tiny(training__epochs=3, model=model, checkpoint__save_every=1)
    assert run_cli("train", config, "name=whole").code == 0
    assert run_cli("train", config, "name=part").code == 0
    assert run_cli("train", config, "name=constant", "model.drop_ramp=0.0").code == 0
    part = workplace / "outputs/experiments/part"
    assert run_cli("resume", part / "checkpoints/epoch_0001.safetensors").code == 0
    whole = final(workplace / "outputs/experiments/whole")
    assert_same(final(part), whole)
    constant = final(workplace / "outputs/experiments/constant")
    assert not torch.equal(constant.tensors["model/head.weight"], whole.tensors["model/head.weight"])


def test_the_history_of_a_resumed_run_has_every_epoch_once(run_cli, tiny, workplace):
    config = tiny(training__epochs=3, checkpoint__save_every=1)
    assert run_cli("train", config).code == 0
    folder = workplace / "outputs/experiments/tiny"
    before = yaml.safe_load((folder / "metrics_history.yaml").read_text())
    assert run_cli("resume", folder / "checkpoints/epoch_0001.safetensors").code == 0
    assert yaml.safe_load((folder / "metrics_history.yaml").read_text()) == before
    assert [entry["epoch"] for entry in before] == [1, 2, 3]
    assert set(before[0]["val"]) == {"val_loss", "val_loss_bce", "val_loss_dice", "val_dice", "val_iou"}


def test_a_damaged_last_checkpoint_falls_back_to_the_newest_whole_one_and_says_so(run_cli, tiny, workplace):
    config = tiny(training__epochs=3, checkpoint__save_every=1)
    assert run_cli("train", config, "name=whole").code == 0
    whole = final(workplace / "outputs/experiments/whole")
    assert run_cli("train", config).code == 0
    checkpoints = workplace / "outputs/experiments/tiny/checkpoints"
    (checkpoints / "epoch_0003.safetensors").unlink()
    (checkpoints / "best.safetensors").unlink()
    last = checkpoints / "last.safetensors"
    content = bytearray(last.read_bytes())
    content[-9] ^= 1
    last.write_bytes(content)
    result = run_cli("resume", "tiny")
    assert result.code == 0, result.err
    assert "last.safetensors` is damaged" in result.err
    assert "epoch_0002.safetensors` instead" in result.err
    assert_same(final(workplace / "outputs/experiments/tiny"), whole)


@pytest.mark.posix
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("SIGINT", 130),
        ("SIGTERM", 143),
        ("SIGHUP", 129),
        pytest.param("SIGUSR1", 138, marks=pytest.mark.slow),
        pytest.param("SIGXCPU", 152, marks=pytest.mark.slow),
    ],
)
def test_a_stop_signal_ends_with_a_checkpoint_and_the_command_that_resumes(tiny, workplace, name, code):
    config = tiny(**{**EVERYTHING, "checkpoint__every_minutes": 10.0, "training__epochs": 200, "data__num_workers": 1})
    told = workplace / "told"
    child = in_child(["train", str(config)], str(told), fresh=name == "SIGINT")
    history = workplace / "outputs/experiments/tiny/metrics_history.yaml"
    deadline = time.monotonic() + 60
    while not history.exists():
        assert os.waitpid(child, os.WNOHANG)[0] == 0, told.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # To the whole group, as a terminal does on Ctrl-C and a scheduler at its time limit.
    os.killpg(child, getattr(signal, name))
    ended, err = exit_code(child), told.read_text()
    assert ended == code, err
    answer, resume = "stopping after this batch", "segcli resume"
    assert (answer in err.partition(resume)[0]) == (name != "SIGHUP")
    assert resume in err
    assert "Traceback" not in err
    assert steps_done(workplace / "outputs/experiments/tiny") > 0


@pytest.mark.posix
def test_a_run_whose_terminal_is_closed_saves_and_goes_on_later(tiny, workplace):
    config = tiny(**{**EVERYTHING, "checkpoint__every_minutes": 10.0, "training__epochs": 200})
    import pty

    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-m", "segcli", "train", str(config)])
    folder = workplace / "outputs/experiments/tiny"
    os.set_blocking(terminal, False)
    deadline = time.monotonic() + 60
    while steps_done(folder) <= 0:
        assert time.monotonic() < deadline
        with contextlib.suppress(BlockingIOError):
            os.read(terminal, 65536)
        time.sleep(0.05)
    before = steps_done(folder)
    os.close(terminal)
    assert exit_code(child) == 129
    assert steps_done(folder) >= before
    assert not list((folder / "checkpoints").glob(".*"))


@pytest.mark.posix
def test_a_hangup_that_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignal(handles=True) as stop:
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGHUP)
        assert stop.signum is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_changed_training_data_are_refused_on_resume(run_cli, tiny, workplace):
    assert run_cli("train", tiny(training__epochs=1)).code == 0
    for kind in ("image", "label"):
        (workplace / "data/train" / kind / "05.png").unlink()
    result = run_cli("resume", "tiny", "training.epochs=2")
    assert result.code == 3
    assert "the training images changed since the run began (6 then, 5 now" in result.err


@pytest.mark.parametrize("moment", [2, 3])
def test_a_run_killed_between_two_files_of_an_epoch_loses_none_of_them(run_cli, tiny, workplace, monkeypatch, moment):
    from segcli.engine.training import trainer

    config = tiny(training__epochs=1)
    assert run_cli("train", config, "name=whole").code == 0
    write, written = trainer.write_checkpoint, []

    def killed(path, checkpoint):
        written.append(path.name)
        if len(written) == moment:  # the first file is the start of the run, the others end its only epoch
            raise KeyboardInterrupt
        write(path, checkpoint)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "write_checkpoint", killed)
        assert run_cli("train", config).code == 130
    assert run_cli("resume", "tiny").code == 0
    folder, whole = workplace / "outputs/experiments/tiny", workplace / "outputs/experiments/whole"
    assert_same(final(folder), final(whole))
    names = [sorted(path.name for path in (place / "checkpoints").iterdir()) for place in (folder, whole)]
    assert names[0] == names[1] == ["best.safetensors", "last.safetensors"]
    assert (folder / "metrics_history.yaml").read_text() == (whole / "metrics_history.yaml").read_text()


def test_a_run_folder_that_cannot_be_locked_or_written_is_told_in_one_sentence(run_cli, tiny, workplace, monkeypatch):
    config = tiny(training__epochs=1)
    (workplace / "locked/.lock").mkdir(parents=True)
    result = run_cli("train", config, "output.dir=locked")
    assert result.code == 3
    reason = "Permission denied" if WINDOWS else "Is a directory"
    assert f"cannot write `locked/.lock` ({reason})" in result.err

    def full(path, value, **_):
        raise DataError(f"cannot write `{path.name}` (No space left on device)")

    with monkeypatch.context() as patch:
        patch.setattr("segcli.commands.train.write_yaml", full)
        result = run_cli("train", config, "output.dir=new/run")
    assert result.code == 3
    assert "cannot write `config.yaml`" in result.err
    assert not (workplace / "new").exists()
    assert run_cli("train", config, "output.dir=new/run").code == 0
