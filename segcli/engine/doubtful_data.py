"""Doubts about data that only the layout and all its splits can raise: shared subjects, and another scale."""

from collections.abc import Sequence

from segcli.core.types import Array
from segcli.data.checks import Finding
from segcli.data.kin import divided_kin
from segcli.data.samples import Case
from segcli.data.scale import other_scale
from segcli.datasets import Layout

__all__ = ["divided_subjects", "scale_mistake", "scale_of", "split_findings"]


def divided_subjects(layout: Layout, splits: Sequence[str]) -> list[Finding]:
    """Find names in different splits that probably show the same subject.

    Raises:
        DataError: The cases of a split cannot be found.
    """
    cases = {split: layout.all_cases(split) for split in splits}
    if any(layout.together(case) != case.id for members in cases.values() for case in members):
        return []  # groups are stated, or follow from the layout
    kin = divided_kin({split: [case.id for case in members] for split, members in cases.items()})
    if kin is None:
        return []
    (split, one), (other_split, other) = kin.one, kin.other
    more = f", and {kin.count - 1} more like them" if kin.count > 1 else ""
    message = f"`{one}` ({split}) and `{other}` ({other_split}) differ only in their ending{more}"
    together = "put all images of a subject into one split"
    if layout.division() is not None:
        together = f"`split.group: '{kin.pattern}'` in the data-set file keeps them together"
    hint = f"if they show the same subject, scores are too good: {together}"
    first, second = (next(case.image for case in cases[name] if case.id == key) for name, key in (kin.one, kin.other))
    return [Finding("divided_subjects", "warning", second, message, hint, (first,))]


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
