# python benchmarks/class_losses.py
"""Processor milliseconds of cross-entropy and Dice of many classes, forward and backward, and of the training metrics.

Run: python benchmarks/class_losses.py [--classes 2 3 12 19 150] [--size 512] [--rounds 5] [--bf16] [--gradient]

Two images, one thread. Freed memory is kept, as in a training. `PyTorch` is its cross-entropy alone, `maximum` its
maximum over the channels and one `bincount`. Where they are installed, SMP and MONAI stand beside.
With `--bf16` the logits are those of a network in bf16; segcli computes its losses in float32 all the same. Minimum of
the rounds, in turns in one process.

`--gradient` compares instead the cross-entropy of segcli, whose gradient is its own, with `F.cross_entropy` in its
place in `losses/cross_entropy.py`, alone and with Dice: fastest round of each, the ratio of these, and median and range
of the ratios of rounds. Which of the two comes first changes from round to round. Both must give the same bits.
"""

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F

from segcli.core.errors import ConfigError
from segcli.core.heap import keep_freed_memory
from segcli.core.process import command_line
from segcli.losses import Loss, WeightedSum
from segcli.losses import cross_entropy as room
from segcli.losses.cross_entropy import CrossEntropy
from segcli.losses.dice import Dice
from segcli.nn.pixel_losses import negative_log_probs
from segcli.nn.scored import ScoredClasses
from segcli.nn.zoo import library


def loss_of(*losses: Loss) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Make a step of the sum of losses."""
    for loss in losses:
        loss.name = type(loss).__name__
    total = WeightedSum([(1.0, loss) for loss in losses])

    def step(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        leaf = logits.detach().requires_grad_()
        total({"mask": leaf}, {"mask": truth, "valid": valid})["loss"].backward()
        assert leaf.grad is not None
        return leaf.grad

    return step


def alone(logits: Tensor, truth: Tensor, valid: Tensor) -> None:
    """Compute PyTorch's cross-entropy."""
    F.cross_entropy(logits.detach().requires_grad_(), truth).backward()  # type: ignore[no-untyped-call]  # PyTorch states no types


def of_peers() -> dict[str, Callable[[Tensor, Tensor, Tensor], None]]:
    """Make a step of cross-entropy and Dice of each other library that is installed."""
    steps: dict[str, Callable[[Tensor, Tensor, Tensor], None]] = {}
    with contextlib.suppress(ConfigError):
        soft = library().smp.losses.DiceLoss("multiclass")

        def smp(logits: Tensor, truth: Tensor, valid: Tensor) -> None:
            leaf = logits.detach().requires_grad_()
            (F.cross_entropy(leaf, truth) + soft(leaf, truth)).backward()

        steps["SMP"] = smp
    with contextlib.suppress(ImportError):
        from monai.losses import DiceCELoss

        both = DiceCELoss(to_onehot_y=True, softmax=True)

        def monai(logits: Tensor, truth: Tensor, valid: Tensor) -> None:
            both(logits.detach().requires_grad_(), truth.unsqueeze(1)).backward()

        steps["MONAI"] = monai
    return steps


def metrics(logits: Tensor, truth: Tensor, valid: Tensor) -> None:
    """Compute softmax and counts as the trainer does without a loss that shares its softmax."""
    _ = ScoredClasses(logits.softmax(dim=1), truth, valid).confusion


def maximum(logits: Tensor, truth: Tensor, valid: Tensor) -> None:
    """Compute the maximum and count pairs of classes."""
    count = logits.shape[1]
    torch.bincount((truth * count + logits.max(dim=1).indices).flatten(), minlength=count * count)


def drawn(classes: int, size: int, *, bf16: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Draw logits, truth and valid pixels of two images."""
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, classes, size, size, generator=draw).to(torch.bfloat16 if bf16 else torch.float32)
    truth = torch.randint(0, classes, (2, size, size), generator=draw)
    return logits, truth, torch.ones(2, 1, size, size, dtype=torch.bool)


def of_pytorch(logits: Tensor, truth: Tensor) -> Tensor:
    """Compute what `negative_log_probs` computes, with the gradient of PyTorch."""
    return F.cross_entropy(logits, truth, reduction="none")


def gradients(options: argparse.Namespace, losses: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]) -> None:
    """Print the table of losses with PyTorch's gradient of the cross-entropy and with segcli's."""
    print("| classes | loss | without | with | ratio | median (range) |\n|---|---|---|---|---|---|")
    sides = {"without": of_pytorch, "with": negative_log_probs}
    for classes in options.classes:
        inputs = drawn(classes, options.size, bf16=options.bf16)
        for name, loss in losses.items():
            times: dict[str, list[float]] = {side: [] for side in sides}
            found: dict[str, Tensor] = {}
            for number in range(options.rounds + 1):
                for side in list(sides)[:: 1 if number % 2 else -1]:
                    with patch.object(room, "negative_log_probs", sides[side]):
                        began = time.process_time()
                        found[side] = loss(*inputs)
                        times[side].append(time.process_time() - began)
            assert torch.equal(found["with"], found["without"]), (classes, name)
            without, own = times["without"][1:], times["with"][1:]
            ratios = [after / before for before, after in zip(without, own, strict=True)]
            cells = f"{min(without) * 1e3:.1f} ms | {min(own) * 1e3:.1f} ms | {min(own) / min(without):.2f}"
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            print(f"| {classes} | {name} | {cells} | {spread} |", flush=True)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 3, 12, 19, 150])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--gradient", action="store_true", help="compare the two gradients of the cross-entropy")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with command_line():  # only a command keeps freed memory
        keep_freed_memory()
    cross_entropy, dice = CrossEntropy(CrossEntropy.Config()), Dice(Dice.Config())
    if options.gradient:
        gradients(options, {"cross-entropy": loss_of(cross_entropy), "with Dice": loss_of(cross_entropy, dice)})
        return
    ways: dict[str, Callable[[Tensor, Tensor, Tensor], object]] = {
        "PyTorch": alone,
        "cross-entropy": loss_of(cross_entropy),
        "Dice": loss_of(dice),
        "both": loss_of(cross_entropy, dice),
        **of_peers(),
        "softmax": lambda logits, truth, valid: logits.softmax(dim=1),
        "metrics": metrics,
        "maximum": maximum,
    }
    print("| classes |", *(f"{name} |" for name in ways), "largest spread |")
    print("|---|", *("---|" for _ in ways), "---|", sep="")
    for classes in options.classes:
        logits, truth, valid = drawn(classes, options.size, bf16=options.bf16)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, way in ways.items():
                began = time.process_time()
                way(logits, truth, valid)
                times[name].append(time.process_time() - began)
        cells = " | ".join(f"{min(taken) * 1e3:.1f}" for taken in times.values())
        spread = max(max(taken) / min(taken) for taken in times.values())
        print(f"| {classes} | {cells} | {spread:.2f} |", flush=True)


if __name__ == "__main__":
    main()
