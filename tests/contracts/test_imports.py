"""Imports point downwards and in no circle, those inside functions and those for types counted too."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import segcli

PACKAGE = Path(segcli.__file__).parent
ORDER = (
    {"testing"},
    {"cli", "api"},
    {"commands"},
    {"planning"},
    {"report"},
    {"vram"},
    {"engine"},
    {"config"},
    {
        "tasks",
        "models",
        "losses",
        "metrics",
        "datasets",
        "trackers",
        "samples",
        "optimizers",
        "schedulers",
        "augmentations",
    },
    {"data"},
    {"nn", "files"},
    {"core"},
)
"""Rooms from top to bottom; those of one level do not import each other."""
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
MOST = 15
"""Files of one folder of the engine."""


@dataclass(frozen=True)
class Import:
    """One module imports another."""

    importer: str
    imported: str
    line: int
    only_types: bool

    def __str__(self):
        return f"{self.importer}:{self.line} imports {self.imported}"


def modules(package: Path) -> dict[str, Path]:
    """Files by the names of their modules."""
    named = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


def imports(package: Path) -> Iterator[Import]:
    """Every import of one of our modules by another."""
    named = modules(package)
    for importer, path in named.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for_types = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
            for statement in node.body
            for inner in ast.walk(statement)
        }
        for node in ast.walk(tree):
            for imported in imported_by(node, named):
                yield Import(importer, imported, node.lineno, only_types=id(node) in for_types)


def imported_by(node: ast.AST, named: dict[str, Path]) -> set[str]:
    """Our modules that a statement names: an import, or `import_module` with a plain text."""
    match node:
        case ast.Import():
            return {alias.name for alias in node.names} & named.keys()
        case ast.ImportFrom(level=0, module=str(source)):
            within = {f"{source}.{alias.name}" for alias in node.names}
            return {name if name in named else source for name in within} & named.keys()
        case ast.ImportFrom(level=level):
            raise AssertionError(f"relative import at level {level}, line {node.lineno}")
        case ast.Call(func=ast.Name(id="import_module"), args=[ast.Constant(value=str(source)), *_]):
            return {source} & named.keys()
    return set()


def upward(found: list[Import]) -> list[Import]:
    """Imports that point upwards, or to another room of the same level."""

    def wrong(one: Import) -> bool:
        above, below = (name.split(".")[1:2] for name in (one.importer, one.imported))
        if above == below or above in ([], ["__main__"]) or not below:  # the version stands in the package itself
            return False
        return LEVEL[above[0]] >= LEVEL[below[0]]

    return [one for one in found if wrong(one)]


def circle(found: list[Import]) -> list[str]:
    """Modules that import each other in a ring; empty when there is none."""
    below: dict[str, set[str]] = {}
    for one in found:
        if one.importer != one.imported:
            below.setdefault(one.importer, set()).add(one.imported)
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for lower in sorted(below.get(module, ())):
            ring = walk(lower, [*path, module])
            if ring:
                return ring
        done.add(module)
        return []

    return next(filter(None, (walk(module, []) for module in sorted(below))), [])


def crowded(package: Path) -> dict[str, int]:
    """Folders of the engine with too many files."""
    folders = [package / "engine", *(path for path in (package / "engine").rglob("*") if path.is_dir())]
    counts = {folder.relative_to(package).as_posix(): len(list(folder.glob("*.py"))) for folder in folders}
    return {folder: count for folder, count in counts.items() if count > MOST}


@pytest.fixture(scope="module")
def found():
    return list(imports(PACKAGE))


def test_every_room_has_its_level():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == LEVEL.keys()


def test_imports_point_downwards(found):
    assert len(found) > 500
    assert list(map(str, upward(found))) == []


def test_no_modules_import_each_other_in_a_circle_not_even_late(found):
    assert circle([one for one in found if not one.only_types]) == []


def test_the_trainer_and_what_it_consists_of_are_imported_by_no_other_part_of_the_engine(found):
    training, engine = "segcli.engine.training", "segcli.engine."
    assert [
        str(one)
        for one in found
        if one.imported.startswith(training)
        and one.importer.startswith(engine)
        and not one.importer.startswith(training)
    ] == []


def test_no_folder_of_the_engine_is_crowded():
    assert crowded(PACKAGE) == {}
