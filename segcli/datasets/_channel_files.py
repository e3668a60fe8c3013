"""Images whose channels are files of their own: `case_0000.nii.gz` with `case_0001.nii.gz`, or `_flair` with `_t1`."""

from collections.abc import Container, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from segcli.core.errors import DataError, repeated
from segcli.core.names import composed, existing, fits, without_affixes
from segcli.data.checks import Finding
from segcli.data.classes.class_list import Mistake
from segcli.data.images import natural_key
from segcli.data.placement import placement
from segcli.files import Header, ending_of
from segcli.files._endings import endings
from segcli.files._joined import SAME_GRID, unlike

__all__ = [
    "ChannelFiles",
    "by_case",
    "case_of",
    "channel_against",
    "counted_channels",
    "spare_files",
    "stem",
    "without_suffix",
]

Files = dict[str, list[Path]]


@dataclass(frozen=True)
class ChannelFiles:
    """Finds the files of the channels of an image.

    Args:
        prefix: Begin of the stems.
        suffixes: End of the stem of each channel, in the order of the channels; a single one for images of one file.
    """

    prefix: str
    suffixes: Sequence[str]

    @property
    def are_several(self) -> bool:
        """Tell whether an image consists of several files."""
        return len(self.suffixes) > 1

    def key(self, path: Path) -> tuple[str, int] | None:
        """Return the name that all channels share, and the position of this one; None for another name.

        Example:
            >>> ChannelFiles("", ["_t1", "_flair"]).key(Path("p7_flair.nii.gz"))
            ('p7', 1)
        """
        name = composed(stem(path))
        longest_first = sorted(range(len(self.suffixes)), key=lambda each: -len(self.suffixes[each]))
        for position in longest_first:
            key = without_affixes(name, self.prefix, [self.suffixes[position]])
            if key is not None:
                return key, position
        return None

    def name(self, path: Path) -> str | None:
        """Return the name that all channels share; None for another name."""
        found = self.key(path)
        return None if found is None else found[0]

    def beside(self, path: Path) -> list[Path]:
        """Return the files of all channels, one of which is given.

        Raises:
            DataError: One is missing.
        """
        found = self.key(path) if self.are_several else None
        if found is None:
            return [path]
        paths = [self._beside(path, position) for position in range(len(self.suffixes))]
        for position, other in enumerate(paths):
            if not other.exists():
                raise DataError(self._lacking(path, other, position), hint="add the file")
        return paths

    def leading(self, files: Sequence[Path]) -> list[Path]:
        """Replace each file by that of the first channel, each once; files that are read with none stay."""
        firsts: dict[Path, None] = {}
        for path in files:
            found = self.key(path) if self.are_several else None
            first = path if found is None else self._beside(path, 0)
            is_read = found is not None and first.exists() and self._beside(first, found[1]) == path
            firsts[first if is_read else path] = None
        return list(firsts)

    def complete(self, there: dict[str, Files]) -> tuple[Files, list[Finding]]:
        """Join the files of each channel to images, the first channel first; leave out images that lack one.

        Args:
            there: Files of each suffix by the name of the case.
        """
        names = dict.fromkeys(name for files in there.values() for name in files)
        images: Files = {}
        findings = []
        for name in names:
            paths = [there[suffix].get(name, []) for suffix in self.suffixes]
            known = next(each[0] for each in paths if each)
            lacking = [position for position, each in enumerate(paths) if not each]
            for position in lacking:
                message = self._lacking(known, self._beside(known, position), position)
                hint = "add the file, or remove the others of the case"
                findings.append(Finding("missing_channel", "error", known, message, hint))
            if not lacking:
                images[name] = [each[0] for each in paths]  # `doubles` reports the others
        return images, findings

    def of_folder(self, folder: Path, endings: Container[str], inner: str = "") -> Files:
        """Find the files of a folder by the name of their case, those of the first channel first.

        Args:
            folder: An existing folder.
            endings: Extensions that are read.
            inner: Folder that the suffixes of these files begin with.
        """
        there: dict[int, Files] = {}
        for path in sorted(folder.iterdir(), key=natural_key):
            key = self.key(path) if ending_of(path) in endings and path.name[0] != "." else None
            if key is not None and self.suffixes[key[1]].rpartition("/")[0] == inner:
                there.setdefault(key[1], {}).setdefault(key[0], []).append(path)
        found: Files = {}
        for name, paths in (each for _, files in sorted(there.items()) for each in files.items()):
            found.setdefault(name, []).extend(paths)
        return found

    def by_channel(self, files: Files) -> dict[str, Files]:
        """Sort the files of each case by the suffix of their channel."""
        found: dict[str, Files] = {suffix: {} for suffix in self.suffixes}
        for name, paths in files.items():
            for path in paths:
                if (key := self.key(path)) is not None:
                    found[self.suffixes[key[1]]].setdefault(name, []).append(path)
        return found

    def _beside(self, path: Path, position: int) -> Path:
        """Name the file of a channel of the image that a file belongs to: of its ending, or the only one of another."""
        stem, ending = f"{self.prefix}{self.name(path)}{self.suffixes[position]}", ending_of(path)
        same = existing(path.parent, stem + ending)
        if same.exists():
            return same
        others = (existing(path.parent, stem + each) for each in _all_endings())
        found = [other for other in others if other.exists()]
        return found[0] if len(found) == 1 else same

    def _lacking(self, path: Path, other: Path, position: int) -> str:
        count = len(self.suffixes)
        return f"image `{path}` has no file `{other.name}` (channel {position + 1} of {count})"


