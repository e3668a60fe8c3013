import csv
import json
import os
import signal
import sys
import types
from pathlib import Path

import psutil
import pytest

GIB = 2**30


class NVMLError(Exception):
    """As `pynvml.NVMLError`."""


def nvml(processes, *, used, total=24 * GIB, fault=None):
    """A module like `pynvml` with one GPU; `processes` maps a pid to bytes or None."""

    def ask(*arguments):
        if fault:
            raise NVMLError(fault)

    listed = [types.SimpleNamespace(pid=pid, usedGpuMemory=held) for pid, held in processes.items()]
    memory = types.SimpleNamespace(total=total, used=used, free=total - used)
    module = types.ModuleType("pynvml")
    module.NVMLError = NVMLError
    module.nvmlInit = ask
    module.nvmlShutdown = lambda: None
    module.nvmlDeviceGetCount = lambda: 1
    module.nvmlDeviceGetHandleByIndex = lambda index: index
    module.nvmlDeviceGetName = lambda handle: b"NVIDIA GeForce RTX 4090"
    module.nvmlDeviceGetMemoryInfo = lambda handle: memory
    module.nvmlDeviceGetComputeRunningProcesses = lambda handle: listed
    module.nvmlDeviceGetGraphicsRunningProcesses = lambda handle: listed[:1]
    return module


