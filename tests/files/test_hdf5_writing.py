"""Nothing raises an error inside of HDF5, which would end the process with a segmentation fault."""

import io
import os
import random
import resource
import signal
from contextlib import suppress
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from segcli.files import _hdf5_writing
from segcli.files.hdf5 import HDF5

pytestmark = pytest.mark.posix
SIZE = (8, 8, 8)


@pytest.fixture
def volumes(tmp_path):
    path = tmp_path / "volumes.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros((2, *SIZE), np.float32)
    return path


@pytest.fixture
def interruptible():
    """Let Ctrl-C interrupt this process, which a shell may have begun without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def add(part, volumes, index):
    with HDF5.appending(part, volumes, index, SIZE, 2) as add:
        for _ in range(0, 8, 4):
            add(np.ones((4, 8, 8, 2), np.uint8))


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("name", ["seek", "write", "readinto"])
def test_a_signal_waits_until_hdf5_has_returned(tmp_path, volumes, monkeypatch, name):
    calls, whole = 0, _hdf5_writing._Disk

    class Disk(whole):
        pass

    def interrupted(self, *arguments):
        nonlocal calls
        calls += 1
        if calls == at:
            signal.raise_signal(signal.SIGINT)
        return getattr(whole, name)(self, *arguments)

    setattr(Disk, name, interrupted)
    stopped = 0
    for at in range(1, 40, 3):
        part = tmp_path / f"{at}.h5"
        add(part, volumes, 0)
        monkeypatch.setattr(_hdf5_writing, "_Disk", Disk)
        calls = 0
        try:
            add(part, volumes, 1)
        except KeyboardInterrupt:
            stopped += 1
        else:
            assert calls < at
        monkeypatch.undo()
        with h5py.File(part) as file:
            assert file["masks"][0].all()
            assert file["masks"][1].all() == file["masks"][1].any()
    assert stopped >= 3


def test_what_a_full_disk_did_not_take_is_read_back(tmp_path):
    rng, whole = random.Random(5), io.BytesIO()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with _hdf5_writing._Disk(tmp_path / "part", "w+b") as disk:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
        try:
            for number in range(300):
                place, data, found = (
                    rng.randrange(9 + 3 * number),
                    rng.randbytes(rng.randrange(90)),
                    bytearray(b"x" * rng.randrange(90)),
                )
                truth = bytearray(len(found))
                for file in (disk, whole):
                    file.seek(place)
                    file.write(data)
                begin = rng.randrange(1200)
                disk.seek(begin)
                disk.readinto(found)
                whole.seek(begin)
                whole.readinto(truth)
                assert found == truth
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert disk.fault.strerror == "File too large"
    assert (tmp_path / "part").stat().st_size in range(1, 501)


@pytest.mark.parametrize("place", [0, 2**64 - 1])
def test_a_file_that_is_closed_late_or_asked_for_no_place_raises_nothing(tmp_path, place):
    with _hdf5_writing._Disk(tmp_path / "part", "w+b") as disk:
        if not place:
            disk.close()
        disk.seek(0, io.SEEK_END)
        disk.seek(place)
        assert (disk.write(b"ab"), disk.readinto(bytearray(3))) == (2, 3)
        disk.truncate(place)
        disk.flush()
    assert isinstance(disk.fault, OSError)


def test_a_disk_that_tells_only_at_the_end_that_it_is_full_leaves_no_file(tmp_path, volumes, monkeypatch):
    class Disk(_hdf5_writing._Disk):
        def close(self):
            if not self.closed:
                os.close(self.fileno())  # so that the system refuses to close it
            super().close()

    part = tmp_path / "part.h5"
    add(part, volumes, 0)
    monkeypatch.setattr(_hdf5_writing, "_Disk", Disk)
    with pytest.raises(OSError, match="Bad file descriptor"):
        add(part, volumes, 1)
    assert not part.exists()


def test_memory_that_is_exhausted_raises_nothing_inside_of_hdf5(tmp_path, monkeypatch):
    def exhausted(_):
        raise MemoryError

    for full in (False, True):
        with _hdf5_writing._Disk(tmp_path / "part", "w+b") as disk:
            disk.fault = OSError("full") if full else None
            with monkeypatch.context() as patch:
                patch.setattr(_hdf5_writing, "bytes", exhausted, raising=False)
                assert (disk.write(b"ab"), disk.readinto(bytearray(3))) == (2, 3)
        assert type(disk.fault) is (OSError if full else MemoryError)


def stopped_while_full(part, volumes):
    rows = np.random.default_rng(1).integers(0, 2, (4, 8, 8, 2), np.uint8)
    with HDF5.appending(part, volumes, 1, SIZE, 2) as write:
        with suppress(OSError):
            write(rows)
            write(rows)
        raise KeyboardInterrupt


def test_a_stop_with_a_full_disk_stays_a_stop_and_leaves_no_file(tmp_path, volumes):
    part = tmp_path / "part.h5"
    add(part, volumes, 0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (part.stat().st_size, before[1]))
    try:
        with pytest.raises(KeyboardInterrupt):
            stopped_while_full(part, volumes)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not part.exists()


def test_a_signal_while_handlers_are_changed_leaves_no_other_signal_unheard(monkeypatch):
    heard, left, rounds = [], 0, 0

    def change(signum, handler):
        nonlocal left
        before, left = signal.signal(signum, handler), left - 1
        if not left:
            signal.raise_signal(signal.SIGINT)
        return before

    stand_in = SimpleNamespace(signal=change, getsignal=signal.getsignal, raise_signal=signal.raise_signal)
    monkeypatch.setattr(_hdf5_writing, "signal", stand_in)
    before = {signum: signal.getsignal(signum) for signum in _hdf5_writing.STOPPING}
    try:
        for place in range(1, 20):
            left = place
            for signum in before:
                signal.signal(signum, lambda number, _: heard.append(number))
            signal.signal(signal.SIGINT, signal.default_int_handler)
            try:
                with _hdf5_writing._uninterrupted():
                    pass
            except KeyboardInterrupt:
                rounds += 1
            heard.clear()
            for signum in before:
                with suppress(KeyboardInterrupt):
                    signal.raise_signal(signum)
                    assert signum != signal.SIGINT
            assert heard == [signum for signum in before if signum != signal.SIGINT]
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    assert rounds == 2 * len(before)


def test_a_full_disk_stops_the_next_write_and_leaves_no_file(tmp_path, volumes):
    part = tmp_path / "part.h5"
    add(part, volumes, 0)
    before, taken = resource.getrlimit(resource.RLIMIT_FSIZE), []

    def write():
        with _hdf5_writing.writing(part) as file:
            for name in "abc":
                file.add(name, np.zeros(4000))
                taken.append(name)

    resource.setrlimit(resource.RLIMIT_FSIZE, (part.stat().st_size, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert taken == []
    assert not part.exists()
