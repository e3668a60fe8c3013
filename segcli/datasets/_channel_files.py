"""Images whose channels are files of their own: `case_0000.nii.gz` with `case_0001.nii.gz`, or `_flair` with `_t1`."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segcli.core.errors import DataError
from segcli.core.names import composed, existing, without_affixes
from segcli.data.checks import Finding
from segcli.data.classes.class_list import Mistake
from segcli.data.placement import placement
from segcli.files import Header, ending_of

__all__ = ["ChannelFiles", "by_case", "case_of", "channel_against", "counted_channels", "stem"]

Files = dict[str, list[Path]]
SAME_GRID = "resample the channels of a case to one grid"


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
        names = [f"{self.prefix}{found[0]}{suffix}{ending_of(path)}" for suffix in self.suffixes]
        paths = [existing(path.parent, name) for name in names]
        for position, other in enumerate(paths):
            if not other.exists():
                raise DataError(self._lacking(path, other, position), hint="add the file")
        return paths

    def leading(self, files: Sequence[Path]) -> list[Path]:
        """Replace each file by that of the first channel, each once; files of other names stay."""
        firsts: dict[Path, None] = {}
        for path in files:
            found = self.key(path) if self.are_several else None
            name = "" if found is None else f"{self.prefix}{found[0]}{self.suffixes[0]}{ending_of(path)}"
            first = existing(path.parent, name) if name else path
            firsts[first if first.exists() else path] = None
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
                expected = known.parent / f"{self.prefix}{Path(name).name}{self.suffixes[position]}{ending_of(known)}"
                message = self._lacking(known, expected, position)
                hint = "add the file, or remove the others of the case"
                findings.append(Finding("missing_channel", "error", known, message, hint))
            if not lacking:
                images[name] = [each[0] for each in paths]  # `doubles` reports the others
        return images, findings

    def _lacking(self, path: Path, other: Path, position: int) -> str:
        count = len(self.suffixes)
        return f"image `{path}` has no file `{other.name}` (channel {position + 1} of {count})"


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
    count = len(suffixes) if isinstance(suffixes, list) and suffixes else 1
    if count > 1 and values.get("image_suffix"):
        message = "is for images of one file, and `channel_suffixes` names several"
        return {}, [("image_suffix", message, "remove it, and put it before each of `channel_suffixes`")]
    return {} if "num_channels" in values else {"num_channels": count}, []


def channel_against(other: Path, header: Header, first: Path, image: Header) -> Iterator[Finding]:
    """Find differences in size and geometry between a further channel and the first."""
    if header.size != image.size:
        sizes = ["x".join(map(str, each.size)) for each in (header, image)]
        message = f"`{other}` has {sizes[0]} voxels, but the first channel `{first}` has {sizes[1]}"
        yield Finding("size_mismatch", "error", other, message, SAME_GRID, (first,))
    for finding in placement(other, header, first, image, other="the first channel"):
        yield replace(finding, hint=SAME_GRID)


def stem(path: Path) -> str:
    """Return the name of a file without its extension, such as `.nii.gz`."""
    return path.name[: -len(ending_of(path))]
