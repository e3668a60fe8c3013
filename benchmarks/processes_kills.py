"""Kill one of several processes at random moments; started again, the run must end in the bits of one never stopped.

    python benchmarks/processes_kills.py [--kills 20] [--processes 2] [--seed 1] [--work processes_kills]

Each training is begun with `--max-restarts 1`; one of its processes is killed with SIGKILL after a random time.
Compared are the weights, the optimizer and the random states of all processes in `last.safetensors`, and the history.
Prints one line for each kill.
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
from pathlib import Path

import psutil
import yaml
from safetensors import safe_open

SETTINGS: dict[str, object] = {
    "dataset": "vessels/dataset.yaml",
    "data": {"batch_size": 3, "num_workers": 1, "augmentation": "medium", "patch_size": [32, 32]},
    "model": {"type": "sa_unet", "depths": [8, 16], "keep_prob": 0.8},
    "training": {"epochs": 4, "ema": 0.9, "metrics": ["dice"]},
    "checkpoint": {"every_minutes": 0.0},
    "logging": {"tensorboard": False, "visualization_interval": None},
    "device": "cpu",
}


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
    began = time.monotonic()
    wanted, _ = trained("never", given.processes, None)
    whole_s = time.monotonic() - began
    same = 0
    for number in range(1, given.kills + 1):
        moment, rank = draws.uniform(0.2, 1.0) * whole_s, draws.randrange(given.processes)
        found, place = trained(f"killed_{number}", given.processes, (moment, rank))
        same += found == wanted
        verdict = "same" if found == wanted else "DIFFERENT"
        print(f"{number:2d}  process {rank} killed after {moment:4.1f} s, {place}: {verdict}", flush=True)
    print(f"{same} of {given.kills} runs end in the same bits")
    sys.exit(same != given.kills)


def trained(name: str, count: int, kill: tuple[float, int] | None) -> tuple[object, str]:
    """Train; returns what must be the same, and where the run was when a process was killed."""
    Path(f"{name}.yaml").write_text(yaml.safe_dump({**SETTINGS, "name": name}))
    words = ["train", f"{name}.yaml", "--processes", str(count), "--max-restarts", "1"]
    run = subprocess.Popen([sys.executable, "-m", "segcli", *words], stderr=subprocess.PIPE, text=True)
    place = "over before"
    if kill is not None:
        time.sleep(kill[0])
        found = [
            child for child in psutil.Process(run.pid).children() if environment(child).get("RANK") == str(kill[1])
        ]
        if found:
            last = Path(f"outputs/experiments/{name}/checkpoints/last.safetensors")
            place = "in the training" if last.exists() else "before the first checkpoint"
            os.kill(found[0].pid, signal.SIGKILL)
    _, told = run.communicate()
    if run.returncode:
        return told, place
    folder = Path("outputs/experiments") / name
    history = (folder / "metrics_history.yaml").read_text()
    return (digest(folder / "checkpoints/last.safetensors"), history), place


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
