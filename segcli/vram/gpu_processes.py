"""GPU memory by process: as the driver counts it, and as PyTorch counts it in runs of segcli.

NVIDIA's driver is queried with `nvidia-ml-py` (extra `gpu`), AMD's with the command `rocm-smi`.
"""

import csv
import json
import shutil
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

from segcli.core.errors import DeviceError
from segcli.vram.gpus import GPU, Holder, Holders

__all__ = ["gpu_holders"]


def gpu_holders(experiments: Path) -> Holders:
    """List the GPUs with their processes.

    Args:
        experiments: Folder of the runs, to find the run that a process trains.

    Raises:
        DeviceError: There is no driver to ask, or it does not answer.
    """
    runs = _running(experiments)
    trouble = []
    for ask in (_by_nvml, _by_rocm_smi):
        try:
            return ask(runs)
        except DeviceError as error:
            trouble.append(error)
    raise DeviceError(
        f"cannot list the processes of a GPU: {'; '.join(error.message for error in trouble)}",
        hint="NVIDIA: `pip install 'segcli[gpu]'`; AMD: install `rocm-smi`",
    )


# ---- NVIDIA


def _by_nvml(runs: dict[int, Path]) -> Holders:
    try:
        nvml: Any = import_module("pynvml")
    except ModuleNotFoundError:
        raise DeviceError("the package `nvidia-ml-py` is not installed") from None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise DeviceError(f"NVIDIA's driver does not answer ({error})") from error
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        return Holders("NVML", [_nvidia_gpu(nvml, index, handle, runs) for index, handle in enumerate(handles)])
    except nvml.NVMLError as error:
        raise DeviceError(f"NVIDIA's driver does not report the processes ({error})") from error
    finally:
        nvml.nvmlShutdown()


def _nvidia_gpu(nvml: Any, index: int, handle: Any, runs: dict[int, Path]) -> GPU:
    name, memory = nvml.nvmlDeviceGetName(handle), nvml.nvmlDeviceGetMemoryInfo(handle)
    # a process that computes and draws is in both lists with the same size
    listed = {
        process.pid: process.usedGpuMemory
        for ask in (nvml.nvmlDeviceGetGraphicsRunningProcesses, nvml.nvmlDeviceGetComputeRunningProcesses)
        for process in ask(handle)
    }
    return GPU(
        index,
        name.decode() if isinstance(name, bytes) else name,
        int(memory.total),
        int(memory.used),
        _largest_first([_holder(pid, held, runs) for pid, held in listed.items()]),
    )


# ---- AMD


def _by_rocm_smi(runs: dict[int, Path]) -> Holders:
    cards = {
        key: card
        for key, card in _rocm_smi("--showmeminfo", "vram", "--showproductname").items()
        if "VRAM" in str(card)
    }
    processes = _rocm_smi("--showpids").get("system", {})
    # "PID29324": "python3, 1, 8589934592, 0, 0": name, number of GPUs, bytes, ...
    found = []
    for key, text in processes.items():
        name, _, held, *_ = [*(part.strip() for part in str(text).split(",")), "", "", ""]
        if key.startswith("PID") and key[3:].isdigit():
            found.append(_holder(int(key[3:]), int(held) if held.isdigit() else None, runs, name=name))
    found = _largest_first([holder for holder in found if holder.held != 0])
    gpus = [
        GPU(
            int(key.removeprefix("card")),
            str(card.get("Card Series") or card.get("Card series") or "AMD GPU"),
            int(card["VRAM Total Memory (B)"]),
            int(card["VRAM Total Used Memory (B)"]),
            found if len(cards) == 1 else [],
        )
        for key, card in sorted(cards.items(), key=lambda entry: int(entry[0].removeprefix("card")))
    ]
    return Holders("rocm-smi", gpus, unplaced=found if len(cards) > 1 else [])


def _rocm_smi(*words: str) -> dict[str, Any]:
    command = shutil.which("rocm-smi")
    if command is None:
        raise DeviceError("there is no command `rocm-smi`")
    try:
        done = subprocess.run([command, *words, "--json"], capture_output=True, text=True, timeout=20, check=True)
        # warnings may come before the JSON, and the output is empty if there is no process
        text = done.stdout[done.stdout.find("{") :] if "{" in done.stdout else "{}"
        answer: dict[str, Any] = json.loads(text)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise DeviceError(f"`rocm-smi` does not report the processes ({error})") from error
    return answer


# ---- processes


def _holder(pid: int, held: int | None, runs: dict[int, Path], *, name: str = "") -> Holder:
    try:
        name = psutil.Process(pid).name()
    except psutil.Error:
        name = name or "(another user's, or in another container)"
    folder = runs.get(pid)
    if folder is None:
        return Holder(pid, name, held)
    allocated, reserved = _last_noted(folder / "memory.csv")
    return Holder(pid, name, held, folder.name, allocated, reserved)


def _largest_first(holders: list[Holder]) -> list[Holder]:
    return sorted(holders, key=lambda holder: (-(holder.held or 0), holder.pid))


def _running(experiments: Path) -> dict[int, Path]:
    """Find the run folders by the process that holds their lock."""
    found = {}
    for lock in experiments.glob("*/.lock"):
        try:
            pid = lock.read_text().strip()
        except OSError:  # the run has ended meanwhile
            continue
        if pid.isdigit() and psutil.pid_exists(int(pid)):
            found[int(pid)] = lock.parent
    return found


def _last_noted(path: Path) -> tuple[int | None, int | None]:
    """Read allocated and reserved bytes from the last line of a run's `memory.csv`."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return None, None
    rows = list(csv.DictReader(text.splitlines()[: text.count("\n")]))  # without a line that is being written
    if not rows:
        return None, None
    allocated, reserved = (round(float(rows[-1][key]) * 2**20) for key in ("allocated_mib", "reserved_mib"))
    return allocated, reserved
