"""Safetensors files: the checksum that segcli writes over the tensors, and the metadata at the start of the file."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, BinaryIO

import torch
from torch import Tensor

__all__ = ["CHECKSUM", "KEY", "OWN_PREFIXES", "below", "checksum", "checksums", "matches", "metadata"]

KEY = "segcli"
"""Key of segcli's header in the metadata."""
CHECKSUM = "checksum"
LONGEST_HEADER = 2**28
"""Longest header in bytes; a larger length means that the file is not a safetensors file."""
OWN_PREFIXES = ("model/", "ema/")
"""Prefixes of the names of weights in files that segcli writes."""


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Compute the checksum over the header and the tensors, which are on the CPU."""
    return checksums(text, tensors)[1]


def checksums(text: str, tensors: Mapping[str, Tensor]) -> tuple[str, str]:
    """Compute the checksum over the header alone, and over the header and the tensors."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    of_text = digest.hexdigest()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode("utf-8", "surrogatepass"))
        if tensor.numel():
            bytes_of: Any = tensor.reshape(-1).view(torch.uint8).numpy()
            digest.update(bytes_of)
    return of_text, digest.hexdigest()


def metadata(stream: BinaryIO) -> dict[str, str]:
    """Read the metadata from the JSON at the start of a safetensors file; empty if there is none.

    Raises:
        ValueError: The file does not start like a safetensors file, has another length than it states, or its metadata
            is not text.
    """
    size = int.from_bytes(stream.read(8), "little")
    try:
        whole = json.loads(stream.read(min(size, LONGEST_HEADER)))
    except (ValueError, RecursionError):
        raise ValueError("it does not start like a safetensors file") from None
    _refuse_other_length(whole, stream, 8 + size)
    found = whole.get("__metadata__", {}) if isinstance(whole, dict) else {}
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise ValueError("its metadata is not text")
    return found


def _refuse_other_length(whole: Any, stream: BinaryIO, start: int) -> None:
    """Refuse a file of another length than its header states, before it is read into memory."""
    entries = whole.values() if isinstance(whole, dict) else ()
    ends = [entry.get("data_offsets") for entry in entries if isinstance(entry, dict)]
    stated = start + max(
        (end[1] for end in ends if isinstance(end, list) and [*map(type, end)] == [int, int]), default=0
    )
    there = stream.seek(0, 2)
    if there != stated:
        raise ValueError(f"it has {there:,} bytes, but its header states {stated:,}")


def matches(found: Mapping[str, str], tensors: Mapping[str, Tensor]) -> bool:
    """Tell whether the tensors are those that were written; files of other programs hold no checksum and match.

    A file whose names are those of segcli but whose metadata is lost does not match.
    """
    own = KEY in found or CHECKSUM in found or any(name.startswith(OWN_PREFIXES) for name in tensors)
    return not own or found.get(CHECKSUM) == checksum(found.get(KEY, ""), tensors)
