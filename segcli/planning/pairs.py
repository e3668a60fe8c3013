"""Pair the images of one folder with the masks of another, or of the same, by the stems of their files."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import takewhile
from pathlib import Path

from segcli.core.names import composed

__all__ = ["NUMBERS", "SEPARATORS", "Affix", "Pairing", "are_numbered", "beside", "paired", "stems"]

PROBES = 6
"""Names of each side from which pairings are guessed."""
NEAR = 40
"""Names of the other side that a name is compared with: its neighbours in order, and some far ones."""
FEW = 400
"""Up to this many names of the other side are all compared."""
ENOUGH = 0.5
"""Smallest share of the smaller side that a pairing must cover."""
NUMBERS = re.compile(r"\d+")
SEPARATORS = "_-. "


@dataclass(frozen=True)
class Affix:
    """Holds what a stem has before and after the name that image and mask share."""

    prefix: str = ""
    suffix: str = ""

    def key(self, stem: str) -> str | None:
        """Return the shared name; None if the stem has another form.

        Example:
            >>> Affix(suffix="_manual1").key("01_manual1"), Affix(prefix="img_").key("mask_01")
            ('01', None)
        """
        fits = stem.startswith(self.prefix) and stem.endswith(self.suffix)
        end = len(stem) - len(self.suffix)
        return stem[len(self.prefix) : end] if fits and end >= len(self.prefix) else None

    @property
    def parts(self) -> dict[str, str]:
        """Return `prefix` and `suffix`, those that are not empty."""
        return {kind: text for kind, text in (("prefix", self.prefix), ("suffix", self.suffix)) if text}

    @property
    def length(self) -> int:
        """Return the number of letters that are not shared."""
        return len(self.prefix) + len(self.suffix)


@dataclass(frozen=True)
class Pairing:
    """Describes how the names of images and of masks belong together."""

    image: Affix
    mask: Affix
    count: int
    """Images with a mask."""

    def partners(self, images: Sequence[str], masks: Sequence[Path]) -> dict[str, Path]:
        """Return the mask of each image by the stem of the image."""
        by_key = {self.mask.key(stem): file for stem, file in zip(stems(masks), masks, strict=True)}
        keys = {stem: self.image.key(stem) for stem in images}
        return {stem: by_key[key] for stem, key in keys.items() if key and key in by_key}

    def for_image(self, affix: Affix) -> Affix | None:
        """Return the affix of the masks if images have this longer affix; None if the two do not fit.

        Example:
            >>> Pairing(Affix(), Affix(suffix="_mask"), 1).for_image(Affix(suffix="_training"))
            Affix(prefix='', suffix='_training_mask')
        """
        if not (affix.prefix.startswith(self.image.prefix) and affix.suffix.endswith(self.image.suffix)):
            return None
        before = affix.prefix[len(self.image.prefix) :]
        after = affix.suffix[: len(affix.suffix) - len(self.image.suffix)]
        return Affix(self.mask.prefix + before, after + self.mask.suffix)


def are_numbered(names: Iterable[str]) -> bool:
    """Tell whether names differ only in their numbers.

    Example:
        >>> are_numbered(["_mask1", "_mask2"]), are_numbered(["_MA", "_HE"])
        (True, False)
    """
    return len({NUMBERS.sub("", name) for name in names}) == 1


def stems(files: Sequence[Path], endings: int = 1) -> list[str]:
    """Return the stems of files, in the normal form of Unicode.

    Args:
        files: Files.
        endings: Number of extensions to leave out.
    """
    return [composed(file.name.rsplit(".", endings)[0]) for file in files]


def paired(images: Sequence[str], masks: Sequence[str]) -> Pairing | None:
    """Find how stems of masks follow from stems of images; None if fewer than half of them belong together.

    Example:
        >>> paired(["01_test", "02_test"], ["01_manual1", "02_manual1"])
        Pairing(image=Affix(prefix='', suffix='_test'), mask=Affix(prefix='', suffix='_manual1'), count=2)
    """
    here, there = set(images), set(masks)
    needed = max(ENOUGH * min(len(here), len(there)), 1)
    equal = len(here & there)
    if equal >= max(0.9 * min(len(here), len(there)), 1):
        return Pairing(Affix(), Affix(), equal)
    best = Pairing(Affix(), Affix(), equal)
    for one, other in _guesses(sorted(here), sorted(there)):
        count = len(_keys(here, one) & _keys(there, other))
        if (count, -one.length - other.length) > (best.count, -best.image.length - best.mask.length):
            best = Pairing(one, other, count)
    return best if best.count >= needed else None


def beside(names: Sequence[str], images: Collection[str] = (), masks: Collection[str] = ()) -> Pairing | None:
    """Find two groups of names in one folder, such as `01` and `01_mask`; None if fewer than half have a partner.

    The names of the first group are those without, or with the earlier, affix.

    Args:
        names: All names.
        images: Names that must be in the first group, if there are some in `masks` too.
        masks: Names that must be in the second group.

    Example:
        >>> beside(["a", "a_mask", "b", "b_mask"])
        Pairing(image=Affix(prefix='', suffix=''), mask=Affix(prefix='', suffix='_mask'), count=2)
    """
    every = set(names)
    known = bool(images) and bool(masks)
    if len(every) == 2:
        return _of_two(*((*images, *masks) if known else sorted(every)))
    best: Pairing | None = None
    for one, other in _guesses(sorted(every), sorted(every), within=True):
        seconds = {name for name in every if other.key(name) is not None}
        if known and not (seconds.issuperset(masks) and seconds.isdisjoint(images)):
            continue
        firsts = every - seconds if one.length == 0 else {name for name in every if one.key(name) is not None}
        count = len(_keys(firsts - seconds, one) & _keys(seconds, other))
        if count and (best is None or (count, -one.length - other.length) > (best.count, -_length(best))):
            best = Pairing(one, other, count)
    return best if best is not None and 2 * best.count >= ENOUGH * len(every) and best.count > 1 else None


def _length(pairing: Pairing) -> int:
    return pairing.image.length + pairing.mask.length


def _of_two(first: str, second: str) -> Pairing | None:
    """Pair the only two names by what they share."""
    one, other = _apart(first, second)
    return Pairing(one, other, 1) if one.key(first) else None


def _keys(names: set[str], affix: Affix) -> set[str]:
    return {key for name in names if (key := affix.key(name))}


def _guesses(here: list[str], there: list[str], *, within: bool = False) -> list[tuple[Affix, Affix]]:
    """List the affixes that pairs of names suggest, those that several suggest first."""
    found: Counter[tuple[Affix, Affix]] = Counter()
    numbered: dict[tuple[str, ...], list[int]] = {}
    for index, name in enumerate(there):
        numbered.setdefault(tuple(NUMBERS.findall(name)), []).append(index)
    for at in _spread(len(here), PROBES):
        share = at / max(len(here) - 1, 1)
        middle = at if within else round(share * (len(there) - 1))
        same = numbered.get(tuple(NUMBERS.findall(here[at])), [])[:NEAR]
        for index in {*_partners(middle, len(there), half=within), *same}:
            if within and there[index] == here[at]:
                continue
            pairs = [_apart(here[at], there[index]), *(_by_end(here[at], there[index]) if index in same else ())]
            for pair in dict.fromkeys(pairs):
                found[pair] += 1
                if within and pair[0] != pair[1]:
                    found[pair[::-1]] += 1
    return [pair for pair, _ in found.most_common(200 if len(here) <= FEW else 60) if not within or pair[0] != pair[1]]


def _partners(middle: int, count: int, *, half: bool) -> list[int]:
    """Choose positions near the middle, or half of the list away from it, and some of all; all if they are few."""
    if count <= FEW:
        return list(range(count))
    centres = [middle, middle + count // 2, middle - count // 2] if half else [middle]
    near = {centre + step for centre in centres for step in range(-NEAR // 4, NEAR // 4 + 1)}
    return sorted({index for index in near if 0 <= index < count} | set(_spread(count, NEAR // 2)))


def _apart(first: str, second: str) -> tuple[Affix, Affix]:
    """Split two names at the longest part that they share; separators at its ends belong to the affixes."""
    match = SequenceMatcher(None, first, second, autojunk=False).find_longest_match()
    start, end = match.a, match.a + match.size
    has_ends = end < len(first) or match.b + match.size < len(second)
    while has_ends and end > start and first[end - 1] in SEPARATORS:
        end -= 1
    has_starts = start > 0 or match.b > 0
    while has_starts and start < end and first[start] in SEPARATORS:
        start += 1
    begin, size = match.b + start - match.a, end - start
    return Affix(first[:start], first[end:]), Affix(second[:begin], second[begin + size :])


def _by_end(first: str, second: str) -> Iterator[tuple[Affix, Affix]]:
    """Split two names before the end that they share, such as the number of `volume-0` and `segmentation-0`."""
    letters = zip(reversed(first), reversed(second), strict=False)
    size = sum(1 for _ in takewhile(lambda both: both[0] == both[1], letters))
    key = first[len(first) - size :].lstrip(SEPARATORS)
    if key and len(key) < min(len(first), len(second)):
        yield Affix(first[: -len(key)]), Affix(second[: -len(key)])


def _spread(count: int, most: int) -> list[int]:
    """Choose positions that are spread evenly, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(index * (count - 1) / (most - 1)) for index in range(most)})
