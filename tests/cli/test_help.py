import re

import pytest

from segcli import __version__

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
