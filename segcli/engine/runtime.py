"""Device, precision, random state, and the description of the environment of a run."""

import gc
import os
import platform
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor

from segcli import __version__
from segcli.core.cluster import cluster_job
from segcli.core.errors import DeviceError, DeviceMemoryError
from segcli.core.platform import GPU_DRIVERS
from segcli.core.process import is_command_line
from segcli.core.processor import has_fast_bf16, processor_kind
from segcli.nn.single_volumes import SingleVolumesFast
from segcli.nn.thin_volumes import ThinVolumesInFloat32

__all__ = [
    "Precision",
    "choose_device",
    "choose_precision",
    "described_device",
    "environment",
    "give_memory_back",
    "may_take_bf16",
    "out_of_memory",
    "overlooked_gpu",
    "random_state",
    "restore_random_state",
    "seed_everything",
    "unused_gpus",
]

PACKAGES = ("torch", "numpy", "albumentations", "opencv-python-headless", "pillow", "tifffile", "safetensors")


def choose_device(name: str) -> torch.device:
    """Choose the device that `device:` names; `auto` uses a GPU if there is one.

    Raises:
        DeviceError: There is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            seen = f"PyTorch {torch.__version__} sees {count} GPU{'s' * (count != 1)} here"
            raise DeviceError(f"no device `{name}`: {seen}", hint="set `device=cpu`, or `device=auto`")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("no device `mps` on this machine", hint="set `device=cpu`, or `device=auto`")
    return device


def described_device(device: torch.device) -> str:
    """Describe the device for messages: its name, and the library with which PyTorch uses it."""
    if device.type == "cuda":
        library = f"ROCm {torch.version.hip}" if torch.version.hip else f"CUDA {torch.version.cuda}"
        return f"{device} ({torch.cuda.get_device_properties(device).name}, {library})"
    return {"mps": "mps (Apple GPU)", "cpu": "the CPU"}[device.type]


def overlooked_gpu() -> str | None:
    """Explain why PyTorch cannot use a GPU that is present; None if it can, or if there is no GPU."""
    if torch.cuda.is_available():
        return None
    for path, maker in GPU_DRIVERS.items():
        if path.exists():
            return (
                f"this machine has a driver of {maker}, but PyTorch {torch.__version__} finds no GPU: it may be "
                "built for the CPU only, the driver too old for it, or `CUDA_VISIBLE_DEVICES` empty"
            )
    return None


def unused_gpus(device: torch.device) -> str | None:
    """Tell of further GPUs beside the one that a process alone uses; None if there are none."""
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    return f"this machine has {count} GPUs, and one is used: `--gpus all` uses all of them" if count > 1 else None


@dataclass(frozen=True)
class Precision:
    """Numeric precision of the forward pass."""

    dtype: torch.dtype | None
    """Data type of autocast; None for float32 everywhere."""
    device_type: str
    refused: str | None = None
    """Reason why the requested mixed precision is off."""
    slow: str | None = None
    """Reason why the requested mixed precision is slower than float32 here."""
    volumes: bool = True
    """True if the network may convolve volumes; a CPU computes thin ones and single ones in other ways."""

    @property
    def scales(self) -> bool:
        """True if gradients would underflow without loss scaling."""
        return self.dtype == torch.float16

    @property
    def name(self) -> str:
        """Name for tables, such as `bf16`."""
        return {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(self.dtype or torch.float32, "fp32")

    def for_prediction(self) -> "Precision":
        """Replace a format that this processor emulates by float32, which is faster and more exact."""
        if self.slow is None:
            return self
        return Precision(None, self.device_type, refused=f"predictions are computed in float32: {self.slow}")

    def autocast(self, *, caches: bool = True) -> AbstractContextManager[Any]:
        """Make the autocast context of the forward pass, in which each weight is converted once, or at each use."""
        if self.dtype is None:
            return SingleVolumesFast() if self.volumes and self.device_type == "cpu" else nullcontext()
        autocast = torch.autocast(self.device_type, self.dtype, cache_enabled=caches)
        return _with_thin_volumes(autocast) if self.volumes and self.device_type == "cpu" else autocast


@contextmanager
def _with_thin_volumes(autocast: AbstractContextManager[Any]) -> Iterator[None]:
    with autocast, ThinVolumesInFloat32():
        yield


def choose_precision(amp: str | bool, device: torch.device) -> Precision:
    """Choose the precision that `training.amp` means on this device, without timing anything."""
    if amp in ("off", False):
        return Precision(None, device.type)
    if amp in ("auto", True):
        return _best_precision(device, asked=amp is True)
    slow = None
    if amp == "fp16" and device.type == "cpu":
        slow = "fp16 is for GPUs"
    elif device.type == "cpu" and has_fast_bf16() is False:
        slow = "this processor emulates bf16, as it has neither AVX-512 BF16 nor AMX"
    return Precision(torch.bfloat16 if amp == "bf16" else torch.float16, device.type, slow=slow)


def may_take_bf16(reduce: str) -> bool:
    """Tell whether `training.amp: auto` may mean bf16 on this CPU, after steps were timed, for `training.reduce`."""
    return reduce != "exact" and has_fast_bf16() is not False


def _best_precision(device: torch.device, *, asked: bool) -> Precision:
    """Choose bf16 or fp16 if the device is fast at it, else float32, with a reason if `amp: true` was asked.

    On the CPU, only `amp: true` takes bf16 unasked: `auto` is decided by timed steps before a training begins, and
    stands in the configs of runs that began without them.
    """
    if device.type == "cpu" and asked and has_fast_bf16():
        return Precision(torch.bfloat16, device.type)
    if device.type != "cuda":
        why = f"`training.amp` is off: on {described_device(device)} it would save nothing" if asked else None
        return Precision(None, device.type, why)
    major = torch.cuda.get_device_capability(device)[0]
    if major < 7 and not torch.version.hip:
        name = torch.cuda.get_device_properties(device).name
        return Precision(None, device.type, f"`training.amp` is off: {name} has no matrix units for 16 bit")
    # Compute capability 8 (Ampere) is the first with bf16 matrix units; ROCm reports 9 and above.
    return Precision(torch.bfloat16 if major >= 8 else torch.float16, device.type)


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and PyTorch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Return the state of every random generator that a training uses, as tensors."""
    numpy_state: Any = np.random.get_state()
    kind, words, gauss = random.getstate()
    state = {
        "torch": torch.get_rng_state(),
        "numpy_words": torch.from_numpy(numpy_state[1].astype(np.int64)),
        "numpy_rest": torch.tensor([numpy_state[2], numpy_state[3], numpy_state[4]], dtype=torch.float64),
        "python_words": torch.tensor(words, dtype=torch.int64),
        "python_rest": torch.tensor([kind, gauss is not None, gauss or 0.0], dtype=torch.float64),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Restore the state of every random generator."""
    torch.set_rng_state(state["torch"])
    position, has_gauss, cached = state["numpy_rest"].tolist()
    words = state["numpy_words"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", words, int(position), int(has_gauss), cached))
    kind, has_gauss, gauss = state["python_rest"].tolist()
    random.setstate((int(kind), tuple(state["python_words"].tolist()), gauss if has_gauss else None))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def give_memory_back(device: torch.device) -> None:
    """Run Python's garbage collection, and release cached device memory."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def out_of_memory(error: Exception) -> DeviceMemoryError | None:
    """Turn an out-of-memory error into a message for the user; None for any other error."""
    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return DeviceMemoryError(
            f"out of memory: {str(error).splitlines()[0][:160]}",
            hint="lower `data.batch_size`, `data.patch_size` (or `crop_size`) or `inference.tile`, or set "
            "`training.amp=auto`; `debug.on_oom=halve` splits a batch, `training.validate_on=cpu` moves the validation "
            "to the CPU, and `segcli profile-memory CONFIG data.batch_size=N` forecasts another batch size",
        )
    return None


def environment(device: torch.device, *, precision: str, seed: int, data: dict[str, Any]) -> dict[str, Any]:
    """Describe machine and software of a run, for the file beside its config."""
    described: dict[str, Any] = {
        "segcli": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "device": str(device),
        "processor": {"kind": processor_kind(), "instructions": torch.backends.cpu.get_cpu_capability()},
        "threads": torch.get_num_threads(),
        "precision": precision,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "command_line": ["segcli", *sys.argv[1:]] if is_command_line() else ["python", *sys.argv],
        "working_folder": str(Path.cwd()),
        "git": _git_state(),
        "seed": seed,
        "data": data,
    }
    job = cluster_job()
    if job:
        described["cluster"] = job
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        described["gpu"] = {
            "name": properties.name,
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        }
    return described


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_state() -> dict[str, Any] | None:
    """Find the git commit and if files are changed (each None if unknown); None outside a git checkout."""

    def ask(*words: str) -> str | None:
        try:
            done = subprocess.run(
                [
                    "git",
                    "--no-optional-locks",
                    "-c",
                    "core.fsmonitor=false",
                    *words,
                ],  # these options keep git from running other commands
                capture_output=True,
                text=True,
                timeout=5,
                check=True,
                env={**os.environ, "LC_ALL": "C", "GIT_ALLOW_PROTOCOL": "none"},  # a partial clone would download
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = ask("rev-parse", "HEAD")
    if commit is None:
        return None
    status = ask("status", "--porcelain")
    return {"commit": commit, "changed": None if status is None else bool(status)}
