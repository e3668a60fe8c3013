"""Ctrl-C, SIGTERM and the like end every command at once, whatever the packages below it make of them."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from segcli.cli.main import run
from segcli.core.errors import Stopped
from segcli.engine.stopping import StopSignal

WENT_ON: list[int] = []
"""Work that nobody stopped."""


def work(seconds):
    """Run Python code; Windows does not wake a single long sleep."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.01)
    WENT_ON.append(seconds)


def swallowed(signum):
    """Catches what a stop raises, and goes on; returns nothing that could be exported."""
    try:
        signal.raise_signal(signum)
    except BaseException:
        return "a program"
    raise AssertionError("not stopped")


def swallowed_often(signum):
    """Catches it again and again, as a loop over attempts does; ends by itself after 40 s."""
    deadline, caught = time.monotonic() + 60, 0
    while time.monotonic() < deadline and caught < 3:
        try:
            if not caught:
                signal.raise_signal(signum)
            work(20)
        except BaseException:
            caught += 1
    work(20)


def turned_into_another_error(signum):
    try:
        signal.raise_signal(signum)
    except BaseException as error:
        raise RuntimeError("Failed to export the model") from error


def raised_in_a_destructor(signum):
    freed = type("Freed", (), {"__del__": lambda self: signal.raise_signal(signum)})()
    del freed
    work(20)


@pytest.mark.parametrize("exporter", [swallowed, swallowed_often, turned_into_another_error, raised_in_a_destructor])
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_exporter_that_catches_the_stop_cannot_keep_it(
    run_cli, tiny_run, workplace, monkeypatch, exporter, signum, code
):
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: exporter(signum))
    WENT_ON.clear()
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    result = run_cli("export", "tiny")
    assert WENT_ON == []
    assert result.code == code
    assert result.out == ""
    lines = result.err.splitlines()
    assert lines[-1] == "stopped"
    assert lines[-2].startswith("writing ")
    assert "Traceback" not in result.err
    assert list(workplace.glob("outputs/exports/**/*.*")) == []
    assert {each: signal.getsignal(each) for each in before} == before


@pytest.mark.parametrize("ends", ["normally", "with an error"])
def test_what_leaves_after_a_swallowed_stop_is_the_stop(ends):
    with pytest.raises(Stopped) as caught, StopSignal(handles=True):  # noqa: PT012 - what happens within is the test
        swallowed(signal.SIGTERM)
        if ends != "normally":
            raise ValueError
    assert caught.value.exit_code == 143


def test_cleaning_up_is_not_interrupted_by_the_repetition():
    done = []
    with pytest.raises(Stopped), StopSignal(handles=True):  # noqa: PT012
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            time.sleep(0.5)  # twice as long as the pause between repetitions
            done.append(True)
    assert done == [True]


def test_no_signal_comes_after_the_end():
    with pytest.raises(Stopped), StopSignal(handles=True):
        signal.raise_signal(signal.SIGINT)
    time.sleep(0.4)


def export_in_child(log):
    """Start `segcli export tiny` in a forked process, which need not import PyTorch again."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(written, 1)
            os.dup2(written, 2)
            sys.stderr = os.fdopen(2, "w", buffering=1)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            code = run(["export", "tiny"])
            sys.stderr.flush()
        finally:
            os._exit(code)
    return child


@pytest.mark.posix
@pytest.mark.parametrize(
    ("delay_s", "signum", "code"), [(0.1, signal.SIGINT, 130), (0.4, signal.SIGINT, 130), (0.7, signal.SIGTERM, 143)]
)
def test_a_signal_while_pytorch_exports_ends_with_one_line_and_no_file(tiny_run, workplace, delay_s, signum, code):
    log = workplace / "log"
    child = export_in_child(log)
    deadline = time.monotonic() + 60
    while not (log.exists() and "writing" in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(delay_s)
    os.kill(child, signum)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    told = log.read_text()
    assert status == code, told
    assert told.splitlines()[-1] == "stopped"
    assert "Traceback" not in told
    assert [path for path in workplace.glob("outputs/exports/**/*") if path.is_file()] == []


@pytest.mark.posix
def test_ctrl_c_before_a_command_has_begun_ends_with_one_line(workplace):
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell may have it ignored
        "from segcli.__main__ import main; main()"
    )
    command = [sys.executable, "-X", "importtime", "-c", code, "export", "--json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        next(line for line in process.stderr if "segcli.core.errors" in line)  # in the middle of its imports
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert [line for line in rest.splitlines() if not line.startswith("import time:")] == ["stopped"]
