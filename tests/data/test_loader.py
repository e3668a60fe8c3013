import os
import re
import signal
import sys
import time
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from segcli.core.errors import ConfigError, DataError, DeviceError
from segcli.core.platform import SHARED_MEMORY
from segcli.data import cache as caches
from segcli.data.cache import DiskCache, Forecast, MemoryCache, forecast
from segcli.data.loader import EvaluationLoader, TrainLoader
from segcli.data.pipeline import Pipeline
from segcli.data.samples import Case, Sample
from segcli.data.settings import DatasetSpec, DataSettings

CASES = [Case(f"{index}", Path(f"images/{index}.png")) for index in range(7)]


class Drawn:
    """A source that draws the pixels of a case from its name."""

    reads = 0

    def read(self, case):
        type(self).reads += 1
        rng = np.random.default_rng(int(case.id))
        size = (16, 16) if int(case.id) < 5 else (24, 16)
        return Sample(
            rng.integers(0, 255, (*size, 1), dtype=np.uint8), {"mask": rng.integers(0, 2, size, dtype=np.uint8)}
        )


def pipeline(**settings):
    spec = DatasetSpec(num_channels=1, mean=[0.5], std=[0.25])
    return Pipeline(DataSettings(**{"batch_size": 2, "patch_size": [8, 8], **settings}), spec, stride=4, seed=1)


def train(source=None, **settings):
    return TrainLoader(source or Drawn(), pipeline(**settings), CASES, seed=1, pin_memory=False)


def seen(batches):
    return [([case.id for case in loaded.cases], loaded.tensors) for loaded in batches]


