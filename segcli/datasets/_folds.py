"""Cross-validation of any layout: a fold replaces the split into training and validation."""

from collections.abc import Iterator, Sequence
from typing import Any

from segcli.data.checks import Finding, raise_on_error
from segcli.data.draws import stratified
from segcli.data.samples import Case
from segcli.data.settings import Fold
from segcli.datasets import Layout

__all__ = ["Folded", "units"]


class Folded:
    """Wraps a layout: the validation cases are those of one fold, all other cases but the test split are for training.

    Cases of one group stay in one fold, and each fold has about the same share of each stratum. The test split does
    not change. Everything except the splits comes from the layout.
    """

    def __init__(self, layout: Layout, fold: Fold) -> None:
        self._layout = layout
        self._fold = fold

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layout, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return Folded, (self._layout, self._fold)

    def has(self, split: str) -> bool:
        """Tell whether a split exists; training and validation always do."""
        return split != "test" or self._layout.has(split)

    def cases(self, split: str) -> list[Case]:
        """Find the cases of a split of this fold."""
        if split == "test":
            return self._layout.cases(split)
        raise_on_error(self.inspect(split))
        return self.all_cases(split)

    def all_cases(self, split: str) -> list[Case]:
        """Find the cases of a split of this fold, including those with faults."""
        if split == "test":
            return self._layout.all_cases(split)
        pool = [case for each in self._shared for case in self._layout.all_cases(each)]
        held = _held_out(self._layout, pool, self._fold)
        return [case for case in pool if (_unit(self._layout, case) in held) == (split == "val")]

    def inspect(self, split: str) -> Iterator[Finding]:
        """Find the faults of all cases that are divided into folds."""
        for each in [split] if split == "test" else self._shared:
            yield from self._layout.inspect(each)

    def compared(self, splits: Sequence[str]) -> Iterator[Finding]:
        """Compare all cases that are divided into folds."""
        yield from self._layout.compared([*self._shared, *(["test"] if "test" in splits else [])])

    @property
    def _shared(self) -> list[str]:
        return [each for each in ("train", "val") if self._layout.has(each)]


def units(layout: Layout) -> set[str]:
    """Name the units that are divided into folds; each unit is in one fold."""
    return {_unit(layout, case) for split in ("train", "val") for case in layout.cases(split)}


def _unit(layout: Layout, case: Case) -> str:
    """Name the unit of a case; single images use their file, because names may repeat in two splits."""
    name = layout.together(case)
    return name if name != case.id else _place(layout, case)


def _place(layout: Layout, case: Case) -> str:
    """Name the file of a case from the folder of its split, so that data are divided in the same way after a move."""
    image, paths = case.image.absolute(), layout.spec.paths
    for split, folder in (("train/", paths.train), ("val/", paths.val), ("", layout.root)):
        if folder is not None and image.is_relative_to(folder.absolute()):
            inside = image.relative_to(folder.absolute()).as_posix()
            return f"{split}{inside}{'' if case.index is None else f'[{case.index}]'}"
    return case.place


def _held_out(layout: Layout, cases: list[Case], fold: Fold) -> set[str]:
    strata = {_unit(layout, case): layout.stratum(case) for case in cases}
    order = stratified(list(strata), fold.seed, strata.__getitem__)
    first, last = (len(order) * number // fold.of for number in (fold.index, fold.index + 1))
    return set(order[first:last])
