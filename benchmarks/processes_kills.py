"""Kill one of several processes at random moments; started again, the run must end in the bits of one never stopped.

    python benchmarks/processes_kills.py [--kills 20] [--processes 2] [--seed 1] [--work processes_kills]

Each training is begun with `--max-restarts 1`; one of its processes is killed with SIGKILL at a random moment after a
random step. A run that was over before, or is not started again, does not count; another one takes its place.
Compared are the weights, the optimizer and the random states of all processes in `last.safetensors`, and the history.
Prints a table with one row for each kill.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import yaml
from safetensors import safe_open

from segcli.engine.checkpoint import read_header

SETTINGS: dict[str, object] = {
    "dataset": "vessels/dataset.yaml",
    "data": {"batch_size": 3, "num_workers": 1, "augmentation": "medium", "patch_size": [32, 32]},
    "model": {"type": "sa_unet", "depths": [8, 16], "keep_prob": 0.8},
    "training": {"epochs": 4, "ema": 0.9, "metrics": ["dice"]},
    "checkpoint": {"every_minutes": 0.0},
    "logging": {"tensorboard": False, "visualization_interval": None},
    "device": "cpu",
}

LONGEST_S = 120.0
"""Seconds after which a run hangs."""


def main() -> None:
    """Train, kill, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("processes_kills"))
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    shutil.rmtree(given.work, ignore_errors=True)
    given.work.mkdir(parents=True)
    os.chdir(given.work)
    subprocess.run(
        [sys.executable, "-m", "segcli", "data", "sample", "vessels", "vessels", "--size", "64", "-q"], check=True
    )
    draws = random.Random(given.seed)
    wanted = trained("never", given.processes, None)
    if isinstance(wanted, str):
        sys.exit(f"the run that is never stopped fails: {wanted}")
    steps = step_of("never")
    print(
        f"| kill | process | after step (of {steps}) | waited | ends after | result |\n|---|---|---|---|---|---|",
        flush=True,
    )
    same = counted = 0
    for number in range(1, 2 * given.kills + 1):
        kill = draws.randrange(steps), draws.uniform(0.0, 0.2), draws.randrange(given.processes)
        began = time.monotonic()
        found = trained(f"killed_{number}", given.processes, kill)
        if found is None:
            continue
        counted += 1
        same += found == wanted
        verdict = "same bits" if found == wanted else found if isinstance(found, str) else "**other bits**"
        step, delay_s, rank = kill
        took_s = time.monotonic() - began
        print(f"| {counted} | {rank} | {step} | {delay_s:.2f} s | {took_s:.1f} s | {verdict} |", flush=True)
        if counted == given.kills:
            break
    print(f"\n{same} of {counted} killed runs end in the bits of the run never stopped", flush=True)
    sys.exit(same != given.kills)


def trained(name: str, count: int, kill: tuple[int, float, int] | None) -> tuple[str, str] | str | None:
    """Train; returns what must be the same, or why there is nothing; None if the kill came too late.

    Args:
        name: Name of the run.
        count: Number of processes.
        kill: Step after whose checkpoint a process is killed, seconds to wait then, and its rank.
    """
    Path(f"{name}.yaml").write_text(yaml.safe_dump({**SETTINGS, "name": name}))
    words = ["train", f"{name}.yaml", "--processes", str(count), "--max-restarts", "1"]
    with Path(f"{name}.txt").open("w") as told:
        run = subprocess.Popen([sys.executable, "-m", "segcli", *words], stdout=told, stderr=told)
        try:
            if kill is not None and not killed(run, name, *kill):
                return None
            code = run.wait(LONGEST_S)
        except subprocess.TimeoutExpired:
            return f"**not over after {LONGEST_S} s**"
        finally:
            run.terminate()
            run.wait()
    text = Path(f"{name}.txt").read_text()
    if code:
        return f"**exit code {code}**: {text.splitlines()[-1]}"
    if kill is not None and "all were started again (1)" not in text:
        return None
    folder = Path("outputs/experiments") / name
    return digest(folder / "checkpoints/last.safetensors"), (folder / "metrics_history.yaml").read_text()


def killed(run: subprocess.Popen[bytes], name: str, step: int, delay_s: float, rank: int) -> bool:
    """Kill a process of a run some seconds after a step; False if it is no longer there."""
    while run.poll() is None and step_of(name) < step:
        time.sleep(0.01)
    time.sleep(delay_s)
    with suppress(psutil.Error):
        for child in psutil.Process(run.pid).children():
            if environment(child).get("RANK") == str(rank):
                child.send_signal(signal.SIGKILL)
                return True
    return False


def step_of(name: str) -> int:
    """Number of steps in the last checkpoint of a run; -1 without one."""
    path = Path(f"outputs/experiments/{name}/checkpoints/last.safetensors")
    return int(read_header(path)["progress"]["step"]) if path.exists() else -1


def digest(path: Path) -> str:
    """SHA-256 of all tensors of a checkpoint, with their names."""
    found = hashlib.sha256()
    with safe_open(path, "numpy") as file:
        for name in sorted(file.keys()):
            found.update(name.encode() + file.get_tensor(name).tobytes())
    return found.hexdigest()


def environment(process: psutil.Process) -> dict[str, str]:
    """Variables of a process; none if it has ended."""
    try:
        return process.environ()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return {}


if __name__ == "__main__":
    main()
