"""Changes single keys in the text of a YAML file, and leaves everything else as it is, comments included."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from segcli.core.errors import ConfigError

__all__ = ["with_keys"]

Change = tuple[int, int, str]
"""First and last position of a part of the text, and its new content."""


class _Places(yaml.SafeLoader):
    """Composes an alias as a node of its own place, not of that of its anchor."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose the next node."""
        if self.check_event(yaml.AliasEvent):
            event = self.get_event()  # type: ignore[no-untyped-call]  # its stubs have no types
            return yaml.ScalarNode("alias", event.anchor, event.start_mark, event.end_mark)
        return super().compose_node(parent, index)


def with_keys(text: str, section: Sequence[str], values: Mapping[str, Sequence[float]], comment: str) -> str:
    r"""Set keys of a section to lists of numbers.

    A key that is there gets its new value in its old place; a key that is not there is added behind the last one.

    Args:
        text: Content of the file, which is valid YAML with a mapping at the top.
        section: Names of the sections around the keys; empty for the top.
        values: Lists by key.
        comment: Comment behind an added key.

    Raises:
        ConfigError: A section is missing or written in braces, so that no line can be added, or another key shares the
            value by an anchor.

    Example:
        >>> print(with_keys("a: 1  # one\nmean: [0.5]  # half\n", [], {"mean": [0.2], "std": [0.1]}, "measured"))
        a: 1  # one
        mean: [0.2]  # half
        std: [0.1]  # measured
        <BLANKLINE>
    """
    node: Any = yaml.compose(text, Loader=_Places)
    for name in section:
        node = next((value for key, value in node.value if key.value == name), None)
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"there is no section `{name}` to write into")
    there = {key.value: (key, value) for key, value in node.value}
    missing = {key: numbers for key, numbers in values.items() if key not in there}
    if missing and (node.flow_style or not node.value):
        raise ConfigError(
            "the section is written in braces, and has no line for a new key", hint=f"add {_lines(missing)} there"
        )
    changes = [each for key in values if key in there for each in _changes(text, *there[key], values[key])]
    if missing:
        end = _end_of_line(text, _last_character(text, node.value[-1][1]))
        indent = " " * node.value[0][0].start_mark.column
        lines = "".join(f"\n{indent}{key}: {_listed(numbers)}  # {comment}" for key, numbers in missing.items())
        changes.append((end, end, lines.replace("\n", "\r\n") if "\r\n" in text else lines))
    changed = text
    for start, end, new in sorted(changes, reverse=True):
        changed = changed[:start] + new + changed[end:]
    if not _is_same_but_for(text, changed, section, values):
        raise ConfigError(
            "other keys share these numbers by an anchor, and would change with them",
            hint=f"write {_lines(values)} by hand",
        )
    return changed if changed.endswith("\n") else f"{changed}\n"


def _changes(text: str, key: yaml.Node, value: yaml.Node, numbers: Sequence[float]) -> Iterator[Change]:
    """Replace number by number, so that comments between them stay; a list of another length as a whole."""
    if isinstance(value, yaml.SequenceNode) and len(value.value) == len(numbers):
        for node, number in zip(value.value, numbers, strict=True):
            yield node.start_mark.index, node.end_mark.index, repr(number)
    elif isinstance(value, yaml.CollectionNode) and not value.flow_style:
        yield text.index(":", key.end_mark.index) + 1, _last_character(text, value) + 1, f" {_listed(numbers)}"
    else:
        start, end = value.start_mark.index, value.end_mark.index
        yield start, end, _listed(numbers) if start < end else f" {_listed(numbers)}"


def _is_same_but_for(text: str, changed: str, section: Sequence[str], values: Mapping[str, Sequence[float]]) -> bool:
    """Tell whether a changed text holds what the text holds, except for the new values."""
    try:
        found = yaml.safe_load(changed)
    except yaml.YAMLError:
        return False
    return bool(found == _with(yaml.safe_load(text), section, values))


def _with(content: Any, section: Sequence[str], values: Mapping[str, Sequence[float]]) -> Any:
    """Copy a content with new values in a section; what an anchor shares with the section stays as it was."""
    if not section:
        return {**content, **values}
    return {**content, section[0]: _with(content[section[0]], section[1:], values)}


def _last_character(text: str, node: Any) -> int:
    """Find the position of the last character of a value; the end of a block lies behind its empty lines."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        inner = node.value[-1]
        return _last_character(text, inner[1] if isinstance(inner, tuple) else inner)
    end: int = node.end_mark.index
    return max(len(text[:end].rstrip()) - 1, 0)


def _end_of_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end - (text[end - 1] == "\r")


def _listed(values: Sequence[float]) -> str:
    return "[{}]".format(", ".join(f"{value!r}" for value in values))


def _lines(values: Mapping[str, Sequence[float]]) -> str:
    return ", ".join(f"`{key}: {_listed(numbers)}`" for key, numbers in values.items())
