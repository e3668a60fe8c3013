"""Checks where texts of any length lie in an HDF5 file: on some damage there, HDF5 itself never ends."""

import math
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import h5py

from segcli.core.errors import DataError

__all__ = ["refuse_endless_heap"]

HEADER = 16
"""Bytes of the header of a collection, and of each object in it, with addresses of 8 bytes."""
REFERENCE = 16
"""Bytes of a reference to a text, with addresses of 8 bytes."""
LARGEST = 2**26
"""No writer makes a larger collection for texts."""
PIECE = 2**20
"""References are read in pieces of this many bytes."""


def refuse_endless_heap(dataset: h5py.Dataset, path: Path, key: str) -> None:
    """Refuse texts of any length that lie in a damaged collection of objects.

    HDF5 walks from object to object of a collection (global heap, III.E of the file format); a free object of size 0
    keeps it there for ever, and no signal is heard. Only collections that the dataset names are looked at.

    Raises:
        DataError: A collection is damaged.
    """
    if dataset.file.id.get_create_plist().get_sizes() != (8, 8):
        return  # no writer of today
    base = dataset.file.id.get_create_plist().get_userblock()
    with path.open("rb") as stream:
        size = path.stat().st_size
        places = {place for raw in _stored(dataset, stream, base) for place in _named(raw) if base + place < size}
        for place in sorted(places):  # HDF5 refuses others by itself
            if not _ends(stream, base + place):
                raise DataError(
                    f"the texts of `{key}` in `{path}` are damaged (object collection at byte {base + place:,})",
                    hint="restore the file, or write it again",
                )


def _stored(dataset: h5py.Dataset, stream: BinaryIO, base: int) -> Iterator[bytes]:
    """Read the references to texts as stored."""
    found = dataset.id
    if dataset.chunks is not None:
        yield from _unpacked(dataset)
    elif found.get_create_plist().get_layout() == h5py.h5d.COMPACT:
        info = h5py.h5o.get_info(found)
        stream.seek(base + info.addr)
        header = stream.read(info.hdr.space.total)
        yield from (header[shift:] for shift in range(REFERENCE))  # they lie somewhere in it
    elif (offset := found.get_offset()) is not None:
        stream.seek(offset)
        for done in range(0, found.get_storage_size(), PIECE):
            yield stream.read(min(PIECE, found.get_storage_size() - done))


def _unpacked(dataset: h5py.Dataset) -> Iterator[bytes]:
    """Let HDF5 unpack each chunk in a file in memory, where the references are plain bytes that it does not follow."""
    chunks: list[Any] = []
    dataset.id.chunk_iter(chunks.append)  # to ask for them one by one takes time with the square of their number
    with h5py.File("unpacked", "w", driver="core", backing_store=False) as file:
        copies = {skipped: _plain(dataset, file, skipped) for skipped in {chunk.filter_mask for chunk in chunks}}
        for chunk in chunks:
            copy = copies[chunk.filter_mask]
            copy.id.write_direct_chunk((0,), dataset.id.read_direct_chunk(chunk.chunk_offset)[1])
            with suppress(OSError):  # HDF5 refuses it by itself
                yield copy[: LARGEST // REFERENCE].tobytes()


def _plain(dataset: h5py.Dataset, file: h5py.File, skipped: int) -> h5py.Dataset:
    """Make a dataset of plain bytes for one chunk, with the same filters except those whose bit says skipped."""
    filters, kept = dataset.id.get_create_plist(), h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    size = math.prod(dataset.chunks)
    kept.set_chunk((size,))
    for position in range(filters.get_nfilters()):
        if not skipped >> position & 1:  # HDF5 2.0 does not heed the bits of a chunk that was just written
            kept.set_filter(*filters.get_filter(position)[:3])
    opaque, space = h5py.h5t.create(h5py.h5t.OPAQUE, REFERENCE), h5py.h5s.create_simple((size,))
    return h5py.Dataset(h5py.h5d.create(file.id, f"{skipped}".encode(), opaque, space, kept))


def _named(raw: bytes) -> Iterator[int]:
    """Find the collections that references of 16 bytes name: length, address, index."""
    for _, place, _ in struct.iter_unpack("<IQI", raw[: len(raw) // REFERENCE * REFERENCE]):
        if place not in (0, 2**64 - 1):
            yield place


def _ends(stream: BinaryIO, place: int) -> bool:
    """Walk through a collection as HDF5 does; False if the walk would not end."""
    stream.seek(place)
    head = stream.read(HEADER)
    if len(head) < HEADER or head[:4] != b"GCOL":
        return True  # HDF5 refuses it by itself
    (size,) = struct.unpack_from("<Q", head, 8)
    if size > LARGEST:
        return False
    content, at = stream.read(max(size - HEADER, 0)), 0
    while at + HEADER <= len(content):
        index, _, _, length = struct.unpack_from("<HHIQ", content, at)
        step = (HEADER + -(-length // 8) * 8 if index else length) % 2**64
        if step == 0:
            return False
        at += step
    return True
