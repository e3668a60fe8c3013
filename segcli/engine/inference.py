"""Logits of whole images: in one pass or in tiles whose overlap is blended, and averaged over flips and turns."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product

import torch
from torch import Tensor, nn

from segcli.engine.runtime import Precision

__all__ = ["STRAIGHT", "Inferer", "View", "all_views"]


@dataclass(frozen=True)
class View:
    """An image turned and flipped, and the way back."""

    turns: int
    """Quarter turns in the plane of the last two axes."""
    flips: tuple[int, ...]
    """Axes that are reversed after the turn, counted from the end."""

    def of(self, image: Tensor) -> Tensor:
        """The image as this view shows it."""
        return image.rot90(self.turns, (-2, -1)).flip(self.flips)

    def undone(self, values: Tensor) -> Tensor:
        """What a network gave for this view, in the place of the image."""
        return values.flip(self.flips).rot90(-self.turns, (-2, -1))


STRAIGHT = (View(0, ()),)
"""The image as it is, and nothing else."""


def all_views(ndim: int) -> tuple[View, ...]:
    """The eight flips and quarter turns of a 2D image, or the eight flips of a volume, whose axes may differ."""
    if ndim == 2:
        return tuple(View(turns, flips) for turns in range(4) for flips in ((), (-1,)))
    axes = range(-ndim, 0)
    return tuple(View(0, flips) for count in range(ndim + 1) for flips in combinations(axes, count))


class Inferer:
    """Runs a network on images of any size.

    Images that exceed `tile` are cut into tiles that overlap; logits are blended with a Gaussian weight, which gives
    the border of a tile, where the network sees less, little say. Of outputs without pixels, such as presence, the
    highest of all tiles counts.

    Args:
        network: Returns logits by name for `(B, C, *S)`.
        tile: Largest size given to the network at once; None for no limit.
        overlap: Share of a tile that the next one covers again.
        multiple: Tile sizes are rounded up to multiples of this.
        precision: Number format of the forward pass.
        batch_size: Tiles per forward pass.
        views: Ways to look at each image or tile; the logits are averaged over them.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        tile: tuple[int, ...] | None,
        overlap: float,
        multiple: int,
        precision: Precision,
        batch_size: int = 1,
        views: tuple[View, ...] = STRAIGHT,
    ) -> None:
        self.network = network
        self.tile = None if tile is None else tuple(-(-length // multiple) * multiple for length in tile)
        self.overlap = overlap
        self.precision = precision
        self.batch_size = batch_size
        self.views = views

    def logits(self, image: Tensor) -> dict[str, Tensor]:
        """Logits in float32, `(B, C, *S) -> {name: (B, K, *S)}`; the caller holds `torch.inference_mode`."""
        size = tuple(image.shape[2:])
        if self.tile is None or all(have <= most for have, most in zip(size, self.tile, strict=True)):
            return self._forward(image)
        return self._in_tiles(image, size, self.tile)

    def _forward(self, image: Tensor) -> dict[str, Tensor]:
        total: dict[str, Tensor] = {}
        for view in self.views:
            with self.precision.autocast():
                outputs: dict[str, Tensor] = self.network(view.of(image))
            for name, values in outputs.items():
                # an output without pixels, such as a class, has nothing to turn back
                straight = view.undone(values.float()) if values.ndim == image.ndim else values.float()
                total[name] = total[name] + straight if name in total else straight
        return {name: values / len(self.views) for name, values in total.items()}

    def _in_tiles(self, image: Tensor, size: tuple[int, ...], most: tuple[int, ...]) -> dict[str, Tensor]:
        tile = tuple(min(pair) for pair in zip(size, most, strict=True))
        weight = _weight(tile, self.overlap).to(image.device)
        total = torch.zeros(size, device=image.device)
        blended: dict[str, Tensor] = {}
        whole: dict[str, Tensor] = {}
        for windows in _groups(_windows(size, tile, self.overlap), self.batch_size):
            stacked = torch.cat([image[(slice(None), slice(None), *window)] for window in windows])
            outputs = self._forward(stacked)
            for name, values in outputs.items():
                if values.ndim < image.ndim:  # what is anywhere in the image is in the image
                    highest = torch.stack(torch.split(values, len(image))).amax(0)
                    whole[name] = torch.maximum(whole[name], highest) if name in whole else highest
                    continue
                if name not in blended:
                    blended[name] = torch.zeros(len(image), values.shape[1], *size, device=image.device)
                for window, part in zip(windows, torch.split(values, len(image)), strict=True):
                    blended[name][(slice(None), slice(None), *window)] += part * weight
            for window in windows:
                total[window] += weight
        return {**{name: values / total for name, values in blended.items()}, **whole}


def _windows(size: tuple[int, ...], tile: tuple[int, ...], overlap: float) -> list[tuple[slice, ...]]:
    """Windows that cover `size`, spread evenly, overlapping by at least the share `overlap`."""
    starts = []
    for length, part in zip(size, tile, strict=True):
        stride = max(int(part * (1.0 - overlap)), 1)
        count = -(-(length - part) // stride) + 1
        starts.append([round(index * (length - part) / max(count - 1, 1)) for index in range(count)])
    return [
        tuple(slice(start, start + part) for start, part in zip(corner, tile, strict=True))
        for corner in product(*starts)
    ]


def _groups(windows: list[tuple[slice, ...]], size: int) -> Iterator[list[tuple[slice, ...]]]:
    for start in range(0, len(windows), size):
        yield windows[start : start + size]


def _weight(tile: tuple[int, ...], overlap: float) -> Tensor:
    """Say of each pixel of a tile: a Gaussian of an eighth of the tile, and next to nothing at the very border.

    A tile is padded at its border, which the network sees as far as its receptive field reaches in. The outer quarter
    of the overlap is therefore left to the neighbours; where there are none, normalisation makes up for it.
    """
    weight = torch.ones(tile)
    for axis, length in enumerate(tile):
        position = torch.arange(length)
        profile = torch.exp(-0.5 * ((position - (length - 1) / 2) / (length / 8)).square()).clamp(min=1e-3)
        margin = int(length * overlap / 4)
        faint = torch.minimum(position, length - 1 - position) < margin
        profile = torch.where(faint, profile * 1e-4, profile)
        shape = [1] * len(tile)
        shape[axis] = length
        weight = weight * profile.view(shape)
    return weight
