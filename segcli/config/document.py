"""Read YAML and remember where each key stands.

Numbers and booleans are read as YAML 1.2 has them: `1e-3` is a number, and `no` is a word.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from segcli.core.errors import ConfigError, DataError
from segcli.core.foreign_paths import of_windows
from segcli.core.names import printable
from segcli.core.near_paths import meant
from segcli.core.platform import is_pipe
from segcli.core.strict_yaml import LONGEST, StrictLoader, Unreadable, said, said_with_hint
from segcli.core.text import read_text

__all__ = ["Document", "Loc", "Origin", "Problem", "files_of_folder", "read_document"]

Loc = tuple[str | int, ...]
"""Way to a key, such as `("training", "metrics", 0)`."""
MOST_TOLD = 50
"""Problems of one configuration that are listed."""


@dataclass(frozen=True)
class Origin:
    """Name the place where a key was written."""

    text: str
    """`run.yaml:11`, or an override as typed."""
    order: tuple[str, int] = ("", 0)
    """File and line; of an override or of stored values, no file."""

    @property
    def folder(self) -> Path | None:
        """Folder of the file; None where there is no file."""
        return Path(self.order[0]).parent if self.order[0] else None


@dataclass(frozen=True)
class Problem:
    """Tell of one mistake in a configuration."""

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
    """Hold values with the origin of each key, and the mistakes found so far."""

    values: dict[str, Any]
    origins: dict[Loc, Origin] = field(default_factory=dict)
    moved: dict[Loc, Loc] = field(default_factory=dict)
    """Section of the long form -> place where the user typed its keys."""
    problems: list[Problem] = field(default_factory=list)
    readings: list[str] = field(default_factory=list)
    """Names that are not ours and how they were read, in sentences."""
    dataset_folder: Path | None = None
    """Folder of the file that holds the data set; None of stored values."""
    left_out: set[str] = field(default_factory=set)
    """Components of the user's own that the command does not need, or may not run."""

    def origin(self, loc: Loc) -> Origin:
        """Find the origin of a key, or of the nearest key around it."""
        while loc and loc not in self.origins:
            loc = loc[:-1]
        return self.origins.get(loc, Origin("config"))

    def as_typed(self, loc: Loc) -> Loc:
        """Find the place where the user typed a key of the long form."""
        for long, typed in self.moved.items():
            if loc[: len(long)] == long:
                return (*typed, *loc[len(long) :])
        return loc

    def problem(self, loc: Loc, message: str, hint: str | None = None) -> Problem:
        """Blame a key of the long form where the user typed it."""
        typed = self.as_typed(loc)
        return Problem(self.origin(typed), ".".join(map(str, typed)), message, hint)

    def read_as(self, given: str, ours: str) -> None:
        """Note segcli's name for another name in the file."""
        self.readings.append(f"`{printable(given)}` is read as `{ours}`")

    def section_around(self, loc: Loc, text: str) -> dict[str, Any] | None:
        """Find the section of an override's key; a missing section is created.

        Args:
            loc: Place of the key.
            text: The override as typed.

        Returns:
            The section; None, and a problem, where something else stands in its place.
        """
        section = self.values
        for end, key in enumerate(loc[:-1], start=1):
            below = section.get(str(key))
            typed = self.as_typed(loc[:end])
            if below is None:
                below = section[str(key)] = {}
                self.origins.setdefault(typed, Origin(text))
            if not isinstance(below, dict):
                dotted = ".".join(map(str, typed))
                self.problems.append(Problem(Origin(text), dotted, f"is no section, it is `{below}`"))
                return None
            section = below
        return section

    def typed_anew(self, loc: Loc, text: str) -> None:
        """Note that an override sets a key; where it and the keys below it were typed before is forgotten."""
        self.moved = {long: typed for long, typed in self.moved.items() if long[: len(loc)] != loc}
        loc = self.as_typed(loc)
        self.origins = {known: origin for known, origin in self.origins.items() if known[: len(loc)] != loc}
        self.origins[loc] = Origin(text)

    def refuse(self, source: str) -> None:
        """Stop if there are problems.

        Raises:
            ConfigError: It lists them, `MOST_TOLD` at most: those of files by line, then those of overrides.
        """
        if not self.problems:
            return
        unique = {(problem.origin, problem.key): problem for problem in reversed(self.problems)}
        ordered = sorted(unique.values(), key=lambda problem: (not problem.origin.order[0], problem.origin.order))
        word = "problem" if len(ordered) == 1 else "problems"
        more = [f"  - and {len(ordered) - MOST_TOLD:,} more"] if len(ordered) > MOST_TOLD else []
        raise ConfigError("\n".join([f"{len(ordered):,} {word} in `{source}`", *map(str, ordered[:MOST_TOLD]), *more]))


