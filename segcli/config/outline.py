"""Read the keys of a config from the source code of its class, which is not imported: a TAB waits for no NumPy."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from segcli.core.registry import Registry

__all__ = ["Key", "Section", "component", "keys_of", "literal_of"]

PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Section:
    """Class of a section, by its module below `segcli` and its name, such as `models.unet` and `UNet.Config`."""

    module: str
    name: str


@dataclass(frozen=True)
class Key:
    """One key of a section."""

    name: str
    words: tuple[str, ...] = ()
    """Words that the value may be."""
    section: Section | None = None
    """Section below it, or of each entry."""
    is_list: bool = False
    by_name: bool = False
    """The value is a mapping from names to entries."""
    is_path: bool = False


@cache
def keys_of(section: Section) -> dict[str, Key]:
    """Read the keys of a section, in the order in which pydantic has them: those of the last base class come first."""
    module = _module(section.module)
    node = module.classes[section.name]
    found: dict[str, Key] = {}
    for base in reversed(node.bases):  # the keys of the first one count most
        above = module.section(ast.unparse(base))
        found |= keys_of(above) if above is not None else {}
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
            if not name.startswith("_") and not ast.unparse(statement.annotation).startswith("ClassVar"):
                found[name] = replace(_shape(module, statement.annotation), name=name)
    return found


def component(registry: Registry, stem: str) -> Section | None:
    """Find the keys of a built-in component; None for a component without keys of its own."""
    module = _module(f"{registry.room}.{stem}")
    own = [name for name in module.classes if name.endswith(".Config")]
    return Section(module.name, own[0]) if own else None


def literal_of(registry: Registry, stem: str, attribute: str) -> tuple[str, ...]:
    """Read an attribute of a built-in component that lists words; empty where it has none."""
    for node in _module(f"{registry.room}.{stem}").classes.values():
        for statement in node.body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == attribute:
                return tuple(ast.literal_eval(statement.value))
    return ()


class _Module:
    """Names of one source file."""

    def __init__(self, name: str) -> None:
        self.name = name
        path = PACKAGE.joinpath(*name.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        self.classes: dict[str, ast.ClassDef] = {}
        self.imported: dict[str, tuple[str, str]] = {}
        self.values: dict[str, ast.expr] = {}
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                self.classes |= dict(_classes(node, node.name))
            elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("segcli."):
                below = node.module.removeprefix("segcli.")
                self.imported |= {alias.asname or alias.name: (below, alias.name) for alias in node.names}
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self.values[node.targets[0].id] = node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                self.values[node.target.id] = node.value

    def section(self, dotted: str) -> Section | None:
        """Find the class that a name means here; None for a class from elsewhere."""
        if dotted in self.classes:
            return Section(self.name, dotted)
        first, _, rest = dotted.partition(".")
        if first not in self.imported:
            return None
        module, name = self.imported[first]
        return _module(module).section(f"{name}.{rest}" if rest else name)

    def value(self, name: str) -> "tuple[_Module, ast.expr] | None":
        """Find the value that a name stands for here."""
        if name in self.values:
            return self, self.values[name]
        if name not in self.imported:
            return None
        module, original = self.imported[name]
        return _module(module).value(original)


@cache
def _module(name: str) -> _Module:
    return _Module(name)


def _classes(node: ast.ClassDef, name: str) -> Iterator[tuple[str, ast.ClassDef]]:
    yield name, node
    for below in node.body:
        if isinstance(below, ast.ClassDef):
            yield from _classes(below, f"{name}.{below.name}")


def _shape(module: _Module, node: ast.expr) -> Key:
    """Describe the values of a type."""
    match node:
        case ast.BinOp(left=left, right=right):
            one, other = _shape(module, left), _shape(module, right)
            return Key(
                "",
                words=tuple(dict.fromkeys(one.words + other.words)),
                section=one.section or other.section,
                is_list=one.is_list or other.is_list,
                by_name=one.by_name or other.by_name,
                is_path=one.is_path or other.is_path,
            )
        case ast.Subscript(value=kind, slice=inner):
            return _subscript(module, ast.unparse(kind), inner)
        case ast.Name() | ast.Attribute():
            return _named(module, ast.unparse(node))
    return Key("")


def _subscript(module: _Module, kind: str, inner: ast.expr) -> Key:
    parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if kind == "Literal":
        return Key("", words=tuple(_word(each) for each in parts))
    if kind == "Annotated":
        return _shape(module, parts[0])
    if kind == "list":
        return replace(_shape(module, parts[0]), is_list=True, is_path=False)
    if kind == "dict":
        return replace(_shape(module, parts[1]), by_name=True, is_path=False)
    return Key("")


def _named(module: _Module, name: str) -> Key:
    if name in ("bool", "Path"):
        return Key("", words=("true", "false")) if name == "bool" else Key("", is_path=True)
    section = module.section(name)
    if section is not None:
        return Key("", section=section)
    found = module.value(name)
    return Key("") if found is None else _shape(*found)


def _word(node: ast.expr) -> str:
    value = ast.literal_eval(node)
    return str(value).lower() if isinstance(value, bool) else str(value)
