"""Bytes of files that several rules look at one after the other: each file is read once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

__all__ = ["content_of", "files_held", "held", "small_or_held", "source_of"]

HELD = (".png", ".jpg", ".jpeg")
"""Endings of the files whose bytes are held: all of them are decoded from memory in any case."""
SMALL = 2**16
"""Bytes of a PNG file that is read as a whole sooner than Pillow tells its header."""
_thread = threading.local()


@contextmanager
def files_held() -> Iterator[None]:
    """Hold the bytes of PNG and JPEG files that this thread reads meanwhile."""
    before = getattr(_thread, "files", None)
    _thread.files = {}
    try:
        yield
    finally:
        _thread.files = before


def content_of(path: Path) -> bytes:
    """Read all bytes of a file, or take those that are held."""
    files: dict[str, bytes] | None = getattr(_thread, "files", None)
    if files is None:
        return path.read_bytes()
    name = str(path)  # its hash is known, that of a path is not
    if name not in files:
        content = path.read_bytes()
        if path.suffix.lower() not in HELD:
            return content
        files[name] = content
    return files[name]


def held(path: Path) -> bytes | None:
    """Return the bytes of a file where they are held; None elsewhere."""
    is_held = getattr(_thread, "files", None) is not None and path.suffix.lower() in HELD
    return content_of(path) if is_held else None


def small_or_held(path: Path) -> bytes | None:
    """Return the bytes of a file if they are held, or if it is a small PNG file that can be read; else None."""
    known = held(path)
    if known is not None or path.suffix.lower() != ".png":
        return known
    try:
        with path.open("rb", buffering=0) as stream:
            content = stream.read(SMALL + 1)
    except OSError:  # Pillow tells it
        return None
    return content if content is not None and len(content) <= SMALL else None


def source_of(path: Path) -> Path | BytesIO:
    """Return what Pillow opens: the bytes where they are held, or else the file."""
    content = held(path)
    return path if content is None else BytesIO(content)
