"""Notes on the files of a data set of 2D images: which are turned, inverted, of other bits, or have a single page."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from segcli.data.checks import Finding, Severity
from segcli.data.classes.coding import white_is_zero
from segcli.data.faults.follow_ups import MOST_TURNED
from segcli.files import Header

__all__ = ["notes_of"]

UPRIGHT, LAST = 1, 8


def notes_of(
    headers: dict[str, dict[Path, Header]], page: int | None, *, numbered: bool, indexed: bool
) -> Iterator[Finding]:
    """Describe the conversion of files, and name files that differ from the others.

    Args:
        headers: Headers of the files, by the word for what they hold.
        page: Key `page` of the data set.
        numbered: Masks hold the numbers of classes, which mean the same in any grey.
        indexed: The numbers of masks count, and not their colours.
    """
    yield from _turned(headers)
    for word, files in headers.items():
        any_grey = numbered and word == "mask"
        white = [path for path, header in files.items() if header.white_is_zero and (header.bilevel or not any_grey)]
        yield from white_is_zero(word, white, as_shown=word == "image")
    yield from _alpha(headers)
    yield from _palettes(headers, indexed=indexed)
    yield from _mixed_bits(headers["image"])
    if page:
        yield from _single_pages(headers, page)


def _turned(headers: dict[str, dict[Path, Header]]) -> Iterator[Finding]:
    turned, strange = {}, {}
    for word, files in headers.items():
        turned[word] = [path for path, header in files.items() if UPRIGHT < header.orientation <= LAST]
        strange[word] = [path for path, header in files.items() if not UPRIGHT <= header.orientation <= LAST]
    if any(turned.values()):
        message = f"{_counted(turned)}, state an orientation other than 1 (EXIF or TIFF): they are turned upright"
        hint = "masks without an orientation must lie on the upright image; predictions are upright"
        first, *others = chain.from_iterable(turned.values())
        yield Finding("turned", "info", first, message, hint, tuple(others[:MOST_TURNED]))
    if any(strange.values()):
        message = f"{_counted(strange)}, state an orientation that is damaged or not 1 to 8: they are read as stored"
        yield _note(
            "unknown_orientation", "warning", strange, message, "look at the files, and correct their EXIF data"
        )


def _alpha(headers: dict[str, dict[Path, Header]]) -> Iterator[Finding]:
    """Tell which files have an alpha channel; it is unexpected where others of their kind have none."""
    for word, files in headers.items():
        with_alpha = [path for path, header in files.items() if header.has_alpha]
        if not with_alpha:
            continue
        message = f"{_counted({word: with_alpha})}, declare an alpha channel, which is left out"
        if len(with_alpha) == len(files):
            yield _note("alpha", "info", {word: with_alpha}, message, "")
            continue
        hint = "look at them: what alpha hides counts like all other pixels; `segcli data check --fix DIR` drops it"
        yield _note("alpha", "warning", {word: with_alpha}, f"{message}; the other {word}s have none", hint)


def _palettes(headers: dict[str, dict[Path, Header]], *, indexed: bool) -> Iterator[Finding]:
    """Tell which files have a palette; images were reduced to few colours where others of their set were not."""
    for word, files in headers.items():
        with_palette = [path for path, header in files.items() if header.has_palette]
        if not with_palette:
            continue
        which = _counted({word: with_palette})
        if word != "image":
            what = "numbers, not its colours," if indexed or word != "mask" else "colours"
            yield _note("palette", "info", {word: with_palette}, f"{which}, have a palette: its {what} count", "")
        elif len(with_palette) == len(files):
            yield _note("palette", "info", {word: with_palette}, f"{which}, have a palette: its colours are read", "")
        else:
            message = f"{which}, have a palette of at most 256 colours, which are read; the other images have none"
            hint = "look at them: they were reduced to few colours, or hold numbers; export them like the others"
            yield _note("palette", "warning", {word: with_palette}, message, hint)


def _mixed_bits(images: dict[Path, Header]) -> Iterator[Finding]:
    """Find images of 8 bits beside images of 16 bits."""
    by_bits: dict[int, list[Path]] = {8: [], 16: []}
    for path, header in images.items():
        by_bits.setdefault(8 * header.itemsize, []).append(path)
    if by_bits[8] and by_bits[16]:
        shown = " and ".join(
            f"{len(by_bits[bits])} with {bits} bits (such as `{by_bits[bits][0]}`)" for bits in (8, 16)
        )
        message = f"images differ in their bits: {shown}; their scales differ by 257"
        hint = "export all images with the same number of bits"
        yield Finding("mixed_bits", "warning", by_bits[16][0], message, hint, (by_bits[8][0],))


def _single_pages(headers: dict[str, dict[Path, Header]], page: int) -> Iterator[Finding]:
    """Find files of a single page where `page` chooses one of several."""
    for word, files in headers.items():
        single = [path for path, header in files.items() if header.page_count == 1]
        if single and len(single) < len(files):
            message = f"{_counted({word: single})}, have one page, which is read; `page: {page}` is read of the others"
            yield _note("single_page", "warning", {word: single}, message, "check that these files are whole")


def _note(code: str, severity: Severity, files: dict[str, list[Path]], message: str, hint: str) -> Finding:
    return Finding(code, severity, next(path for paths in files.values() for path in paths), message, hint)


def _counted(files: dict[str, list[Path]]) -> str:
    """Count the files, and name the first.

    Example:
        >>> _counted({"image": [Path("a.jpg"), Path("b.jpg")], "mask": []})
        '2 images, such as `a.jpg`'
    """
    counts = [f"{len(paths)} {word}{'s' * (len(paths) != 1)}" for word, paths in files.items() if paths]
    first = next(path for paths in files.values() for path in paths)
    return f"{' and '.join(counts)}, such as `{first}`"
