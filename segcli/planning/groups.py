"""Find samples that belong together by their names, such as both eyes of a person or the tiles of one image."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from segcli.core.errors import DataError
from segcli.data.draws import group_of
from segcli.data.kin import divided_kin
from segcli.data.split_settings import ShareSettings

__all__ = ["Groups", "groups_of"]

SHARE = 0.5
"""Smallest share of the names that must have a relative; fewer are numbered names."""


@dataclass(frozen=True)
class Groups:
    """Describes groups of names that differ only by their ending."""

    pattern: str
    """Value of `split.group`."""
    count: int
    example: tuple[str, str]
    """Two names of one group."""
    largest: int
    """Names of the largest group."""

    def divides(self, names: Sequence[str], others: Sequence[str]) -> bool:
        """Tell whether no group has members in both lists, and every name fits the pattern."""
        settings = ShareSettings(group=self.pattern)
        with suppress(DataError):
            return not {group_of(name, settings) for name in names} & {group_of(name, settings) for name in others}
        return False


def groups_of(names: Sequence[str]) -> Groups | None:
    """Find groups of names; None if every name probably stands for itself.

    Example:
        >>> groups_of(["Image_01L", "Image_01R", "Image_02L", "Image_02R", "Image_03L", "Image_03R"]).count
        3
    """
    kin = divided_kin({f"{position}": [name] for position, name in enumerate(names)})
    if kin is None:
        return None
    settings = ShareSettings(group=kin.pattern)
    members = Counter(group_of(name, settings) for name in names)
    related = sum(count for count in members.values() if count > 1)
    if related < SHARE * len(names):
        return None
    return Groups(kin.pattern, len(members), (kin.one[1], kin.other[1]), max(members.values()))
