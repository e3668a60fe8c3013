"""Checkpoint file: a safetensors file of tensors with a JSON header, and a checksum over both.

Writing needs no pickle, and reading runs no code from the file.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from segcli.core.errors import CheckpointError
from segcli.core.files import replacing
from segcli.core.header_text import HeaderText, decoded
from segcli.core.names import printable
from segcli.engine.checkpoint_header import Header, refuse_odd
from segcli.nn.tensor_files import CHECKSUM, KEY, below, checksum, checksums, metadata

__all__ = ["FORMAT", "Checkpoint", "Sealed", "read_checkpoint", "read_header", "sealed", "write_checkpoint"]

FORMAT = 1
OF_HEADER = "header_checksum"
"""Key of the checksum over the header alone, which is also read without the tensors."""


@dataclass
class Checkpoint:
    """Content of a checkpoint file."""

    header: dict[str, Any]
    tensors: dict[str, Tensor]
    """Tensors by name, such as `model/head.weight`."""

    def below(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors whose name starts with `prefix/`, with this prefix removed."""
        return below(self.tensors, f"{prefix}/")


@dataclass(frozen=True)
class Sealed:
    """Checkpoint as it is written, perhaps to several files: with its header as text, and its checksum."""

    metadata: dict[str, str]
    tensors: dict[str, Tensor]


def sealed(checkpoint: Checkpoint, text: HeaderText | None = None) -> Sealed:
    """Convert a checkpoint for its files; it must not change until they are written.

    Args:
        checkpoint: The checkpoint.
        text: Converter of all headers of this training; default: a new one.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    _unshare(tensors)
    header = (text or HeaderText()).of({"format": FORMAT, **checkpoint.header})
    of_header, of_all = checksums(header, tensors)
    return Sealed({KEY: header, CHECKSUM: of_all, OF_HEADER: of_header}, tensors)


def write_checkpoint(path: Path, checkpoint: Checkpoint | Sealed) -> None:
    """Write the file atomically and flush it to the disk."""
    ready = checkpoint if isinstance(checkpoint, Sealed) else sealed(checkpoint)
    with replacing(path) as temporary:
        temporary.touch()
        usual = temporary.stat().st_mode  # safetensors hides its files from everybody but their owner
        try:
            save_file(ready.tensors, temporary, metadata=ready.metadata)
        except SafetensorError as error:  # raised when the disk is full
            raise OSError(str(error)) from error
        temporary.chmod(usual)


def _unshare(tensors: dict[str, Tensor]) -> None:
    """Copy tied weights: safetensors does not allow one storage under two names."""
    seen: set[int] = set()
    for name, tensor in tensors.items():
        if tensor.numel() and tensor.data_ptr() in seen:
            tensors[name] = tensor.clone()
        seen.add(tensor.data_ptr())


def read_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a checkpoint; its tensors are on the CPU.

    Raises:
        CheckpointError: The file is missing, damaged, or not a checkpoint of segcli.
    """
    # Open and read once: a training may replace the file between two openings, or while it is memory-mapped.
    with _opened(path) as stream:
        text, stated = _metadata(stream, path)
        stream.seek(0)
        try:
            tensors = load(stream.read())
        except (SafetensorError, ValueError, RuntimeError) as error:
            raise _damaged(path, str(error)) from error
    if checksum(text, tensors) != stated:
        raise _damaged(path, "its checksum does not match its content")
    return Checkpoint(_header(path, text), tensors)


def read_header(path: Path) -> dict[str, Any]:
    """Read only the header, without the tensors.

    Raises:
        CheckpointError: The file is missing, damaged, or not a checkpoint of segcli.
    """
    with _opened(path) as stream:
        return _header(path, _metadata(stream, path)[0])


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if not path.is_file():
        raise CheckpointError(
            f"no checkpoint at `{path}`", hint="`segcli train` writes `last.safetensors` after every epoch"
        )
    if path.suffix in {".pt", ".pth", ".ckpt"}:
        raise CheckpointError(f"`{path}` is not a segcli checkpoint", hint="a run's checkpoints end in `.safetensors`")
    try:
        with path.open("rb") as stream:
            yield stream
    except OSError as error:
        raise _damaged(path, str(error)) from error


def _metadata(stream: BinaryIO, path: Path) -> tuple[str, str]:
    """Read segcli's header and the checksum from the JSON at the start of the safetensors file."""
    try:
        found = metadata(stream)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if KEY not in found or CHECKSUM not in found:
        raise CheckpointError(f"`{path}` holds weights but no segcli header", hint="use a checkpoint of a segcli run")
    if found.keys() - {KEY, CHECKSUM, OF_HEADER}:
        raise _damaged(path, "it holds entries that segcli does not write")
    if OF_HEADER in found and found[OF_HEADER] != checksum(found[KEY], {}):  # older files have none
        raise _damaged(path, "the checksum of its header does not match")
    return found[KEY], found[CHECKSUM]


def _header(path: Path, text: str) -> dict[str, Any]:
    try:
        values = decoded(json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(path, "its header is not JSON") from error
    if not isinstance(values, dict):
        raise _damaged(path, "its header holds no keys")
    version = values.get("format")
    if version != FORMAT:
        raise CheckpointError(
            f"`{path}` has checkpoint format {printable(str(version))}, this segcli reads {FORMAT}",
            hint="use the segcli version that wrote it",
        )
    header = Header(path, values)
    refuse_odd(header)
    return header


def _damaged(path: Path, detail: str) -> CheckpointError:
    return CheckpointError(
        f"checkpoint `{path}` is damaged ({detail[:100]})", hint="use another checkpoint of the run, or train again"
    )
