"""Propose the split of a data set: folders or lists that are there, or shares of whole groups."""

import re
from collections.abc import Collection, Sequence

from segcli.planning.facts import Recognised
from segcli.planning.groups import Groups, groups_of

__all__ = ["INLINE", "are_kinds", "draw", "drawn_share", "side_of_name"]

WORDS = {
    "train": re.compile(r"^(train(ing)?|tr|trn|learn(ing)?)([ _-]?(set|data|dataset|split))?$"),
    "val": re.compile(r"^(va|val(id(ation)?)?|dev|eval)([ _-]?(set|data|dataset|split))?$"),
    "test": re.compile(r"^(test(ing)?|ts|tst|holdout)([ _-]?(set|data|dataset|split))?$"),
}
NUMBERED = re.compile(r"^[a-z0-9]{1,2}[.)] *")
"""Begin of a name that numbers it, such as `a. `."""
FEW, MANY = 10, 60
"""Below `FEW` groups one group validates; from `MANY` on a test split is drawn too."""
KIND = re.compile(r"\D+|\d+[xX]")
"""Name of a kind of images: words, or a magnification."""
CLIPS = 4
"""So many folders, or more, are patients or clips, whatever their names."""
INLINE = 300
"""Names of a table that are written into the data-set file; longer lists are not."""


def side_of_name(name: str) -> str | None:
    """Tell which split a folder or file is named after; None if after none.

    Example:
        >>> side_of_name("Training"), side_of_name("b. Testing Set"), side_of_name("images")
        ('train', 'test', None)
    """
    bare = NUMBERED.sub("", name.lower())
    return next((side for side, words in WORDS.items() if words.match(bare)), None)


def are_kinds(folders: Collection[str]) -> bool:
    """Tell whether a few folders are named after kinds of images, and not after splits, patients or clips.

    Example:
        >>> are_kinds(["healthy", "glaucoma"]), are_kinds(["10x", "40x"]), are_kinds(["clip1", "clip2"])
        (True, True, False)
    """
    return 1 < len(folders) < CLIPS and not any(side_of_name(each) or not KIND.fullmatch(each) for each in folders)


def drawn_share(groups: int) -> tuple[float, float]:
    """Propose the shares of validation and test for so many groups; 0 for none.

    Example:
        >>> drawn_share(1), drawn_share(5), drawn_share(20), drawn_share(100)
        ((0.0, 0.0), (0.2, 0.0), (0.2, 0.0), (0.1, 0.1))
    """
    if groups < 2:
        return 0.0, 0.0
    if groups < FEW:
        return max(round(1 / groups, 2), 0.15), 0.0
    return (0.2, 0.0) if groups < MANY else (0.1, 0.1)


def draw(
    found: Recognised,
    names: Sequence[str],
    *,
    by: str | None,
    unit: str,
    val_only: bool = False,
    groups: Groups | None = None,
    taken: Sequence[str] = (),
) -> None:
    """State shares of whole groups for the splits that are not there.

    Args:
        found: Its keys get `split`.
        names: Names of the samples to draw from.
        by: Value of `split.by`; None leaves it out.
        unit: Word for a sample.
        val_only: Draws no test split, because there is one.
        groups: Groups that belong together; default: those that the names show.
        taken: Names of the splits that are there; groups that they share with `names` are not kept together.
    """
    groups = groups or groups_of(names)
    if groups is not None and not groups.divides(names, taken):
        groups = None
    count = len(names) if groups is None else groups.count
    val, test = drawn_share(count)
    if val_only:
        test = 0.0
    if by is not None:
        found.state("split.by", by)
    if not val:
        found.state("split.val", 0.0)
        found.notes.append(f"one {unit} cannot be divided: there is no validation, and no score of unseen data")
        return
    whole = f"{count} groups" if groups else f"{count} {unit}s"
    few = "; no test split, because every one is needed to learn" if not test and not val_only else ""
    found.state("split.val", val, f"shares of {whole}, drawn by `seed`{few}", "likely")
    if test:
        found.state("split.test", test)
    if groups is not None:
        one, other = groups.example
        reason = (
            f"keeps names together that differ only in their ending, such as {one} and {other}: {groups.count} groups"
        )
        found.state("split.group", groups.pattern, reason, "likely")
