"""Parts of `gpu_suite.sh`: each prints rows of a Markdown table, `| what | result |`.

Run: python benchmarks/_gpu_parts.py PART [OPTIONS]; the variable DEVICE names the device.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from platform import python_version
from typing import Any

import psutil
import torch
from step_time import batches

from segcli.config.load import run_from_values
from segcli.config.schema import Run
from segcli.core.errors import DeviceError, SegcliError
from segcli.core.registry import MODELS
from segcli.engine.assembly import assemble
from segcli.engine.training.precision.switches import set_gpu_switches
from segcli.engine.training.stepping.step import TrainingStep
from segcli.engine.world import World
from segcli.vram.forecast import Forecaster
from segcli.vram.real import measured

sys.path.append(str(Path(__file__).parent / "peers"))
from machine import processor

DEVICE = os.environ.get("DEVICE", "cuda")
ON_GPU = DEVICE != "cpu"
FORECAST = [("unet", "off"), ("unet", "bf16"), ("sa_unet", "bf16"), ("utrans", "bf16"), ("deeplabv3_plus", "bf16")]
SIZE, BATCH = (512, 4) if ON_GPU else (64, 2)
WARM_UP, STEPS = (5, 30) if ON_GPU else (1, 2)
Row = tuple[str, str]


def make(model: dict[str, Any], **training: Any) -> Run:
    """An experiment without data."""
    values = {
        "name": "suite",
        "dataset": {"paths": {"root": "."}, "mean": [0.0] * 3, "std": [1.0] * 3, "image_size": [SIZE, SIZE]},
        "data": {"batch_size": BATCH},
        "model": model,
        "training": {"loss": {"bce": 0.5, "dice": 0.5}, "metrics": ["dice"], **training},
        "device": DEVICE,
    }
    return run_from_values(values, source="benchmark")


def small() -> dict[str, Any]:
    """A U-Net as it is used, or a tiny one."""
    return {"type": "unet", "depths": [32, 64, 128, 256] if ON_GPU else [4, 8]}


def wait() -> None:
    """Wait for the GPU."""
    if ON_GPU:
        torch.cuda.synchronize()


def machine() -> Iterator[Row]:
    """GPUs, versions, and the switches of PyTorch as a training has them."""
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    yield "GPUs", ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names)) or "none"
    yield "driver", driver()
    yield "processor, memory", f"{processor()}, {psutil.virtual_memory().total / 2**30:,.0f} GiB"
    cudnn = torch.backends.cudnn.version() if ON_GPU else None  # type: ignore[no-untyped-call]  # PyTorch states no types
    yield "Python, PyTorch, CUDA, cuDNN", f"{python_version()}, {torch.__version__}, {torch.version.cuda}, {cudnn}"
    parts = assemble(make(small()))
    yield "precision that `amp: auto` takes", parts.precision.name
    before = switches()
    told = set_gpu_switches(parts.device, parts.run.training, parts.precision.name)
    for name, value in switches().items():
        yield f"`{name}` in a training of segcli", f"{value} (PyTorch's own: {before[name]})"
    yield "what segcli says of it", told or "nothing"
    exact = make(small(), deterministic=True)
    set_gpu_switches(parts.device, exact.training, parts.precision.name)
    changed = [f"`{name}` {value}" for name, value in switches().items()]
    yield "the same with `training.deterministic: true`", ", ".join(changed)


def switches() -> dict[str, bool]:
    """Read the switches that decide how a GPU computes."""
    return {
        "torch.backends.cudnn.benchmark": torch.backends.cudnn.benchmark,
        "torch.backends.cudnn.deterministic": torch.backends.cudnn.deterministic,
        "torch.backends.cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
        "torch.backends.cuda.matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
        "torch.are_deterministic_algorithms_enabled()": torch.are_deterministic_algorithms_enabled(),
    }


def driver() -> str:
    """Name the version of NVIDIA's driver, as `nvidia-smi` tells it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "unknown: no `nvidia-smi`"
    words = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    asked = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20)
    return ", ".join(dict.fromkeys(asked.stdout.split())) or f"unknown: exit code {asked.returncode} of `nvidia-smi`"


