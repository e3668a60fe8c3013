"""`~` and variables in paths, as typed in YAML, in overrides and on the command line."""

from pathlib import Path

import pytest
import yaml
from factories import experiment, write_experiment, write_folders

from segcli.config.load import load_dataset, load_run, run_from_values
from segcli.core.errors import ConfigError
from segcli.core.files import write_yaml
from segcli.core.paths import escaped, expanded, expanded_arguments

NETWORK = """
from torch import nn

class Thin(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.only = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, image):
        return self.only(image)
"""


@pytest.fixture(autouse=True)
def places(workplace, monkeypatch):
    """A home folder and a variable."""
    monkeypatch.setenv("HOME", str(workplace / "home"))
    monkeypatch.setenv("PLACE", str(workplace / "place"))
    monkeypatch.delenv("NOWHERE", raising=False)
    return workplace


def test_home_and_variables_are_expanded_and_other_signs_stay(places):
    assert expanded("~/a") == f"{places}/home/a"
    assert expanded("~") == f"{places}/home"
    assert expanded("a~/~") == "a~/~"
    assert expanded("$PLACE/x") == expanded("${PLACE}/x") == f"{places}/place/x"
    assert expanded("a$/1$2/$$PLACE/${") == "a$/1$2/$PLACE/${"
    with pytest.raises(ValueError, match=r"the variable `\$NOWHERE` is not set"):
        expanded("$NOWHERE/x")


@pytest.mark.parametrize("name", ["a$PLACE", "$$", "~x", "plain"])
def test_a_stored_path_means_the_same_again(name):
    assert Path(expanded(escaped(Path(name)))) == Path(name)


def test_every_path_of_a_run_is_expanded_in_files_and_overrides(places):
    write_folders(places / "home/data")
    values = experiment(
        "~/data", output__dir="$PLACE/run", data__cache_dir="${PLACE}/cache", dataset__paths={"root": "~/data"}
    )
    config = write_experiment(places / "tiny.yaml", values)
    run = load_run(config, ["dataset.paths.test=$PLACE/test", "data.cache_dir=~/other"])
    assert run.dataset.paths.root == places / "home/data"
    assert run.dataset.paths.test == places / "place/test"
    assert run.output.dir == places / "place/run"
    assert run.data.cache_dir == places / "home/other"


def test_an_unknown_variable_is_blamed_at_its_key(places):
    config = write_experiment(places / "tiny.yaml", experiment(places, dataset__paths={"root": "$NOWHERE/data"}))
    with pytest.raises(ConfigError, match=r"tiny.yaml:\d+  dataset.paths.root: the variable `\$NOWHERE` is not set"):
        load_run(config)
    config = write_experiment(places / "tiny.yaml", experiment(places))
    with pytest.raises(ConfigError, match=r"output.dir: the variable `\$NOWHERE` is not set"):
        load_run(config, ["output.dir=$NOWHERE"])


def test_the_file_of_the_data_set_and_lists_of_names_may_lie_in_the_home_folder(places):
    write_folders(places / "data")
    (places / "home").mkdir()
    (places / "home/train.txt").write_text("\ufeff# images\nimg0\n", encoding="utf-8")
    keys = {"paths": {"root": str(places / "data/train")}, "num_channels": 3, "mean": [0.5] * 3, "std": [0.2] * 3}
    keys["split"] = {"by": "lists", "train": "~/train.txt"}
    (places / "home/set.yaml").write_text("\ufeff" + yaml.safe_dump(keys), encoding="utf-8")
    run = load_run(write_experiment(places / "tiny.yaml", {**experiment(places), "dataset": "~/set.yaml"}))
    assert run.dataset.model_extra["split"]["train"] == f"{places}/home/train.txt"
    layout = load_dataset(places / "home/set.yaml", whole_run=False).build()
    names = sorted(path.stem for path in (places / "data/train/image").iterdir())
    (places / "home/train.txt").write_text(f"\ufeff# images\n{names[0]}\n", encoding="utf-8")
    assert [case.id for case in layout.cases("train")] == [names[0]]


def test_a_stored_run_keeps_its_paths_whatever_the_variables_are_then(places, monkeypatch):
    root = places / "a$PLACE"
    config = write_experiment(places / "tiny.yaml", experiment(places, dataset__paths={"root": "a$$PLACE"}))
    run = load_run(config, ["output.dir=$PLACE/run"])
    assert run.dataset.paths.root == root
    monkeypatch.delenv("PLACE")
    write_yaml(places / "config.yaml", run.resolved())
    for again in (load_run(places / "config.yaml"), run_from_values(run.resolved(), source="x")):
        assert again == run
        assert again.output.dir == places / "place/run"


def test_a_network_of_ones_own_may_lie_in_the_home_folder(places):
    (places / "home").mkdir()
    (places / "home/net.py").write_text(NETWORK)
    config = write_experiment(places / "tiny.yaml", experiment(places, model={"type": "~/net.py:Thin"}))
    assert load_run(config).model.type == f"{places}/home/net.py:Thin"
    assert load_run(config, ["model.type=$HOME/net.py:Thin"]).model.type == f"{places}/home/net.py:Thin"
    with pytest.raises(ConfigError, match=r"model.type: the variable `\$NOWHERE` is not set"):
        load_run(config, ["model.type=$NOWHERE/net.py:Thin"])


def test_arguments_are_expanded_unless_a_file_has_this_name_or_they_are_overrides(places):
    (places / "a$PLACE.png").touch()
    words = ["~/x.png", "--out=$PLACE/out", "a$PLACE.png", "name=$PLACE", "--quiet", "b$$.png"]
    home, place = places / "home", places / "place"
    assert expanded_arguments(words) == [
        f"{home}/x.png",
        f"--out={place}/out",
        "a$PLACE.png",
        "name=$PLACE",
        "--quiet",
        "b$.png",
    ]
    with pytest.raises(ConfigError, match=r"`\$NOWHERE/x`: the variable `\$NOWHERE` is not set"):
        expanded_arguments(["$NOWHERE/x"])


def test_a_command_expands_the_config_that_it_is_given(run_cli, places):
    write_folders(places / "place/data")
    write_experiment(places / "place/tiny.yaml", experiment(places / "place/data"))
    assert run_cli("data", "check", "$PLACE/tiny.yaml").code == 0
    result = run_cli("data", "check", "$NOWHERE/tiny.yaml")
    assert result.code == 2
    assert "the variable `$NOWHERE` is not set" in result.err
