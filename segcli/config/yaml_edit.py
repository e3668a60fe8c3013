"""Changes single keys in the text of a YAML file, and leaves everything else as it is, comments included."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from segcli.core.errors import ConfigError

__all__ = ["with_keys"]


def with_keys(text: str, section: Sequence[str], values: Mapping[str, Sequence[float]], comment: str) -> str:
    r"""Set keys of a section to lists of numbers.

    A key that is there gets its new value in its old place; a key that is not there is added behind the last one.

    Args:
        text: Content of the file, which is valid YAML with a mapping at the top.
        section: Names of the sections around the keys; empty for the top.
        values: Lists by key.
        comment: Comment behind an added key.

    Raises:
        ConfigError: A section is missing or written in braces, so that no line can be added.

    Example:
        >>> print(with_keys("a: 1  # one\nmean: [0.5]  # half\n", [], {"mean": [0.2], "std": [0.1]}, "measured"))
        a: 1  # one
        mean: [0.2]  # half
        std: [0.1]  # measured
        <BLANKLINE>
    """
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for name in section:
        node = next((value for key, value in node.value if key.value == name), None)
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"there is no section `{name}` to write into")
    there = {key.value: value for key, value in node.value}
    missing = {key: numbers for key, numbers in values.items() if key not in there}
    if missing and (node.flow_style or not node.value):
        lines = ", ".join(f"`{key}: {_listed(numbers)}`" for key, numbers in missing.items())
        raise ConfigError("the section is written in braces, and has no line for a new key", hint=f"add {lines} there")
    changes = [
        (there[key].start_mark.index, there[key].end_mark.index, _listed(values[key])) for key in values if key in there
    ]
    if missing:
        last = node.value[-1][1]
        end = _end_of_line(text, _last_character(text, last))
        indent = " " * node.value[0][0].start_mark.column
        lines = "".join(f"\n{indent}{key}: {_listed(numbers)}  # {comment}" for key, numbers in missing.items())
        changes.append((end, end, lines))
    for start, end, new in sorted(changes, reverse=True):
        text = text[:start] + new + text[end:]
    return text if text.endswith("\n") else f"{text}\n"


def _last_character(text: str, node: Any) -> int:
    """Find the position of the last character of a value; the end of a block lies behind its empty lines."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        inner = node.value[-1]
        return _last_character(text, inner[1] if isinstance(inner, tuple) else inner)
    end: int = node.end_mark.index
    return max(len(text[:end].rstrip()) - 1, 0)


def _end_of_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def _listed(values: Sequence[float]) -> str:
    return "[{}]".format(", ".join(f"{value!r}" for value in values))