def assert_equal(one, other):
    assert [ids for ids, _ in one] == [ids for ids, _ in other]
    for (_, a), (_, b) in zip(one, other, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_the_scale_of_each_image_is_computed_once_for_all_its_crops_and_epochs(monkeypatch):
    computed = []
    scale_of = Pipeline.scale_of
    monkeypatch.setattr(Pipeline, "scale_of", lambda line, parts: computed.append(1) or scale_of(line, parts))
    loader = train(num_workers=0, patches_per_image=3, preprocessing={"normalize": "per_image"})
    found = [loaded for epoch in (0, 1) for loaded in loader.epoch(epoch)]
    assert (len(computed), sum(len(loaded.cases) for loaded in found)) == (len(CASES), 2 * 3 * len(CASES))


def test_workers_change_no_pixel_and_no_order():
    with_workers = train(num_workers=2)
    for epoch in (0, 1):
        assert_equal(seen(with_workers.epoch(epoch)), seen(train(num_workers=0).epoch(epoch)))
    with_workers.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_taken_up_in_its_middle_goes_on_with_the_same_batches(workers):
    loader = train(num_workers=workers, patches_per_image=2)
    whole = seen(loader.epoch(3))
    assert_equal(seen(loader.epoch(3, first_batch=4)), whole[4:])
    loader.close()


def test_an_epoch_shows_every_image_as_often_as_asked_in_an_order_of_its_own():
    loader = train(num_workers=0, patches_per_image=3)
    orders = [[name for ids, _ in seen(loader.epoch(epoch)) for name in ids] for epoch in (0, 1)]
    assert sorted(orders[0]) == sorted([case.id for case in CASES] * 3)
    assert orders[0] != orders[1]
    assert len(loader) == 11


def test_evaluation_keeps_the_order_and_batches_images_of_one_size():
    made = pipeline(patch_size=None)
    sizes = [(16, 16)] * 5 + [(24, 16)] * 2
    loader = EvaluationLoader(Drawn(), made, CASES, sizes, batch_size=3, num_workers=0, pin_memory=False)
    assert [ids for ids, _ in seen(loader)] == [["0", "1", "2"], ["3", "4"], ["5", "6"]]


class Dying(Drawn):
    """Kills the process that reads case 3."""

    def __init__(self, signum):
        self.signum = signum

    def read(self, case):
        if case.id == "3":
            os.kill(os.getpid(), self.signum)
        return super().read(case)


@pytest.mark.posix
@pytest.mark.parametrize(
    ("name", "kind", "hint"),
    [
        ("SIGKILL", DeviceError, "lower `data.num_workers`"),
        ("SIGSEGV", DataError, "try `data.num_workers=0`"),
    ],
)
def test_a_worker_that_dies_is_told_with_signal_sample_and_memory(name, kind, hint):
    loader = train(Dying(getattr(signal, name)), num_workers=1)
    with pytest.raises(kind) as caught:
        list(loader.epoch(0))
    told = str(caught.value)
    assert f"loader worker 0 died of {name} while reading `images/3.png`" in told
    assert "MiB" in told
    assert hint in told


class Broken(Drawn):
    """Cannot read case 3."""

    def read(self, case):
        if case.id == "3":
            raise DataError("cannot read image `images/3.png`", hint="replace the file")
        return super().read(case)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_users_mistake_arrives_from_a_worker_as_itself_and_no_worker_stays(workers):
    loader = train(Broken(), num_workers=workers)
    with pytest.raises(DataError) as caught:
        list(loader.epoch(0))
    assert str(caught.value) == "cannot read image `images/3.png`\n  hint: replace the file"
    loader.close()
    assert [child for child in psutil.Process().children() if "resource_tracker" not in " ".join(child.cmdline())] == []


def test_images_of_different_size_in_one_batch_are_told():
    with pytest.raises(DataError, match=r"images of one batch differ in size"):
        list(train(num_workers=0, patch_size=None, batch_size=7).epoch(0))


def test_cached_samples_are_read_once_and_are_the_same(tmp_path):
    files = []
    for case in CASES:
        path = tmp_path / f"{case.id}.png"
        path.write_bytes(b"x")
        files.append(Case(case.id, path))
    plain = seen(TrainLoader(Drawn(), pipeline(num_workers=0), files, seed=1, pin_memory=False).epoch(0))
    for make in (lambda: MemoryCache(Drawn(), files), lambda: DiskCache(Drawn(), tmp_path / "cache", "settings")):
        source = make()
        list(map(source.read, files))
        Drawn.reads = 0
        assert_equal(
            seen(TrainLoader(source, pipeline(num_workers=0), files, seed=1, pin_memory=False).epoch(0)), plain
        )
        assert Drawn.reads == 0


def test_the_disk_cache_notices_a_changed_file_and_changed_settings(tmp_path):
    path = tmp_path / "1.png"
    path.write_bytes(b"x")
    case = Case("1", path)
    made = DiskCache(Drawn(), tmp_path / "cache", "settings")
    before = made.path(case)
    assert DiskCache(Drawn(), tmp_path / "cache", "other").path(case) != before
    os.utime(path, ns=(1, 1))
    touched = made.path(case)
    path.write_bytes(b"longer")
    os.utime(path, ns=(1, 1))
    assert len({before, touched, made.path(case)}) == 3


def test_a_cache_says_what_it_takes_and_is_refused_when_that_does_not_fit(tmp_path, monkeypatch):
    told = forecast("memory", Drawn(), CASES, lambda case: 256, tmp_path)
    assert told.needed_bytes == 7 * 512
    assert "decoded images take less than 1 MiB of memory" in told.check()
    with pytest.raises(ConfigError, match=r"`data.cache: memory` would take 2,000 MiB, 1,000 MiB are free"):
        Forecast(2000 * 2**20, 1000 * 2**20, "memory").check()
    monkeypatch.setattr(caches.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 100}))
    with pytest.raises(ConfigError, match=r"data.cache=none"):
        forecast("disk", Drawn(), CASES, lambda case: 256, tmp_path / "not/there").check()


def ended(pids, within_s):
    deadline = time.monotonic() + within_s
    while alive := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        if time.monotonic() > deadline:
            return alive
        time.sleep(0.02)
    return []


