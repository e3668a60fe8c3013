# python benchmarks/eval_memory.py [--frames 100 400] [--side 512]
"""Peak memory and time of `eval` over generated frames, at two numbers of frames: the peak must not grow with them.

Frames of 12 classes are seen mirrored and at five sizes, as the shipped CamVid recipe sees them, by a small network,
and scored with every metric of the task and with AUC. Each number of frames has a process of its own. The digest is one
of all figures but confidence intervals; another version of segcli has the same one, if it is put into `PYTHONPATH`.
"""

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import torch

from segcli.config.load import load_run
from segcli.data.loader import Loaded
from segcli.data.samples import Case, Geometry
from segcli.engine.assembly import assemble
from segcli.engine.inference.evaluator import evaluate
from segcli.engine.inference.scores import score

CLASSES = 12
METRICS = ["mean_iou", "pixel_accuracy", "class_accuracy", "iou", "dice", "precision", "recall", "auc"]


def frames(count: int, side: int) -> Iterator[Loaded]:
    """Make noise with stripes of classes."""
    for index in range(count):
        rng = np.random.default_rng(index)
        mask = np.sort(rng.integers(0, CLASSES, (side, 1)), axis=0).repeat(side, 1).astype(np.uint8)
        image = (mask[None] / CLASSES + rng.normal(0, 0.3, (3, side, side))).astype(np.float32)
        maps = {"mask": mask, "valid": np.ones_like(mask)}
        tensors = {name: torch.from_numpy(values)[None] for name, values in {"image": image, **maps}.items()}
        size = (side, side)
        yield Loaded(tensors, [Case(f"{index:04d}", Path("none"))], [Geometry(size, size, size)], [maps])


def child(count: int, side: int) -> None:
    """Evaluate, and tell what it took."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        keys = {
            "name": "memory",
            "dataset": {
                "task": "multiclass",
                "paths": {"root": folder},
                "classes": [f"class {index}" for index in range(CLASSES)],
                "mean": [0.5] * 3,
                "std": [0.3] * 3,
            },
            "model": {"type": "unet", "stem_stride": 2, "depths": [4, 8]},
            "training": {"metrics": METRICS, "loss": {"cross_entropy": 1.0}},
            "inference": {"tta": "horizontal", "scales": [0.5, 0.75, 1.0, 1.5, 2.0]},
            "device": "cpu",
        }
        experiment = Path(folder) / "run.yaml"
        experiment.write_text(json.dumps(keys))  # JSON is YAML
        parts = assemble(load_run(experiment))
        before = psutil.Process().memory_info().rss
        start = time.process_time()
        found = evaluate(parts, parts.network, frames(count, side))
    processor_s = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    assert found.confusion is not None
    scores = [score(metric, found.tally.statistics(metric), seed=0) for metric in parts.metrics]
    figures = [
        [each.name, each.value, each.mean, each.pooled, each.per_image, [kind.value for kind in each.per_class]]
        for each in scores
    ]
    told = json.dumps([found.losses, found.confusion.tolist(), figures])
    print(json.dumps([peak / 2**20, processor_s, hashlib.sha256(told.encode()).hexdigest()[:16]]))


def main() -> None:
    """Compare numbers of frames."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[100, 400])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--child", type=int)
    given = parser.parse_args()
    if given.child is not None:
        child(given.child, given.side)
        return
    print("| frames | peak above the model, MiB | seconds of a processor | digest |\n|---|---|---|---|")
    for count in given.frames:
        command = [sys.executable, __file__, "--child", str(count), "--side", str(given.side)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        peak, processor_s, digest = json.loads(done.stdout.splitlines()[-1])
        print(f"| {count} | {peak:.0f} | {processor_s:.1f} | {digest} |", flush=True)


if __name__ == "__main__":
    main()
