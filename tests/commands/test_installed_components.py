"""Components of installed packages, shown with the template package of the documentation."""

import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from conftest import made_once
from factories import experiment, write_experiment, write_folders

from segcli.core.errors import ConfigError
from segcli.core.registry import LOSSES, METRICS

TEMPLATE = Path(__file__).parents[2] / "docs/template"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def install(folder):
    """Build the wheel of the template and install it into `folder`."""
    source = shutil.copytree(TEMPLATE, folder / "source")  # the build writes beside the sources
    built = [*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", folder / "wheels", source]
    subprocess.run(built, check=True)
    (wheel,) = (folder / "wheels").glob("*.whl")
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", folder / "site", wheel], check=True)


@pytest.fixture
def installed(tmp_path_factory, workplace, monkeypatch):
    """The template as installed packages are, and an experiment that names its components."""
    site = made_once(tmp_path_factory, "template", install) / "site"
    monkeypatch.syspath_prepend(str(site))
    for name in [name for name in sys.modules if name.startswith("my_segcli")]:
        monkeypatch.delitem(sys.modules, name)
    values = experiment(
        write_folders(workplace / "data", {"train": 2, "val": 1, "test": 1}),
        model={"type": "two_layers", "width": 3},
        training__epochs=2,
        training__loss={"type": "Sharp-Dice", "power": 2.0},
        training__metrics=["dice", "area_error"],
    )
    return write_experiment(workplace / "tiny.yaml", values)


def test_the_template_is_short():
    files = [path for path in TEMPLATE.rglob("*") if path.suffix in (".py", ".toml")]
    assert sum(len(path.read_text().splitlines()) for path in files) <= 100


def test_the_template_trains_and_evaluates_from_its_installed_wheel(installed, run_cli, workplace):
    assert run_cli("--help").code == 0
    assert "my_segcli" not in sys.modules
    assert run_cli("train", installed).code == 0
    folder = workplace / "outputs/experiments/tiny"
    resolved = yaml.safe_load((folder / "config.yaml").read_text())
    assert resolved["model"]["type"] == "two_layers"
    assert resolved["training"]["loss"] == {"sharp_dice": {"weight": 1.0, "power": 2.0}}
    result = run_cli("eval", folder / "checkpoints/best.safetensors", "--out", "out")
    assert result.code == 0, result.err
    told = " ".join(result.err.split())
    assert "the network `two_layers` is the code of the installed package `my-segcli 0.1.0`, which runs now" in told
    assert yaml.safe_load((workplace / "out/test_metrics.yaml").read_text())["average_metrics"]["area_error"] >= 0
    forecast = run_cli("profile-memory", installed)
    assert forecast.code == 0, forecast.err
    wrong = run_cli("train", installed, "name=other", "training.loss.area_error=1")
    assert wrong.code == 2
    assert "training.loss.area_error: unknown" in wrong.err or "cannot be made" in wrong.err or "loss" in wrong.err


def test_the_template_keeps_the_promises_that_its_own_tests_check(installed):
    code = (TEMPLATE / "test_components.py").read_text()
    space = {}
    exec(compile(code, "test_components.py", "exec"), space)
    space["test_the_components_keep_the_promises_of_segcli"]()
    assert import_module("my_segcli.loss").__file__.startswith(sys.path[0])


def package(folder, name, entries):
    """Write the metadata of an installed package."""
    place = folder / f"{name}-1.0.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (place / "entry_points.txt").write_text("[segcli.components]\n" + "\n".join(entries))


def test_names_that_are_taken_are_refused_in_words(tmp_path, monkeypatch):
    package(tmp_path, "greedy", ["loss.Dice = greedy:Dice", "twice = greedy:Twice"])
    package(tmp_path, "other", ["twice = other:Twice"])
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=r"the package `greedy 1.0` offers a loss `dice`, which is a loss of segcli"):
        LOSSES.canonical("dice")
    assert METRICS.canonical("dice") == "dice"  # the package offers a loss only
    with pytest.raises(ConfigError, match=r"the packages `greedy 1.0` and `other 1.0` both offer a metric `twice`"):
        METRICS.canonical("twice")
    with pytest.raises(ConfigError, match="unknown loss `nothing`"):
        LOSSES.canonical("nothing")
