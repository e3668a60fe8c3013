"""A disk that is full or cannot be written to costs a sentence: nothing that was there, and nothing half-written."""

import os
import re
import resource
import shutil
import sys
from pathlib import Path

import pytest
from write_points import NEW, POINTS, make_disk, prepare, unfinished

LARGEST = 100
"""Bytes that a file may have on the full disk; the kernel refuses more, to libraries of C++ too."""
refusing: list[Path] = []
"""Folder that cannot be written to, while there is one."""
SLOW = {"export to ONNX", "export to PT2", "cross-validation", "report of the memory forecast"}


def refuse(event, arguments):
    """Refuse to open files for writing and to make folders, as a disk does that is mounted read-only."""
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & writing
    if refusing and (writes or event in ("os.mkdir", "os.rename")) and isinstance(arguments[0], str | os.PathLike):
        path = Path(arguments[0]).absolute()
        if path.is_relative_to(refusing[0]) and not (event == "os.mkdir" and path.is_dir()):
            raise OSError(30, "Read-only file system", str(path))


sys.addaudithook(refuse)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with data sets and three runs; made once."""
    folder = tmp_path_factory.mktemp("write_points")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        prepare(Path())
    return folder


@pytest.fixture
def disk(made, workplace):
    """The disk, with a run and a data set on it."""
    shutil.copytree(made, workplace, dirs_exist_ok=True)
    make_disk(Path(NEW))
    return workplace / NEW


def kept(disk):
    """All files by their content, but those that a resumed run writes anew before it trains."""
    anew = ("config.yaml", "metrics_history.yaml", ".lock")
    files = [path for path in disk.rglob("*") if path.is_file() and "tfevents" not in path.name]
    return {path: path.read_bytes() for path in files if path.name not in anew}


def full(disk, call):
    """Call while no file can grow beyond a few bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, before[1]))
    try:
        return call()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def read_only(disk, call):
    """Call while nothing on the disk can be opened for writing."""
    refusing[:] = [disk]
    try:
        return call()
    finally:
        refusing.clear()


@pytest.mark.skipif(sys.platform != "linux", reason="needs limits of the kernel")
@pytest.mark.parametrize("fault", [full, read_only])
@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=[pytest.mark.slow] if what in SLOW else []) for what in POINTS]
)
def test_a_command_that_cannot_write_says_so_and_leaves_what_was_there(run_cli, disk, what, fault):
    before = kept(disk)
    result = fault(disk, lambda: run_cli(*POINTS[what].split()))
    assert result.code == 3, result
    assert len(re.findall(r"(?m)^error: cannot write|^\d+ \w+ failed:$", result.err + result.out)) == 1, result
    assert "cannot write" in result.err + result.out
    assert "Traceback" not in result.err
    assert unfinished(disk) == []
    after = kept(disk)
    assert {path: after.get(path) for path in before} == before
