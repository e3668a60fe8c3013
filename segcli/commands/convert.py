"""`segcli data convert`: folders of NIfTI volumes or 2D pictures become HDF5 files of format `hdf5_volumes`."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from segcli.core.errors import ConfigError, DataError
from segcli.core.files import refuse_occupied, replacing, typed, write_text
from segcli.core.names import composed, existing
from segcli.core.types import Array
from segcli.data.checks import raise_on_error
from segcli.data.draws import assign
from segcli.data.images import natural_key, read_image, read_labels, read_voxels
from segcli.data.placement import placement
from segcli.data.samples import resize
from segcli.data.slice_names import in_order, partner_fault
from segcli.data.slices import stacked
from segcli.data.split_settings import ShareSettings
from segcli.data.whole_numbers import whole
from segcli.datasets import SPLITS
from segcli.datasets._channel_files import by_case
from segcli.datasets._volumes import decathlon_names
from segcli.engine.events import Listener
from segcli.files import ending_of, endings, is_picture_folder, read_header, stem_of
from segcli.files._hdf5_writing import writing
from segcli.files._joined import open_joined
from segcli.files.tiff import TIFF

__all__ = ["ConvertOptions", "convert"]

PAIRS = (("imagesTr", "labelsTr"), ("images", "labels"), ("image", "label"), ("images", "masks"), ("Images", "Labels"))
"""Folders of images and labels that are known by their names."""


@dataclass(frozen=True)
class ConvertOptions:
    """Holds the options of the conversion."""

    images: str | None = None
    """Folder of the images in the source; default, also for `labels`: one of the usual names."""
    labels: str | None = None
    structures: tuple[str, ...] = ()
    """`NAME=NUMBER` for each structure; default: every number in the labels."""
    size: tuple[int, ...] | None = None
    """Size of every volume; default: the largest size along each axis."""
    fit: Literal["pad", "resize"] = "pad"
    val: float = 0.2
    test: float = 0.0
    seed: int = 0
    overwrite: bool = False


@dataclass(frozen=True)
class _Source:
    """Names the files of a case that is not read yet."""

    name: str
    image: Path
    label: Path
    others: tuple[Path, ...] = ()
    """Files of the further channels."""


@dataclass(frozen=True)
class _Facts:
    """Holds properties of a case, read before the conversion."""

    size: tuple[int, ...]
    channels: int
    numbers: tuple[int, ...]
    spacing: tuple[float, ...] | None
    dtype: np.dtype[Any]
    label: Path


def convert(source: Path, target: Path, options: ConvertOptions, *, listener: Listener) -> dict[str, Any]:
    """Write `train.h5`, `val.h5`, `test.h5`, `metadata.json` and a data-set file into `target`.

    One case is in memory at a time.

    Raises:
        ConfigError: An option has a wrong value, or `target` contains files.
        DataError: The source has no cases, or one cannot be read.
    """
    refuse_occupied(target, "replace its files with `--overwrite`, or give another folder", overwrite=options.overwrite)
    splits = _splits(source, options)
    cases = [case for found in splits.values() for case in found]
    listener.stage("reading volumes", len(cases))
    facts = []
    for case in cases:
        facts.append(_facts(case))
        listener.advance()
    numbers = _structures(source, options, facts)
    channels = {fact.channels for fact in facts}
    if len(channels) > 1:
        raise DataError(
            f"images have {' and '.join(map(str, sorted(channels)))} channels, but all images must have the same number"
        )
    size = options.size or tuple(max(fact.size[axis] for fact in facts) for axis in range(3))
    listener.stage("writing", len(cases))
    for split, found in splits.items():
        if found:
            _write(target / f"{split}.h5", found, size, numbers, options, facts[0], listener)
    spacing = _spacing(facts, size, options)
    about = {
        "structure_names": list(numbers),
        "image_size": list(size),
        "num_structures": len(numbers),
        **({} if spacing is None else {"spacing_mm": spacing}),
        "dataset_info": f"written by `segcli data convert` from {source}",
    }
    write_text(target / "metadata.json", json.dumps(about, indent=2) + "\n")
    file = target / "dataset.yaml"
    write_text(file, _dataset_yaml(target, channels.pop()))
    counts = {split: len(found) for split, found in splits.items() if found}
    return {"folder": str(target), "dataset": str(file), "images": counts, "shape": list(size), "structures": numbers}


def _dataset_yaml(target: Path, channels: int) -> str:
    return (
        f"# segcli data check {typed(target / 'dataset.yaml')}\n"
        f"name: {target.name}\nformat: hdf5_volumes\npaths: {{root: .}}\nnum_channels: {channels}\n"
    )


# ---- finding cases


def _splits(source: Path, options: ConvertOptions) -> dict[str, list[_Source]]:
    """Find the cases of each split, by folder or by a random draw."""
    if not source.is_dir():
        raise DataError(f"no folder `{source}`")
    if (source / "train").is_dir():
        return {split: _cases(source / split, options) if (source / split).is_dir() else [] for split in SPLITS}
    cases = {case.name: case for case in _cases(source, options)}
    settings = ShareSettings(val=options.val, test=options.test, seed=options.seed)
    sides = assign(list(cases), settings)
    return {split: [cases[name] for name in sides[split]] for split in SPLITS}


def _cases(folder: Path, options: ConvertOptions) -> list[_Source]:
    images, labels = _folders(folder, options)
    found, truths = _entries(images), _entries(labels)
    channels = {} if found.keys() & truths.keys() else by_case(found, list(truths))
    if channels and all(_is_volume(path) for paths in channels.values() for path in paths):
        return [_Source(name, first, truths[name], tuple(others)) for name, (first, *others) in channels.items()]
    for name, path in found.items():
        if name not in truths:
            raise DataError(
                f"image `{path}` has no labels (looked for `{labels / name}.*`)",
                hint="add the labels, or remove the image",
            )
    if not found:
        raise DataError(
            f"no volumes or pictures in `{images}`", hint=f"files end in {', '.join((*_volume_endings(), *endings(2)))}"
        )
    return [_Source(name, path, truths[name]) for name, path in found.items()]


def _folders(folder: Path, options: ConvertOptions) -> tuple[Path, Path]:
    if options.images is not None or options.labels is not None:
        pairs: tuple[tuple[str, str], ...] = ((options.images or "images", options.labels or "labels"),)
    else:
        pairs = PAIRS
    for images, labels in pairs:
        found = existing(folder, images), existing(folder, labels)
        if found[0].is_dir() and found[1].is_dir():
            return found
    tried = ", ".join(f"`{images}` with `{labels}`" for images, labels in pairs)
    raise DataError(
        f"`{folder}` has no folders of images and labels", hint=f"looked for {tried}; set `--images` and `--labels`"
    )


def _entries(folder: Path) -> dict[str, Path]:
    """Find volumes, pictures, and folders of slices by their stem, in natural order."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=natural_key):
        if path.name.startswith("."):
            continue
        if path.is_dir() or ending_of(path) in (*_volume_endings(), *endings(2)):
            name = composed(stem_of(path))
            other = found.setdefault(name, path)
            if other != path:
                raise DataError(
                    f"`{other.name}` and `{path.name}` in `{folder}` are both case `{name}`",
                    hint="rename or remove one of them",
                )
    return found


