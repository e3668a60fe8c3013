# python benchmarks/vessel_models.py data/chase_db1
"""Every network of the vessel experiments on real photographs.

DATA holds CHASE_DB1 (`images`, `1stHO`, `fov`). Each network takes one step at the size of its paper on a real patch:
forward and backward finite, every parameter with a gradient. Its small variant then trains for two epochs.
"""

import argparse
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import yaml

from segcli.config.load import load_run
from segcli.engine.assembly import assemble
from segcli.engine.events import Silent

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = ("exp001_basic_unet", "exp002_roinet", "exp003_utrans", "exp004_transroinet", "exp005_sa_unet")


def main() -> None:
    """Try all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    data = [f"dataset={ROOT / 'configs/datasets/chase_db1.yaml'}", "device=cpu"]
    data.append(f"dataset.paths.root={parser.parse_args().data.resolve()}")
    for name in EXPERIMENTS:
        print(f"{name:20} {one_step(name, data)}; {two_epochs(f'{name}_small', data)}", flush=True)


def one_step(name: str, data: list[str]) -> str:
    """Forward and backward of the full-sized network on one patch of a photograph."""
    patch = ["data.patch_size=[128,128]", "data.batch_size=1", "data.num_workers=0", "data.image_size=null"]
    run = load_run(ROOT / f"configs/experiments/{name}.yaml", [*data, *patch])
    parts = assemble(run)
    cases = parts.layout.cases("train")[:1]
    loader = parts.train_loader(cases, parts.source(cases, Silent()))
    loaded = next(iter(loader.epoch(0)))
    batch = parts.task.targets(loaded.tensors)
    start = time.perf_counter()
    outputs: dict[str, Any] = parts.network.train()(batch["image"])
    loss = parts.loss(outputs, batch)["loss"]
    loss.backward()
    elapsed_s = time.perf_counter() - start
    loader.close()
    assert math.isfinite(float(loss.detach()))
    gradients = [parameter.grad for parameter in parts.network.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() and gradient.any() for gradient in gradients)
    count = sum(parameter.numel() for parameter in parts.network.parameters())
    return f"{count:>11,} parameters, {len(gradients)} tensors, each with a finite gradient ({elapsed_s:.1f} s)"


def two_epochs(name: str, data: list[str]) -> str:
    """Training of the small variant through the command."""
    with tempfile.TemporaryDirectory() as folder:
        config = str(ROOT / f"configs/experiments/{name}.yaml")
        words = ["train", config, *data, "training.epochs=2", "data.patches_per_image=2", "--quiet"]
        subprocess.run([sys.executable, "-m", "segcli", *words], cwd=folder, check=True)
        history = yaml.safe_load((Path(folder) / f"outputs/experiments/{name}/metrics_history.yaml").read_text())
    train, val = ([entry[split] for entry in history] for split in ("train", "val"))
    assert len(history) == 2
    assert all(math.isfinite(entry["loss"]) for entry in train)
    assert all(math.isfinite(entry["val_loss"]) for entry in val)
    first, last = (entry["loss"] for entry in train)
    return f"two epochs, training loss {first:.3f} to {last:.3f}, validation Dice {val[-1]['val_dice']:.3f}"


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