@pytest.mark.posix
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of the death of its parent")
def test_the_workers_of_a_killed_process_end_at_once():
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        loader = train(num_workers=2)
        batches = loader.epoch(0)
        next(batches)
        os.write(writing, " ".join(str(worker.pid) for worker in loader.workers).encode())
        time.sleep(60)
        os._exit(0)
    workers = [int(word) for word in os.read(reading, 100).split()]
    assert len(workers) == 2
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert ended(workers, within_s=3.0) == []  # by themselves, they look for their parent every 5 s


@pytest.mark.posix  # a forked worker shares what the test replaces
@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("unable to allocate shared memory(shm): No space left on device (28)", f"{SHARED_MEMORY} is full"),
        ("[Errno 24] Too many open files", "too many open files"),
    ],
)
def test_a_worker_that_cannot_send_a_batch_ends_the_training_in_one_sentence(monkeypatch, reason, message):
    main, dumps = os.getpid(), ForkingPickler.dumps

    def refused(value, protocol=None):
        if os.getpid() == main:
            return dumps(value, protocol)
        raise RuntimeError(reason)

    monkeypatch.setattr(ForkingPickler, "dumps", refused)  # the workers are forked from this process
    loader = train(num_workers=1)
    try:
        with pytest.raises(DeviceError, match=re.escape(message)) as failure:
            next(loader.epoch(0))
        assert "data.num_workers=0" in str(failure.value.hint)
    finally:
        loader.close()


def test_a_damaged_file_of_the_disk_cache_is_decoded_anew(tmp_path):
    source = DiskCache(Drawn(), tmp_path / "cache", "settings")
    case = Case("1", tmp_path / "1.png")
    case.image.write_bytes(b"x")
    whole = source.read(case)
    path = source.path(case)
    content = path.read_bytes()
    rng = np.random.default_rng(10)
    damages = [b"", content[:50], content[: len(content) // 2], b"\x93NUMPY" + content]
    damages += [
        content[:place] + bytes([content[place] ^ rng.integers(1, 256)]) + content[place + 1 :]
        for place in rng.integers(0, len(content), 200)
    ]
    for damaged in damages:
        path.write_bytes(damaged)
        again = source.read(case)
        assert np.array_equal(again.image, whole.image)
        assert {name: values.tobytes() for name, values in again.maps.items()} == {
            name: values.tobytes() for name, values in whole.maps.items()
        }


def test_a_full_disk_cache_keeps_no_file_that_a_killed_process_left(tmp_path):
    folder = tmp_path / "cache"
    case = Case("1", tmp_path / "1.png")
    case.image.write_bytes(b"x")
    DiskCache(Drawn(), folder, "settings").read(case)
    whole = set(folder.iterdir())
    (folder / ".1.npz.99999999.part").write_bytes(b"half")
    assert DiskCache(Drawn(), folder, "settings").read(case) is not None
    assert set(folder.iterdir()) == whole


def test_files_that_vanish_are_told_by_the_source_with_a_disk_cache_too(tmp_path):
    class Gone:
        def read(self, case):
            raise DataError(f"no file `{case.image.name}`")

    with pytest.raises(DataError, match=r"no file `9\.png`"):
        DiskCache(Gone(), tmp_path / "cache", "settings").read(Case("9", tmp_path / "9.png"))


@pytest.mark.parametrize(
    "error", [OSError(24, "Too many open files"), RuntimeError("received 0 items of ancillary data")]
)
def test_a_main_process_with_too_many_open_files_says_so(monkeypatch, error):
    def refused(_):
        raise error

    loader = train(num_workers=2)
    monkeypatch.setattr(type(loader.loader), "__iter__", refused)
    with pytest.raises(DeviceError, match="too many open files") as failure:
        next(loader.epoch(0))
    assert failure.value.hint == "raise `ulimit -n`, or set `data.num_workers=0`"
