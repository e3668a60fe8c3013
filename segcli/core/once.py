"""Conversion of the entries of a growing list to text, each once."""

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Once"]


class Once:
    """Converts entries of a list to text and keeps the text, so that a list that grows costs only its new entries.

    An entry must not change after it was converted; other entries, or fewer, are converted anew.

    Args:
        convert: Converts one entry.

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

    def __init__(self, convert: Callable[[Any], str]) -> None:
        self.convert = convert
        self._entries: list[Any] = []
        self._texts: list[str] = []

    def texts(self, entries: Sequence[Any]) -> list[str]:
        """Convert the entries, in their order."""
        same = 0
        for known, entry in zip(self._entries, entries, strict=False):
            if known is not entry:
                break
            same += 1
        del self._entries[same:], self._texts[same:]
        for entry in entries[same:]:
            self._texts.append(self.convert(entry))
            self._entries.append(entry)
        return list(self._texts)
