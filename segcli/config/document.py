"""YAML with a memory of where each key stands.

Numbers and booleans are read as YAML 1.2 has them: `1e-3` is a number, and `no` is a word.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from segcli.core.errors import ConfigError

__all__ = ["Document", "Loc", "Origin", "Problem", "parse_value", "read_document"]

Loc = tuple[str | int, ...]
"""Way to a key, such as `("training", "metrics", 0)`."""


@dataclass(frozen=True)
class Origin:
    """Where a key was written."""

    text: str
    """`run.yaml:11`, or an override as typed."""
    order: tuple[str, int, int] = ("", 0, 0)
    """File, line and column; no file for what was not read from one."""


@dataclass(frozen=True)
class Problem:
    """One mistake in a configuration."""

    origin: Origin
    key: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        hint = f"\n      hint: {self.hint}" if self.hint else ""
        key = f"{self.key}: " if self.key else ""
        return f"  - {self.origin.text}  {key}{self.message}{hint}"


@dataclass
class Document:
    """Values with the origin of each key."""

    values: dict[str, Any]
    source: Origin
    """Of the whole."""
    origins: dict[Loc, Origin] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def origin(self, loc: Loc) -> Origin:
        """Origin of a key, or of the nearest key around it."""
        while loc and loc not in self.origins:
            loc = loc[:-1]
        return self.origins.get(loc, self.source)


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":float", ":int", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9][0-9_]*$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf)|\.(?:nan|NaN))$"),
    list("-+.0123456789"),
)


_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))


def parse_value(text: str) -> Any:
    """Value of an override, as YAML.

    Raises:
        yaml.YAMLError: It is none, or sets a key twice.

    Example:
        >>> parse_value("[256, 1e-3, true]")
        [256, 0.001, True]
    """
    document = Document({}, Origin(text))
    value = _parse(text, document, lambda node: Origin(text))
    if document.problems:
        raise yaml.YAMLError(f"`{document.problems[0].key}` is set twice")
    return value


def read_document(path: Path) -> Document:
    """Parse a YAML file whose top is a mapping; duplicated keys are noted as problems.

    Raises:
        ConfigError: The file is missing or no YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"no config file `{path}`", hint=_neighbours(path)) from None
    except OSError as error:
        raise ConfigError(f"cannot read config file `{path}` ({error.strerror})", hint=_neighbours(path)) from None
    except UnicodeDecodeError:
        raise ConfigError(f"config file `{path}` is not text in UTF-8") from None

    def at(node: yaml.Node) -> Origin:
        mark = node.start_mark
        return Origin(f"{path}:{mark.line + 1}", (str(path), mark.line, mark.column))

    document = Document({}, Origin(str(path), (str(path), 0, 0)))
    try:
        values = _parse(text, document, at)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or not values:
        raise ConfigError(f"config file `{path}` holds no keys", hint="it starts with `name: ...`")
    document.values = values
    return document


def _neighbours(path: Path) -> str | None:
    folder = next((parent for parent in path.parents if parent.is_dir()), Path())
    found = sorted(str(entry) for entry in folder.glob("*.yaml"))[:5]
    return f"in `{folder}` there are {', '.join(found)}" if found else None


def _parse(text: str, document: Document, at: Callable[[yaml.Node], Origin]) -> Any:
    """The value that `text` is; notes in the document where each key stands, as `at` tells it.

    Raises:
        yaml.YAMLError: The text is no YAML.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return None if node is None else _construct(loader, node, (), document, at)
    except RecursionError:
        raise yaml.YAMLError("nested without end") from None
    finally:
        loader.dispose()


def _construct(
    loader: _Loader, node: yaml.Node, loc: Loc, document: Document, at: Callable[[yaml.Node], Origin]
) -> Any:
    if isinstance(node, yaml.MappingNode):
        _note_duplicates(node, loc, document, at)
        loader.flatten_mapping(node)
        values = {}
        for key_node, value_node in node.value:
            here = (*loc, key := _key(key_node))
            document.origins[here] = at(key_node)
            values[key] = _construct(loader, value_node, here, document, at)
        return values
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            document.origins[(*loc, index)] = at(item)
        return [_construct(loader, item, (*loc, index), document, at) for index, item in enumerate(node.value)]
    try:
        return loader.construct_object(node)
    except (ValueError, LookupError, AttributeError):  # an explicit tag on a word that is none of its values
        raise yaml.MarkedYAMLError(
            problem=f"`{node.value}` is no {node.tag.rpartition(':')[2]}", problem_mark=node.start_mark
        ) from None


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise yaml.MarkedYAMLError(problem="a key must be a word", problem_mark=node.start_mark)
    return str(node.value)


def _note_duplicates(
    node: yaml.MappingNode, loc: Loc, document: Document, at: Callable[[yaml.Node], Origin]
) -> None:
    seen: dict[str, int] = {}
    for key_node, _ in node.value:
        key = str(key_node.value)
        if key in seen and key != "<<":
            dotted = ".".join(map(str, (*loc, key)))
            message = f"duplicated key, first set in line {seen[key]}"
            document.problems.append(Problem(at(key_node), dotted, message, "remove one of the two"))
        seen.setdefault(key, key_node.start_mark.line + 1)
