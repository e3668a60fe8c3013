"""Values that are kept in a file to be read in the next run; a damaged file counts as none."""

import json
import zlib
from pathlib import Path
from typing import Any

from segcli.core.files import write_text

__all__ = ["read_kept", "write_kept"]


def write_kept(path: Path, values: dict[str, Any]) -> None:
    """Write values with their checksum.

    Raises:
        DataError: The file cannot be written.
    """
    content = json.dumps(values, sort_keys=True)
    write_text(path, json.dumps({"values": values, "checksum": zlib.crc32(content.encode())}))


def read_kept(path: Path) -> dict[str, Any] | None:
    """Read values; None if there is no file, or a damaged one."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        values: dict[str, Any] = stored["values"]
        content = json.dumps(values, sort_keys=True)
        return values if zlib.crc32(content.encode()) == stored["checksum"] else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
