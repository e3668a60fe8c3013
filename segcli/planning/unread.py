"""Say what to do with files of a data set that are not read."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from segcli.files import ending_of, other_volume
from segcli.planning.listing import Listing

__all__ = ["way_to_images", "way_to_masks"]

ARRAYS = (".npy", ".npz")
MATLAB = (".mat",)
MICROSCOPES = (".czi", ".lif", ".nd2", ".oib", ".oif", ".vsi", ".ims", ".lsm", ".qptiff", ".mrxs")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm")
CELLPOSE = "_seg.npy"
WAYS: Mapping[tuple[str, ...], str] = {
    ARRAYS: "write each array as an image of its own: 2D images as PNG or TIFF, volumes as NIfTI",
    MATLAB: "write each mask as PNG with `scipy.io.loadmat` and Pillow",
    MICROSCOPES: "export the images as TIFF, such as with Fiji",
    VIDEOS: "write the frames as images: `ffmpeg -i NAME frames/%05d.png`",
}
OUTLINES = (".json", ".xml", ".geojson", ".svg", ".txt")
"""Extensions of files of outlines."""


def way_to_images(listing: Listing) -> str | None:
    """Say how files of a folder without readable images become images; None if nobody knows."""
    files = [file for each in listing.folders.values() for file in each]
    return next((way for file in files if (way := other_volume(file) or _way(file)) is not None), None)


def way_to_masks(listing: Listing) -> str | None:
    """Say how files beside images without masks become masks; None if there are none."""
    stems = {file.stem for files in listing.pictures.values() for file in files}
    files = [file for each in listing.folders.values() for file in each]
    for file in _most_likely(files, stems):
        where = file.relative_to(listing.root).as_posix()
        if ending_of(file) in OUTLINES:
            return f"outlines, such as those in `{where}`, are no masks: paint them into PNG files first"
        if file.name.endswith(CELLPOSE):
            return f"`{where}` is of Cellpose: save its masks as PNG, with `--save_png` or in the menu of its window"
        if (way := _way(file)) is not None:
            return f"if `{where}` holds a mask: {way}"
    return None


def _way(file: Path) -> str | None:
    return next((way for endings, way in WAYS.items() if ending_of(file) in endings), None)


def _most_likely(files: Iterable[Path], stems: set[str]) -> list[Path]:
    """List the files that may hold masks: those with the stem of an image first; of text files only these."""
    endings = {ending for each in (ARRAYS, MATLAB, OUTLINES) for ending in each}
    found = [file for file in files if ending_of(file) in endings and (file.stem in stems or ending_of(file) != ".txt")]
    return sorted(found, key=lambda file: file.stem not in stems)
