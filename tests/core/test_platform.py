"""What differs between systems: the code for Windows is tried here on any system, as far as that is possible."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path, PureWindowsPath

import psutil
import pytest

from segcli.core import platform
from segcli.core.errors import DataError
from segcli.core.files import replacing, write_text
from segcli.core.foreign_paths import of_windows
from segcli.core.paths import escaped
from segcli.core.spreadsheet import read_cells, write_cells

LOCKING = """
import os, sys
from segcli.core.platform import lock
descriptor = os.open(sys.argv[1], os.O_RDWR)
print(lock(descriptor), os.read(descriptor, 9).decode())
"""


def test_a_locked_file_is_not_locked_again_and_can_be_read(tmp_path):
    path = tmp_path / ".lock"
    path.write_text("4711")
    descriptor = os.open(path, os.O_RDWR)
    assert platform.lock(descriptor)
    command = [sys.executable, "-c", LOCKING, str(path)]
    assert subprocess.check_output(command, text=True).split() == ["False", "4711"]
    platform.discard(descriptor, path)
    assert not path.exists()


@pytest.mark.posix
@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="no /dev/fd")
def test_a_pipe_of_the_shell_may_be_read_and_a_named_one_in_memory_may_not(monkeypatch):
    ends = os.pipe()
    assert not platform.is_pipe(Path(f"/dev/fd/{ends[0]}"))
    monkeypatch.setattr(Path, "is_fifo", lambda _: True)
    assert [platform.is_pipe(Path(path)) for path in ("/dev/shm/a.yaml", "a.yaml", "/dev/stdin")] == [True, True, False]
    for end in ends:
        os.close(end)


def test_a_process_that_runs_is_told_from_one_that_ended_and_survives_the_question():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert platform.is_running(process.pid)
    process.communicate(b"\n")
    assert process.returncode == 0
    assert not platform.is_running(process.pid)


def test_the_peak_of_the_memory_is_about_what_the_system_says():
    now = psutil.Process().memory_info().rss / 1024
    assert 0.9 * now < platform.peak_memory_kib() < 50 * now


@pytest.fixture
def reached():
    """Signals that reached the main thread."""
    seen = []
    before = signal.signal(signal.SIGTERM, lambda signum, frame: seen.append(signum))
    yield seen
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("kills", [True, False])
def test_the_main_thread_gets_a_signal_from_another_thread(reached, monkeypatch, kills):
    if not kills:
        monkeypatch.delattr(platform.signal, "pthread_kill", raising=False)
    thread = threading.Thread(target=platform.interrupt_main, args=(signal.SIGTERM,))
    thread.start()
    thread.join()
    assert reached == [signal.SIGTERM]


@pytest.fixture
def windows(monkeypatch):
    monkeypatch.setattr(platform, "WINDOWS", True)


def refused(monkeypatch, times):
    """Let renaming fail as it does on Windows while a reader has the file open."""
    calls, whole = [], Path.replace

    def replace(self, target):
        calls.append(target)
        if len(calls) <= times:
            raise PermissionError(13, "Access is denied", str(target))
        return whole(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    return calls


def test_on_windows_a_file_is_replaced_when_its_reader_has_closed_it(windows, monkeypatch, tmp_path):
    calls = refused(monkeypatch, times=2)
    write_text(tmp_path / "a.txt", "new\n")
    assert ((tmp_path / "a.txt").read_bytes(), len(calls)) == (b"new\n", 3)


def test_on_windows_a_file_that_stays_open_is_told(windows, monkeypatch, tmp_path):
    monkeypatch.setattr(platform, "PATIENCE_S", 0.1)
    refused(monkeypatch, times=1000)
    with pytest.raises(DataError, match=r"cannot write `.*a.txt` \(Access is denied\)") as caught:
        write_text(tmp_path / "a.txt", "new\n")
    assert "close the program that has the file open" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_elsewhere_a_refused_file_is_told_at_once(monkeypatch, tmp_path):
    monkeypatch.setattr(platform, "WINDOWS", False)
    calls = refused(monkeypatch, times=1000)
    with pytest.raises(DataError):
        write_text(tmp_path / "a.txt", "new\n")
    assert len(calls) == 1


def test_on_windows_a_path_too_long_is_told_with_its_length(windows, tmp_path):
    path = tmp_path.joinpath(*["x" * 120] * 2, "a.txt")
    with pytest.raises(DataError) as caught, replacing(path):
        raise FileNotFoundError(2, "The system cannot find the path specified")
    assert f"the path has {len(str(path))} characters, Windows allows 259" in caught.value.hint


def test_text_has_the_same_bytes_on_every_system(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "linesep", "\r\n")
    write_cells(tmp_path / "a.csv", [["naïve", "1"], ["two\nlines", "2"]])
    assert (tmp_path / "a.csv").read_bytes() == 'naïve,1\n"two\nlines",2\n'.encode()
    assert read_cells(tmp_path / "a.csv") == [["naïve", "1"], ["two\nlines", "2"]]


def test_letters_that_a_pipe_of_windows_cannot_take_become_escapes(workplace):
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "segcli", "train", "größe_漢.yaml"]
    done = subprocess.run(command, env=environment, cwd=workplace, capture_output=True, check=False)
    assert done.returncode == 2
    assert r"no config file `größe_\u6f22.yaml`".encode("cp1252") in done.stderr


def test_a_path_is_stored_as_every_system_reads_it():
    assert escaped(PureWindowsPath(r"D:\data\FIVES")) == "D:/data/FIVES"
    assert escaped(PureWindowsPath(r"outputs\experiments")) == "outputs/experiments"


def test_on_windows_no_path_is_foreign_and_elsewhere_an_existing_one_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert of_windows(r"D:\data", windows=True) is None
    assert of_windows(r"a\b", windows=False) is not None
    if os.sep == "/":
        (tmp_path / r"a\b").touch()
        assert of_windows(r"a\b", windows=False) is None


@pytest.mark.posix
@pytest.mark.parametrize(
    ("root", "message", "hint"),
    [
        (r"D:\data\FIVES", r"`D:\data\FIVES` is a path of Windows", "give the path on this machine"),
        ("D:/data/FIVES", "`D:/data/FIVES` is a path of Windows", "give the path on this machine"),
        (r"data\train", r"`data\train` separates folders by `\`", "write `data/train`, also for Windows"),
    ],
)
def test_paths_written_on_windows_are_told_elsewhere(run_cli, tiny, root, message, hint):
    config = tiny()
    result = run_cli("data", "check", config, f"dataset.paths.root='{root}'")
    assert result.code == 2
    assert message in result.err
    assert hint in result.err
    foreign = run_cli("train", r"configs\exp.yaml")
    assert foreign.code == 2
    assert "write `configs/exp.yaml`, also for Windows" in foreign.err
