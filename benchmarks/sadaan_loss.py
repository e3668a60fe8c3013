"""Speed of the SADAAN loss against a loop over batch and structures, forward and backward.

Run: python benchmarks/sadaan_loss.py [--device cuda] [--threads 1] [--batch 4] [--structures 8] [--size 32]

The loops compute the same seven parts with the functions of PyTorch, one structure of one image at a time, and ask the
device whether it is there (`.item()`) as such loops do: once with a loop in each part, as one writes seven functions,
and once with one loop around all parts. All give the same value.

A GPU needs about as long to begin a kernel as to run it on so few voxels, and a loop begins thousands. A CPU core is
busy with the voxels themselves either way, and the loop loses far less: the exponentials and logarithms alone, which no
way to write the seven parts down can spare, take a tenth of what the loops take. It loses the more the more cores there
are, since one structure of one image is too little for PyTorch to share out.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from segcli.core.types import Batch, Outputs
from segcli.losses import WeightedSum
from segcli.losses.sadaan import SADAAN


def loop(outputs: Outputs, batch: Batch, config: SADAAN.Config, *, at_once: bool) -> Tensor:
    """Total loss with a loop over images and structures: one for each part, or one around all parts."""
    groups = [list(PARTS)] if at_once else [[name] for name in PARTS]
    total, weights = outputs["mask"].new_zeros(()), SADAAN(config).part_weights
    for names in groups:
        images: dict[str, list[Tensor]] = {name: [] for name in names}
        for image in range(len(batch["presence"])):
            of: dict[str, list[Tensor]] = {name: [] for name in names}
            for structure in range(batch["presence"].shape[1]):
                one = {name: values[image, structure] for name, values in outputs.items()}
                truth, present = batch["mask"][image, structure].float(), batch["presence"][image, structure].item()
                for name in names:
                    value = PARTS[name](one, truth, present, config)
                    of[name] += [] if value is None else [value]
            for name, values in of.items():
                images[name].append(torch.stack(values).mean() if values else total.new_zeros(()))
        total = total + sum(weights[name] * torch.stack(values).mean() for name, values in images.items())
    return total


def _entropy(logits: Tensor, truth: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, truth)


def _dice(one: Outputs, truth: Tensor, config: SADAAN.Config) -> Tensor:
    probs = one["mask"].sigmoid()
    return 1 - (2 * (probs * truth).sum() + config.smooth) / (probs.sum() + truth.sum() + config.smooth)


def _focal(one: Outputs, truth: Tensor, config: SADAAN.Config) -> Tensor:
    entropy = F.binary_cross_entropy_with_logits(one["mask"], truth, reduction="none")
    sides = config.alpha * truth + (1 - config.alpha) * (1 - truth)
    return (sides * (1 - (-entropy).exp()) ** config.gamma * entropy).mean()


def _confidence(one: Outputs, present: bool) -> Tensor:
    wrong = (one["gate"].item() >= 0) != present
    return _entropy(one["confidence"], one["confidence"].new_tensor(float(not wrong)))


PARTS: dict[str, Callable[..., Tensor | None]] = {
    "segmentation": lambda one, truth, present, _: _entropy(one["mask"], truth) if present else None,
    "dice": lambda one, truth, _, config: _dice(one, truth, config),
    "focal_seg": lambda one, truth, _, config: _focal(one, truth, config),
    "absence": lambda one, truth, present, _: _entropy(one["presence"], truth.new_tensor(float(present))),
    "attention_supervision": lambda one, truth, _, __: _entropy(one["attention"], truth),
    "false_positive_suppression": lambda one, _, present, __: None if present else one["mask"].sigmoid().mean(),
    "confidence": lambda one, _, present, __: _confidence(one, present),
}


def case(batch: int, structures: int, size: int, device: str = "cpu") -> tuple[Outputs, Batch]:
    """Random outputs; a quarter of the structures is absent."""
    torch.manual_seed(0)
    shape = (batch, structures, size, size, size)
    shapes = {"mask": shape, "attention": shape, **dict.fromkeys(("presence", "gate", "confidence"), shape[:2])}
    outputs = {name: torch.randn(size).to(device).requires_grad_() for name, size in shapes.items()}
    present = torch.arange(batch * structures).view(batch, structures) % 4 > 0
    mask = (torch.rand(shape) < 0.1) & present.view(batch, structures, 1, 1, 1)
    truth = {"mask": mask, "presence": present, "valid": torch.ones(batch, 1, *shape[2:], dtype=torch.bool)}
    return outputs, {name: values.to(device) for name, values in truth.items()}


def median_s(call: Callable[[], Tensor], rounds: int) -> float:
    """Median time of forward and backward; on one core, of the core and not of those who share it."""
    clock = time.process_time if torch.get_num_threads() == 1 and not torch.cuda.is_initialized() else time.perf_counter
    seconds = []
    for _ in range(rounds + 2):
        start = clock()
        call().backward()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        seconds.append(clock() - start)
    return sorted(seconds[2:])[rounds // 2]


def main() -> None:
    """Print both times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("batch", 4), ("structures", 8), ("size", 32), ("rounds", 15), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = SADAAN.Config()
    total = WeightedSum([(1.0, SADAAN(config))])
    outputs, batch = case(options.batch, options.structures, options.size, options.device)
    where = f"{options.threads} of the cores" if options.device == "cpu" else torch.cuda.get_device_name()
    print(f"batch {options.batch}, {options.structures} structures, {options.size}^3 voxels, {where}")
    fast = median_s(lambda: total(outputs, batch)["loss"], options.rounds)
    print(f"vectorised                 {1e3 * fast:8.2f} ms")
    for name, at_once in (("a loop for each part", False), ("one loop around all parts", True)):
        call = partial(loop, outputs, batch, config, at_once=at_once)
        torch.testing.assert_close(total(outputs, batch)["loss"], call(), rtol=1e-4, atol=1e-5)
        slow = median_s(call, options.rounds)
        print(f"{name:26} {1e3 * slow:8.2f} ms   {slow / fast:.1f} times as long")


if __name__ == "__main__":
    main()
