"""Tell images from masks that lie in one folder."""

from collections.abc import Mapping
from pathlib import Path

from segcli.core.errors import DataError
from segcli.core.files import shown
from segcli.planning.looks import look_at, named_mask
from segcli.planning.pairs import Pairing, beside, stems
from segcli.planning.roles import Roles, Side

__all__ = ["roles_within"]


FEW = 2
"""Files at each end of a folder that are looked at before names are compared."""


def _few(files: list[Path], names: list[str]) -> list[tuple[Path, str]]:
    every = list(zip(files, names, strict=True))
    return list(dict.fromkeys((*every[:FEW], *every[-FEW:])))


def roles_within(joined: Mapping[str, list[Path]]) -> Roles:
    """Find images and masks in one folder by their affixes.

    Raises:
        DataError: There are no masks, or an image and its mask have one stem.
    """
    ((folder, files),) = joined.items()
    names = stems(files)
    seen: set[tuple[Path, str]] = set()
    for file, stem in zip(files, names, strict=True):
        if (file.parent, stem) not in seen:
            seen.add((file.parent, stem))
            continue
        raise DataError(
            f"`{shown(file.parent)}` holds two files of the name `{stem}`, such as an image and its mask",
            hint="put the masks into a folder of their own",
        )
    looked = {stem: look_at([file]).is_mask for file, stem in _few(files, names)}
    kinds = ([stem for stem, is_mask in looked.items() if is_mask is each] for each in (False, True))
    pairing = beside(names, *kinds)
    images = f"the {len(files)} images" if len(files) > 1 else "the only image"
    if pairing is None:
        raise DataError(
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
        raise DataError(
            f"no masks beside {images} of `{shown(files[0].parent)}`: "
            "every file has the many colours or values of a photograph",
            hint="a mask has a few values or colours",
        )
    if turned:
        pairing, looks = Pairing(pairing.mask, pairing.image, pairing.count), looks[::-1]
    return Roles(folder, looks[0], [Side(folder, looks[1], pairing)])
