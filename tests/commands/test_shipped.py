"""Shipped experiments, by name from any folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from segcli.config.load import load_dataset, load_run
from segcli.config.shipped import folder, names
from segcli.core.errors import ConfigError

ROOT = Path(__file__).parents[2]


def test_a_shipped_experiment_is_trained_by_its_name_from_any_folder(run_cli, workplace):
    result = run_cli("train", "exp")
    assert result.code == 3
    assert f"config: {folder() / 'exp.yaml'}" in result.err
    assert "segcli data sample vessels" in result.err
    assert "`data/vessels_sample`" in result.err  # from the working folder
    assert "config:" not in run_cli("train", "exp", "--quiet").err
    made = run_cli("data", "sample", "vessels", "--size", "64")
    assert made.code == 0, made.err
    checked = run_cli("data", "check", "exp", "data.patch_size=[32,32]")
    assert f"config: {folder() / 'exp.yaml'}" in checked.err
    assert checked.code == 0, checked.out
    assert run_cli("data", "stats", "datasets/vessels_sample").code == 0


def test_every_shipped_name_loads_from_any_folder(workplace):
    for name in names():
        assert load_run(Path(name), ["device=cpu"]).name == name
    for name in set(names(datasets=True)) - set(names()):
        load_dataset(Path(name), whole_run=False)


def test_what_lies_here_is_taken_before_what_is_shipped(run_cli, workplace):
    Path("exp").write_text("name: mine\n")
    result = run_cli("train", "exp")
    assert "config:" not in result.err
    assert "exp:1" in result.err or "`exp`" in result.err
    assert str(folder()) not in result.err


def test_an_unknown_name_gives_the_nearest(workplace, run_cli):
    with pytest.raises(ConfigError, match=r"no shipped config has this name\n  hint: did you mean `chase_unet_small`"):
        load_run(Path("chase_unet_smal"))
    with pytest.raises(ConfigError, match="no config file `datasets/hrf`"):  # a data set is no experiment
        load_run(Path("datasets/hrf"))
    assert "no shipped config is called `exq`" in run_cli("configs", "show", "exq").err


def test_shipped_configs_are_listed_shown_and_copied_to_be_changed(run_cli, workplace):
    listed = run_cli("configs", "list").out
    assert [name for name in names(datasets=True) if name not in listed] == []
    assert "Small U-Net on generated vessels; learns within a minute on a CPU." in listed
    assert run_cli("configs", "show", "exp").out == (folder() / "exp.yaml").read_text()
    copied = run_cli("configs", "copy", "exp")
    written = ["configs/exp.yaml", "configs/datasets/vessels_sample.yaml", "configs/segcli.schema.json"]
    assert copied.out.splitlines() == [f"wrote {path}" for path in written]
    assert run_cli("configs", "copy", "exp").out == ""
    Path("configs/exp.yaml").write_text("name: mine\n")
    refused = run_cli("configs", "copy", "exp")
    assert refused.code == 2
    assert "`configs/exp.yaml` exists and is different" in refused.err
    assert Path("configs/exp.yaml").read_text() == "name: mine\n"
    assert run_cli("configs", "copy", "exp", "--overwrite").code == 0


def test_a_copy_in_another_folder_finds_its_data_set(run_cli, workplace):
    assert run_cli("configs", "copy", "hrf_unet_small", "mine/first").code == 0
    copy = Path("mine/first/experiments/hrf_unet_small.yaml")
    assert copy.read_text().startswith("# segcli train mine/first/experiments/hrf_unet_small.yaml\n")
    assert load_run(copy, ["device=cpu"]).dataset.name == "hrf"


def test_an_installed_wheel_finds_its_experiments(workplace):
    pytest.importorskip("hatchling")
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    command = [sys.executable, "-c", build, str(workplace)]
    wheel = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()[-1]
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--target", "site", wheel]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True)
    shipped = {path.relative_to(ROOT / "configs") for path in (ROOT / "configs").rglob("*.*")}
    installed = workplace / "site/segcli/configs"
    assert {path.relative_to(installed) for path in installed.rglob("*.*")} == shipped
    (workplace / "elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "segcli", "train", "exp"],
        env={**os.environ, "PYTHONPATH": str(workplace / "site")},
        cwd=workplace / "elsewhere",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert f"config: {installed / 'exp.yaml'}" in done.stderr
    assert "segcli data sample vessels" in done.stderr