def read_document(path: Path) -> Document:
    """Parse a YAML file whose top is a mapping; duplicated keys are noted as problems.

    Raises:
        ConfigError: The file is missing or no YAML.
    """
    try:
        if is_pipe(path):
            raise ConfigError(f"config file `{path}` is a pipe, not a file")
        text = read_text(path, LONGEST)
    except FileNotFoundError:
        message, hint = of_windows(str(path)) or (f"no config file `{path}`", _neighbours(path))
        raise ConfigError(message, hint=hint) from None
    except IsADirectoryError:
        raise ConfigError(f"`{path}` is a folder, not a config file", hint=files_of_folder(path)) from None
    except DataError as error:
        raise ConfigError(error.message, hint=error.hint) from None
    except OSError as error:
        raise ConfigError(f"cannot read config file `{path}` ({error})") from None
    document = Document({})
    try:
        loader = StrictLoader(text)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"config file `{path}` holds no keys", hint="it starts with `name: ...`")
        document.values = _construct(loader, node, (), path, document)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        what = "" if isinstance(error, Unreadable) else "not valid YAML: "
        problem, hint = said_with_hint(error)
        raise ConfigError(f"{path}:{line}: {what}{problem}", hint=hint) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {said(error)}") from None
    return document


def files_of_folder(folder: Path) -> str:
    """Say which file to name instead of a folder: the YAML files in it, or one to write for its data."""
    found = sorted(str(entry) for entry in folder.glob("*.y*ml"))[:5]
    if found:
        return f"name a file: {', '.join(f'`{each}`' for each in found)}"
    return f"name a data-set file; for the data in this folder, write one with the line `paths: {{root: {folder}}}`"


def _neighbours(path: Path) -> str | None:
    if close := meant(path):
        return close
    folder = next((parent for parent in path.parents if parent.is_dir()), Path())
    found = sorted(str(entry) for entry in folder.glob("*.yaml"))[:5]
    if found:
        return f"in `{folder}` there {'are' if len(found) > 1 else 'is'} {', '.join(f'`{each}`' for each in found)}"
    return "`segcli init FOLDER` writes one for a folder of images and masks"


def _construct(loader: StrictLoader, node: yaml.Node, loc: Loc, path: Path, document: Document) -> Any:
    if isinstance(node, yaml.MappingNode):
        _note_duplicates(node, loc, path, document)
        loader.flatten_mapping(node)
        values = {}
        for key_node, value_node in node.value:
            key = str(loader.construct_object(key_node, deep=True))
            here = (*loc, key)
            document.origins[here] = _at(path, key_node)
            values[key] = _construct(loader, value_node, here, path, document)
        return values
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            document.origins[(*loc, index)] = _at(path, item)
        return [_construct(loader, item, (*loc, index), path, document) for index, item in enumerate(node.value)]
    return loader.construct_object(node)


def _note_duplicates(node: yaml.MappingNode, loc: Loc, path: Path, document: Document) -> None:
    seen: dict[str, int] = {}
    for key_node, _ in node.value:
        key = str(key_node.value)
        if key in seen and key != "<<":
            dotted = ".".join(map(str, (*loc, key)))
            message = f"duplicated key, first set in line {seen[key]}"
            document.problems.append(Problem(_at(path, key_node), dotted, message, "remove one of the two"))
        seen.setdefault(key, key_node.start_mark.line + 1)


def _at(path: Path, node: yaml.Node) -> Origin:
    line = node.start_mark.line + 1
    return Origin(f"{path}:{line}", (str(path), line))
