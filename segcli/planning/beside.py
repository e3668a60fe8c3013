"""Tell images from masks that lie in one folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from segcli.core.errors import DataError
from segcli.core.files import shown
from segcli.planning.alike import are_alike
from segcli.planning.kinds import kinds_of
from segcli.planning.looks import KINDS, look_at, named_mask
from segcli.planning.pairs import Affix, Pairing, beside, stems
from segcli.planning.roles import NoMasksError, Roles, Side, foreground_of

__all__ = ["roles_within"]


FEW = 2
"""Files at each end of a folder that are looked at before names are compared."""


def _few(files: list[Path], names: list[str]) -> list[tuple[Path, str]]:
    every = list(zip(files, names, strict=True))
    return list(dict.fromkeys((*every[:FEW], *every[-FEW:])))


def roles_within(joined: Mapping[str, list[Path]], label_suffix: object = None) -> Roles:
    """Find images and masks in one folder by their affixes, or by their extensions.

    Args:
        joined: Files of the folder.
        label_suffix: Suffix of the masks if it is known.

    Raises:
        DataError: There are no masks, or files of one stem are not an image and its mask.
    """
    ((folder, files),) = joined.items()
    names = stems(files)
    if (twice := _twice(files, names)) is not None:
        return _by_extension(folder, files, twice)
    looked = {stem: look_at([file]).is_mask for file, stem in _few(files, names)}
    kinds = ([stem for stem, is_mask in looked.items() if is_mask is each] for each in (False, True))
    pairing = beside(names, *kinds)
    several = kinds_of(names)
    if several is not None and (pairing is None or len(several) > 2):
        found = _of_kinds(folder, files, several, label_suffix)
        if found is not None:
            return found
    images = f"the {len(files)} images" if len(files) > 1 else "the only image"
    if pairing is None:
        raise NoMasksError(
            f"no masks beside {images} of `{shown(files[0].parent)}`",
            hint="put them into a folder beside that of the images, or give them a suffix such as `_mask`",
        )
    are_second = [pairing.mask.key(stem) is not None for stem in names]
    second = [file for file, is_second in zip(files, are_second, strict=True) if is_second]
    first = [file for file, is_second in zip(files, are_second, strict=True) if not is_second]
    looks = look_at(first), look_at(second)
    words = (
        named_mask(pairing.image.suffix + pairing.image.prefix),
        named_mask(pairing.mask.suffix + pairing.mask.prefix),
    )
    turned = (looks[0].is_mask and not looks[1].is_mask) or (
        looks[0].is_mask == looks[1].is_mask and words == (True, False)
    )
    if not any(look.is_mask for look in looks):
        raise NoMasksError(
            f"no masks beside {images} of `{shown(files[0].parent)}`: "
            "every file has the many colours or values of a photograph",
            hint="a mask has a few values or colours",
        )
    if turned:
        pairing, looks = Pairing(pairing.mask, pairing.image, pairing.count), looks[::-1]
    return Roles(folder, looks[0], [Side(folder, looks[1], pairing)])


# ---- image and mask of one stem


def _twice(files: Sequence[Path], names: Sequence[str]) -> tuple[Path, str] | None:
    """Find the first file with the stem of another one in its folder."""
    seen: set[tuple[Path, str]] = set()
    for file, stem in zip(files, names, strict=True):
        if (file.parent, stem) in seen:
            return file, stem
        seen.add((file.parent, stem))
    return None


def _by_extension(folder: str, files: Sequence[Path], twice: tuple[Path, str]) -> Roles:
    """Tell images from masks of the same stems by their extensions."""
    groups: dict[str, list[Path]] = {}
    for file in files:
        groups.setdefault(file.suffix.lower(), []).append(file)
    looks = {ending: look_at(each) for ending, each in groups.items()}
    sides = [[file for file in files if looks[file.suffix.lower()].is_mask is is_mask] for is_mask in (False, True)]
    first, second = (_by_name(side) for side in sides)
    if not first or not second or len(first) < len(sides[0]) or len(second) < len(sides[1]):
        raise DataError(
            f"`{shown(twice[0].parent)}` holds two files of the name `{twice[1]}` that are not an image and its mask",
            hint="put images and masks into folders of their own",
        )
    masks = [file for name, file in second.items() if name in first]
    pairing = Pairing(Affix(), Affix(), len(masks))
    alone = [file.name for name, file in second.items() if name not in first]
    count = f"{len(alone)} mask{'s' * (len(alone) > 1)}"
    notes = [f"{count} without an image of the same stem, such as `{alone[0]}`: not used"] if alone else []
    endings = sorted({file.suffix.lower().lstrip(".") for file in second.values()})
    return Roles(
        folder,
        look_at(sides[0]),
        [Side(folder, look_at(sides[1]), pairing)],
        files=(list(first.values()), masks),
        label_extensions=endings,
        notes=notes,
    )


def _by_name(files: Sequence[Path]) -> dict[tuple[Path, str], Path]:
    return {(file.parent, stem): file for file, stem in zip(files, stems(files), strict=True)}


# ---- several kinds of files for each image


def _of_kinds(folder: str, files: Sequence[Path], kinds: Mapping[str, list[str]], label_suffix: object) -> Roles | None:
    """Find images and masks among several kinds of files for each image; None if all are of one kind."""
    kind_of = {f"{case}{end}": end for end, cases in kinds.items() for case in cases}
    mine: dict[str, list[Path]] = {}
    for file, stem in zip(files, stems(files), strict=True):
        mine.setdefault(kind_of.get(stem, ""), []).append(file)
    looks = {end: look_at(mine[end]) for end in kinds}
    images = sorted((end for end in kinds if not looks[end].is_mask), key=lambda end: (end != "", -len(mine[end])))
    masks = sorted(
        (end for end in kinds if looks[end].is_mask),
        key=lambda end: (end != label_suffix, KINDS.index(looks[end].kind)),
    )
    if not images or not masks:
        return None
    image = Affix(suffix=images[0])
    cases = {image.key(stem) for stem in stems(mine[images[0]])}
    pairings = [Pairing(image, Affix(suffix=end), len(cases.intersection(kinds[end]))) for end in masks]
    sides = [Side(folder, looks[end], pairing) for end, pairing in zip(masks, pairings, strict=True)]
    named = [_by_case(mine[end], pairing.mask) for end, pairing in zip(masks, pairings, strict=True)]
    truth = [file for case, file in named[0].items() if case in cases]
    unused = {end: len(mine[end]) for end in (*images[1:], *masks[1:])}
    return Roles(
        folder,
        looks[images[0]],
        sides,
        same=are_alike(named, foreground_of),
        files=(mine[images[0]], truth),
        kinds={end: _by_case(mine[end], Affix(suffix=end)) for end in images} if len(images) > 1 else {},
        mask_kinds=dict(zip(masks, named, strict=True)) if len(masks) > 1 else {},
        unused=unused,
    )


def _by_case(files: Sequence[Path], affix: Affix) -> dict[str, Path]:
    return {key: file for file, stem in zip(files, stems(files), strict=True) if (key := affix.key(stem)) is not None}
