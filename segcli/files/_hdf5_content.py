"""Tells what an HDF5 file itself holds, and what HDF5 would take from other files or fill in.

Links, sources, filters and chunks are looked at before values are read: HDF5 gives zeros for values that are missing,
and reads any file of the machine that a dataset names.
"""

import importlib
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from segcli.core.errors import DataError
from segcli.core.names import printable
from segcli.core.types import Array
from segcli.files._hdf5_heap import refuse_endless_heap
from segcli.files._promises import DEFLATE

__all__ = ["dataset_in", "never_written", "numbers_in", "strings_in", "unwritten"]

PACKED = {"scale_factor": 1, "add_offset": 0}
"""Attributes with which netCDF packs values, and their values for those that are stored as they are."""
MOST_LINKS = 32
"""Links and groups on the way to one dataset."""
KINDS = {"S": "text", "O": "text or objects", "V": "compound or opaque values", "c": "complex numbers"}
"""Words for what a dataset holds, by the kind of its data type."""

PLUGINS = {
    307: "bzip2",
    32000: "lzf",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32017: "sz",
    32018: "fcidecomp",
    32024: "sz3",
    32026: "blosc2",
    32028: "sperr",
}
"""Filters by their registered number; the package `hdf5plugin` brings them."""


def dataset_in(file: h5py.File, path: Path, key: str) -> Any:
    """Find a dataset whose values are in this file; None if there is nothing of this name.

    Raises:
        DataError: The name leads out of the file or to something else, or a filter is missing.
    """
    found = _followed(file, path, key)
    if found is None:
        return None
    if not isinstance(found, h5py.Dataset):
        kind = "a group" if isinstance(found, h5py.Group) else "a type"
        raise DataError(f"`{key}` of `{path}` is {kind}, but it must be a dataset", hint=f"write the dataset `{key}`")
    if found.shape is None:
        raise DataError(f"`{key}` of `{path}` is empty: it has no shape and no values", hint=f"write values to `{key}`")
    _refuse_more_than_file(found, path, key)
    _refuse_other_files(found, path, key)
    _refuse_missing_filters(found, path, key)
    return found


def _refuse_more_than_file(dataset: h5py.Dataset, path: Path, key: str) -> None:
    """Refuse more cases than the bytes of the file can hold."""
    count, stored = int(dataset.shape[0]) if dataset.shape else 0, path.stat().st_size
    if count > stored * DEFLATE:
        raise DataError(
            f"`{path}` states {count:,} cases in `{key}`, but its {stored:,} bytes cannot hold them",
            hint="write the file again",
        )


def numbers_in(file: h5py.File, path: Path, key: str) -> Any:
    """Find a dataset of numbers, as `dataset_in` does.

    Raises:
        DataError: As `dataset_in`, or the dataset holds no numbers.
    """
    found = dataset_in(file, path, key)
    if found is not None and found.dtype.kind not in "buif":
        held = KINDS.get(found.dtype.kind, str(found.dtype))
        raise DataError(f"`{key}` of `{path}` holds {held}, but it must hold numbers", hint=f"write `{key}` as numbers")
    if found is not None:
        _refuse_packed(found, path, key)
    return found


def _refuse_packed(dataset: h5py.Dataset, path: Path, key: str) -> None:
    """Refuse numbers that netCDF packed with a scale of their own, which may differ from file to file."""
    for name, plain in PACKED.items():
        if name not in dataset.attrs:
            continue
        # a text is not read: HDF5 never ends on a damaged one
        is_number = dataset.attrs.get_id(name).dtype.kind in "buif"
        stated = np.ravel(dataset.attrs[name]) if is_number else np.array([])
        if not stated.size or not (stated == plain).all():
            shown = ", ".join(f"{value:g}" for value in stated[:3]) or "no number"
            raise DataError(
                f"`{key}` of `{path}` states `{name}: {shown}`, so what is stored are not the values themselves",
                hint=f"write the values themselves into `{key}`, without this attribute",
            )


def strings_in(file: h5py.File, path: Path, key: str, count: int) -> list[str] | None:
    """Read a dataset of one text for each case; None if there is no such dataset.

    Raises:
        DataError: It has another shape, holds compound values or objects, or a text is not UTF-8.
    """
    found = dataset_in(file, path, key)
    if found is None:
        return None
    if found.dtype.kind == "V" or (found.dtype.kind == "O" and h5py.check_string_dtype(found.dtype) is None):
        held = "objects" if found.dtype.kind == "O" else KINDS["V"]
        raise DataError(f"`{key}` of `{path}` holds {held}, but it must hold text", hint=f"write `{key}` as text")
    if found.shape != (count,):
        shape = "x".join(map(str, found.shape)) or "a single value"
        raise DataError(f"`{key}` of `{path}` is {shape}, but there are {count} cases", hint="write one for each case")
    if found.dtype.kind == "O":
        refuse_endless_heap(found, path, key)
    return [_text(value, f"`{key}[{index}]` of `{path}`", path, key) for index, value in enumerate(found[:])]


def _text(value: Any, place: str, path: Path, key: str) -> str:
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    if not isinstance(value, bytes):
        if isinstance(value, float | np.floating) and not math.isfinite(value):
            raise DataError(f"{place} is {value}", hint="write a name for each case")
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise DataError(f"{place} is not UTF-8 text: {bytes(value)!r}", hint=_rewritten(path, key)) from None


