"""Recognise the data set in a folder: the layouts are tried from the most special to the most general."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from segcli.core.errors import ConfigError, DataError
from segcli.core.files import shown
from segcli.planning.elsewhere import not_followed, way_to_links
from segcli.planning.facts import Recognised
from segcli.planning.listing import Listing, listed
from segcli.planning.pictures import image_folders
from segcli.planning.sequences import sequences
from segcli.planning.slices import tiff_volumes
from segcli.planning.stacks import hdf5_volumes
from segcli.planning.unread import way_to_images
from segcli.planning.volumes import nifti_volumes

__all__ = ["recognise"]

Recogniser = Callable[[Listing, Mapping[str, Any], str], Recognised | None]
LAYOUTS: dict[str, Recogniser] = {
    "hdf5_volumes": hdf5_volumes,
    "tiff_volumes": tiff_volumes,
    "nifti_volumes": nifti_volumes,
    "sequences": sequences,
    "image_folders": image_folders,
}
ORDER = (
    "name",
    "format",
    "task",
    "paths",
    "images",
    "labels",
    "include",
    "exclude",
    "extensions",
    "label_extensions",
    "image_folder",
    "label_folder",
    "fov_folder",
    "image_prefix",
    "image_suffix",
    "label_prefix",
    "channel_suffixes",
    "label_suffix",
    "class_suffixes",
    "missing_class_files",
    "class_overlap",
    "fov_prefix",
    "fov_suffix",
    "raw_folder",
    "mask_folder",
    "apply_mask",
    "classes_csv",
    "id_column",
    "class_column",
    "crop_size",
    "color",
    "intensity_range",
    "spacing_mm",
    "num_channels",
    "num_classes",
    "mask_threshold",
    "mask_format",
    "classes",
    "numbers",
    "other_labels",
    "ignore",
    "split",
    "follow_links",
)
"""Keys of a data-set file in the order in which they are written."""

WORDS = ("format", "image_folder", "label_folder", "class_column")
"""Keys that decide as text; what is no text is refused with the other mistakes in the keys."""


def recognise(root: Path, name: str, given: Mapping[str, Any]) -> Recognised:
    """Recognise the data set in a folder.

    Args:
        root: The folder.
        name: Name of the data set.
        given: Keys that are known, by dotted name; they decide where the folder leaves a choice.

    Raises:
        DataError: There is no data set, there are several, or its files cannot be used.
        ConfigError: `format` names a layout that is not recognised.
    """
    listing = listed(root, follow=given.get("follow_links") is True)
    known = {key: value for key, value in given.items() if key not in WORDS or isinstance(value, str)}
    wanted = known.get("format")
    if wanted is not None and wanted not in LAYOUTS:
        raise ConfigError(f"`format={wanted}` is no layout that is recognised", hint=f"one of {', '.join(LAYOUTS)}")
    try:
        found = _found(listing, known, name)
    except DataError as error:
        raise way_to_links(listing.outside, error) from None
    found.notes += not_followed(listing.outside)
    return _settled(found, given)


def _found(listing: Listing, known: Mapping[str, Any], name: str) -> Recognised:
    """Try the layouts, or the one that is stated."""
    wanted = known.get("format")
    for layout, recogniser in LAYOUTS.items():
        found = recogniser(listing, known, name) if wanted in (None, layout) else None
        if found is not None:
            return found
    endings = sorted({file.suffix.lower() or "no extension" for files in listing.folders.values() for file in files})
    raise DataError(
        f"`{shown(listing.root)}` holds no images that can be read: its files end in {', '.join(endings[:6])}",
        hint=way_to_images(listing)
        or "images are PNG, JPEG, TIFF, GIF or BMP, volumes NIfTI or HDF5: `segcli formats` lists all",
    )


def _settled(found: Recognised, given: Mapping[str, Any]) -> Recognised:
    """Lay stated keys over those found, drop answered questions, and put the keys into their order."""
    for key, value in given.items():
        stated = _named(value, found.keys.get("classes")) if key == "classes" else value
        found.state(key, stated, "stated on the command line")
        found.sure.pop(key, None)
    found.questions = [each for each in found.questions if each.key not in given]
    place = {key: position for position, key in enumerate(ORDER)}
    found.keys = dict(sorted(found.keys.items(), key=lambda item: place.get(item[0], len(ORDER))))
    return found


def _named(names: Any, classes: Any) -> Any:
    """Give classes that have colours the stated names, if there are as many."""
    fits = isinstance(names, list) and isinstance(classes, list) and len(names) == len(classes)
    if not fits or not all(isinstance(each, dict) for each in classes):
        return names
    return [
        {**each, "name": name} if isinstance(name, str) else name for each, name in zip(classes, names, strict=True)
    ]
