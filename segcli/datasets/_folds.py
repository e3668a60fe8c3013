"""One fold of a cross-validation of any layout: what was for training and validation is shared out anew."""

import copy
from collections.abc import Iterator
from typing import Any

from segcli.data.checks import Finding, raise_on_error
from segcli.data.samples import Case
from segcli.data.settings import Fold
from segcli.data.splits import stratified
from segcli.datasets import Layout

__all__ = ["folded", "units"]


def folded(layout: Layout, fold: Fold) -> Layout:
    """The layout with the validation cases of one fold, and all others of training and validation for training.

    What must stay together does, and each fold has about the same share of each stratum. The test split stays.
    """
    whole = copy.copy(layout)  # with its own splits, which its methods ask each other for

    class Folded(type(layout)):  # type: ignore[misc]
        """The same layout with other splits."""

        def __reduce__(self) -> tuple[Any, ...]:
            return folded, (whole, fold)

        def has(self, split: str) -> bool:
            """Training and validation always."""
            return split != "test" or whole.has(split)

        def cases(self, split: str) -> list[Case]:
            """Cases of this fold."""
            if split == "test":
                return whole.cases(split)
            raise_on_error(self.inspect(split))
            return self.all_cases(split)

        def all_cases(self, split: str) -> list[Case]:
            """Cases of this fold, those with faults as well."""
            if split == "test":
                return whole.all_cases(split)
            pool = [case for each in shared() for case in whole.all_cases(each)]
            held = _held_out(self, pool, fold)
            return [case for case in pool if (_unit(self, case) in held) == (split == "val")]

        def inspect(self, split: str) -> Iterator[Finding]:
            """Faults of all that the folds share out."""
            for each in [split] if split == "test" else shared():
                yield from whole.inspect(each)

    def shared() -> list[str]:
        return [each for each in ("train", "val") if whole.has(each)]

    layout.__class__ = Folded
    return layout


def units(layout: Layout) -> set[str]:
    """What is shared out to the folds, each in one of them as a whole."""
    return {_unit(layout, case) for split in ("train", "val") for case in layout.cases(split)}


def _unit(layout: Any, case: Case) -> str:
    """What is in one fold as a whole; single images by their file, for names may be those of another split's images."""
    name: str = layout.together(case)
    return name if name != case.id else case.place


def _held_out(layout: Any, cases: list[Case], fold: Fold) -> set[str]:
    """What is for validation in this fold."""
    strata = {_unit(layout, case): layout.stratum(case) for case in cases}
    order = stratified(list(strata), fold.seed, strata.__getitem__)
    first, last = (len(order) * number // fold.of for number in (fold.index, fold.index + 1))
    return set(order[first:last])
