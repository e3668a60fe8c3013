"""PNG and JPEG files that end too early although all their pixels are there."""

from collections.abc import Iterator
from pathlib import Path

from segcli.data.checks import Finding
from segcli.files._content import content_of
from segcli.files._png_chunks import SIGNATURE

__all__ = ["cut_ends"]

END = b"IEND\xaeB`\x82"
"""Last bytes of a whole file."""
JPEG = (".jpg", ".jpeg")
SCAN, END_OF_JPEG = b"\xff\xda", b"\xff\xd9"


def cut_ends(path: Path | None) -> Iterator[Finding]:
    """Find a PNG or JPEG file whose last bytes are missing; a file with something behind its end is whole."""
    if path is None or not (_png_is_cut(path) or _jpeg_is_cut(path)):
        return
    message = f"`{path}` ends too early: its pixels can be read, but the last bytes are missing"
    yield Finding("cut_off_file", "warning", path, message, "copy the file again from where it is whole")


def _png_is_cut(path: Path) -> bool:
    if path.suffix.lower() != ".png":
        return False
    content = content_of(path)
    return content.startswith(SIGNATURE) and not content.endswith(END) and END not in content


def _jpeg_is_cut(path: Path) -> bool:
    if path.suffix.lower() not in JPEG:
        return False
    content = content_of(path)
    if content.endswith(END_OF_JPEG):
        return False
    return content.startswith(END_OF_JPEG[:1]) and content.rfind(END_OF_JPEG) < content.rfind(SCAN)
