"""Doubts about data that only the layout and all its splits can raise: shared subjects, and another scale."""

from collections.abc import Iterator, Sequence

from segcli.core.types import Array
from segcli.data.checks import Finding
from segcli.data.kin import divided_kin
from segcli.data.samples import Case
from segcli.data.scale import other_scale
from segcli.datasets import Layout

__all__ = ["divided_subjects", "scale_mistake", "scale_of", "split_findings"]


def divided_subjects(layout: Layout, splits: Sequence[str]) -> list[Finding]:
    """Find groups in several splits, and names in different splits that probably show the same subject.

    Raises:
        DataError: The cases of a split cannot be found.
    """
    cases = {split: layout.all_cases(split) for split in splits}
    names = {split: list(dict.fromkeys(map(layout.together, members))) for split, members in cases.items()}
    stated = getattr(getattr(layout.config, "split", None), "group", None)
    if stated is not None:
        return list(_divided_groups(names, stated))
    kin = divided_kin(names)
    if kin is None:
        return []
    (split, one), (other_split, other) = kin.one, kin.other
    more = f", and {kin.count - 1} more like them" if kin.count > 1 else ""
    message = f"`{one}` ({split}) and `{other}` ({other_split}) differ only in their ending{more}"
    together = "put all images of a subject into one split"
    division = layout.division()
    if division is not None and division.settings.draws:
        together = f"`split.group: '{kin.pattern}'` in the data-set file keeps them together"
    hint = f"if they show the same subject, scores are too good: {together}"
    first, second = (
        next(case.image for case in cases[split] if layout.together(case) == name)
        for split, name in (kin.one, kin.other)
    )
    return [Finding("divided_subjects", "warning", second, message, hint, (first,))]


def _divided_groups(names: dict[str, list[str]], pattern: str) -> Iterator[Finding]:
    """Find groups whose images are in several splits, where folders decide."""
    splits: dict[str, list[str]] = {}
    for split, members in names.items():
        for name in members:
            splits.setdefault(name, []).append(split)
    divided = {name: where for name, where in splits.items() if len(where) > 1}
    if divided:
        name, where = next(iter(divided.items()))
        more = f", and {len(divided) - 1} more groups are divided, too" if len(divided) > 1 else ""
        message = f"group `{name}` (`split.group: {pattern}`) has images in `{where[0]}` and `{where[1]}`{more}"
        hint = "put all images of a group into one split, else the scores are too good"
        yield Finding("divided_subjects", "warning", None, message, hint)


def scale_mistake(layout: Layout, cases: Sequence[Case]) -> tuple[str, str] | None:
    """Compare the stated `mean` and `std` with the first training case; returns message and hint if they do not fit.

    Raises:
        DataError: The case cannot be read.
    """
    if layout.spec.mean is None or not cases:
        return None
    return scale_of(layout, layout.read(cases[0]).image)


def scale_of(layout: Layout, image: Array) -> tuple[str, str] | None:
    """Compare the stated `mean` and `std` with an image; returns message and hint if they do not fit."""
    is_unit = getattr(layout.config, "intensity_range", None) is not None
    return other_scale(layout.spec, image, is_unit=is_unit)


def split_findings(layout: Layout) -> list[Finding]:
    """Find probable mistakes in a drawn split; folds have other shares than the split.

    Raises:
        DataError: The split cannot be drawn, or its file cannot be used.
    """
    division = layout.division()
    if division is None:
        return []
    told = [each for each in division.warnings if each[0] != "far_from_share" or layout.spec.fold is None]
    return [Finding(code, "warning", division.file, message, hint) for code, message, hint in told]