# ---- reading


def _image(path: Path, others: Sequence[Path] = ()) -> tuple[Array, tuple[float, ...] | None]:
    """Read voxels `(*S, C)` and spacing; the slices of a folder are stacked, a picture is one slice."""
    if _is_volume(path):
        with open_joined([path, *others], 3) as picture:
            return picture.read(), picture.spacing
    if path.is_dir():
        return stacked(_slices(path), read_image, one_type=True), None
    return read_image(path)[:, :, None], None


def _labels(path: Path) -> Array:
    """Read label numbers `(*S)`."""
    if path.is_dir() and not _is_volume(path):
        return stacked(_slices(path), read_labels, one_type=False)
    if _is_volume(path):
        voxels = read_voxels(path, labels=True)
        if voxels.shape[-1] != 1:
            raise DataError(f"label map `{path}` has {voxels.shape[-1]} channels", hint="write one number per voxel")
        return whole(voxels[..., 0], f"label map `{path}`").astype(np.int64)
    return read_labels(path)[:, :, None]


def _volume_endings() -> tuple[str, ...]:
    """List the file extensions of single volumes, without those that may be pictures."""
    return tuple(ending for ending in endings(3, many=False) if ending not in endings(2))


def _is_volume(path: Path) -> bool:
    """Tell whether a file or folder is one volume; a TIFF is one if it has several pages."""
    if path.is_dir():
        return is_picture_folder(path, 3)
    return ending_of(path) in _volume_endings() or (ending_of(path) in TIFF.endings and TIFF.is_stack(path))


def _slices(folder: Path) -> list[Path]:
    files = in_order([path for path in folder.iterdir() if ending_of(path) in endings(2)])
    if not files:
        raise DataError(f"no slices in `{folder}`", hint=f"pictures end in {', '.join(endings(2))}")
    return files


def _facts(case: _Source) -> _Facts:
    both = (case.image, case.label)
    if all(path.is_dir() and not _is_volume(path) for path in both):
        fault = partner_fault(_slices(case.image), _slices(case.label))
        if fault is not None:
            raise fault
    image, spacing = _image(case.image, case.others)
    labels = _labels(case.label)
    if labels.shape != image.shape[:3]:
        sizes = ["x".join(map(str, shape)) for shape in (labels.shape, image.shape[:3])]
        raise DataError(f"`{case.label}` has {sizes[0]} voxels, but its image `{case.image}` has {sizes[1]}")
    if all(map(_is_volume, both)):
        header = read_header(case.image, 3)
        for path in (case.label, *case.others):
            raise_on_error(placement(path, read_header(path, 3), case.image, header))
    numbers = tuple(int(number) for number in np.unique(labels) if number != 0)
    return _Facts(image.shape[:3], image.shape[3], numbers, spacing, image.dtype, case.label)


