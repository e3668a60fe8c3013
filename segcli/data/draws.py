"""Random splits and folds of whole groups; the seed decides the order."""

import re
from collections.abc import Callable

from segcli.core.errors import DataError
from segcli.core.names import composed
from segcli.core.randomness import generator
from segcli.data.split_settings import ShareSettings

__all__ = ["assign", "group_of", "stratified"]


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
    keys: list[str], settings: ShareSettings, stratum: Callable[[str], str] | None = None
) -> dict[str, list[str]]:
    """Draw the splits from whole groups; each split keeps the order of `keys`.

    Raises:
        DataError: A requested split gets no image.
    """
    groups: dict[str, list[str]] = {}
    for key in keys:
        groups.setdefault(group_of(key, settings), []).append(key)
    names = list(groups)
    order = stratified(names, settings.seed, None if stratum is None else lambda name: stratum(groups[name][0]))
    counts = {split: _count(settings.share(split), len(names)) for split in ("test", "val")}
    if settings.draws and sum(counts.values()) >= len(names) and names:
        raise DataError(
            f"{len(names)} {settings.unit}s (or groups) are too few to draw {counts['val']} for validation, "
            f"{counts['test']} for test and any for training",
            hint=f"lower `split.val` and `split.test`, or add {settings.unit}s",
        )
    test, rest = order[: counts["test"]], order[counts["test"] :]
    sides = {"test": set(test), "val": set(rest[: counts["val"]]), "train": set(rest[counts["val"] :])}
    return {split: [key for key in keys if group_of(key, settings) in members] for split, members in sides.items()}


def _count(share: float, total: int) -> int:
    return max(round(share * total), 1) if share > 0 else 0


def group_of(key: str, settings: ShareSettings) -> str:
    """Return the group of an image (or sequence) by `split.group`; without that key, its own name.

    Raises:
        DataError: The name does not match the regular expression.
    """
    if settings.group is None:
        return key
    match = re.search(composed(settings.group), composed(key))
    if match is None:
        raise DataError(
            f"{settings.unit} `{key}` does not match `split.group: {settings.group}`",
            hint="correct the regular expression",
        )
    return match.group(1) if match.groups() else match.group(0)
