"""One fold of a cross-validation of any layout: the cases for training and validation are shared out anew."""

from collections.abc import Iterator
from typing import Any

from segcli.data.checks import Finding, raise_on_error
from segcli.data.draws import stratified
from segcli.data.samples import Case
from segcli.data.settings import Fold
from segcli.datasets import Layout

__all__ = ["Folded", "units"]


class Folded:
    """A layout with the validation cases of one fold; all others of training and validation are for training.

    What must stay together does, and each fold has about the same share of each stratum. The test split stays.
    Everything but the splits is the layout's own.
    """

    def __init__(self, layout: Layout, fold: Fold) -> None:
        self._layout = layout
        self._fold = fold

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layout, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return Folded, (self._layout, self._fold)

    def has(self, split: str) -> bool:
        """Tell whether there is such a split; training and validation are always there."""
        return split != "test" or self._layout.has(split)

    def cases(self, split: str) -> list[Case]:
        """Find the cases of a split of this fold."""
        if split == "test":
            return self._layout.cases(split)
        raise_on_error(self.inspect(split))
        return self.all_cases(split)

    def all_cases(self, split: str) -> list[Case]:
        """Find the cases of a split of this fold, those with faults as well."""
        if split == "test":
            return self._layout.all_cases(split)
        pool = [case for each in self._shared for case in self._layout.all_cases(each)]
        held = _held_out(self._layout, pool, self._fold)
        return [case for case in pool if (_unit(self._layout, case) in held) == (split == "val")]

    def inspect(self, split: str) -> Iterator[Finding]:
        """Find the faults of all that the folds share out."""
        for each in [split] if split == "test" else self._shared:
            yield from self._layout.inspect(each)

    @property
    def _shared(self) -> list[str]:
        return [each for each in ("train", "val") if self._layout.has(each)]


def units(layout: Layout) -> set[str]:
    """Name what is shared out to the folds, each in one of them as a whole."""
    return {_unit(layout, case) for split in ("train", "val") for case in layout.cases(split)}


def _unit(layout: Layout, case: Case) -> str:
    """Name what is in one fold as a whole: single images by their file, for two splits may share a name."""
    name = layout.together(case)
    return name if name != case.id else case.place


def _held_out(layout: Layout, cases: list[Case], fold: Fold) -> set[str]:
    strata = {_unit(layout, case): layout.stratum(case) for case in cases}
    order = stratified(list(strata), fold.seed, strata.__getitem__)
    first, last = (len(order) * number // fold.of for number in (fold.index, fold.index + 1))
    return set(order[first:last])
