"""Meaning of stored samples: colours, alpha, and 0 and 1. One rule holds for all formats and layouts.

- **Images** are what a viewer shows. White-is-zero is inverted, 1, 2 and 4 bits are scaled to 0 to 255, colours that
  were multiplied by alpha are divided by it, and palettes, CMYK and YCbCr become RGB. Other colour spaces are refused.
- **Masks** are the numbers that their writer stored: palette indices, 0 to 3 of 2 bits, 0 to the stated largest number
  of PGM, 0 and 1 of one bit. They are never inverted: `tifffile.imwrite(path, mask.astype(bool))` declares
  white-is-zero, and stores True as 1. Only formats that cannot store grey without a palette (GIF, BMP) give the greys
  of a grey palette.
- **ImageJ** stores a table of colours for the display beside measured values; the values are read.
- **Alpha** is what the file declares as alpha; it is left out. All other channels are measured, however many there are.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image, ImageChops

from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.files import reading
from segcli.files._deep import deep_of
from segcli.files._losses import loss_of_page
from segcli.files._stored import coding_of, declares_alpha, largest, loss_of

__all__ = ["PillowColours", "TiffColours"]

PALETTE_ONLY = {"GIF", "BMP", "DIB", "PCX"}
"""Formats of Pillow that store grey images with a palette."""
GREY_MODES = {"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
COLOUR_MODES = {"RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "CMYK", "YCbCr"}
DECODED_AS_RGB = {6, 7, 33003, 33004, 33005, 33007, 34712, 34892}
"""TIFF compressions, of the families of JPEG and JPEG 2000, whose decoders turn YCbCr into RGB."""
PREMULTIPLIED = 1
ALPHA = (PREMULTIPLIED, 2)
"""Values of ExtraSamples that declare alpha."""
P = tifffile.PHOTOMETRIC
KNOWN = {P.MINISWHITE, P.MINISBLACK, P.RGB, P.PALETTE, P.SEPARATED, P.YCBCR}


def _refused(path: Path, space: str) -> DataError:
    return DataError(
        f"`{path}` has the colour space {space}, which segcli cannot convert", hint="save it as RGB or grey"
    )


# ---- Pillow


class PillowColours:
    """Tells what the samples of an image of Pillow mean; must be made before the pixels are loaded.

    Raises:
        DataError: The colour space cannot be converted.
    """

    def __init__(self, path: Path, image: Image.Image) -> None:
        self.path, self.image = path, image
        if image.mode not in GREY_MODES | COLOUR_MODES:
            raise _refused(path, image.mode)
        self.stored = str(coding_of(image))
        """Coding of the samples in the file, such as `L;4` of a PNG with 4 bits."""
        self.bilevel = image.mode == "1"
        self.has_greys = image.mode == "P" and image.format in PALETTE_ONLY and self._is_grey()
        """True for a palette that only stores greys."""
        is_grey = image.mode in GREY_MODES or self.has_greys or self.stored.startswith("LA")
        self.has_alpha = declares_alpha(image, path)
        measured = image.mode in {"LA", "RGBA"} and not self.has_alpha
        self.channels = (1 if is_grey else 3) + int(measured)
        self.top = largest(image, path)
        self.deep = deep_of(path, image, self.stored, self.top)
        """Decoder of colours of more than 8 bits, which Pillow would reduce to 8."""

    @property
    def loss(self) -> str | None:
        """Name the compression that changes values; None if values are exact."""
        with reading(self.path):
            return loss_of(self.image, self.path)

    @property
    def palette(self) -> Array | None:
        """Return the colours `(N, 3)` of the indices; None without a palette, and for one that only stores greys."""
        if self.image.mode not in ("P", "PA") or self.has_greys:
            return None
        return np.array(self.image.getpalette() or [], dtype=np.uint8).reshape(-1, 3)

    @property
    def white_is_zero(self) -> bool:
        """Tell whether index 0 of a palette is white and index 1 is black."""
        if self.image.mode != "P" or self.has_greys:
            return False
        first = (self.image.getpalette() or [])[:6]
        return first == [255] * 3 + [0] * 3

    def pixels(self) -> Array:
        """Return the loaded pixels as a viewer shows them, `(H, W)` or `(H, W, C)`."""
        image = self.image
        if self.deep is not None:
            return self.without_alpha(self.deep.pixels())
        if image.mode == "1":
            return np.asarray(image).astype(np.uint8) * 255
        if image.mode == "P":
            self._refuse_unlisted()
            return np.asarray(image.convert("L" if self.has_greys else "RGB"))
        if image.mode in {"PA", "RGBa"}:
            image = image.convert("RGBA")
        elif image.mode in {"CMYK", "YCbCr"}:
            if image.format == "JPEG" and "adobe" not in image.info:
                image = ImageChops.invert(image)  # Pillow takes all inks for inverted, as Adobe writes them
            image = image.convert("RGB")
        elif image.mode == "La":
            image = image.convert("LA")
        return self.without_alpha(np.asarray(image))

    def numbers(self) -> Array:
        """Return the loaded pixels as their writer stored them; bool for one bit."""
        if self.deep is not None:
            return self.without_alpha(self.deep.numbers())
        if self.image.mode == "1":
            return np.asarray(self.image.convert("L")) > 0  # Pillow's own array of bool holds bytes of 255
        is_ramp = self.top is not None and self.image.mode == "P"
        if self.image.mode == "P" and (is_ramp or not self.has_greys):
            return np.asarray(self.image)
        if self.image.mode == "PA":
            return np.asarray(self.image)[:, :, 0]
        return self.pixels() if self.top is None else self._unstretched(self.top)

    def _refuse_unlisted(self) -> None:
        """Refuse indices beyond the end of the palette, which Pillow makes black.

        Raises:
            DataError: There are some.
        """
        highest, listed = int(np.asarray(self.image).max(initial=0)), len(self.image.getpalette() or []) // 3
        if highest >= listed:
            raise DataError(
                f"`{self.path}` uses number {highest} of its palette, counted from 0, which has {listed} "
                f"colour{'s' * (listed != 1)}",
                hint="save it again with its whole palette, as RGB or, if its numbers count, as grey",
            )

    def without_alpha(self, pixels: Array) -> Array:
        """Leave out the alpha channel of `(H, W, C)`."""
        return pixels if pixels.ndim == 2 else pixels[:, :, : self.channels]

    def _unstretched(self, top: int) -> Array:
        """Return numbers that Pillow stretched to the range of their type; it shifts those of JPEG 2000."""
        pixels = self.pixels()
        full = 255 if self.image.mode == "L" else 65535
        if self.image.format == "JPEG2000":
            return pixels >> (full.bit_length() - top.bit_length())
        return np.rint(pixels * (top / full)).astype(np.uint8 if top <= 255 else np.uint16)

    def _is_grey(self) -> bool:
        palette = np.array(self.image.getpalette() or [], dtype=np.uint8).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())


# ---- TIFF


class TiffColours:
    """Tells what the samples of the pages of a TIFF file mean.

    Args:
        path: The file.
        page: A page of the series.
        stored: Length of the axis of channels; 1 if there is none.

    Raises:
        DataError: The colour space cannot be converted.
    """

    def __init__(self, path: Path, page: Any, stored: int) -> None:
        self.path, self.page, self.stored = path, page, stored
        self.bits = int(page.bitspersample)
        self.photometric = page.photometric if "PhotometricInterpretation" in page.tags else P.MINISBLACK
        self.bilevel = self.bits == 1
        self.white_is_zero = self.photometric == P.MINISWHITE
        extra = [int(kind) for kind in page.extrasamples] if page.samplesperpixel == stored else []
        self.colours = stored - len(extra)
        """Number of samples that are neither alpha nor further measurements."""
        self.kept = [at for at in range(stored) if at < self.colours or extra[at - self.colours] not in ALPHA]
        """Samples that are not declared as alpha."""
        self.has_alpha = len(self.kept) < stored
        self.premultiplied = next((at + self.colours for at, kind in enumerate(extra) if kind == PREMULTIPLIED), None)
        """Sample of alpha by which the colours were multiplied."""
        self.top = 2**self.bits - 1 if self.bits not in (1, 8, 16) and self.bits < 16 else None
        self.is_palette = self.photometric == P.PALETTE and len(self.kept) == 1 and not page.is_imagej
        self._check()
        self.channels = 3 if self.is_palette or self._is_ink else len(self.kept)

    @property
    def loss(self) -> str | None:
        """Name the compression that changes values; None if values are exact."""
        with reading(self.path):
            return loss_of_page(self.page)

    @property
    def palette(self) -> Array | None:
        """Return the colours `(N, 3)` of the indices; None without a palette."""
        if not self.is_palette:
            return None
        table = self.page.colormap.T
        eight: Array = (table >> 8 if table.max() > 255 else table).astype(np.uint8)  # some writers store 8 bits
        return eight

    @property
    def _is_ink(self) -> bool:
        return bool(self.photometric == P.SEPARATED)

    @cached_property
    def _is_ycbcr(self) -> bool:
        """Tell whether the decoder does not convert YCbCr."""
        return self.photometric == P.YCBCR and int(self.page.compression) not in DECODED_AS_RGB

    def _check(self) -> None:
        """Refuse colour spaces that cannot be converted."""
        name, page = getattr(self.photometric, "name", str(self.photometric)), self.page
        if self.photometric not in KNOWN or (self.photometric == P.PALETTE and page.colormap is None):
            raise _refused(self.path, name)
        if self._is_ink and (self.stored < 4 or page.samplesperpixel != self.stored or self.bits not in (8, 16)):
            raise _refused(self.path, f"{name} of {self.stored} inks with {self.bits} bits")
        if self._is_ink and _tag(page, "InkSet", 1) != 1:
            raise _refused(self.path, f"{name} of inks other than cyan, magenta, yellow and black")
        if self._is_ycbcr and not (self.stored == 3 and self.bits == 8 and _is_plain_ycbcr(page)):
            raise _refused(self.path, f"{name} with a subsampling or a scale of its own")

    def pixels(self, raw: Array) -> Array:
        """Turn decoded samples `(..., stored)` into what a viewer shows, `(..., channels)`."""
        palette = self.palette
        if palette is not None:
            colours: Array = palette[raw[..., self.kept[0]]]
            return colours
        if self._is_ink:
            return _rgb_of_inks(raw[..., :4])
        if self._is_ycbcr:
            return _with_pillow(raw, "YCbCr")
        top = 2**self.bits - 1
        if self.premultiplied is not None:
            raw = _divided(raw, self.colours, raw[..., self.premultiplied], top)
        pixels = raw if len(self.kept) == raw.shape[-1] else raw[..., self.kept]
        if pixels.dtype.kind not in "bu":
            if self.white_is_zero:
                raise DataError(
                    f"`{self.path}` declares that 0 is white, and holds {pixels.dtype} values, of which none is black",
                    hint="save it with 0 as black (`photometric='minisblack'` of tifffile)",
                )
            return pixels
        if self.bits < 8:
            pixels = (pixels.astype(np.uint16) * 255 // top).astype(np.uint8)
            top = 255
        return pixels.dtype.type(top) - pixels if self.white_is_zero else pixels

    def numbers(self, raw: Array) -> Array:
        """Turn decoded samples `(..., stored)` into numbers as their writer stored them; bool for one bit."""
        if self._is_ink or self._is_ycbcr:
            return self.pixels(raw)
        return raw if len(self.kept) == raw.shape[-1] else raw[..., self.kept]


def _divided(raw: Array, colours: int, alpha: Array, top: int) -> Array:
    """Divide colours that were multiplied by alpha, with the numbers of Pillow for 8 bits; alpha 0 makes them 0."""
    divided, alpha = raw.copy(), alpha[..., None]
    if raw.dtype.kind in "bu":
        wide = raw[..., :colours].astype(np.uint64) * np.uint64(top) // np.maximum(alpha, 1)
        divided[..., :colours] = np.where(alpha == 0, 0, np.minimum(wide, top))
    else:
        divided[..., :colours] = np.where(alpha == 0, 0, raw[..., :colours] / np.where(alpha == 0, 1, alpha))
    return divided


def _tag(page: Any, name: str, default: Any) -> Any:
    return page.tags[name].value if name in page.tags else default


def _is_plain_ycbcr(page: Any) -> bool:
    """Tell whether YCbCr has a sample per pixel, and the range and the coefficients of JPEG."""
    coefficients = np.array(_tag(page, "YCbCrCoefficients", (299, 1000, 587, 1000, 114, 1000)), float)
    limits = np.array(_tag(page, "ReferenceBlackWhite", (0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1)), float)
    return (
        tuple(_tag(page, "YCbCrSubSampling", (2, 2))) == (1, 1)
        and bool(np.allclose(coefficients[::2] / coefficients[1::2], (0.299, 0.587, 0.114), atol=1e-4))
        and bool(np.allclose(limits[::2] / limits[1::2], (0, 255, 128, 255, 128, 255)))
    )


def _rgb_of_inks(raw: Array) -> Array:
    """Turn cyan, magenta, yellow and black into RGB, with the numbers of Pillow for 8 bits."""
    if raw.dtype == np.uint8:
        return _with_pillow(raw, "CMYK")
    light = 65535 - raw.astype(np.uint64)
    return ((light[..., :3] * light[..., 3:] + 32767) // 65535).astype(np.uint16)


def _with_pillow(raw: Array, mode: str) -> Array:
    flat = np.ascontiguousarray(raw).reshape(-1, raw.shape[-2], raw.shape[-1])
    image = Image.frombytes(mode, (flat.shape[1], flat.shape[0]), flat.tobytes())
    return np.asarray(image.convert("RGB")).reshape(*raw.shape[:-1], 3)
