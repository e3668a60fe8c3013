# python benchmarks/ranking_scores.py [--images 1000] [--rounds 2]
"""AUC and average precision of many images with their confidence intervals: sketches beside whole histograms.

Both are computed for the same generated images, each in a process of its own, by turns. Whole histograms are kept and
resampled as any other statistics, as earlier versions did for these metrics.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from segcli.core.registry import METRICS
from segcli.data.samples import Case
from segcli.engine.inference.kept.figures import Figures
from segcli.engine.inference.scores import Tally, score
from segcli.metrics import Metric, Scored

NAMES = ("auc", "average_precision")
SIDE = 256
WHAT = {"whole": "whole histograms", "sketches": "sketches"}


def metrics() -> list[Metric]:
    """Make both metrics."""
    made = []
    for name in NAMES:
        kind = METRICS.load(name)
        metric = kind(kind.Config())
        metric.name = name
        made.append(metric)
    return made


def image(index: int) -> Scored:
    """Draw foreground of a tenth of the pixels, found more or less well."""
    rng = np.random.default_rng(index)
    truth = rng.random((1, 1, SIDE, SIDE)) < rng.uniform(0.02, 0.2)
    logits = rng.normal(-3, 2, truth.shape) + truth * rng.normal(3.0, 1.0)
    probs = torch.from_numpy(logits).float().sigmoid()
    return Scored(probs, torch.from_numpy(truth), torch.ones(truth.shape, dtype=torch.bool), 0.5)


def child(what: str, count: int) -> None:
    """Score the images, and tell what it took."""
    torch.set_num_threads(1)
    made = metrics()
    tally, figures = Tally(made), Figures(made)
    before, spent = psutil.Process().memory_info().rss, 0.0
    for index in range(count):
        statistics = tally.of(image(index))
        start = time.process_time()
        if what == "whole":
            tally.append(statistics)
        else:
            rows = {name: tensor.numpy() for name, tensor in statistics.items()}
            figures.add(Case(str(index), Path()), losses={}, statistics=rows, matrix=None, whole={})
        spent += time.process_time() - start
    start = time.process_time()
    tally = tally if what == "whole" else figures.tally(tally)
    found = {metric.name: score(metric, tally.statistics(metric), seed=0) for metric in made}
    spent += time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    scores = {name: [each.value, *each.interval] for name, each in found.items() if each.interval is not None}
    exact = [[each.value, each.mean, each.per_image] for each in found.values()]
    print(json.dumps([spent, peak / 2**20, scores, exact]))


def main() -> None:
    """Compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--child", choices=list(WHAT))
    given = parser.parse_args()
    if given.child is not None:
        child(given.child, given.images)
        return
    runs: dict[str, list[list[Any]]] = {what: [] for what in WHAT}
    for _ in range(given.rounds):
        for what, done in runs.items():
            command = [sys.executable, __file__, "--child", what, "--images", str(given.images)]
            told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            done.append(json.loads(told.splitlines()[-1]))
    print(f"{given.images} images of {SIDE}x{SIDE}, one thread, {given.rounds} rounds")
    print("| what | seconds of a processor | peak, MiB | AUC | average precision |\n|---|---|---|---|---|")
    for what, done in runs.items():
        times = [each[0] for each in done]
        scores = done[0][2]
        shown = " | ".join("{:.6f} ({:.6f} to {:.6f})".format(*scores[name]) for name in NAMES)
        peak = max(each[1] for each in done)
        print(f"| {WHAT[what]} | {min(times):.2f} to {max(times):.2f} | {peak:.0f} | {shown} |")
    whole, sketches = runs["whole"][0], runs["sketches"][0]
    print(f"equal values of the data set and of each image: {whole[3] == sketches[3]}")


if __name__ == "__main__":
    main()
