"""Choice of one page or frame in a file of several, so that a 2D image is never the first of many without a word."""

from pathlib import Path

from PIL import GifImagePlugin, Image, UnidentifiedImageError

from segcli.core.errors import DataError
from segcli.files._content import source_of

__all__ = ["chosen", "open_frame"]

GifImagePlugin.LOADING_STRATEGY = GifImagePlugin.LoadingStrategy.RGB_AFTER_DIFFERENT_PALETTE_ONLY
# later frames keep the numbers of a common palette, such as class numbers of a mask
HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
"""Brands of HEIC files, which phones write."""
ICONS = ("ICO", "ICNS")


def chosen(path: Path, count: int, page: int | None, word: str = "pages") -> int:
    """Choose the page to read; a file of one page needs no choice.

    Args:
        path: The file.
        count: Its pages.
        page: Number of the page that the data set states, from 0; None if it states none.
        word: Word for pages.

    Raises:
        DataError: The file has several pages and none is stated, or the stated one does not exist.
    """
    if count == 1:
        return 0
    if page is None:
        raise DataError(
            f"`{path}` holds {count} {word}, but one 2D image was expected",
            hint=f"choose one with `page: 0` to `page: {count - 1}` in the data-set file (`--page` of `predict`), or "
            "save each as a file",
        )
    if page >= count:
        raise DataError(
            f"`{path}` holds {count} {word}, counted from 0, but not `page: {page}`",
            hint=f"the last one is `page: {count - 1}`",
        )
    return page


def open_frame(path: Path, page: int | None) -> tuple[Image.Image, int]:
    """Open a file with Pillow at the stated frame; return the number of frames, too.

    A photograph of a phone or a stereo camera (MPO) is one picture, its first: the others are previews, depth maps or a
    second view. The layers of a PSD file are one picture as well.

    Raises:
        DataError: There are several frames and none is stated, it does not exist, or Pillow does not know the format.
    """
    try:
        image = Image.open(source_of(path))
    except UnidentifiedImageError:
        if _is_heic(path):
            hint = "convert it to JPEG or PNG, as its viewer shows it"
            raise DataError(f"`{path}` is a HEIC image, which segcli cannot read", hint=hint) from None
        raise UnidentifiedImageError(f"cannot identify image file {str(path)!r}") from None
    try:
        count = _frames(image, path)
        number = chosen(path, count, page, "frames")
        if number:
            _refuse_deep(image, path, number)
            return _later_frame(image, number), count
    except BaseException:
        image.close()
        raise
    return image, count


def _later_frame(image: Image.Image, number: int) -> Image.Image:
    """Decode a later frame; one of a grey GIF stays grey, like its first, although Pillow makes it RGB."""
    image.seek(number)
    image.load()  # decides the mode of the frame
    if image.format != "GIF" or image.mode not in ("RGB", "RGBA"):
        return image
    red, green, blue = image.convert("RGB").split()
    if red.tobytes() != green.tobytes() or red.tobytes() != blue.tobytes():
        return image
    image.close()
    return red


def _is_heic(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(12)
    return head[4:8] == b"ftyp" and head[8:] in HEIC


def _frames(image: Image.Image, path: Path) -> int:
    """Count the frames; TIFF files are left to their own format.

    Raises:
        DataError: The file is an icon of several sizes.
    """
    if image.format in ICONS and len(image.info.get("sizes", ())) > 1:
        raise DataError(
            f"`{path}` holds {len(image.info['sizes'])} sizes of an icon, but one 2D image was expected",
            hint="save the size you need as PNG",
        )
    return 1 if image.format in ("MPO", "PSD", "TIFF") else int(getattr(image, "n_frames", 1))


def _refuse_deep(image: Image.Image, path: Path, number: int) -> None:
    """Refuse later frames of a 16-bit PNG file, which Pillow would reduce to 8 bits.

    Raises:
        DataError: The file is one.
    """
    tile = getattr(image, "tile", None)
    if image.format == "PNG" and tile and ";16" in str(tile[0]):
        hint = "save it as a file of its own"
        raise DataError(f"`{path}` is an animation of 16 bits, so `page: {number}` cannot be read", hint=hint)