def _rewritten(path: Path, key: str) -> str:
    """Return a command that rewrites Latin-1 text as UTF-8."""
    change = f'v = [t.decode("latin-1") for t in f["{key}"][:]]; del f["{key}"]; f["{key}"] = v'
    return f'if it is Latin-1, write it again: `python -c \'import h5py; f = h5py.File("{path}", "a"); {change}\'`'


# ---- values of other files


def _followed(file: h5py.File, path: Path, key: str) -> Any:
    """Follow links by their type, because a look-up by name would open other files."""
    node: Any = file
    steps, target = [key.encode()], b""
    for _ in range(MOST_LINKS):
        while steps and steps[0] in (b"", b"."):
            steps.pop(0)
        if not steps:
            return node
        step = steps.pop(0)
        if not isinstance(node, h5py.Group) or not node.id.links.exists(step):
            if not target:
                return None
            raise DataError(
                f"`{key}` of `{path}` is a link to {_shown(target)}, which is not in the file",
                hint=f"write the dataset `{key}` itself",
            )
        kind = node.id.links.get_info(step).type
        if kind == h5py.h5l.TYPE_HARD:
            node = node[step]
        elif kind == h5py.h5l.TYPE_SOFT:
            target = node.id.links.get_val(step)
            node = file if target.startswith(b"/") else node
            steps = [*target.split(b"/"), *steps]
        else:
            other = node.id.links.get_val(step)[0] if kind == h5py.h5l.TYPE_EXTERNAL else b"?"
            raise DataError(f"`{key}` of `{path}` is a link to another file, {_shown(other)}", hint=_copied(path))
    raise DataError(f"`{key}` of `{path}` is a link that leads round in a circle", hint=f"write the dataset `{key}`")


def _refuse_other_files(dataset: h5py.Dataset, path: Path, key: str) -> None:
    properties = dataset.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL:
        names = sorted({properties.get_virtual_filename(i) for i in range(properties.get_virtual_count())} - {"."})
        sources = f"the file {_shown(names[0])}" if names else "other datasets of the file"
        more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        raise DataError(
            f"`{key}` of `{path}` is a virtual dataset: its values are in {sources}{more}, and are 0 without it",
            hint=_copied(path),
        )
    if properties.get_external_count():
        name = properties.get_external(0)[0]
        raise DataError(f"`{key}` of `{path}` has its values in another file, {_shown(name)}", hint=_copied(path))


def _shown(name: str | bytes) -> str:
    return f"`{printable(name.decode(errors='replace') if isinstance(name, bytes) else name, 200)}`"


def _copied(path: Path) -> str:
    """Give a command that collects the values of a file in a new one."""
    new = path.with_name(f"{path.stem}_whole{path.suffix}")
    copy = "new.create_dataset(k, data=old[k][()]) for k in old"
    return (
        "write the values into one file, where all files are there: `python -c 'import h5py; "
        f'old = h5py.File("{path}"); new = h5py.File("{new}", "w"); [{copy}]\'`'
    )


# ---- filters and chunks


def _refuse_missing_filters(dataset: h5py.Dataset, path: Path, key: str) -> None:
    properties = dataset.id.get_create_plist()
    for position in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(position)
        if h5py.h5z.filter_avail(code) or _skipped(dataset, position):
            continue
        with suppress(ImportError):
            importlib.import_module("hdf5plugin")  # registers its filters
        if h5py.h5z.filter_avail(code):
            continue
        called = PLUGINS.get(code) or printable(name.decode(errors="replace"), 60)
        otherwise = "" if code in PLUGINS else ", or write the file anew with gzip, if that does not bring the filter"
        what = f"`{called}` ({code})" if called else str(code)
        raise DataError(
            f"`{key}` of `{path}` is compressed with the HDF5 filter {what}, which is not installed",
            hint=f"`pip install hdf5plugin`{otherwise}",
        )


def _skipped(dataset: h5py.Dataset, position: int) -> bool:
    """Tell whether the first chunk was written without the filter, which an optional one allows."""
    if not dataset.size or not dataset.id.get_num_chunks():
        return True
    return bool(dataset.id.get_chunk_info(0).filter_mask >> position & 1)


def unwritten(dataset: Any) -> Array:
    """Compute for each case the share of its chunks that were never written, `(N)`; HDF5 fills them in when reading."""
    count = dataset.shape[0]
    if not dataset.size:
        return np.zeros(count)
    if dataset.chunks is None:
        return np.full(count, float(dataset.id.get_storage_size() == 0))
    along = [-(-length // chunk) for length, chunk in zip(dataset.shape, dataset.chunks, strict=True)]
    if dataset.id.get_num_chunks() == math.prod(along):
        return np.zeros(count)
    stored = np.zeros(along[0])

    def add(chunk: Any) -> None:
        stored[chunk.chunk_offset[0] // dataset.chunks[0]] += 1

    dataset.id.chunk_iter(add)
    missing: Array = (1 - stored / math.prod(along[1:]))[np.arange(count) // dataset.chunks[0]]
    return missing


def never_written(key: str, place: str, share: float) -> DataError:
    """Make the error for a case whose chunks were never written, wholly or in part."""
    part = "was never written" if share == 1 else f"was written only in part ({share:.0%} of its chunks are missing)"
    return DataError(
        f"`{place}`: its part of `{key}` {part}, and HDF5 would fill it in",
        hint=f"the file was not finished: write it again; where 0 is meant, write zeros into `{key}`",
    )
