"""Sliding window: raw outputs for images of any size, in overlapping tiles, averaged over views and scales.

Validation (tensors) and prediction (NumPy arrays, without PyTorch) use the same code; only `Arrays` differs. For
images that may be larger than the memory, rows are returned as soon as they are complete.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic

from segcli.core.arrays import A
from segcli.core.types import Output
from segcli.data.samples import padded_size
from segcli.engine.inference.arrays import Arrays
from segcli.engine.inference.tiles.grid import Corner, Grid, Window, scaled
from segcli.engine.inference.tiles.rows import Rows
from segcli.engine.inference.tiles.tile_team import TileTeam
from segcli.engine.inference.views import STRAIGHT, View

__all__ = ["Sliding"]


class Sliding(Generic[A]):
    """Runs a network over images in overlapping tiles, and blends them with Gaussian weights.

    Outputs without pixels, such as presence, take the maximum over all tiles, or the value of the tile where the output
    that they follow is highest.

    Args:
        forward: Network: maps inputs `(B, C, *S)` to raw outputs in float32 by name.
        arrays: Operations on its inputs and outputs.
        outputs: Outputs that the task declares.
        tile: Largest size that the network sees at once; None for no limit.
        overlap: Share of a tile that the next tile covers too.
        multiple: Sizes that the network sees are multiples of this.
        batch_size: Tiles per call of the network.
        views: Views of each image or tile; the outputs are averaged over them.
        scales: Factors by which each view is resized.
        passes: Largest number of groups of tiles to process; None for all.
        team: Processes that share out the tiles of an image; None if this process sees all tiles.
    """

    def __init__(
        self,
        forward: Callable[[A], dict[str, A]],
        arrays: Arrays[A],
        outputs: Iterable[Output],
        *,
        tile: tuple[int, ...] | None,
        overlap: float,
        multiple: int,
        batch_size: int = 1,
        views: Sequence[View] = (STRAIGHT,),
        scales: Sequence[float] = (1.0,),
        passes: int | None = None,
        team: TileTeam | None = None,
    ) -> None:
        self.forward: Callable[[A], dict[str, A]] = forward
        self.arrays: Arrays[A] = arrays
        self.outputs = {output.name: output for output in outputs}
        self.tile = None if tile is None else padded_size(tile, multiple)
        self.overlap = overlap
        self.multiple = multiple
        self.batch_size = batch_size
        self.views = views
        self.scales = scales
        self.passes = passes
        self.team = team
        self.highest: dict[str, A] = {}
        """Value over the tiles so far of each output without pixels, `(B, K)`."""

    def fits(self, size: tuple[int, ...]) -> bool:
        """Tell whether the network sees an image of this size at once, without tiles."""
        return self.tile is None or all(have <= most for have, most in zip(size, self.tile, strict=True))

    def sees_whole(self, size: tuple[int, ...]) -> bool:
        """Tell whether the network sees an image of this size as it is: without tiles, and at no other scale."""
        return self.fits(size) and list(self.scales) == [1.0]

    def bands(self, read: Callable[[Window], A], size: tuple[int, ...]) -> Iterator[tuple[slice, dict[str, A]]]:
        """Yield rows along the first axis with their outputs `(B, K, rows, *rest)`, in order, each row once.

        Args:
            read: Reads the input of a window, `(B, C, *window)`.
            size: Size of the whole input; a multiple of `multiple` along each axis.
        """
        self.highest = {}
        grid, groups = self._grid(size)
        if self.arrays.streams and len(grid.corners) == 1:
            yield slice(0, size[0]), self._whole(read, grid, groups)
            return
        rows: Rows[A] | None = None
        try:
            for group, outputs in zip(groups, self._shared_outputs(read, grid, groups), strict=True):
                for corner, part in zip(group, self._parts(outputs, len(group), len(size)), strict=True):
                    rows = rows or Rows(self.arrays, grid, part)
                    if self.arrays.streams:
                        yield from rows.until(corner[0])  # rows above this tile are complete
                    rows.add(corner, part)
            assert rows is not None
            yield from rows.until(size[0])
        finally:
            if rows is not None:
                rows.close()

    def each(self, images: A) -> Iterator[tuple[dict[str, A], dict[str, A]]]:
        """Yield the outputs of each of several images `(B, C, *S)` that are a single tile, with and without pixels."""
        self.highest = {}
        for part in self._parts(self.look(images), len(images), images.ndim - 2):
            yield self._contiguous(part), self.highest
            self.highest = {}

    def _whole(self, read: Callable[[Window], A], grid: Grid, groups: list[list[Corner]]) -> dict[str, A]:
        """Compute the outputs with pixels of an image that is a single tile; there is nothing to blend."""
        (outputs,) = self._shared_outputs(read, grid, groups)
        (part,) = self._parts(outputs, 1, len(grid.size))
        return self._contiguous(part)

    def _contiguous(self, outputs: dict[str, A]) -> dict[str, A]:
        return {name: self.arrays.xp.ascontiguousarray(values) for name, values in outputs.items()}

    def help(self, read: Callable[[Window], A], size: tuple[int, ...]) -> None:
        """Run the network on this process's share of the tiles of an image whose `bands` the first process yields."""
        assert self.team is not None
        grid, groups = self._grid(size)
        self.team.help(self._outputs(read, grid, self.team.share(groups)), len(groups))

    def groups(self, size: tuple[int, ...]) -> int:
        """Count the groups of tiles that the network sees of an image."""
        return len(self._grid(size)[1])

    def _grid(self, size: tuple[int, ...]) -> tuple[Grid, list[list[Corner]]]:
        """Cut an image into tiles, and group those that the network sees together."""
        tile = size if self.tile is None else tuple(min(pair) for pair in zip(size, self.tile, strict=True))
        grid = Grid(size, tile, self.overlap)
        return grid, grid.groups(self.batch_size, within_rows=self.arrays.streams)[: self.passes]

    def _shared_outputs(
        self, read: Callable[[Window], A], grid: Grid, groups: list[list[Corner]]
    ) -> Iterator[dict[str, A]]:
        """Yield the raw outputs of all groups of tiles, with the help of the other processes."""
        if self.team is None:
            return self._outputs(read, grid, groups)
        return self.team.outputs(self._outputs(read, grid, self.team.share(groups)), len(groups))

    def _parts(self, outputs: dict[str, A], count: int, axes: int) -> Iterator[dict[str, A]]:
        """Yield the outputs with pixels of each of `count` tiles; add those without pixels to `highest`."""
        images = len(next(iter(outputs.values()))) // count
        for first in range(0, count * images, images):
            part = {name: values[first : first + images] for name, values in outputs.items()}
            names = [name for name, values in part.items() if not self._has_pixels(name, values, axes)]
            self.highest = self._highest(self.highest, {name: part.pop(name) for name in names})
            yield part

    def _highest(self, known: dict[str, A], found: dict[str, A]) -> dict[str, A]:
        """Combine the outputs without pixels of the tiles so far with those of one more tile."""
        if not known:
            return found
        highest: dict[str, A] = {}
        for name, values in found.items():
            declared = self.outputs.get(name)
            leader = None if declared is None else declared.follows
            if leader in found:
                highest[name] = self.arrays.xp.where(found[leader] > known[leader], values, known[name])
            else:
                highest[name] = self.arrays.xp.maximum(known[name], values)
        return highest

    def _has_pixels(self, name: str, values: A, axes: int) -> bool:
        """Read the output; the shape shows a further output of a user's network."""
        declared = self.outputs.get(name)
        return bool(values.ndim == axes + 2) if declared is None else declared.has_pixels

    def _outputs(
        self, read: Callable[[Window], A], grid: Grid, groups: Sequence[list[Corner]]
    ) -> Generator[dict[str, A]]:
        """Yield the raw outputs of each group of tiles."""

        def images_of(group: list[Corner]) -> A:
            return self.arrays.joined([read(grid.window(corner)) for corner in group])

        ahead = self.arrays.streams and len(groups) > 1
        for images in _read_ahead(images_of, groups) if ahead else map(images_of, groups):
            yield self.look(images)

    def look(self, images: A) -> dict[str, A]:
        """Compute raw outputs for images or tiles `(B, C, *S)`, averaged over all views and scales."""
        return _mean((self._at(images, scale) for scale in self.scales), len(self.scales))

    def _at(self, images: A, scale: float) -> dict[str, A]:
        """Run the network on resized images, and resize the outputs back."""
        if scale == 1.0:
            return self._turned(images)
        size = tuple(images.shape[2:])
        found = self._turned(self.arrays.image_at(images, scaled(size, scale, self.multiple)))
        return self._with_pixels(found, lambda values: self.arrays.resized(values, size), len(size))

    def _turned(self, images: A) -> dict[str, A]:
        """Average the outputs over all views."""
        return _mean((self._seen(images, view) for view in self.views), len(self.views))

    def _seen(self, images: A, view: View) -> dict[str, A]:
        """Run the network on turned and flipped images, and undo both in the outputs."""
        found = self.forward(self.arrays.seen(images, view))
        return self._with_pixels(found, lambda values: self.arrays.straight(values, view), images.ndim - 2)

    def _with_pixels(self, outputs: dict[str, A], change: Callable[[A], A], axes: int) -> dict[str, A]:
        """Change the outputs that have pixels; keep the others unchanged."""
        return {
            name: change(values) if self._has_pixels(name, values, axes) else values for name, values in outputs.items()
        }


def _mean(outputs: Iterable[dict[str, A]], count: int) -> dict[str, A]:
    """Average `count` outputs, with only one of them in memory at a time."""
    total: dict[str, A] = {}
    for found in outputs:
        total = {name: total[name] + values for name, values in found.items()} if total else found
    return {name: values / count for name, values in total.items()} if count > 1 else total


def _read_ahead(read: Callable[[list[Corner]], A], groups: Sequence[list[Corner]]) -> Iterator[A]:
    """Read the next group while the network works on this one."""
    with ThreadPoolExecutor(1, "read") as pool:
        ahead: Future[A] = pool.submit(read, groups[0])
        try:
            for following in [*groups[1:], None]:
                images = ahead.result()
                if following is not None:
                    ahead = pool.submit(read, following)
                yield images
        finally:
            ahead.cancel()
