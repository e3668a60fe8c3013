import re
from pathlib import Path

import pytest
from factories import write_hdf5

from segcli import __version__
from segcli.cli.reference import main, rendered

README = Path(__file__).parents[2] / "README.md"
COMMANDS = ["data", "train", "resume", "eval", "predict", "profile-memory", "export"]


def test_help_lists_every_command_of_the_contract(run_cli):
    out = run_cli("--help").out
    assert [name for name in COMMANDS if not re.search(rf"^  {name} ", out, re.MULTILINE)] == []
    assert [name for name in ("check", "sample", "stats", "split") if name not in run_cli("data", "--help").out] == []


def test_no_arguments_give_the_help(run_cli):
    result = run_cli()
    assert "Commands:" in result.out + result.err


def test_the_version_is_told(run_cli):
    assert run_cli("--version").out == f"segcli {__version__}\n"


@pytest.mark.parametrize(
    "command", [["train"], ["resume"], ["eval"], ["predict"], ["export"], ["data", "check"], ["data", "sample"]]
)
def test_each_command_shows_an_example(run_cli, command):
    result = run_cli(*command, "--help")
    assert result.code == 0
    assert f"Example: segcli {' '.join(command)}" in " ".join(result.out.split())


def test_the_generated_parts_of_the_readme_are_fresh():
    assert main(["--check"]) == 0


def test_a_stale_readme_is_noticed():
    text = README.read_text()
    assert rendered(text.replace("| `--overwrite` | Replace what is there. |", "")) == text


def test_the_examples_of_the_readme_are_legal(workplace):
    from segcli.config.load import load_dataset, load_run

    blocks = re.findall(r"```yaml\n# (\S+)\n(.*?)```", README.read_text(), re.DOTALL)
    for name, text in blocks:
        (workplace / name).write_text(text)
    assert [name for name, _ in blocks] == [
        "my_data.yaml",
        "my_run.yaml",
        "my_roads.yaml",
        "my_nuclei.yaml",
        "my_organs.yaml",
    ]
    write_hdf5(workplace / "data/organs")
    organs = load_dataset(workplace / "my_organs.yaml", whole_run=False)
    assert (organs.num_classes, organs.num_channels) == (2, 1)
    assert load_run(workplace / "my_run.yaml").dataset.label_suffix == "_manual1"
