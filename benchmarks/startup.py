"""Time of the start of commands against what any program of this kind pays: imports, and a bare training step.

Run: python benchmarks/startup.py [--rounds 5] [--only train predict]

Processor time of whole processes, in turns; the ratio is that of the shortest times, with the range of the rounds. The
start of a training ends with its first optimizer step, of a small U-Net on generated images; the bare step is the same
step as a user writes it.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ASKING = {
    "_SEGCLI_COMPLETE": "complete_fish",
    "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    "_TYPER_COMPLETE_ARGS": "segcli train configs/exp.yaml model.type=",
}
ONE_STEP = """
import os, sys
from segcli.engine.training.stepping.stepper import Stepper
take = Stepper.update
def last(self, *step):
    take(self, *step)
    os._exit(0)
Stepper.update = last
from segcli.cli.main import run
run(sys.argv[1:])
"""
BARE_STEP = """
import torch
from torch import nn
def block(below, here):
    layers = [(nn.Conv2d(a, here, 3, padding=1), nn.BatchNorm2d(here), nn.ReLU()) for a in (below, here)]
    return nn.Sequential(*(each for layer in layers for each in layer))
class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList(block(a, b) for a, b in ((3, 12), (12, 24), (24, 48)))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in ((48, 24), (24, 12)))
        self.merge = nn.ModuleList(block(a, b) for a, b in ((48, 24), (24, 12)))
        self.head = nn.Conv2d(12, 1, 1)
    def forward(self, x):
        skips = []
        for level, layer in enumerate(self.down):
            x = layer(nn.functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, reversed(skips[:-1])):
            x = merge(torch.cat([up(x), skip], 1))
        return self.head(x)
network = UNet()
optimizer = torch.optim.AdamW(network.parameters())
logits = network(torch.randn(4, 3, 128, 128))
nn.functional.binary_cross_entropy_with_logits(logits, torch.ones(4, 1, 128, 128)).backward()
optimizer.step()
"""
TRAIN = ["exp.yaml", "data.num_workers=0", "device=cpu", "--overwrite", "--quiet"]
IMAGE = "data/vessels_sample/test/image"
GROUPS: dict[str, dict[str, tuple[list[str], dict[str, str]]]] = {
    "help": {
        "`import typer, rich`": (["-c", "import typer, rich"], {}),
        "`segcli --help`": (["-m", "segcli", "--help"], {}),
        "`segcli train ... model.type=<TAB>`": (["-m", "segcli"], ASKING),
    },
    "train": {
        "`import torch` and a bare first step": (["-c", BARE_STEP], {}),
        "`segcli train` until its first step": (["-c", ONE_STEP, "train", *TRAIN], {}),
    },
    "predict": {
        "`import torch`": (["-c", "import torch"], {}),
        "`segcli predict` of one image": (["-m", "segcli", "predict", "one.png", "--run", "exp", "--overwrite"], {}),
    },
}
EXPERIMENT = """
name: exp
dataset: {name: vessels_sample, sample: vessels, paths: {root: data/vessels_sample}, fov_folder: fov, num_channels: 3,
          num_classes: 1, mean: [0.581, 0.285, 0.134], std: [0.111, 0.069, 0.045]}
data: {batch_size: 4, patch_size: [128, 128]}
model: {type: unet, depths: [12, 24, 48]}
training: {epochs: 1, optimizer: {type: adamw}, loss: {bce: 0.5, dice: 0.5}, metrics: [dice]}
"""


def spent_s(arguments: list[str], extra: dict[str, str], folder: Path) -> float:
    """Return the processor time of one process."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": path, **extra}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{arguments} failed:\n{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def prepare(folder: Path) -> None:
    """Make data, and a trained run for `predict`."""
    (folder / "exp.yaml").write_text(EXPERIMENT)
    spent_s(["-m", "segcli", "data", "sample", "vessels"], {}, folder)
    spent_s(["-m", "segcli", "train", *TRAIN, "data.limit_batches=1"], {}, folder)
    image = min((folder / IMAGE).iterdir())
    (folder / "one.png").write_bytes(image.read_bytes())


def main() -> None:
    """Print the times and ratios as a Markdown table; the commands of a group run in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    options = parser.parse_args()
    print("| command | processor time | ratio to the first of its group |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if {"train", "predict"} & set(options.only):
            prepare(folder)
        for group in options.only:
            commands = GROUPS[group]
            times: dict[str, list[float]] = {each: [] for each in commands}
            for _ in range(options.rounds):
                for each, command in commands.items():
                    times[each].append(spent_s(*command, folder))
            base, *_ = times.values()
            for each, values in times.items():
                found = [value / first for value, first in zip(values, base, strict=True)]
                spread = f"{min(values) / min(base):.2f} ({min(found):.2f} to {max(found):.2f})"
                print(f"| {each} | {min(values):.2f} s | {spread} |", flush=True)


if __name__ == "__main__":
    main()
