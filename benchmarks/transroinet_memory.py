# python benchmarks/transroinet_memory.py
"""Peak process memory of one training step of TransRoiNet on one image of 512x512, on the CPU.

The bottom has 16,384 tokens: the scores of one block alone would take 8 heads x 16,384² x 4 bytes = 8 GiB.
"""

import resource

import torch

from segcli.core.types import IOSpec
from segcli.losses.dice import Dice
from segcli.models.transroinet import TransRoiNet

LIMIT_GIB = 6.0


def main() -> None:
    """Take the step and compare its peak with the limit."""
    torch.manual_seed(0)
    model = TransRoiNet(TransRoiNet.Config(), io=IOSpec(2, 3, {"mask": 1})).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters())
    image = torch.randn(1, 3, 512, 512).to(memory_format=torch.channels_last)
    truth = torch.rand(1, 1, 512, 512) < 0.1
    before = _peak_gib()
    loss = Dice(Dice.Config()).compute(model(image)["mask"], truth, torch.ones_like(truth))
    loss.backward()
    optimizer.step()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    peak = _peak_gib()
    print(f"before the step {before:.2f} GiB, peak {peak:.2f} GiB, limit {LIMIT_GIB:.0f} GiB")
    raise SystemExit(peak > LIMIT_GIB)


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # ru_maxrss is in KiB on Linux


if __name__ == "__main__":
    main()
