"""Findings: faults of a data set that would spoil a training, reported before it starts."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segcli.core.errors import DataError
from segcli.core.names import composed
from segcli.core.types import Array
from segcli.data.draws import UnmatchedGroupError
from segcli.data.images import natural_key

__all__ = [
    "MESSAGES_PER_CODE",
    "QUARTER_TURNED",
    "Finding",
    "Severity",
    "by_name",
    "doubles",
    "extra_label",
    "raise_on_error",
    "size_mismatch",
    "tried",
    "unusable_split",
    "warnings_of",
]

SAME_LETTERS = ", which differ only in the Unicode form of their letters"
Severity = Literal["error", "warning", "info"]
MESSAGES_PER_CODE = 4
"""Messages of one kind of fault that are shown; the others are counted."""
QUARTER_TURNED = 5
"""Orientations of EXIF from this on exchange rows and columns."""


@dataclass(frozen=True)
class Finding:
    """Describes one fault of a data set."""

    code: str
    """Stable name of the kind of fault, such as `missing_label`."""
    severity: Severity
    file: Path | None
    message: str
    hint: str
    others: tuple[Path, ...] = ()
    """Further files that the message names, such as the image that `file` is a copy of."""

    @property
    def is_shown(self) -> bool:
        """True unless it is a remark that asks for nothing; `--json` has these, too."""
        return bool(self.hint) or self.severity != "info"

    def as_dict(self) -> dict[str, str | list[str] | None]:
        """Return the finding as a dict for `--json`; `files` are `file` and the others."""
        first = [] if self.file is None else [self.file]
        return {
            "code": self.code,
            "severity": self.severity,
            "file": None if self.file is None else str(self.file),
            "files": [str(path) for path in (*first, *self.others)],
            "message": self.message,
            "hint": self.hint,
        }


def warnings_of(findings: Iterable[Finding]) -> Iterator[str]:
    """Yield each warning once, as a line with its hint; of many with one code and hint the first and their number."""
    alike: dict[tuple[str, str], dict[str, None]] = {}
    for finding in findings:
        if finding.severity == "warning":
            alike.setdefault((finding.code, finding.hint), {})[finding.message] = None
    for (code, hint), messages in alike.items():
        yield from (f"{message} ({hint})" for message in list(messages)[:MESSAGES_PER_CODE])
        if len(messages) > MESSAGES_PER_CODE:
            yield f"{len(messages) - MESSAGES_PER_CODE} more like these (`segcli data check --json` lists all `{code}`)"


def raise_on_error(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that are not errors.

    Raises:
        DataError: At least one finding is an error; the message shows the first and counts the rest.
    """
    found = list(findings)
    errors = [finding for finding in found if finding.severity == "error"]
    if errors:
        more = f" (and {len(errors) - 1} more: `segcli data check` lists them)" if len(errors) > 1 else ""
        raise DataError(errors[0].message + more, hint=errors[0].hint)
    return found


def tried(findings: list[Finding], code: str, path: Path | None, decode: Callable[[Path], Array]) -> Array | None:
    """Return what `decode` gives; where it fails, add a finding and return None."""
    if path is None:
        return None
    try:
        return decode(path)
    except DataError as error:
        findings.append(Finding(code, "error", path, error.message, error.hint or ""))
        return None


def by_name(folders: Iterable[Path]) -> dict[str, Path]:
    """Sort folders in natural order by their name in the normal form of Unicode; hidden folders are left out.

    Raises:
        DataError: Two names differ only in the Unicode form of their letters.
    """
    found: dict[str, Path] = {}
    for path in sorted(folders, key=natural_key):
        if path.name.startswith("."):
            continue
        other = found.setdefault(composed(path.name), path)
        if other != path:
            raise DataError(
                f"two folders in `{path.parent}` have the name `{path.name}`{SAME_LETTERS}",
                hint="rename or remove one of them",
            )
    return found


def unusable_split(code: str, path: Path, error: DataError) -> Finding:
    """Report a split whose cases cannot be found; `code` names the cause, unless names have no group."""
    code = "unmatched_group" if isinstance(error, UnmatchedGroupError) else code
    return Finding(code, "error", path, error.message, error.hint or "")


def doubles(files: dict[str, list[Path]], what: str) -> Iterator[Finding]:
    """Find files of one folder that share a stem."""
    for paths in files.values():
        if len(paths) > 1:
            names = " and ".join(f"`{path.name}`" for path in paths)
            same = len({composed(path.name) for path in paths}) < len(paths)
            names += SAME_LETTERS if same else ""
            message = f"two {what}s in `{paths[0].parent}` have the same stem: {names}"
            hint, others = "rename or remove one of them", (paths[0], *paths[2:])
            yield Finding("same_stem", "error", paths[1], message, hint, others)


def extra_label(path: Path, images: Path) -> Finding:
    """Report a mask without an image."""
    message = f"mask `{path}` belongs to no image in `{images}`"
    return Finding("extra_label", "warning", path, message, "add the image, or remove the mask")


def size_mismatch(
    path: Path,
    size: tuple[int, ...],
    image: Path,
    image_size: tuple[int, ...],
    orientations: tuple[int, int] = (1, 1),
) -> Finding:
    """Report a mask whose size differs from that of its image.

    Args:
        path: The mask.
        size: Its upright size.
        image: The image.
        image_size: Its upright size.
        orientations: Numbers of EXIF that the mask and the image state.
    """
    message = f"`{path}` is {size[0]}x{size[1]} pixels, its image `{image}` is {image_size[0]}x{image_size[1]}"
    hint = "export the mask at the size of its image"
    if size == image_size[::-1] and (orientations[0] >= QUARTER_TURNED) != (orientations[1] >= QUARTER_TURNED):
        which = int(orientations[1] >= QUARTER_TURNED)
        one, other = ("mask", "image")[which], ("image", "mask")[which]
        message += f": the {one} states orientation {orientations[which]} and is turned upright, the {other} is not"
        hint = f"turn the {other}, too, as a viewer shows the {one}, or remove a wrong orientation from the {one}"
    return Finding("size_mismatch", "error", path, message, hint, (image,))