def rocm_smi(folder, monkeypatch, cards, processes):
    """A command `rocm-smi` on PATH that answers like AMD's."""
    memory = {
        f"card{index}": {
            "VRAM Total Memory (B)": str(total),
            "VRAM Total Used Memory (B)": str(used),
            "Card Series": name,
        }
        for index, (name, total, used) in enumerate(cards)
    }
    told = {"system": {f"PID{pid}": f"{name}, 1, {held}, 0, 0" for pid, (name, held) in processes.items()}}
    folder.mkdir()
    (folder / "memory.json").write_text(json.dumps(memory))
    (folder / "processes.json").write_text(json.dumps(told) if processes else "WARNING: No JSON data to report")
    script = folder / "rocm-smi"
    script.write_text(
        f'#!/bin/sh\ncase "$*" in\n*showmeminfo*) cat {folder}/memory.json;;\n*) cat {folder}/processes.json;;\nesac\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_memory_that_no_process_holds_is_shown_as_that_of_the_driver(run_cli, monkeypatch):
    other = psutil.Process().ppid()
    monkeypatch.setitem(sys.modules, "pynvml", nvml({other: 7 * GIB, 4_000_001: 2 * GIB}, used=10 * GIB))
    result = run_cli("profile-memory", "--processes", "--json")
    assert result.code == 0, result.err
    (gpu,) = json.loads(result.out)["gpus"]
    assert [process["held_bytes"] for process in gpu["processes"]] == [7 * GIB, 2 * GIB]
    assert gpu["processes"][0]["name"] == psutil.Process(other).name()
    assert gpu["unexplained_bytes"] == 1 * GIB
    assert gpu["free_bytes"] == 14 * GIB
    table = run_cli("profile-memory", "--processes").out
    assert "NVIDIA GeForce RTX 4090, 10.00 GiB of 24.00 GiB in use (NVML)" in table
    (row,) = [line for line in table.splitlines() if "driver, display, other containers" in line]
    assert "│  1.00 GiB │" in row


def test_a_run_of_ours_stands_beside_what_pytorch_counts(run_cli, tiny, workplace, monkeypatch):
    assert run_cli("train", tiny(training__epochs=1)).code == 0
    folder = workplace / "outputs/experiments/tiny"
    (folder / ".lock").write_text(str(os.getpid()))
    noted = (folder / "memory.csv").read_text().splitlines()[0]
    (folder / "memory.csv").write_text(f"{noted}\n1.0,1,1,train,1024.0,2048.0,3000.0,1.0,2.0\n")
    monkeypatch.setitem(sys.modules, "pynvml", nvml({os.getpid(): 3 * GIB}, used=4 * GIB))
    (gpu,) = json.loads(run_cli("profile-memory", "--processes", "--json").out)["gpus"]
    (process,) = gpu["processes"]
    assert process["run"] == "tiny"
    assert (process["pytorch_allocated_bytes"], process["pytorch_reserved_bytes"]) == (1 * GIB, 2 * GIB)
    assert process["outside_pytorch_bytes"] == 1 * GIB


def test_a_driver_that_does_not_tell_sizes_explains_nothing(run_cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", nvml({os.getpid(): None}, used=4 * GIB))
    (gpu,) = json.loads(run_cli("profile-memory", "--processes", "--json").out)["gpus"]
    assert gpu["processes"][0]["held_bytes"] is None
    assert gpu["unexplained_bytes"] is None


@pytest.mark.posix
def test_rocm_smi_is_asked_where_there_is_no_nvml(run_cli, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", nvml({}, used=0, fault="Driver Not Loaded"))
    cards = [("AMD Radeon RX 7900 XTX", 24 * GIB, 9 * GIB)]
    rocm_smi(tmp_path / "bin", monkeypatch, cards, {4_000_001: ("python3", 8 * GIB), 4_000_002: ("gpuagent", 0)})
    found = json.loads(run_cli("profile-memory", "--processes", "--json").out)
    (gpu,) = found["gpus"]
    assert found["source"] == "rocm-smi"
    assert gpu["name"] == "AMD Radeon RX 7900 XTX"
    assert [(process["pid"], process["held_bytes"]) for process in gpu["processes"]] == [(4_000_001, 8 * GIB)]
    assert gpu["processes"][0]["name"] == "python3"
    assert gpu["unexplained_bytes"] == 1 * GIB


@pytest.mark.posix
def test_rocm_smi_does_not_place_processes_on_several_gpus(run_cli, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    cards = [("AMD Instinct MI300X", 192 * GIB, GIB)] * 2
    rocm_smi(tmp_path / "bin", monkeypatch, cards, {4_000_001: ("python3", 8 * GIB)})
    result = run_cli("profile-memory", "--processes")
    assert result.code == 0, result.err
    assert "GPU 1: AMD Instinct MI300X" in result.out
    assert "rocm-smi does not say which" in result.out
    assert "4000001" in result.out


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (None, "the package `nvidia-ml-py` is not installed"),
        (nvml({}, used=0, fault="Driver Not Loaded"), "Driver Not Loaded"),
    ],
)
def test_without_a_driver_the_command_says_whom_it_asked(run_cli, monkeypatch, module, text):
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.setenv("PATH", "/nowhere")
    result = run_cli("profile-memory", "--processes")
    assert result.code == 5
    assert text in result.err
    assert "there is no command `rocm-smi`" in result.err
    assert "pip install 'segcli[gpu]'" in result.err


# ---- over time


def samples(path="gpu.csv"):
    """Rows of the file by sample, each `{process: MiB}`."""
    found = {}
    for row in csv.DictReader(Path(path).read_text().splitlines()):
        found.setdefault((row["time"], float(row["elapsed_s"])), {})[row["pid"] or "all"] = row["used_mib"]
    return found


def changing(sizes, then=None):
    """A module like `pynvml` in which the process 4,000,001 holds another size at each sample."""
    module, told = nvml({}, used=0), iter(sizes)

    def memory(handle):
        held = next(told, None)
        if held is None:
            then()
            held = sizes[-1]
        module.nvmlDeviceGetComputeRunningProcesses = lambda handle: [
            types.SimpleNamespace(pid=4_000_001, usedGpuMemory=held)
        ]
        return types.SimpleNamespace(total=24 * GIB, used=held + GIB, free=0)

    module.nvmlDeviceGetMemoryInfo = memory
    return module


WATCH = ("profile-memory", "--processes", "--every", "0.02")


def test_memory_over_time_is_a_table_of_every_sample_and_one_line_with_the_peak(run_cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", changing([2 * GIB, 7 * GIB, 3 * GIB]))
    result = run_cli(*WATCH, "--for", "0.04", "--out", "gpu.csv")
    assert result.code == 0, result.err
    found = samples()
    expected = [("3072.0", "2048.0"), ("8192.0", "7168.0"), ("4096.0", "3072.0")]
    assert [(entry["all"], entry["4000001"]) for entry in found.values()] == expected
    elapsed = [seconds for _, seconds in found]
    assert elapsed[0] < 0.01
    assert elapsed[1] >= 0.02
    assert elapsed[2] >= 0.04
    (line,) = result.out.splitlines()
    assert line.startswith("wrote gpu.csv: 3 samples in ")
    assert "GPU 0 peak 8.00 GiB of 24.00 GiB after 0.0 s (most: 7.00 GiB in (another user's" in line
    assert "PID 4000001" in line


def test_a_signal_ends_the_samples_with_a_whole_file_and_the_peak_so_far(run_cli, monkeypatch):
    monkeypatch.setitem(
        sys.modules, "pynvml", changing([GIB, 2 * GIB], then=lambda: os.kill(os.getpid(), signal.SIGINT))
    )
    result = run_cli(*WATCH, "--out", "gpu.csv", "--json")
    assert result.code == 130
    told = json.loads(result.out)
    assert (told["samples"], told["peaks"][0]["used_bytes"], told["peaks"][0]["largest_pid"]) == (2, 3 * GIB, 4_000_001)
    assert [entry["4000001"] for entry in samples().values()] == ["1024.0", "2048.0"]
    assert Path("gpu.csv").read_text().endswith("\n")
    assert "stopped" in result.err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--every", "1"), "`--every` is an option of `--processes`"),
        (("--processes", "--for", "5"), "`--for` takes samples, which need a file"),
        (("--processes", "--out", "there.csv"), "`there.csv` exists"),
    ],
)
def test_options_of_samples_that_cannot_be_meant_are_refused(run_cli, workplace, monkeypatch, words, text):
    monkeypatch.setitem(sys.modules, "pynvml", nvml({}, used=0))
    (workplace / "there.csv").write_text("mine")
    result = run_cli("profile-memory", *words)
    assert result.code == 2
    assert text in result.err
    assert (workplace / "there.csv").read_text() == "mine"


def test_without_a_driver_no_file_is_left(run_cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setenv("PATH", "/nowhere")
    result = run_cli(*WATCH, "--out", "gpu.csv")
    assert result.code == 5
    assert "cannot list the processes of a GPU" in result.err
    assert not Path("gpu.csv").exists()
