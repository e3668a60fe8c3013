"""Reading and writing image files.

Pillow decodes everything but TIFF and 16-bit colour PNG: unlike OpenCV it refuses a truncated file instead of
filling the missing part with grey. TIFF is read with tifffile, which knows all that microscopes write.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image

from segcli.core.errors import DataError
from segcli.core.files import replacing
from segcli.core.types import Array

__all__ = ["EXTENSIONS", "Header", "as_rgb", "natural_key", "read_header", "read_image", "read_labels", "write_png"]

EXTENSIONS = ("png", "jpg", "jpeg", "tif", "tiff", "gif", "bmp")
TIFF = {".tif", ".tiff"}
CHANNELS = {"1": 1, "L": 1, "I": 1, "F": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 3, "YCbCr": 3, "HSV": 3, "LAB": 3}
Image.MAX_IMAGE_PIXELS = None  # slides of a gigapixel are no attack here
cv2.setNumThreads(0)  # its threads do not survive the fork of a loader worker


@dataclass(frozen=True)
class Header:
    """What a file says of its image without decoding it."""

    height: int
    width: int
    channels: int
    """As stored, with an alpha channel left out."""
    itemsize: int
    """Bytes per value."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width


def natural_key(path: Path) -> tuple[tuple[int, int | str], ...]:
    """Sorting key that puts `img2` before `img10`.

    Example:
        >>> natural_key(Path("img2.png")) < natural_key(Path("img10.png"))
        True
    """
    parts = re.split(r"(\d+)", path.name.lower())
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts)


def read_header(path: Path) -> Header:
    """Size and channels of an image file.

    Raises:
        DataError: The file is missing or not an image.
    """
    with _blamed(path):
        if path.suffix.lower() in TIFF:
            with tifffile.TiffFile(path) as tiff:
                shape, dtype = _tiff_shape(tiff, path), tiff.series[0].dtype
            return Header(shape[0], shape[1], _without_alpha(shape[2]), dtype.itemsize if dtype else 1)
        with Image.open(path) as image:
            itemsize = 2 if image.mode.startswith("I;16") or _is_deep_colour(image) else 1
            itemsize = 4 if image.mode in {"I", "F"} else itemsize
            channels = _palette_channels(image) if image.mode == "P" else CHANNELS.get(image.mode, 1)
            return Header(image.height, image.width, _without_alpha(channels), itemsize)


def read_image(path: Path) -> Array:
    """Pixels `(H, W, C)` as stored: uint8, uint16 or float32, RGB order, alpha channel left out.

    Raises:
        DataError: The file is missing, damaged or not an image.
    """
    with _blamed(path):
        pixels = _read_tiff(path) if path.suffix.lower() in TIFF else _decode(path)
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        pixels = pixels[:, :, : _without_alpha(pixels.shape[2])]
        return np.ascontiguousarray(_supported(pixels, path))


def read_labels(path: Path) -> Array:
    """Label image `(H, W)` of integers as stored; of a colour palette, the indices.

    A palette of greys gives its greys: there index 0 may well be white.

    Raises:
        DataError: The file is missing, damaged, or its colour channels differ.
    """
    with _blamed(path):
        pixels = _read_tiff(path) if path.suffix.lower() in TIFF else _decode(path, as_labels=True)
    if pixels.ndim == 3:
        pixels = pixels[:, :, : _without_alpha(pixels.shape[2])]
        if any((pixels[:, :, 0] != pixels[:, :, channel]).any() for channel in range(1, pixels.shape[2])):
            raise DataError(
                f"label `{path}` is a colour image, a mask of one value per pixel was expected",
                hint="save the mask as a grey image with 0 for background and 255 for foreground",
            )
        pixels = pixels[:, :, 0]
    if pixels.dtype.kind == "f":
        raise DataError(
            f"label `{path}` holds floating-point numbers", hint="save the mask with whole numbers (8 or 16 bit)"
        )
    return np.ascontiguousarray(pixels)


def write_png(path: Path, pixels: Array, *, synced: bool = True) -> None:
    """Write `(H, W)` or RGB `(H, W, 3)` uint8 or uint16 pixels as PNG, whole or not at all; `synced` as `replacing`."""
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, buffer = cv2.imencode(".png", pixels)
    assert done
    with replacing(path, synced=synced) as temporary:
        temporary.write_bytes(buffer.tobytes())


