"""Random splits and folds of whole groups; the seed decides the order."""

import re
from collections.abc import Callable

from segcli.core.errors import DataError
from segcli.core.names import composed
from segcli.core.randomness import generator
from segcli.data.split_settings import ShareSettings

__all__ = ["UnmatchedGroupError", "assign", "group_of", "stratified"]


class UnmatchedGroupError(DataError):
    """The name of an image or sequence does not match `split.group`."""


def stratified(names: list[str], seed: int, stratum: Callable[[str], str] | None) -> list[str]:
    """Shuffle names by `seed` so that every part of the order has about the same share of each stratum.

    Example:
        >>> "".join(name[0] for name in stratified(["a1", "a2", "b1", "b2"], 0, lambda name: name[0]))
        'abab'
    """
    names = sorted(names)
    order = [names[index] for index in generator("split", seed).permutation(len(names))]
    if stratum is None:
        return order
    strata: dict[str, list[str]] = {}
    for name in order:
        strata.setdefault(stratum(name), []).append(name)
    place = {
        name: ((position + 0.5) / len(members), label)
        for label, members in strata.items()
        for position, name in enumerate(members)
    }
    return sorted(order, key=place.__getitem__)


def assign(
    keys: list[str],
    settings: ShareSettings,
    stratum: Callable[[str], str] | None = None,
    weight: Callable[[str], int] | None = None,
) -> dict[str, list[str]]:
    """Draw the splits from whole groups; each split keeps the order of `keys`.

    Shares are shares of the images, and are reached as nearly as whole groups allow.

    Args:
        keys: Names of the images (or sequences).
        settings: The `split` section.
        stratum: As in `stratified`.
        weight: Returns the number of images of a name; default: 1.

    Raises:
        DataError: A requested split gets no image, or none are left for training.
    """
    groups: dict[str, list[str]] = {}
    for key in keys:
        groups.setdefault(group_of(key, settings), []).append(key)
    sizes = {name: sum(1 if weight is None else weight(key) for key in members) for name, members in groups.items()}
    rest = stratified(list(groups), settings.seed, None if stratum is None else lambda name: stratum(groups[name][0]))
    sides: dict[str, set[str]] = {}
    for split in ("test", "val"):
        drawn = _nearest(rest, sizes, settings.share(split) * sum(sizes.values()))
        sides[split] = set(drawn)
        rest = [name for name in rest if name not in sides[split]]
    if settings.draws and not rest and groups:
        raise DataError(
            f"{len(groups)} {settings.unit}s (or groups) are too few to draw {len(sides['val'])} for validation, "
            f"{len(sides['test'])} for test and any for training",
            hint=f"lower `split.val` and `split.test`, or add {settings.unit}s",
        )
    sides["train"] = set(rest)
    return {
        split: [key for key in keys if group_of(key, settings) in sides[split]] for split in ("test", "val", "train")
    }


def _nearest(order: list[str], sizes: dict[str, int], target: float) -> list[str]:
    """Choose groups in their order so that their images come as near to `target` as whole groups allow; one at least.

    Example:
        >>> _nearest(["long", "short"], {"long": 94, "short": 21}, 14.9)
        ['short']
    """
    chosen: list[str] = []
    total = 0
    for name in order if target > 0 else ():
        gained = abs(total - target) - abs(total + sizes[name] - target)
        if gained > 0 or (gained == 0 and len(chosen) % 2 == 1):  # of two equal choices, an even number of groups
            chosen.append(name)
            total += sizes[name]
    if target > 0 and not chosen and order:
        return [min(order, key=sizes.__getitem__)]
    return chosen


def group_of(key: str, settings: ShareSettings) -> str:
    """Return the group of an image (or sequence) by `split.group`; without that key, its own name.

    Raises:
        UnmatchedGroupError: The name does not match the regular expression.
    """
    if settings.group is None:
        return key
    match = re.search(composed(settings.group), composed(key))
    if match is None:
        raise UnmatchedGroupError(
            f"{settings.unit} `{key}` does not match `split.group: {settings.group}`, so it belongs to no group",
            hint="correct the regular expression",
        )
    return match.group(1) if match.groups() else match.group(0)
