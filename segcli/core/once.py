"""Conversion of the entries of a growing list to text, each once."""

from collections.abc import Callable, Sequence
from itertools import takewhile
from operator import is_
from typing import Any

__all__ = ["Once"]


class Once:
    """Converts entries of a list to text and keeps the text, so that a list that grows costs only its new entries.

    An entry must not change after it was converted; other entries, or fewer, are converted anew.

    Args:
        convert: Converts one entry.
        between: Text between two entries where they are joined.

    Example:
        >>> upper = Once(lambda word: print("new:", word) or word.upper())
        >>> words = ["a"]
        >>> upper.texts(words)
        new: a
        ['A']
        >>> upper.texts([*words, "b"])
        new: b
        ['A', 'B']
    """

    def __init__(self, convert: Callable[[Any], str], *, between: str = "") -> None:
        self.convert = convert
        self.between = between
        self._entries: list[Any] = []
        self._texts: list[str] = []
        self._joined: tuple[int, str] = 0, ""
        """Number of the entries that are joined already, and their text."""

    def texts(self, entries: Sequence[Any]) -> list[str]:
        """Convert the entries, in their order."""
        self._learn(entries)
        return list(self._texts)

    def joined(self, entries: Sequence[Any]) -> str:
        """Convert the entries to one text; what was joined before is copied as a whole."""
        self._learn(entries)
        count, text = self._joined
        new = self._texts[count:]
        if new:
            self._joined = len(self._texts), self.between.join([text, *new] if count else new)
        return self._joined[1]

    def _learn(self, entries: Sequence[Any]) -> None:
        same = sum(takewhile(bool, map(is_, self._entries, entries)))
        if same < self._joined[0]:
            self._joined = 0, ""
        del self._entries[same:], self._texts[same:]
        for entry in entries[same:]:
            self._texts.append(self.convert(entry))
            self._entries.append(entry)
