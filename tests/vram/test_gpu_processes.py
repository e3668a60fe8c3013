import json
import os
import sys
import types

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