def forecast() -> Iterator[Row]:
    """Forecast of the GPU memory against the measurement."""
    for name, amp in FORECAST if ON_GPU else FORECAST[:1]:
        what = f"memory of {name}, {'fp32' if amp == 'off' else amp}, batch {BATCH}, {SIZE}x{SIZE}"
        try:
            run = make({"type": name}, amp=amp)
            forecaster = Forecaster(run)
            told = f"forecast {forecaster.forecast().peak / 2**20:,.0f} MiB"
            found = measured(run, forecaster.inputs)
        except DeviceError as error:
            yield what, f"{told}, not measured: {error.message}" if not ON_GPU else f"**failed**: {error.message}"
            continue
        except (SegcliError, RuntimeError) as error:
            yield what, f"**failed**: {str(error).splitlines()[0][:160]}"
            continue
        reserved = forecaster.forecast().reserved / found.reserved - 1.0
        apart = forecaster.forecast().peak / found.peak - 1.0
        yield what, f"{told}, measured {found.peak / 2**20:,.0f} MiB: {apart:+.1%} (reserved {reserved:+.1%})"


def waits() -> Iterator[Row]:
    """Places where a training step waits for the GPU."""
    taken = TrainingStep(assemble(make(small())))
    loaded = batches(3, SIZE, BATCH)

    def run(number: int) -> None:
        taken.take(loaded[number], share=1.0, place="suite")
        taken.update(1e-4, number)

    run(0)
    run(1)
    if not ON_GPU:
        yield "waits for the device in a training step", "not measured: no GPU"
        return
    pinned = loaded[2].pin_memory()
    wait()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        taken.take(pinned, share=1.0, place="suite")
        taken.update(1e-4, 2)
        torch.cuda.set_sync_debug_mode("default")
    places = [f"{Path(each.filename).name}:{each.lineno}" for each in caught if "synchroniz" in str(each.message)]
    yield "waits for the device in a training step", f"{len(places)} {', '.join(dict.fromkeys(places))}".strip()


def breaks() -> Iterator[Row]:
    """Places where `torch.compile` cuts a network into several graphs."""
    for name in [name for name in MODELS.names() if name not in ("sadaan", "smp", "vgg3d")][: None if ON_GPU else 1]:
        try:
            parts = assemble(make({"type": name}))
            found = torch._dynamo.explain(parts.network)(torch.zeros(1, 3, 256, 256, device=parts.device))
            yield f"graphs of {name} with `torch.compile`", f"{found.graph_count}, breaks: {found.graph_break_count}"
        except (SegcliError, RuntimeError) as error:
            yield f"graphs of {name} with `torch.compile`", f"**failed**: {str(error).splitlines()[0][:160]}"


def member(strategy: str) -> Iterator[Row]:
    """Time the step in one of several processes."""
    with World.joined(DEVICE) as world:
        device = f"cuda:{world.local_rank}" if ON_GPU else "cpu"
        run = make(small(), strategy=strategy).model_copy(update={"device": device})
        taken = TrainingStep(assemble(run), world=world)
        loaded = batches(1, SIZE, BATCH)[0]
        for number in range(WARM_UP + STEPS):
            if number == WARM_UP:
                wait()
                world.barrier()
                started = time.perf_counter()
            taken.take(loaded, share=1.0, place="suite")
            taken.update(1e-6, number)
        wait()
        world.barrier()
        speed = STEPS * BATCH * world.size / (time.perf_counter() - started)
        sums = world.gathered(sum(float(value.double().sum()) for value in taken.stepper.tensors().values()))
        peak = torch.cuda.max_memory_allocated() / 2**20 if ON_GPU else float("nan")
        peak = max(world.gathered(peak))
        if world.is_first:
            alike = "weights equal in all" if len(set(sums)) == 1 else "**weights differ**"
            what = f"{strategy} on {world.size} {'GPUs' if ON_GPU else 'processes'}, {BATCH} images each"
            yield what, f"{speed:,.1f} images/s, peak {peak:,.0f} MiB, {alike}"


def main() -> None:
    """Run a part and print its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["machine", "forecast", "waits", "breaks", "member"])
    parser.add_argument("--strategy", default="ddp")
    chosen = parser.parse_args()
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "machine": machine,
        "forecast": forecast,
        "waits": waits,
        "breaks": breaks,
        "member": lambda: member(chosen.strategy),
    }
    for what, result in parts[chosen.part]():
        print(f"| {what} | {result.replace('|', '/')} |", flush=True)
    if chosen.part == "member":
        os._exit(0)  # as `segcli` leaves: what is left of FSDP may abort the end of the interpreter


if __name__ == "__main__":
    main()
