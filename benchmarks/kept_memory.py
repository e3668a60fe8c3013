"""Training on a CPU with and without memory that goes back to the system after each operation: time and peak.

Run: python benchmarks/kept_memory.py [--rounds 5] [--threads 2]

Each measurement is a process of its own, since keeping memory cannot be undone; the two kinds take turns, so that a
noisy machine hits both alike. A step is a forward and backward pass and an update of a network of `segcli`.
"""

import argparse
import json
import statistics
import subprocess
import sys

STEPS = """
import json, resource, sys, time
import torch
from segcli.config.load import run_from_values
from segcli.core.heap import keep_freed_memory
from segcli.engine.assembly import assemble

keep, threads, layout, model, shape, amp = json.loads(sys.argv[1])
torch.set_num_threads(threads)
if keep:
    keep_freed_memory()
channels = shape[1]
values = {
    "name": "bench",
    "dataset": {"format": layout, "num_channels": channels, "paths": {"root": "."}},
    "data": {"preprocessing": {"normalize": False}},
    "model": model,
    "device": "cpu",
}
network = assemble(run_from_values(values, source="benchmark")).network.train()
image = torch.randn(*shape)
if len(shape) == 4:
    image = image.to(memory_format=torch.channels_last)
optimizer = torch.optim.AdamW(network.parameters())

def step():
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=amp):
        loss = network(image)["mask"].float().square().mean()
    loss.backward()
    optimizer.step()

for _ in range(4):
    step()
started = time.perf_counter()
for _ in range(12):
    step()
seconds = (time.perf_counter() - started) / 12
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""
NETWORKS = {
    "U-Net of street scenes, 2x320x416, bf16": (
        "image_folders",
        {"type": "unet", "stem_stride": 2, "depths": [24, 48, 96, 192, 256]},
        [2, 3, 320, 416],
        True,
    ),
    "U-Net of the quick start, 8x256x256": (
        "image_folders",
        {"type": "unet", "depths": [16, 32, 64, 128]},
        [8, 3, 256, 256],
        False,
    ),
    "U-Net of volumes, 1x64x64x64": (
        "hdf5_volumes",
        {"type": "unet", "depths": [16, 32, 64, 128]},
        [1, 1, 64, 64, 64],
        False,
    ),
}


def measured(*given: object) -> tuple[float, float]:
    """Seconds of a step and peak MiB of the process."""
    done = subprocess.run(
        [sys.executable, "-c", STEPS, json.dumps(given)], capture_output=True, text=True, check=True, timeout=600
    )
    seconds, mib = json.loads(done.stdout.splitlines()[-1])
    return seconds, mib


def main() -> None:
    """Print one row for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    for name, network in NETWORKS.items():
        pairs = [[measured(keep, options.threads, *network) for keep in (False, True)] for _ in range(options.rounds)]
        given, kept = ([pair[i][0] * 1e3 for pair in pairs] for i in (0, 1))
        peaks = [statistics.median(pair[i][1] for pair in pairs) for i in (0, 1)]
        ratio = statistics.median(b / a for a, b in zip(given, kept, strict=True))
        print(f"{name}: {statistics.median(given):.0f} ms given back, {statistics.median(kept):.0f} ms kept,", end=" ")
        print(f"ratio {ratio:.3f} (median of {options.rounds} pairs), peak {peaks[0]:.0f} and {peaks[1]:.0f} MiB")


if __name__ == "__main__":
    main()