def _structures(source: Path, options: ConvertOptions, facts: list[_Facts]) -> dict[str, int]:
    """Choose the number of each structure by name."""
    there = sorted({number for fact in facts for number in fact.numbers})
    if options.structures:
        chosen: dict[str, int] = {}
        for text in options.structures:
            name, sign, number = text.partition("=")
            if not sign or not name or not number.isdigit():
                raise ConfigError(
                    f"structure `{text}` is not NAME=NUMBER", hint="for example `--structures liver=5,spleen=1`"
                )
            chosen[name] = int(number)
        return chosen
    if not there:
        raise DataError("all labels are 0", hint="check the label files")
    names = decathlon_names(source)
    if there == [1, 255] and not names and all(len(fact.numbers) < 2 for fact in facts):
        one, other = (next(fact for fact in facts if number in fact.numbers) for number in there)
        raise DataError(
            f"labels are coded in two ways: `{one.label}` holds 1, and `{other.label}` holds 255",
            hint="export all labels in one coding; or choose with `--structures`, such as `foreground=1`",
        )
    if there in ([255], [1]) and not names:
        return {"foreground": there[0]}
    return {names.get(number, f"structure_{number}"): number for number in there}


def _spacing(facts: list[_Facts], size: tuple[int, ...], options: ConvertOptions) -> list[float] | None:
    """Compute the median spacing of the cases; None if the spacing of a case is unknown."""
    spacings = []
    for fact in facts:
        if fact.spacing is None:
            return None
        stretch = np.array(fact.size) / size if options.fit == "resize" else np.ones(3)
        spacings.append(np.array(fact.spacing) * stretch)
    return [round(float(value), 6) for value in np.median(spacings, axis=0)]


# ---- writing


def _write(
    path: Path,
    cases: list[_Source],
    size: tuple[int, ...],
    numbers: dict[str, int],
    options: ConvertOptions,
    like: _Facts,
    listener: Listener,
) -> None:
    dtype = like.dtype if like.dtype in (np.uint8, np.uint16) else np.float32
    channels = () if like.channels == 1 else (like.channels,)
    count, masks = len(cases), (len(cases), len(numbers), *size)
    with replacing(path) as temporary, writing(temporary) as file:
        file.create("images", (count, *channels, *size), dtype, chunks=(1, *channels, *size), compression="gzip")
        file.create("masks", masks, np.uint8, chunks=(1, 1, *size), compression="gzip")
        file.create("presence_labels", masks[:2], np.uint8)
        for key in ("scenarios", "case_ids"):
            file.create(key, (count,), h5py.string_dtype())
        for index, (case, image, mask) in enumerate(_fitted(cases, size, numbers, options)):
            file.put("images", index, image if channels else image[0])
            file.put("masks", index, mask)
            present = [bool(structure.any()) for structure in mask]
            file.put("presence_labels", index, present)
            there = [name for name, found in zip(numbers, present, strict=True) if found]
            file.put("scenarios", index, _scenario(there, numbers))
            file.put("case_ids", index, case.name)
            listener.advance()


def _fitted(
    cases: list[_Source], size: tuple[int, ...], numbers: dict[str, int], options: ConvertOptions
) -> Iterator[tuple[_Source, Array, Array]]:
    """Yield each case with its image `(C, *S)` and masks `(K, *S)` at the common size."""
    for case in cases:
        image, labels = _image(case.image, case.others)[0], _labels(case.label)
        if options.fit == "resize":
            labels = labels.astype(np.int32)
            image, labels = resize(image, size), resize(labels, size, labels=True)
        else:
            image, labels = _centred(image, size), _centred(labels, size)
        yield case, np.moveaxis(image, -1, 0), np.stack([labels == number for number in numbers.values()])


def _centred(voxels: Array, size: tuple[int, ...]) -> Array:
    """Pad with the lowest value, or crop, equally on both sides of each axis."""
    for axis, length in enumerate(size):
        have = voxels.shape[axis]
        if have > length:
            start = (have - length) // 2
            voxels = np.take(voxels, range(start, start + length), axis=axis)
        elif have < length:
            before = (length - have) // 2
            widths = [(0, 0)] * voxels.ndim
            widths[axis] = (before, length - have - before)
            voxels = np.pad(voxels, widths, constant_values=voxels.min())
    return voxels


def _scenario(present: list[str], numbers: dict[str, int]) -> str:
    """Name the structures that are present, in one word.

    Example:
        >>> _scenario(["liver"], {"liver": 1, "spleen": 2, "kidney": 3})
        'liver_only'
    """
    missing = [name for name in numbers if name not in present]
    if not missing:
        return "all"
    if not present:
        return "none"
    return f"{present[0]}_only" if len(present) == 1 else f"without_{'_and_'.join(missing)}"
