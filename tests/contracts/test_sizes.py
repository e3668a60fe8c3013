"""Rules of the house that a reader feels: short files, short functions, and nothing written twice."""

import ast
from collections import defaultdict
from pathlib import Path
from statistics import median

import segcli

ROOT = Path(segcli.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
MOST_LINES, MEDIAN_LINES, MOST_LINES_OF_A_FUNCTION, MOST_EQUAL_LINES = 400, 110, 60, 8


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def test_no_file_is_long_and_most_are_short():
    sizes = {path.relative_to(ROOT): len(lines(path)) for path in FILES}
    assert {path: size for path, size in sizes.items() if size > MOST_LINES} == {}
    assert median(sizes.values()) <= MEDIAN_LINES


def test_no_function_is_long():
    sizes = {
        f"{path.relative_to(ROOT)}:{node.name}": node.end_lineno - node.lineno + 1
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: size for name, size in sizes.items() if size > MOST_LINES_OF_A_FUNCTION} == {}


def test_no_run_of_lines_stands_in_two_places():
    """Imports, blank lines, comments and lone brackets do not count."""
    places = defaultdict(set)
    for path in FILES:
        code = [(number, line.strip()) for number, line in enumerate(lines(path), start=1)]
        counted = [
            (number, line) for number, line in code if len(line) > 3 and not line.startswith(("#", "import", "from "))
        ]
        for start in range(len(counted) - MOST_EQUAL_LINES):
            run = counted[start : start + MOST_EQUAL_LINES + 1]
            places[tuple(line for _, line in run)].add(f"{path.relative_to(ROOT)}:{run[0][0]}")
    assert [sorted(found) for found in places.values() if len(found) > 1] == []
