"""Logits of whole images: in one pass or in tiles whose overlap is blended, averaged over flips, turns and scales."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segcli.engine.inference.sliding import scaled, starts_of, ways_of
from segcli.engine.runtime import Precision
from segcli.nn.dims import INTERPOLATION

__all__ = ["Inferer", "View", "views_of"]


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


def views_of(ndim: int, tta: bool | Literal["horizontal"]) -> tuple[View, ...]:
    """Ways to look at an image whose logits are averaged, as prediction takes them."""
    return tuple(View(turns, flips) for turns, flips in ways_of(ndim, tta))


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
        scales: Factors of the size at which each view is taken.
        passes: Forward passes that are done of an image in tiles, for a forecast of memory; the result is then not
            whole. All when left out.
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
        views: tuple[View, ...] = (View(0, ()),),
        scales: Sequence[float] = (1.0,),
        passes: int | None = None,
    ) -> None:
        self.network = network
        self.tile = None if tile is None else tuple(-(-length // multiple) * multiple for length in tile)
        self.overlap = overlap
        self.multiple = multiple
        self.precision = precision
        self.batch_size = batch_size
        self.views = views
        self.scales = scales
        self.passes = passes

    def logits(self, image: Tensor) -> dict[str, Tensor]:
        """Logits in float32, `(B, C, *S) -> {name: (B, K, *S)}`; the caller holds `torch.inference_mode`."""
        size = tuple(image.shape[2:])
        if self.tile is None or all(have <= most for have, most in zip(size, self.tile, strict=True)):
            return self._forward(image)
        return self._in_tiles(image, size, self.tile)

    def _forward(self, image: Tensor) -> dict[str, Tensor]:
        if tuple(self.scales) == (1.0,):
            return self._turned(image)
        size, mode = tuple(image.shape[2:]), INTERPOLATION[image.ndim - 2]
        total: dict[str, Tensor] = {}
        for scale in self.scales:
            seen = F.interpolate(image, scaled(size, scale, self.multiple), mode=mode) if scale != 1.0 else image
            for name, values in self._turned(seen).items():
                restored = F.interpolate(values, size, mode=mode) if values.ndim == image.ndim else values
                total[name] = total[name] + restored if name in total else restored
        return {name: values / len(self.scales) for name, values in total.items()}

    def _turned(self, image: Tensor) -> dict[str, Tensor]:
        """Mean of the outputs over all views of an image."""
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
        groups = _groups(_windows(size, tile, self.overlap), self.batch_size)
        for windows in islice(groups, self.passes):
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
    starts = [starts_of(length, part, overlap) for length, part in zip(size, tile, strict=True)]
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
