"""What one of Linux, macOS and Windows lacks is used in one module only, and all three are tested."""

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

import segcli

ROOT = Path(__file__).parents[2]
PACKAGE = Path(segcli.__file__).parent
HOME = PACKAGE / "core/platform.py"
PLUGIN = Path(__file__).parents[1] / "without_posix.py"
ELSEWHERE = {"fsync": "flush", "kill": "is_running", "is_symlink": "is_link", "is_fifo": "is_pipe"}
"""Functions that exist everywhere but do something else on Windows, and those of the module to use instead."""


@cache
def missing() -> dict[str, set[str]]:
    """What Windows lacks, as the plugin of the tests lists it; it is not imported, because it would take it away."""
    tree = ast.parse(PLUGIN.read_text(encoding="utf-8"))
    lists = {
        node.targets[0].id: set(node.value.value.split())
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }
    return {"modules": lists["MODULES"] | {"msvcrt"}, "os": lists["FUNCTIONS"], "signal": lists["SIGNALS"]}


def used(source: str) -> Iterator[str]:
    """Whatever a module should leave to `core/platform.py`."""
    lacks = missing()
    tree = ast.parse(source)
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names if alias.name.split(".")[0] in lacks["modules"])
            case ast.ImportFrom(module=str(name)):
                yield from (name for _ in [0] if name in lacks["modules"])
                yield from (f"{name}.{alias.name}" for alias in node.names if alias.name in lacks.get(name, ()))
            case ast.Attribute(value=ast.Name(id=str(name)), attr=attribute) if attribute in lacks.get(name, ()):
                yield f"{name}.{attribute}"
            case (
                ast.Attribute(value=ast.Name(id="sys"), attr="platform")
                | ast.Attribute(value=ast.Name(id="os"), attr="name")
            ):
                yield ast.unparse(node)
            case ast.Attribute(attr=attribute) if attribute in ELSEWHERE:
                yield f"{ast.unparse(node)} (see `{ELSEWHERE[attribute]}`)"
            case ast.Constant(value=str(text)) if id(node) not in texts:
                yield from (text for start in ("/proc/", "/dev/", "/sys/") if text.startswith(start))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import fcntl", "fcntl"),
        ("from resource import getrlimit", "resource"),
        ("import os\nos.fork()", "os.fork"),
        ("from signal import SIGKILL", "signal.SIGKILL"),
        ("import signal\nsignal.SIGUSR1", "signal.SIGUSR1"),
        ("import sys\nsys.platform == 'linux'", "sys.platform"),
        ("path.is_symlink()", "path.is_symlink (see `is_link`)"),
        ("CPU = '/proc/cpuinfo'", "/proc/cpuinfo"),
    ],
)
def test_the_search_finds_what_it_looks_for(source, found):
    assert list(used(source)) == [found]
    assert list(used("import os, signal\nos.replace(a, b)\nsignal.SIGINT\n'''Reads /proc/cpuinfo.'''")) == []


def test_only_one_module_uses_what_a_system_lacks():
    assert len(list(used(HOME.read_text(encoding="utf-8")))) > 10
    found = {
        f"{path.relative_to(PACKAGE)}: {what}"
        for path in PACKAGE.rglob("*.py")
        if path != HOME
        for what in used(path.read_text(encoding="utf-8"))
    }
    assert sorted(found) == []


@pytest.fixture(scope="module")
def workflow():
    return yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))


def test_the_workflow_tests_every_system_with_every_python_that_the_package_promises(workflow):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    start = "Programming Language :: Python :: "
    promised = [line.removeprefix(start) for line in project["classifiers"] if line.startswith(start)]
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == promised
    assert {name.partition("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    assert workflow[True].keys() == {"push", "pull_request"}  # YAML 1.1 reads the key `on` as true


def test_the_workflow_runs_every_check_of_the_script(workflow):
    steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    checks = script[script.index("style, types, imports") :].splitlines()
    wanted = [line for line in checks if line.startswith(("ruff", "mypy", "lint-imports", "python -m segcli"))]
    assert len(wanted) == 7
    assert [check for check in wanted if check not in steps] == []
    assert any("-p without_posix" in step for step in steps)
    assert any(step.startswith("python -m pytest") for step in steps)
