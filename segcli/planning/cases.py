"""Find images and masks in a folder for each case, such as `case_01/image.png` and `case_01/mask.png`."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from glob import escape
from pathlib import Path
from typing import Any

from segcli.core.errors import DataError
from segcli.core.names import composed
from segcli.datasets._case_folders import case_name
from segcli.datasets._channel_files import case_of
from segcli.files import is_picture_folder, stem_of
from segcli.planning.pairs import NUMBERS, SEPARATORS, Affix, are_numbered, paired
from segcli.planning.sides import side_of_name

__all__ = ["CaseFolders", "Slot", "case_folders", "hold_both"]

MANY, FEW_FILES = 4, 8
"""From so many folders on, and in so few files each, folders are cases and no splits."""
COMMON = 0.8
"""Smallest share of the folders that have a file of one name, and of the files that have such a name."""
FEW = 3
"""Files at each end of a folder that tell whether it holds images, masks or both."""
LOOKED = 3
"""Folders whose files are opened."""
AT_MOST = 40
"""Files of a folder that are opened; of names that all folders have, those that differ only in numbers."""
RARE = 0.05
"""Smallest share of the images of a folder of several that have a mask of a further kind."""
Inside = Mapping[str, Mapping[str, Sequence[Path]]]


@dataclass(frozen=True)
class Slot:
    """Describes the files of one kind: their folder in that of a case, and what their names have beside it."""

    inner: str
    affix: Affix
    depth: int = 1
    """Folders down to that of a case."""
    endings: frozenset[str] = frozenset()
    """Extensions of the files if only they tell masks from images."""

    @property
    def pattern(self) -> str:
        """Return the folder with `*` for that of the case."""
        return "/".join(["*"] * self.depth + [self.inner] * (self.inner != "."))

    def key(self, path: Path) -> str | None:
        """Return what a file has in common with the others of its case; None if it is of another kind."""
        fits = not self.endings or path.suffix.lower() in self.endings
        return self.affix.key(composed(stem_of(path))) if fits else None


@dataclass(frozen=True)
class CaseFolders:
    """Says what the folders of cases hold."""

    inside: Inside
    """Files by the folder of the case, then by the folder in it."""
    images: list[Slot]
    """Images; several are further channels or other pictures of the same."""
    mask: Slot
    other_masks: tuple[Slot, ...] = ()
    left_out: tuple[str, ...] = ()
    """Names of images, with wildcards, that have no masks."""
    are_objects: bool = False
    """True if a folder holds a mask for each object."""
    unused: str = ""
    """Name of an image that has another form and is not used; empty if there is none."""

    def with_mask(self, suffix: Any) -> "CaseFolders":
        """Take the masks with this suffix, if there are some."""
        chosen = next((slot for slot in self.masks if slot.affix.suffix == suffix), self.mask)
        return replace(self, mask=chosen, other_masks=tuple(slot for slot in self.masks if slot is not chosen))

    def below(self, depth: int) -> "CaseFolders":
        """Return the same so many folders below."""
        images, others = ([replace(slot, depth=depth) for slot in each] for each in (self.images, self.other_masks))
        return replace(self, images=images, mask=replace(self.mask, depth=depth), other_masks=tuple(others))

    @property
    def are_several(self) -> bool:
        """Tell whether a folder holds several images and several masks, whose names may pair them."""
        return len(self.images) > 1 and bool(self.other_masks)

    @property
    def repeats(self) -> bool:
        """Tell whether a folder holds several cases."""
        return len(self.of_images()) > len(self.inside)

    def of_masks(self) -> dict[str, Path]:
        """Return the masks by the name of their case."""
        if self.are_objects:
            first = ((child, next(iter(each[self.images[0].inner]))) for child, each in self.inside.items())
            return {
                case_name(composed(child), composed(stem_of(file))): file.parent.parent / "masks"
                for child, file in first
            }
        return self._of_kind(self.mask)

    def of_images(self, position: int = 0) -> dict[str, Path]:
        """Return the images by the name of their case."""
        image = self.images[position]
        found = self._files(
            image, () if self.are_objects else [each for each in self.masks if each.inner == image.inner]
        )
        return {
            name: path for name, path in found.items() if not any(fnmatchcase(name, each) for each in self.left_out)
        }

    def of_kinds(self) -> list[dict[str, Path]]:
        """Return the masks of each kind by the name of their case."""
        return [self._of_kind(slot) for slot in self.masks]

    @property
    def masks(self) -> tuple[Slot, ...]:
        """Return the masks of all kinds."""
        return self.mask, *self.other_masks

    def without(self, used: Collection[str]) -> tuple[list[Slot], tuple[str, ...]]:
        """Return the masks that are not used, and names with wildcards of those that would be taken for images.

        Args:
            used: Suffixes of the masks that are used.
        """
        image, first = self.images[0], self.mask
        unused = [each for each in self.masks if each.inner != first.inner or each.affix.suffix not in used]
        beside = [each for each in unused if each.inner == image.inner]
        taken = [each for each in beside if any(image.key(path) is not None for path in self._files(each).values())]
        return unused, tuple(f"*{escape(each.affix.suffix)}" for each in taken)

    def _of_kind(self, slot: Slot) -> dict[str, Path]:
        """Return the masks of a kind without those of another one whose suffix ends alike, such as `_HARD_EX`."""
        end = slot.affix.suffix
        ends = [each for each in self.masks if each.inner == slot.inner and each.affix.suffix.endswith(end)]
        return self._files(slot, [each for each in ends if each.affix.suffix != end])

    def _files(self, slot: Slot, without: Sequence[Slot] = ()) -> dict[str, Path]:
        found = {}
        for child, folders in self.inside.items():
            for path in folders.get(slot.inner, ()):
                key = slot.key(path)
                if key is not None and all(each.key(path) is None for each in without):
                    found[case_name(composed(child), key)] = path
        return found


def case_folders(folders: Mapping[str, Sequence[Path]], is_mask: Callable[[Path], bool]) -> CaseFolders | None:
    """Find images and masks in a folder for each case, or below folders of cases; None if there is something else.

    Args:
        folders: Files by the relative name of their folder.
        is_mask: Tells whether a file is a mask by its pixels.
    """
    is_mask = cache(is_mask)
    is_flat = not any("/" in name for name in folders)
    named = any(side_of_name(name.split("/")[0]) for name in folders)
    found = _at(folders, is_mask, 1) if is_flat or not named else None
    if found is None and all("/" in name for name in folders):
        found = _at(folders, is_mask, 2)
    return found


def _at(folders: Mapping[str, Sequence[Path]], is_mask: Callable[[Path], bool], depth: int) -> CaseFolders | None:
    """Find folders of cases so many folders below."""
    inside: dict[str, dict[str, Sequence[Path]]] = {}
    for name, files in folders.items():
        parts = name.split("/")
        inside.setdefault("/".join(parts[:depth]), {})["/".join(parts[depth:]) or "."] = files
    if "." in inside or len(inside) < 2:
        return None
    few = len(inside) < MANY
    large = few and max(sum(map(len, each.values())) for each in inside.values()) > FEW_FILES
    if large and any(set(each) != {"."} for each in inside.values()):
        return None
    looked_at = list(inside.values())[: None if few else 1]
    if not all(hold_both(each.values(), is_mask) for each in looked_at):
        return None
    looked = list(inside)[:: max(len(inside) // LOOKED, 1)][:LOOKED]
    masks: dict[Path, bool] = {}
    for child in looked:
        for files in inside[child].values():
            for path in files[:AT_MOST]:
                with suppress(DataError):  # `data check` names it
                    masks[path] = is_mask(path)
    found = _of_fixed_names(inside, looked, is_mask)
    if found is None or found.are_several:
        every = found is not None
        found = _of_objects(inside) or _of_pairs(inside, looked, masks, is_mask, all_of_them=every) or found
    elif all(mask.affix.suffix.isdigit() for mask in found.masks):
        found = _of_objects(inside) or found
    return None if found is None else found.below(depth)


def hold_both(folders: Iterable[Sequence[Path]], is_mask: Callable[[Path], bool]) -> bool:
    """Tell whether folders hold images and masks, by the first and the last files of each."""
    kinds = set()
    for files in folders:
        for path in (*files[:FEW], *files[-FEW:]):
            with suppress(DataError):  # `data check` names it
                kinds.add(is_mask(path))
    return len(kinds) == 2


def _of_fixed_names(inside: Inside, looked: Sequence[str], is_mask: Callable[[Path], bool]) -> CaseFolders | None:
    """Find files that have one name in every folder, apart from the name of the folder."""
    slots: Counter[tuple[str, str]] = Counter()
    total = 0
    for child, folders in inside.items():
        mine = [(inner, _rest(child, path)) for inner, files in folders.items() for path in files]
        slots.update(list(dict.fromkeys(mine)))
        total += len(mine)
    fixed = [slot for slot, count in slots.items() if count >= COMMON * len(inside)]
    if sum(slots[slot] for slot in fixed) < COMMON * total:
        return None
    kinds: dict[tuple[str, str], list[bool]] = {slot: [] for slot in fixed}
    for child in looked:
        for inner, files in inside[child].items():
            forms: Counter[str] = Counter()
            for rest, path in ((_rest(child, path), path) for path in files):
                form = NUMBERS.sub("", rest)
                forms[form] += (inner, rest) in kinds
                if (inner, rest) in kinds and forms[form] <= AT_MOST:
                    with suppress(DataError):  # `data check` names it
                        kinds[inner, rest].append(is_mask(path))
    mixed = sum(any(each) and not all(each) for each in kinds.values())
    if 2 * mixed > len(kinds):  # a folder of images and one of masks
        return None
    found = {slot: all(each) for slot, each in kinds.items() if each}
    images = [Slot(inner, Affix(suffix=rest)) for (inner, rest), marks in found.items() if not marks]
    marks = [Slot(inner, Affix(suffix=rest)) for (inner, rest), are_marks in found.items() if are_marks]
    numbered = any(are_numbered(slot.affix.suffix for slot in each) for each in (images, marks))
    if not images or not marks or (len(images) > 1 < len(marks) and numbered):
        return None  # numbered frames of clips have the same names, too
    return CaseFolders(inside, images, marks[0], tuple(marks[1:]))


def _rest(child: str, path: Path) -> str:
    return composed(stem_of(path)).removeprefix(composed(child.rsplit("/", maxsplit=1)[-1]))


def _of_objects(inside: Inside) -> CaseFolders | None:
    """Find a folder `masks` with a mask of each object beside the folder `images` of one image."""
    for folders in inside.values():
        files = folders.get("masks", ())
        if set(folders) != {"images", "masks"} or not is_picture_folder(files[0].parent, 2):
            return None
    if all(len(folders["masks"]) == 1 for folders in inside.values()):
        return None
    return CaseFolders(inside, [Slot("images", Affix())], Slot(".", Affix(suffix="masks")), are_objects=True)


def _of_pairs(
    inside: Inside,
    looked: Sequence[str],
    masks: Mapping[Path, bool],
    is_mask: Callable[[Path], bool],
    *,
    all_of_them: bool,
) -> CaseFolders | None:
    """Find images and masks whose names belong together, several in a folder.

    Args:
        inside: Files of the folders.
        looked: Folders that are looked at.
        masks: Whether files in them are masks.
        is_mask: Tells whether another file is a mask by its pixels.
        all_of_them: Every mask has an image, or every image a mask: `ct` and `liver` share only a letter or none.
    """
    sides: dict[bool, list[tuple[str, Path]]] = {True: [], False: []}
    for child in looked:
        for inner, files in inside[child].items():
            for path in files:
                if path in masks:
                    sides[masks[path]].append((inner, path))
    inners = {is_mask: Counter(inner for inner, _ in found).most_common(1)[0][0] for is_mask, found in sides.items()}
    stems = {
        is_mask: [composed(stem_of(path)) for inner, path in found if inner == inners[is_mask]]
        for is_mask, found in sides.items()
    }
    shares = [sum(inner in folders for folders in inside.values()) for inner in inners.values()]
    pairing = paired(stems[False], stems[True]) if min(shares) >= COMMON * len(inside) else None
    if pairing is not None and all_of_them and pairing.count < min(len({*each}) for each in stems.values()):
        return None
    endings = _endings(sides) if inners[True] == inners[False] else None
    if pairing is None or (inners[True] == inners[False] and not (pairing.mask.length or endings)):
        return None
    endings = None if pairing.mask.length else endings
    known = {pairing.mask.key(stem) for stem in stems[True]}
    alone = {path for inner, path in sides[False] if _lacks(pairing.image, path, known) and inner == inners[False]}
    rests = {_rest(child, path) for child in looked for path in inside[child].get(inners[False], ()) if path in alone}
    left_out = tuple(f"*{rest}" for rest in sorted(rests) if rest)
    image, mask = Slot(inners[False], pairing.image), Slot(inners[True], pairing.mask, endings=endings or frozenset())
    return CaseFolders(
        inside,
        [image],
        mask,
        tuple(_other_masks(CaseFolders(inside, [image], mask), is_mask)),
        unused=next((path.name for _, path in sides[False] if pairing.image.key(composed(stem_of(path))) is None), ""),
        left_out=left_out if len(alone) >= len(looked) * len(left_out) else (),
    )


def _other_masks(found: CaseFolders, is_mask: Callable[[Path], bool]) -> Iterator[Slot]:
    """Find further masks of the images, such as `left_MA` beside `left_EX`: files that begin with a case."""
    image, mask = found.images[0], found.mask
    ends: dict[str, list[Path]] = {}
    count = 0
    for folders in found.inside.values():
        images, files = (
            {composed(stem_of(path)): path for path in folders.get(each.inner, ())} for each in (image, mask)
        )
        firsts, seconds = map(image.affix.key, images), map(mask.affix.key, files)
        cases = {each for each in firsts if each} & {each for each in seconds if each}
        count += len(cases)
        for name, path in files.items():
            rest = name.removeprefix(mask.affix.prefix)
            case = case_of(rest, cases, before=SEPARATORS) if name.startswith(mask.affix.prefix) else None
            if case is not None:
                ends.setdefault(rest[len(case) :], []).append(path)
    for end, paths in ends.items():
        same = NUMBERS.sub("", end).rstrip(SEPARATORS) == mask.affix.suffix  # `_mask_1`: another part of `_mask`
        if not same and end != mask.affix.suffix and len(paths) >= RARE * count:
            with suppress(DataError):  # `data check` names it
                if is_mask(paths[0]):
                    yield replace(mask, affix=replace(mask.affix, suffix=end))


def _endings(sides: Mapping[bool, Sequence[tuple[str, Path]]]) -> frozenset[str] | None:
    """Return the extensions of masks if no image has one of them."""
    images, masks = ({path.suffix.lower() for _, path in sides[is_mask]} for is_mask in (False, True))
    return None if images & masks else frozenset(masks)


def _lacks(affix: Affix, path: Path, known: set[str | None]) -> bool:
    key = affix.key(composed(stem_of(path)))
    return key is not None and key not in known
