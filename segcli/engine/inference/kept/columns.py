"""Small arrays of many images in few large ones: small ones, kept beside large tensors, would split up the memory."""

from collections.abc import Mapping, Sequence

import numpy as np

from segcli.core.types import Array

__all__ = ["Columns"]

FIRST = 64
"""Images for which there is room at first."""


class Columns:
    """Collects arrays by name, one row for each image."""

    def __init__(self) -> None:
        self._rows: dict[str, Array] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, name: str) -> Array:
        return self._rows[name][: self._count]

    def names(self, prefix: str = "") -> list[str]:
        """List the names that begin with `prefix`, without it."""
        return [name.removeprefix(prefix) for name in self._rows if name.startswith(prefix)]

    def append(self, values: Mapping[str, Array]) -> None:
        """Add the arrays of an image, `(1, ...)` each."""
        for name, array in values.items():
            rows = self._rows.get(name)
            if rows is None or len(rows) == self._count:
                grown = np.empty((max(2 * self._count, FIRST), *array.shape[1:]), array.dtype)
                if rows is not None:
                    grown[: self._count] = rows
                rows = self._rows[name] = grown
            rows[self._count] = array[0]
        self._count += 1

    @classmethod
    def joined(cls, parts: Sequence["Columns"], order: Array) -> "Columns":
        """Join columns, and put the images into an order."""
        whole = cls()
        filled = [part for part in parts if len(part)]
        for name in filled[0].names() if filled else ():
            whole._rows[name] = np.concatenate([part[name] for part in filled])[order]
        whole._count = len(order)
        return whole
