"""Checksum of an exported ONNX file, in its metadata: damage to the weights would give other masks without a word."""

import hashlib
from pathlib import Path

from segcli.core.errors import CheckpointError

__all__ = ["EMPTY", "SEAL", "is_sealed", "seal"]

SEAL = "segcli_sha256"
"""Key of the checksum in the metadata."""
EMPTY = "0" * 64
"""Value while the checksum is computed."""
MARK = b"\n" + bytes([len(SEAL)]) + SEAL.encode() + b"\x12" + bytes([len(EMPTY)])
"""Bytes before the checksum: an entry of the metadata, as Protocol Buffers write it."""


def seal(path: Path) -> None:
    """Compute the SHA-256 of the file with an empty checksum, and write it into the metadata entry `SEAL`."""
    content = path.read_bytes()
    at = _place(content)
    assert at is not None
    path.write_bytes(content[:at] + _digest(content, at).encode() + content[at + len(EMPTY) :])


def is_sealed(path: Path) -> bool:
    """Tell whether the file holds a checksum, and compare it with the content.

    Raises:
        CheckpointError: They differ.
    """
    content = path.read_bytes()
    at = _place(content)
    if at is None:
        return False
    if content[at : at + len(EMPTY)] != _digest(content, at).encode():
        raise CheckpointError(
            f"exported network `{path}` is damaged (its checksum does not match its content)",
            hint="copy the file again, or export the run again",
        )
    return True


def _place(content: bytes) -> int | None:
    at = content.rfind(MARK)
    return None if at < 0 else at + len(MARK)


def _digest(content: bytes, at: int) -> str:
    digest = hashlib.sha256(memoryview(content)[:at])
    digest.update(EMPTY.encode())
    digest.update(memoryview(content)[at + len(EMPTY) :])
    return digest.hexdigest()
