"""Faults of volumes in files of their own that show without decoding: files passed over, sizes, positions."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from segcli.core.errors import DataError
from segcli.data.checks import Finding
from segcli.data.faults.orientation import OtherTurn
from segcli.data.images import natural_key
from segcli.data.placement import HINT, placement, unusual
from segcli.data.samples import Case, Sample
from segcli.datasets._channel_files import channel_against, without_suffix
from segcli.files import Header, ending_of, other_volume

__all__ = ["SAME_SIZE", "differ", "header_faults", "turned_as_image", "unread"]

SAME_SIZE = "export the label map at the size of its image"


def unread(folder: Path, suffixes: Sequence[str], taken: Sequence[str]) -> Iterator[Finding]:
    """Report volumes that are passed over.

    Args:
        folder: Folder of images or label maps.
        suffixes: Ends of the stems that are read.
        taken: Extensions that are read.
    """
    names = [path for path in sorted(folder.iterdir(), key=natural_key) if not path.name.startswith(".")]
    other = [path for path in names if other_volume(path)]
    if other:
        message = f"`{folder}` holds {len(other)} files of a format that is not read, such as `{other[0].name}`"
        yield Finding("unread_files", "warning", folder, message, other_volume(other[0]) or "")
    yield from without_suffix(folder, [path for path in names if ending_of(path) in taken], suffixes)


def header_faults(case: Case, header: Callable[[Path], Header]) -> Iterator[Finding]:
    """Find unreadable files of a case, and files of another size or place than its image."""
    headers: dict[Path, Header] = {}
    files = [*(("image", path) for path in case.images), *(("label", path) for path in case.labels)]
    for kind, path in files:
        try:
            headers[path] = header(path)
            yield from unusual(path, headers[path])
        except DataError as error:
            yield Finding(f"unreadable_{kind}", "error", path, error.message, error.hint or "")
    image = headers.get(case.image)
    if image is None:
        return
    for other in case.others:
        if other in headers:
            yield from channel_against(other, headers[other], case.image, image)
    for path in case.labels:
        if path not in headers:
            continue
        if image.size != headers[path].size:
            message = differ(path, headers[path].size, case.image, image.size)
            yield Finding("size_mismatch", "error", path, message, SAME_SIZE, (case.image,))
        yield from placement(path, headers[path], case.image, image)


def differ(label: Path, size: tuple[int, ...], image: Path, image_size: tuple[int, ...]) -> str:
    """Say that a label map has another size than its image."""
    sizes = ["x".join(map(str, each)) for each in (size, image_size)]
    return f"`{label}` has {sizes[0]} voxels, but its image `{image}` has {sizes[1]}"


def turned_as_image(case: Case, sample: Sample, header: Callable[[Path], Header]) -> OtherTurn | None:
    """Turn a label map by the affine of its image in place of its own; None if both turn alike."""
    if case.label is None or "mask" not in sample.maps:
        return None
    ours, others = header(case.label).grid, header(case.image).grid
    turns = {str((grid.axes, grid.flips)) for grid in (header(path).grid for path in case.labels) if grid is not None}
    if ours is None or others is None or len(turns) > 1 or (ours.axes, ours.flips) == (others.axes, others.flips):
        return None
    mask = np.ascontiguousarray(others.as_read(ours.as_stored(sample.maps["mask"])))
    if mask.shape != sample.maps["mask"].shape:
        return None
    words = f"label map `{case.label}` has {ours.words}, its image `{case.image}` {others.words}"
    return OtherTurn(mask, words, HINT, is_usual=True)
