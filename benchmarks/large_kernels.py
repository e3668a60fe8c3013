# python benchmarks/large_kernels.py
"""How fast a residual block with 9x9 kernels runs, forward and backward, in the ways that give the same numbers.

Every way runs in turn, several rounds, and the median is compared with PyTorch's default layout. `rows` adds nine
convolutions of 1x9, `fourier` multiplies spectra; bf16 rounds to 8 bits and stands for `training.amp: bf16`.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segcli.nn.blocks import ResidualBlock

CHANNELS = 64


class Rows(nn.Module):
    """A convolution as the sum of one convolution for each row of its kernel."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.reach = conv.weight, conv.kernel_size[0] // 2

    def forward(self, x: Tensor) -> Tensor:
        """Same values as the convolution."""
        height, reach = x.shape[2], self.reach
        padded = F.pad(x, (0, 0, reach, reach))
        rows = [
            F.conv2d(padded[:, :, row : row + height], self.weight[:, :, row : row + 1], padding=(0, reach))
            for row in range(2 * reach + 1)
        ]
        return torch.stack(rows).sum(0)


class Fourier(nn.Module):
    """A convolution as a product of spectra."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.reach = conv.weight, conv.kernel_size[0] // 2

    def forward(self, x: Tensor) -> Tensor:
        """Same values as the convolution, to rounding."""
        size = [length + 2 * self.reach for length in x.shape[2:]]
        image = torch.fft.rfft2(x, s=size)
        kernel = torch.fft.rfft2(self.weight.flip(2, 3), s=size)
        whole = torch.fft.irfft2(torch.einsum("bchw,kchw->bkhw", image, kernel), s=size)
        return whole[:, :, self.reach : -self.reach, self.reach : -self.reach]


def block(replace: type[nn.Module] | None = None) -> ResidualBlock:
    """The block, its two large convolutions computed another way."""
    torch.manual_seed(0)
    made = ResidualBlock(2, CHANNELS, CHANNELS, kernel_size=9)
    if replace is not None:
        for branch in (made.first, made.second):
            branch[0] = replace(branch[0])
    return made


def ways(image: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Forward and backward passes by name, each returning the output."""
    last = torch.channels_last

    def way(module: nn.Module, x: Tensor, *, bf16: bool = False) -> Callable[[], Tensor]:
        def run() -> Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                output: Tensor = module(x)
            output.float().square().mean().backward()
            return output

        return run

    return {
        "default layout": way(block(), image),
        "channels-last": way(block().to(memory_format=last), image.to(memory_format=last)),
        "channels-last bf16": way(block().to(memory_format=last), image.to(memory_format=last), bf16=True),
        "rows": way(block(Rows), image),
        "fourier": way(block(Fourier), image),
    }


def main() -> None:
    """Time all ways in turn and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    image = torch.randn(1, CHANNELS, wanted.size, wanted.size)
    tried = ways(image)
    reference = tried["default layout"]().detach()
    times: dict[str, list[float]] = {name: [] for name in tried}
    for _ in range(wanted.rounds + 1):
        for name, run in tried.items():
            start = time.perf_counter()
            output = run()
            times[name].append(time.perf_counter() - start)
            difference = float((output.detach().float() - reference).abs().max())
            assert difference < (0.2 if "bf16" in name else 1e-3), f"{name} differs by {difference}"
    base = statistics.median(times["default layout"][1:])
    for name, entries in times.items():
        median = statistics.median(entries[1:])  # the first round warms up
        print(f"{name:20} {median:6.3f} s   {base / median:5.2f} x the speed of the default layout")


if __name__ == "__main__":
    main()