def as_rgb(image: Array) -> Array:
    """Image `(H, W, C)` as 8-bit RGB, its 0.5 to 99.5 percentile stretched to the whole range if not 8-bit."""
    pixels = image[:, :, :3] if image.shape[2] >= 3 else np.repeat(image[:, :, :1], 3, axis=2)
    if pixels.dtype == np.uint8:
        return np.array(pixels)
    low, high = np.percentile(pixels, [0.5, 99.5])
    unit = np.clip((pixels.astype(np.float32) - low) / max(float(high - low), 1e-6), 0.0, 1.0)
    return np.asarray(unit * 255, dtype=np.uint8)


class _blamed:  # noqa: N801
    """Turns whatever a decoder raises into one sentence that names the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, DataError) or not isinstance(error, Exception):
            return
        if isinstance(error, FileNotFoundError):
            raise DataError(f"no file `{self.path}`") from None
        if isinstance(error, PermissionError):
            raise DataError(f"no permission to read `{self.path}`") from None
        if isinstance(error, MemoryError):
            raise error
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(
            f"cannot read image `{self.path}` ({detail})", hint="replace the file, or take it out of the data set"
        ) from error


def _decode(path: Path, *, as_labels: bool = False) -> Array:
    with Image.open(path) as image:
        deep_colour = _is_deep_colour(image)  # asked now: loading forgets how the file is coded
        image.load()
        if image.mode == "P":
            if as_labels and _palette_channels(image) == 3:
                return np.asarray(image)
            return np.asarray(image.convert("L" if _palette_channels(image) == 1 else "RGB"))
        if image.mode == "1":
            return np.asarray(image).astype(np.uint8) * 255
        if deep_colour:
            return _decode_deep_colour(path)
        if image.mode in {"CMYK", "YCbCr", "HSV", "LAB", "PA", "La", "RGBa"}:
            return np.asarray(image.convert("RGB"))
        return np.asarray(image)


def _is_deep_colour(image: Image.Image) -> bool:
    """Whether Pillow would cut a 16-bit colour PNG down to 8 bits."""
    tile = getattr(image, "tile", None)
    return bool(tile) and image.format == "PNG" and image.mode != "I;16" and ";16" in str((tile or [()])[0])


def _decode_deep_colour(path: Path) -> Array:
    pixels: Array | None = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("OpenCV cannot decode it")
    return pixels[..., [2, 1, 0]] if pixels.ndim == 3 else pixels


def _palette_channels(image: Image.Image) -> int:
    palette = np.array(image.getpalette() or [], dtype=np.uint8).reshape(-1, 3)
    return 1 if (palette == palette[:, :1]).all() else 3


def _without_alpha(channels: int) -> int:
    return {2: 1, 4: 3}.get(channels, channels)


def _tiff_shape(tiff: tifffile.TiffFile, path: Path) -> tuple[int, int, int]:
    """Height, width and channels of the one image in a TIFF file."""
    series = tiff.series[0]
    axes, shape = series.axes, series.shape
    sizes = dict(zip(axes, shape, strict=True))
    height, width = sizes.pop("Y", 0), sizes.pop("X", 0)
    channels = sizes.pop("S", 0) or sizes.pop("C", 0) or 1
    pages = int(np.prod(list(sizes.values()))) if sizes else 1
    if pages > 1 or not height or not width:
        raise DataError(
            f"`{path}` holds a stack of shape {tuple(shape)}, one 2D image was expected",
            hint="split the stack into one file per image",
        )
    return height, width, channels


def _read_tiff(path: Path) -> Array:
    with tifffile.TiffFile(path) as tiff:
        height, width, channels = _tiff_shape(tiff, path)
        axes = tiff.series[0].axes
        pixels: Array = tiff.series[0].asarray()
        inverted = tiff.pages[0].photometric == tifffile.PHOTOMETRIC.MINISWHITE  # type: ignore[union-attr]
        colour_map = getattr(tiff.pages[0], "colormap", None)
    colour_axis = next((axes.index(letter) for letter in "SC" if letter in axes), None)
    if colour_axis is not None and channels > 1:
        pixels = np.moveaxis(pixels, colour_axis, -1)
    pixels = pixels.reshape(height, width, channels) if channels > 1 else pixels.reshape(height, width)
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    if inverted and pixels.dtype.kind == "u":
        pixels = np.iinfo(pixels.dtype).max - pixels
    if colour_map is not None and channels == 1:
        raise DataError(f"`{path}` is a TIFF with a colour palette", hint="save it as PNG, or as RGB or grey TIFF")
    return pixels


def _supported(pixels: Array, path: Path) -> Array:
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32)
    if pixels.dtype.kind in "iu" and pixels.min() >= 0 and pixels.max() <= 65535:
        return pixels.astype(np.uint16)
    raise DataError(
        f"`{path}` holds {pixels.dtype} values from {pixels.min()} to {pixels.max()}",
        hint="save it with 8 or 16 bit whole numbers, or as 32-bit floating point",
    )
