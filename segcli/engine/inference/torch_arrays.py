"""Operations on tensors for the sliding window."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from segcli.engine.inference.arrays import Arrays, Place, Room, Weights
from segcli.engine.inference.tiles.grid import Corner, Grid, profile
from segcli.engine.inference.views import View
from segcli.nn.dims import INTERPOLATION

__all__ = ["TorchArrays", "resized"]


class TorchArrays(Arrays[Tensor]):
    """Implements the operations for tensors."""

    xp: ClassVar[Any] = torch
    streams: ClassVar[bool] = False

    def joined(self, parts: Sequence[Tensor]) -> Tensor:
        """Join parts along their first axis."""
        return torch.cat(list(parts))

    def seen(self, images: Tensor, view: View) -> Tensor:
        """Turn and flip images."""
        turned = images.rot90(view.turns, (-2, -1))
        return turned.flip(view.flips) if view.flips else turned  # a flip of no axis copies, too

    def straight(self, values: Tensor, view: View) -> Tensor:
        """Undo the turn and the flips of a view in its outputs."""
        flipped = values.flip(view.flips) if view.flips else values
        return flipped.rot90(-view.turns, (-2, -1))

    def image_at(self, images: Tensor, size: tuple[int, ...]) -> Tensor:
        """Resize images."""
        return resized(images, size)

    def resized(self, values: Tensor, size: tuple[int, ...]) -> Tensor:
        """Resize outputs."""
        return resized(values, size)

    def weights(self, grid: Grid, like: Tensor) -> Weights[Tensor]:
        """Make weights; the weighted sum is divided by their sum."""
        return _Divided(grid, like.device)

    def room(self, shape: tuple[int, ...], like: Tensor) -> Room[Tensor]:
        """Make an accumulator on the device of `like`."""
        return _Memory(torch.zeros(shape, device=like.device))


def resized(values: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resize `(B, K, *S)`: linear along each axis, without antialiasing."""
    return F.interpolate(values, size, mode=INTERPOLATION[len(size)])


class _Memory:
    """Accumulates on the device."""

    def __init__(self, zeros: Tensor) -> None:
        self.values = zeros

    def add(self, place: Place, values: Tensor) -> None:
        self.values[place] += values

    def read(self, place: Place) -> Tensor:
        return self.values[place]

    def write(self, place: Place, values: float) -> None:
        self.values[place] = values

    def close(self) -> None:
        """Do nothing: PyTorch frees the memory."""


class _Divided:
    """Holds one weight for all tiles, and the sum of the weights in each pixel.

    Existing training histories used this order of operations; the NumPy version differs in the last bits.
    """

    def __init__(self, grid: Grid, device: torch.device) -> None:
        weight = torch.ones(grid.tile)
        for axis, length in enumerate(grid.tile):
            along = profile(length, grid.overlap, torch)
            weight = weight * along.view([-1 if axis == i else 1 for i in range(len(grid.tile))])
        self.weight = weight.to(device)
        self.total = torch.zeros(grid.size, device=device)
        for corner in grid.corners:
            self.total[grid.window(corner)] += self.weight

    def weighed(self, values: Tensor, corner: Corner) -> Tensor:
        return values * self.weight

    def finished(self, total: Tensor, rows: slice) -> Tensor:
        return total / self.total[rows]
