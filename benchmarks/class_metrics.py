# python benchmarks/class_metrics.py
"""Processor seconds of the training metrics of many classes: class of each pixel and confusion matrix.

Run: python benchmarks/class_metrics.py [--classes 3 12 150] [--size 512] [--rounds 5] [--threads 1]

`before` takes PyTorch's maximum over the channels and adds each pixel to the matrix by index; `now` is
`segcli.nn.scored`. Both give the same matrix, which is checked. The softmax comes on top of both. Minimum of the
rounds, in turns in one process, and the largest ratio to that minimum.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from segcli.nn.scored import ScoredClasses


def before(probs: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Count by index."""
    images, count = probs.shape[:2]
    code = (truth * count + probs.max(dim=1).indices).reshape(images, -1)
    pixels = torch.zeros(images, count * count, dtype=torch.int64)
    return pixels.scatter_add_(1, code, valid[:, 0].reshape(images, -1).long()).view(images, count, count)


def now(probs: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Count as the trainer does."""
    return ScoredClasses(probs, truth, valid).matrix


def softmax(probs: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Compute what comes before, for comparison."""
    return probs.softmax(dim=1)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="+", default=[3, 12, 150])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ways: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"softmax": softmax, "before": before, "now": now}
    print("| classes | layout |", *(f"{name} |" for name in ways), "ratio | spread |")
    print("|---|---|", *("---|" for _ in ways), "---|---|", sep="")
    for classes in options.classes:
        draw = torch.Generator().manual_seed(0)
        logits = torch.randn(1, classes, options.size, options.size, generator=draw)
        truth = torch.randint(0, classes, (1, options.size, options.size), generator=draw)
        valid = torch.rand(1, 1, options.size, options.size, generator=draw) > 0.1
        for layout in (torch.contiguous_format, torch.channels_last):
            probs = logits.softmax(dim=1).contiguous(memory_format=layout)
            assert torch.equal(before(probs, truth, valid), now(probs, truth, valid))
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(options.rounds):
                for name, way in ways.items():
                    began = time.process_time()
                    way(probs, truth, valid)
                    times[name].append(time.process_time() - began)
            best = {name: min(taken) for name, taken in times.items()}
            cells = " | ".join(f"{seconds * 1e3:.1f} ms" for seconds in best.values())
            spread = max(max(taken) / best[name] for name, taken in times.items())
            word = str(layout).removeprefix("torch.").replace("_format", "")
            print(f"| {classes} | {word} | {cells} | {best['before'] / best['now']:.1f} | {spread:.2f} |", flush=True)


if __name__ == "__main__":
    main()
