"""Objects that are smaller than one pixel of the coarsest level of a network."""

from collections.abc import Iterator, Sequence

from segcli.config.schema import Run
from segcli.data.checks import Finding

__all__ = ["Objects", "tiny_objects"]

Objects = list[tuple[int, tuple[int, ...], int, tuple[int, ...]]]
"""Number of the class, extent along each axis, number of pixels, and size of the image, of each object."""
MOST = 0.5
"""Share of the pixels of a class in tiny objects that is reported."""
FEWEST = 5
"""Objects of a class that must be known."""


def tiny_objects(run: Run, stride: int, objects: Objects, classes: Sequence[str]) -> Iterator[Finding]:
    """Find classes whose objects are mostly smaller than one pixel of the coarsest level.

    Args:
        run: The run; its `image_size` makes objects larger or smaller.
        stride: Pixels of an image along each axis per pixel of the coarsest level.
        objects: Objects in training masks.
        classes: Names of the classes by their number.
    """
    size = run.data.image_size or run.dataset.image_size
    if stride < 2:
        return
    for number in sorted({number for number, *_ in objects}):
        mine = [(_scaled(extent, whole, size), pixels) for which, extent, pixels, whole in objects if which == number]
        tiny = [(extent, pixels) for extent, pixels in mine if max(extent) < stride]
        if len(mine) < FEWEST or sum(pixels for _, pixels in tiny) < MOST * sum(pixels for _, pixels in mine):
            continue
        name = classes[number] if number < len(classes) else str(number)
        message = (
            f"{len(tiny)} of {len(mine)} objects of `{name}` are less than {stride} pixels long, which is one pixel at "
            f"the coarsest level of model `{run.model.type}`"
        )
        hint = "take a larger `data.image_size`, or a network with fewer levels (or a smaller output stride)"
        yield Finding("tiny_objects", "warning", None, message, hint)


def _scaled(extent: Sequence[int], whole: Sequence[int], size: Sequence[int] | None) -> tuple[float, ...]:
    if size is None:
        return tuple(map(float, extent))
    return tuple(length * want / have for length, want, have in zip(extent, size, whole, strict=True))
