"""PNG files that end too early although all their pixels are there."""

from collections.abc import Iterator
from pathlib import Path

from segcli.data.checks import Finding

__all__ = ["cut_ends"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = b"IEND\xaeB`\x82"
"""Last bytes of a whole file."""


def cut_ends(path: Path | None) -> Iterator[Finding]:
    """Find a PNG file whose last bytes are missing; a file with something behind its end is whole."""
    if path is None or path.suffix.lower() != ".png":
        return
    with path.open("rb") as file:
        if file.read(len(SIGNATURE)) != SIGNATURE:
            return
        file.seek(-len(END), 2)
        if file.read() == END:
            return
        file.seek(0)
        if END in file.read():
            return
    message = f"`{path}` ends too early: its pixels can be read, but the last bytes are missing"
    yield Finding("cut_off_file", "warning", path, message, "copy the file again from where it is whole")
