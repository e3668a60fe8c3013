"""Random splits and folds of whole groups; the seed decides the order."""

import math
import re
from collections.abc import Callable

from segcli.core.errors import DataError
from segcli.core.names import composed
from segcli.core.randomness import generator
from segcli.data.split_settings import ShareSettings

__all__ = ["UnmatchedGroupError", "assign", "group_of", "stratified"]

SUMS = 2_000_000
"""Largest number of sums of groups that are tried for a split."""


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
    order = stratified(list(groups), settings.seed, None if stratum is None else lambda name: stratum(groups[name][0]))
    targets = {split: settings.share(split) * sum(sizes.values()) for split in ("test", "val")}
    ways = [_in_turn(order, sizes, turn) for turn in (targets, dict(reversed(targets.items())))]
    sides = min(ways, key=lambda sides: _gap(sides, sizes, targets))  # the first way, unless the second comes nearer
    rest = [name for name in order if not any(name in side for side in sides.values())]
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


def _in_turn(order: list[str], sizes: dict[str, int], targets: dict[str, float]) -> dict[str, set[str]]:
    """Choose groups for one split after the other; a group is left for each split that follows, and for training."""
    sides: dict[str, set[str]] = {}
    rest, waiting = order, sum(target > 0 for target in targets.values())
    for split, target in targets.items():
        waiting -= target > 0
        sides[split] = set(_nearest(rest, sizes, target, max(len(rest) - waiting - 1, 1)))
        rest = [name for name in rest if name not in sides[split]]
    return sides


def _gap(sides: dict[str, set[str]], sizes: dict[str, int], targets: dict[str, float]) -> float:
    """Compute by how many images the splits miss their targets; infinite if none are left for training."""
    if sum(map(len, sides.values())) == len(sizes):
        return math.inf
    return round(sum(abs(sum(sizes[name] for name in sides[split]) - target) for split, target in targets.items()), 6)


def _nearest(order: list[str], sizes: dict[str, int], target: float, most: int) -> list[str]:
    """Choose groups so that their images come as near to `target` as whole groups allow.

    The groups that come first are chosen, unless others come nearer.

    Args:
        order: Names of the groups.
        sizes: Images of each group.
        target: Number of images; more than 0 asks for one group at least.
        most: Largest number of groups.

    Example:
        >>> _nearest(["long", "short"], {"long": 94, "short": 21}, 14.9, 1)
        ['short']
        >>> _nearest(["a", "b", "c"], {"a": 60, "b": 30, "c": 10}, 40.0, 2)
        ['b', 'c']
    """
    chosen: list[str] = []
    total = 0
    for name in order if target > 0 else ():
        gained = abs(total - target) - abs(total + sizes[name] - target)
        fits = gained > 0 or (gained == 0 and len(chosen) % 2 == 1)  # of two equal choices, an even number of groups
        if fits and len(chosen) < most:
            chosen.append(name)
            total += sizes[name]
    if target > 0 and not chosen and order:
        chosen = [min(order, key=sizes.__getitem__)]
        total = sizes[chosen[0]]
    return _nearer(order, sizes, target, most, abs(total - target)) or chosen


def _nearer(order: list[str], sizes: dict[str, int], target: float, most: int, gap: float) -> list[str] | None:
    """Choose groups whose images come nearer to `target` than `gap`, and as near as possible; None if none do.

    Many groups are left alone: there the first ones come near enough.
    """
    if gap <= 0.5 or len(order) * (target + gap) > SUMS:
        return None
    last: dict[int, tuple[str, int]] = {}  # last group of each possible sum, and the sum of the groups before it
    sums = [0]
    for name in order:
        for before in list(sums):
            total = before + sizes[name]
            if total < target + gap and total not in last:
                last[total] = name, before
                sums.append(total)
    for total in sorted(last, key=lambda total: abs(total - target)):
        if abs(total - target) >= gap:
            return None
        chosen: list[str] = []
        rest = total
        while rest:
            name, rest = last[rest]
            chosen.append(name)
        if len(chosen) <= most:
            return chosen[::-1]
    return None


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
