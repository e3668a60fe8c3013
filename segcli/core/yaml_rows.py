"""Long tables as YAML: the text of `yaml_text`, without the work of PyYAML on each value."""

import re
from collections.abc import Mapping, Sequence

from segcli.core.files import float_text, yaml_text
from segcli.core.strict_yaml import StrictDumper

__all__ = ["rows_text"]

Value = str | float | None
SIMPLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,99}")
"""Texts that stand in YAML as they are, or between quotation marks if they look like another type."""


def rows_text(rows: Sequence[Mapping[str, Value]]) -> str:
    """Convert rows, each a mapping of names to texts and numbers, to YAML: the bytes of `yaml_text`.

    Example:
        >>> print(rows_text([{"image": "a.png", "dice": 0.5}, {"image": "no", "dice": float("nan")}]), end="")
        - image: a.png
          dice: 0.5
        - image: 'no'
          dice: .nan
    """
    keys = {key for row in rows for key in row}
    if not rows or not all(rows) or not all(map(SIMPLE.fullmatch, keys)):
        return yaml_text(rows)
    names = {key: _quoted(key) for key in keys}
    lines = [
        f"  {names[key]}: {float_text(value)}\n" if isinstance(value, float) else _line(key, value)
        for row in rows
        for key, value in row.items()
    ]
    first = 0
    for row in rows:
        lines[first] = f"-{lines[first][1:]}"
        first += len(row)
    return "".join(lines)


def _line(key: str, value: Value) -> str:
    """Write an entry that is no fraction."""
    if isinstance(value, str) and SIMPLE.fullmatch(value):
        return f"  {_quoted(key)}: {_quoted(value)}\n"
    text = yaml_text({"-": {key: value}})
    return text[text.index("\n") + 1 :]


def _quoted(text: str) -> str:
    """Put a simple text between quotation marks if it would be read as another type."""
    resolvers = StrictDumper.yaml_implicit_resolvers.get(text[0], ())
    return f"'{text}'" if any(each.match(text) for _, each in resolvers) else text
