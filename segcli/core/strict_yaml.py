"""YAML as segcli reads it: numbers and booleans of YAML 1.2, and bounds so that no file takes long or fills the memory.

`1e-3` is a number, and `no` is a word. Tags such as `!!int` are refused; anchors and aliases are read, but count as
often as they are used.
"""

import re
from typing import Any, ClassVar

import yaml

__all__ = ["LONGEST", "StrictDumper", "StrictLoader", "Unreadable", "parse", "parse_words", "said", "said_with_hint"]

LONGEST = 2**20
"""Bytes of a config file."""
DEEPEST = 64
"""Sections and lists inside each other."""
MOST = 50_000
"""Keys and values of a config file; what an alias repeats counts again."""
MOST_NAMES = 2_000_000
"""Names in a list of the cases of a data set."""


class Unreadable(yaml.MarkedYAMLError):
    """Reports YAML that is legal, but goes beyond what segcli reads."""


class StrictLoader(yaml.SafeLoader):
    """Loads YAML within bounds."""

    most: ClassVar[int] = MOST

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.depth = self.count = 0
        self.unfinished: set[str] = set()
        """Anchors of the sections and lists that are being read."""
        self.weights: dict[str, int] = {}
        """Keys and values below each anchor."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Read one value, or what an alias stands for.

        Raises:
            Unreadable: It has a tag, or goes beyond a bound.
        """
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        anchor: str | None = event.anchor
        if isinstance(event, yaml.AliasEvent):
            if anchor in self.unfinished:
                raise _beyond(event, f"`&{anchor}` holds itself")
            self._add(event, self.weights.get(anchor or "", 0))
            alias: yaml.Node | None = super().compose_node(parent, index)
            return alias
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")[:60]
            raise _beyond(event, f"tags such as `{tag}` are not read; write the value alone")
        if self.depth == DEEPEST:
            raise _beyond(event, f"more than {DEEPEST} sections or lists are inside each other")
        before = self.count
        self._add(event, 1)
        self.depth += 1
        if anchor is not None:
            self.unfinished.add(anchor)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        if anchor is not None:
            self.unfinished.discard(anchor)
            self.weights[anchor] = self.count - before
        return node

    def _add(self, event: Any, count: int) -> None:
        self.count += count
        if self.count > self.most:
            raise _beyond(event, f"there are more than {self.most:,} keys and values")


StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":float", ":int", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
StrictLoader.add_implicit_resolver(  # a longer row of digits is text
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9_]{0,99})$"), list("-+0123456789")
)
StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]{1,99})(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf)|\.(?:nan|NaN))$"
    ),
    list("-+.0123456789"),
)


class StrictDumper(yaml.SafeDumper):
    """Writes YAML whose text is text for `StrictLoader` and for readers of YAML 1.1: `1e5` and `no` get quotes."""

    yaml_implicit_resolvers = {
        first: [
            *yaml.SafeDumper.yaml_implicit_resolvers.get(first, []),
            *StrictLoader.yaml_implicit_resolvers.get(first, []),
        ]
        for first in {**yaml.SafeDumper.yaml_implicit_resolvers, **StrictLoader.yaml_implicit_resolvers}
    }


class _WordsLoader(StrictLoader):
    """Loads all scalars as text: `0001` is a name, not a number."""

    most = MOST_NAMES
    yaml_implicit_resolvers = {}


def _beyond(event: Any, problem: str) -> Unreadable:
    return Unreadable(problem=problem, problem_mark=event.start_mark)


def parse(text: str) -> Any:
    """Parse YAML.

    Raises:
        yaml.YAMLError: It is not valid, or goes beyond a bound; `said` puts it into words.

    Example:
        >>> parse("[256, 1e-3, true]")
        [256, 0.001, True]
    """
    return yaml.load(text, Loader=StrictLoader)


def parse_words(text: str) -> Any:
    """Parse YAML whose scalars are all text.

    Raises:
        yaml.YAMLError: It is not valid, or goes beyond a bound.

    Example:
        >>> parse_words("[0001, true]")
        ['0001', 'true']
    """
    return yaml.load(text, Loader=_WordsLoader)


def said(error: yaml.YAMLError) -> str:
    """Describe the mistake in one line, with its line in the file if that is known."""
    if isinstance(error, yaml.MarkedYAMLError):
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        return f"{said_with_hint(error)[0]}{line}"
    return " ".join(str(error).split())


def said_with_hint(error: yaml.MarkedYAMLError) -> tuple[str, str | None]:
    r"""Describe the mistake, with the correction of a common one.

    Example:
        >>> try:
        ...     parse("a:\n\tb: 1")
        ... except yaml.MarkedYAMLError as error:
        ...     print(said_with_hint(error))
        ('a tab stands where YAML takes only spaces', 'replace the tabs by spaces')
    """
    problem = str(error.problem)
    if r"'\t' that cannot start" in problem:
        return "a tab stands where YAML takes only spaces", "replace the tabs by spaces"
    if "escape" in problem and "double-quoted" in str(error.context):
        return (
            r"a backslash in double quotes begins an escape such as `\n`",
            r"write a path of Windows in single quotes, 'C:\data', or with slashes, C:/data",
        )
    return problem, None