@cache
def _all_endings() -> tuple[str, ...]:
    """List the endings of single images and volumes, in small and capital letters."""
    stated = dict.fromkeys((*endings(2, many=False), *endings(3, many=False)))
    return tuple(spelt for each in stated for spelt in dict.fromkeys((each, each.upper())))


def by_case(files: Mapping[str, Path], cases: Sequence[str]) -> Files:
    """Group files by the case whose name their stem begins with, such as `p1_0000` and `p1_0001` of `p1`.

    Args:
        files: Files by their stem.
        cases: Names of the cases.

    Returns:
        The files of each case in their order; empty if one belongs to no case, or not all have the same channels.
    """
    found: dict[str, dict[str, Path]] = {}
    known = set(cases)
    for name, path in files.items():
        case = case_of(name, known, before="_-. ")
        if case is None:
            return {}
        found.setdefault(case, {})[name[len(case) :]] = path
    if not found or len({tuple(sorted(each)) for each in found.values()}) > 1:
        return {}
    return {name: list(each.values()) for name, each in found.items()}


def case_of(name: str, cases: Set[str], *, before: str | None = None) -> str | None:
    """Return the longest name of a case that a name begins with; None if there is none.

    Args:
        name: Stem of a file.
        cases: Names of the cases.
        before: Letters one of which must follow; default: anything may follow, or nothing.

    Example:
        >>> case_of("case_1_0000", {"case_1", "case_10"}), case_of("case_10_0000", {"case_1", "case_10"})
        ('case_1', 'case_10')
    """
    ends = (end for end in range(len(name), 0, -1) if before is None or name[end : end + 1] in tuple(before))
    return next((name[:end] for end in ends if name[:end] in cases), None)


def counted_channels(values: dict[str, Any]) -> tuple[dict[str, Any], list[Mistake]]:
    """Complete the number of channels of a data set, as far as it is not stated; return mistakes in its keys, too."""
    suffixes = values.get("channel_suffixes")
    named = suffixes if isinstance(suffixes, list) else []
    count = len(named) or 1
    twice = repeated(named)
    if twice is not None:
        return {}, [("channel_suffixes", f"names `{twice}` twice", "name each channel once")]
    if count > 1 and values.get("image_suffix"):
        message = "is for images of one file, and `channel_suffixes` names several"
        return {}, [("image_suffix", message, "remove it, and put it before each of `channel_suffixes`")]
    return {} if "num_channels" in values else {"num_channels": count}, []


def channel_against(other: Path, header: Header, first: Path, image: Header) -> Iterator[Finding]:
    """Find differences in size, geometry and, of a picture, bits between a further channel and the first."""
    fault = unlike(other, header, first, image)
    if fault is not None:
        code = "size_mismatch" if header.size != image.size else "depth_mismatch"
        yield Finding(code, "error", other, fault.message, fault.hint or "", (first,))
    for finding in placement(other, header, first, image, other="the first channel"):
        yield replace(finding, hint=SAME_GRID)


def spare_files(folder: Path, endings: Container[str], used: Container[Path], exclude: Sequence[str]) -> Iterator[Path]:
    """List the files of a folder that could be read, and are neither used nor left out.

    Args:
        folder: An existing folder.
        endings: Extensions that are read.
        used: Files with a meaning.
        exclude: Names that are left out, with wildcards.
    """
    for path in sorted(folder.iterdir(), key=natural_key):
        could_be_read = ending_of(path) in endings and path.name[0] != "." and path not in used
        if could_be_read and not fits(composed(stem(path)), exclude):
            yield path


def without_suffix(folder: Path, files: Sequence[Path], suffixes: Sequence[str]) -> Iterator[Finding]:
    """Report the files of a folder that are passed over because their stems have no known end.

    Args:
        folder: The folder.
        files: Files in it that could be read.
        suffixes: Ends of the stems that are read.
    """
    rest = [path for path in files if not stem(path).endswith(tuple(suffixes))]
    if rest:
        words = "` or `".join(suffixes)
        message = f"`{folder}` holds {len(rest)} files without the suffix `{words}`, such as `{rest[0].name}`"
        hint = (
            "they are not read: if they are further channels of the images, name their suffixes in `channel_suffixes`"
        )
        yield Finding("unread_files", "warning", folder, message, hint)


def stem(path: Path) -> str:
    """Return the name of a file without its extension, such as `.nii.gz`."""
    return path.name[: -len(ending_of(path))]
