import csv

import psutil
import pytest
import torch

from segcli.engine import memory
from segcli.engine.memory import Memory, MemoryLog, memory_of


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_each_epoch_of_a_run_leaves_its_memory_and_a_resumed_run_goes_on(run_cli, tiny, workplace):
    assert run_cli("train", tiny()).code == 0
    path = workplace / "outputs/experiments/tiny/memory.csv"
    first = rows(path)
    assert [(row["epoch"], row["batch"], row["stage"]) for row in first] == [
        ("1", "3", "train"), ("1", "3", "val"), ("2", "3", "train"), ("2", "3", "val"),
    ]  # fmt: skip
    held = psutil.Process().memory_info().rss / 2**20
    assert all(0.3 * held < float(row["allocated_mib"]) < 2 * held for row in first)
    assert float(first[0]["total_mib"]) == pytest.approx(psutil.virtual_memory().total / 2**20, abs=0.1)
    assert run_cli("resume", "tiny", "training.epochs=3").code == 0
    assert rows(path)[:4] == first
    assert [row["epoch"] for row in rows(path)] == ["1", "1", "2", "2", "3", "3"]
    times = [float(row["elapsed_s"]) for row in rows(path)]
    assert times == sorted(times)
    assert run_cli("train", tiny(training__epochs=1), "--overwrite").code == 0
    assert [row["epoch"] for row in rows(path)] == ["1", "1"]


def test_on_a_gpu_allocator_and_device_are_told_apart(monkeypatch):
    sizes = {"memory_allocated": 3, "memory_reserved": 4, "max_memory_allocated": 5}
    for name, size in sizes.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, size=size: size * 2**30)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10 * 2**30, 24 * 2**30))
    seen = memory_of(torch.device("cuda"))
    assert str(seen) == "allocated 3.00, reserved 4.00, 10.0 of 24.0 GiB free"
    assert seen.peak == 5 * 2**30


def test_lines_within_an_epoch_are_rare(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(memory.time, "monotonic", lambda: clock[0])
    log = MemoryLog(tmp_path / "memory.csv", torch.device("cpu"))
    for _ in range(25):
        clock[0] += 1.0
        log.note(Memory("cuda", 2**20, 2**21, 2**22, 2**23, 2**24), elapsed_s=clock[0], epoch=1, batch=1, stage="train")
    noted = rows(tmp_path / "memory.csv")
    assert [row["elapsed_s"] for row in noted] == ["110.0", "120.0"]
    assert [noted[0][name] for name in ("allocated_mib", "reserved_mib", "peak_mib", "free_mib", "total_mib")] == [
        "1.0", "2.0", "4.0", "8.0", "16.0",
    ]  # fmt: skip
