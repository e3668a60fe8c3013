"""Operations of the sliding window on tensors."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from segcli.engine.inference.arrays import Arrays, Place, Room, Weights
from segcli.engine.inference.grid import Corner, Grid, profile
from segcli.engine.inference.views import View
from segcli.nn.dims import INTERPOLATION

__all__ = ["TorchArrays", "resized"]


class TorchArrays(Arrays[Tensor]):
    """Operations on tensors."""

    xp: ClassVar[Any] = torch
    streams: ClassVar[bool] = False

    def joined(self, parts: Sequence[Tensor]) -> Tensor:
        """Join parts along their first axis."""
        return torch.cat(list(parts))

    def seen(self, images: Tensor, view: View) -> Tensor:
        """Turn and flip images."""
        return images.rot90(view.turns, (-2, -1)).flip(view.flips)

    def straight(self, values: Tensor, view: View) -> Tensor:
        """Bring what was found in this view to the place of the image."""
        return values.flip(view.flips).rot90(-view.turns, (-2, -1))

    def image_at(self, images: Tensor, size: tuple[int, ...]) -> Tensor:
        """Give images at another size."""
        return resized(images, size)

    def resized(self, values: Tensor, size: tuple[int, ...]) -> Tensor:
        """Give outputs at another size."""
        return resized(values, size)

    def weights(self, grid: Grid, like: Tensor) -> Weights[Tensor]:
        """Weights whose sum divides what was added."""
        return _Divided(grid, like.device)

    def room(self, shape: tuple[int, ...], like: Tensor) -> Room[Tensor]:
        """Make room on the device of `like`."""
        return _Memory(torch.zeros(shape, device=like.device))


def resized(values: Tensor, size: tuple[int, ...]) -> Tensor:
    """Values `(B, K, *S)` at another size: linear along each axis, without smoothing downwards."""
    return F.interpolate(values, size, mode=INTERPOLATION[len(size)])


class _Memory:
    """Zeros on the device."""

    def __init__(self, zeros: Tensor) -> None:
        self.values = zeros

    def add(self, place: Place, values: Tensor) -> None:
        self.values[place] += values

    def read(self, place: Place) -> Tensor:
        return self.values[place]

    def write(self, place: Place, values: float) -> None:
        self.values[place] = values

    def close(self) -> None:
        """Nothing is to be done."""


class _Divided:
    """One weight for all tiles, and its sum in each pixel.

    Histories of trainings were written with this order of operations; it differs from that of NumPy in the last bits.
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
