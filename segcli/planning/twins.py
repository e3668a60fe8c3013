"""Find folders of images that have a folder of masks each: `train_images` with `train_masks`, `01` with `01_GT/SEG`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from glob import escape

from segcli.core.names import fits
from segcli.data.split_settings import SIDES
from segcli.datasets._case_folders import case_name, place_name, share_stars
from segcli.planning.pairs import SEPARATORS, Affix, Pairing, paired
from segcli.planning.sides import side_of_name

__all__ = ["Kind", "Twins", "members_of", "twins_of"]

FEWEST = 2
"""Fewer folders of images with masks of their own are no twins."""
PROBES, MOST = 6, 40
"""Folders of images from whose names patterns are guessed, and folders of masks that each is compared with."""
CLIPS = 4
"""From so many folders on, or with a number in each name, the images of a folder belong together."""
WORD = 3
"""Letters of a name that another one may continue without a separator, such as `train` and `trainannot`."""
Stems = Mapping[str, Sequence[str]]
"""Stems of the files of each folder."""


@dataclass(frozen=True)
class Kind:
    """Describes the folders of one kind of images or masks."""

    pattern: str
    """Folders with `*` for what images and masks share."""
    folders: Mapping[str, str]
    """Folder of each key, which is what `*` stands for."""


@dataclass(frozen=True)
class Twins:
    """Says which folders of masks belong to which folders of images."""

    images: Kind
    masks: Kind
    pairing: Pairing
    other_masks: tuple[Kind, ...] = ()
    """Further masks of the same images."""

    @property
    def keys(self) -> list[str]:
        """Return the keys of the folders of images with masks."""
        return [key for key in self.images.folders if key in self.masks.folders]

    def names(self, kind: Kind, stems: Stems, affix: Affix | None = None) -> dict[str, list[str | None]]:
        """Name the case of each file of each folder; None for a file that has another form.

        Args:
            kind: Images or masks.
            stems: Stems of the files of each folder.
            affix: Affix of the files; default: that of the pairing.
        """
        affix = affix or (self.pairing.image if kind is self.images else self.pairing.mask)
        whole = share_stars(self.images.pattern, self.masks.pattern)
        found = {}
        for key in self.keys:
            outer = (_key(kind.pattern, kind.folders[key], whole=whole) or "").strip("/")
            inner = [affix.key(stem) for stem in stems[kind.folders[key]]]
            found[key] = [None if each is None else case_name(outer, each) for each in inner]
        return found

    def with_masks(self, kind: Kind, stems: Stems) -> "Twins | None":
        """Take other masks of the same images; None if their files do not belong together."""
        if kind is self.masks:
            return self
        found = _twins(
            self.images.pattern, kind.pattern, {name: stems[name] for name in self.images.folders.values()}, stems
        )
        return None if found is None else replace(found, masks=kind)

    def unused(self, folders: Mapping[str, object]) -> tuple[str, ...]:
        """Return the names, with wildcards, of images of other folders that the pattern fits, too."""
        whole = share_stars(self.images.pattern, self.masks.pattern)
        used = {*self.masks.folders.values(), *(self.images.folders[key] for key in self.keys)}
        others = [name for name in folders if name not in used and _key(self.images.pattern, name) is not None]
        return tuple(f"{escape(_key(self.images.pattern, name, whole=whole) or '')}/*" for name in others)

    @property
    def are_clips(self) -> bool:
        """Tell whether the images of a folder belong together, such as frames."""
        return len(self.keys) >= CLIPS or all(any(letter.isdigit() for letter in key) for key in self.keys)


def members_of(names: Mapping[str, Sequence[str]]) -> dict[str, list[str]] | None:
    """Return the names of each split, with wildcards, by folders that are named after it; None if none are.

    Args:
        names: Names of the cases by the key of their folder.
    """
    sides: dict[str, list[str]] = {}
    every = [name for members in names.values() for name in members]
    for key, members in names.items():
        side = _side(key)
        if side is not None:
            sides.setdefault(side, []).extend(_wildcards(escape(key), members, every))
    if "train" not in sides or len(sides) < FEWEST or not all(map(_side, names)):
        return None
    return {side: sides[side] for side in SIDES if side in sides}


def _side(key: str) -> str | None:
    return next((side for part in key.split("/") if (side := side_of_name(part)) is not None), None)


def _wildcards(key: str, members: Sequence[str], every: Sequence[str]) -> Sequence[str]:
    """Return wildcards that fit these names alone, or the names."""
    for pattern in (f"{key}/*", f"{key}*"):
        if {name for name in every if fits(name, [pattern])} == set(members):
            return [pattern]
    return members


def twins_of(images: Stems, masks: Stems) -> Twins | None:
    """Find folders of images and of masks whose names belong together; None if fewer than two do.

    Args:
        images: Stems by the folders that hold images.
        masks: Stems by the folders that hold masks.
    """
    found: dict[str, list[Twins]] = {}
    for first, second in dict.fromkeys(_guesses(list(images), list(masks))):
        twins = _twins(first, second, images, masks)
        if twins is not None:
            found.setdefault(twins.images.pattern, []).append(twins)
    if not found:
        return None
    kinds = max(found.values(), key=lambda each: max(twins.pairing.count for twins in each))
    best = max(kinds, key=lambda each: each.pairing.count)
    others = {tuple(each.masks.folders.values()): each.masks for each in kinds}
    others = {places: kind for places, kind in others.items() if not set(places) & set(best.masks.folders.values())}
    return replace(best, other_masks=tuple(others.values()))


def _twins(first: str, second: str, images: Stems, masks: Stems) -> Twins | None:
    """Try two patterns; None if their folders or files do not belong together."""
    kinds = [_kind(first, images), _kind(second, masks)]
    common = [key for key in kinds[0].folders if key in kinds[1].folders]
    if len(common) < FEWEST:
        return None
    fixed = [
        position
        for position, parts in enumerate(zip(*(key.split("/") for key in common), strict=True))
        if len(set(parts)) == 1
    ]
    if fixed:
        return _twins(_filled(first, common[0], fixed), _filled(second, common[0], fixed), images, masks)
    here, there = (
        [stems[kind.folders[key]] for key in common] for kind, stems in zip(kinds, (images, masks), strict=True)
    )
    pairing = paired([stem for each in here for stem in each], [stem for each in there for stem in each])
    if pairing is None:
        return None
    count = 0
    for ours, theirs in zip(here, there, strict=True):
        shared = {pairing.image.key(stem) for stem in ours} & {pairing.mask.key(stem) for stem in theirs} - {None}
        if 2 * len(shared) < min(len(ours), len(theirs)):
            return None
        count += len(shared)
    return Twins(kinds[0], kinds[1], replace(pairing, count=count))


def _kind(pattern: str, stems: Stems) -> Kind:
    return Kind(pattern, {key: name for name in stems if (key := _key(pattern, name)) is not None})


def _key(pattern: str, name: str, *, whole: bool = False) -> str | None:
    """Return what the `*` of a pattern stand for in a name; None if it does not fit."""
    parts = list(zip(pattern.split("/"), name.split("/"), strict=False))
    if pattern.count("/") != name.count("/") or not all(_fits(mine, part) for part, mine in parts):
        return None
    return "/".join(place_name(part, mine, whole=whole) for part, mine in parts if "*" in part)


def _fits(name: str, part: str) -> bool:
    return fnmatchcase(name, part) if "*" in part else name == part


def _filled(pattern: str, key: str, fixed: Sequence[int]) -> str:
    """Put what stands for some of the `*` in their place."""
    values = key.split("/")
    parts = pattern.split("/")
    starred = [position for position, part in enumerate(parts) if "*" in part]
    for position in fixed:
        parts[starred[position]] = parts[starred[position]].replace("*", values[position])
    return "/".join(parts)


# ---- guesses


def _guesses(images: Sequence[str], masks: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Guess patterns with `*` from some folders of images and the folders of masks whose names are most alike."""
    for one in images[:: max(len(images) // PROBES, 1)][:PROBES]:
        parts = [part for part in one.split("/") if part]
        for other in sorted(masks, key=lambda name: -sum(part in name for part in parts))[:MOST]:
            yield from _of_one_part(one.split("/"), other.split("/"))
            yield from _of_shared_part(one.split("/"), other.split("/"))


def _of_one_part(one: list[str], other: list[str]) -> Iterator[tuple[str, str]]:
    """Guess from names of which one part differs, such as `train/images/clip1` and `train/labels/clip1`."""
    differ = [position for position, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]]
    if len(one) == len(other) > 1 and len(differ) == 1:
        first, second = (
            "/".join(part if position in differ else "*" for position, part in enumerate(parts))
            for parts in (one, other)
        )
        yield first, second


def _of_shared_part(one: list[str], other: list[str]) -> Iterator[tuple[str, str]]:
    """Guess from a part of both names that begins or ends alike, such as `train_images` and `train_masks`."""
    for i, first in enumerate(one):
        for j, second in enumerate(other):
            for a, b in _apart(first, second):
                if not any(letter in "[?" for letter in a + b):
                    yield "/".join([*one[:i], a, *one[i + 1 :]]), "/".join([*other[:j], b, *other[j + 1 :]])


def _apart(first: str, second: str) -> Iterator[tuple[str, str]]:
    """Put `*` in the place of what two parts of names have in common at their begin, or at their end."""
    if first == second:
        yield "*", "*"
        return
    size = _common(first, second)
    yield f"*{first[size:]}", f"*{second[size:]}"
    size = _common(first[::-1], second[::-1])
    yield f"{first[: len(first) - size]}*", f"{second[: len(second) - size]}*"


def _common(first: str, second: str) -> int:
    """Return the number of letters at the begin that two names share, up to the end of a word in both."""
    size = next(
        (at for at, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]),
        min(len(first), len(second)),
    )
    while (
        size and not (_ends(first, size) and _ends(second, size)) and not (size == min(len(first), len(second)) >= WORD)
    ):
        size -= 1
    while size and first[size - 1] in SEPARATORS:
        size -= 1
    return size


def _ends(name: str, at: int) -> bool:
    """Tell whether a word of a name ends at a position."""
    if at == len(name) or name[at] in SEPARATORS or name[at - 1] in SEPARATORS:
        return True
    before, after = name[at - 1], name[at]
    return before.isdigit() != after.isdigit() or before.isupper() != after.isupper()
