"""Checks where texts of any length lie in an HDF5 file: on some damage there, HDF5 itself never ends."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import h5py

from segcli.core.errors import DataError

__all__ = ["refuse_endless_heap"]

HEADER = 16
"""Bytes of the header of a collection, and of each object in it, with addresses of 8 bytes."""
LARGEST = 2**26
"""No writer makes a larger collection for texts."""


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
        places = {place for raw in _stored(dataset, stream) for place in _named(raw)}
        inside = (place for place in sorted(places) if base + place < path.stat().st_size)
        for place in inside:  # HDF5 refuses others by itself
            if not _ends(stream, base + place):
                raise DataError(
                    f"the texts of `{key}` in `{path}` are damaged (object collection at byte {base + place:,})",
                    hint="restore the file, or write it again",
                )


def _stored(dataset: h5py.Dataset, stream: BinaryIO) -> Iterator[bytes]:
    """Read the references to texts as stored."""
    found = dataset.id
    if dataset.chunks is None:
        offset = found.get_offset()
        if offset is not None:
            stream.seek(offset)
            yield stream.read(found.get_storage_size())
        return
    for index in range(found.get_num_chunks()):
        offset = found.get_chunk_info(index).chunk_offset
        _, raw = found.read_direct_chunk(offset)
        yield _unpacked(raw) if dataset.compression == "gzip" else raw


def _unpacked(raw: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(raw, LARGEST)
    except zlib.error:
        return b""  # HDF5 refuses it by itself


def _named(raw: bytes) -> Iterator[int]:
    """Find the collections that references of 16 bytes name: length, address, index."""
    for _, place, _ in struct.iter_unpack("<IQI", raw[: len(raw) // HEADER * HEADER]):
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
