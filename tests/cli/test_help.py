import re

import pytest
import typer

from segcli import __version__
from segcli.cli.app import app

COMMANDS = ["data", "train", "resume", "eval", "predict", "profile-memory", "export", "configs", "config"]
COMMANDS += ["models", "losses", "metrics", "formats"]


def leaves(command, words=()):
    """Commands with their words."""
    below = getattr(command, "commands", None)
    if below is None:
        yield words, command
    for word, entry in (below or {}).items():
        yield from leaves(entry, (*words, word))


LEAVES = dict(leaves(typer.main.get_command(app)))


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


@pytest.mark.parametrize("words", [(), ("data",), ("configs",), ("config",)])
def test_no_summary_is_cut_at_80_columns(run_cli, words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    listed = run_cli(*words, "--help").out.partition("Commands:")[2].strip().splitlines()
    below = {path[len(words)] for path in LEAVES if path[: len(words)] == words}
    assert len(listed) == len(below)  # one line each
    assert [line for line in listed if not line.endswith(".") or line.endswith("...")] == []


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_help_is_in_the_words_of_users(run_cli, words):
    out = run_cli(*words, "--help").out
    assert re.findall(r"<[a-z][^<>=]*>|\b(?:TEXT|INTEGER|FLOAT|PATH|FILENAME|RANGE|str|int|Path)\b", out) == []
    assert re.findall(r"[{}]|\[\[|\.\.\.\]\.\.\.", out) == []


@pytest.mark.parametrize(
    ("words", "choices"),
    [
        ("export", "--format onnx | torchscript | pt2"),
        ("data convert", "--fit pad | resize"),
        ("data convert", "--size N,N,N"),
        ("eval", "--split train | val | test"),
        ("train", "all keys: segcli config keys"),
    ],
)
def test_help_tells_what_can_be_typed(run_cli, words, choices):
    assert choices in " ".join(run_cli(*words.split(), "--help").out.split())


TYPED = {
    "FOLDER",
    "FILE.csv",
    "FILE.mp4",
    "FILE.html",
    "FOLDER | FILE",
    "NEW.yaml",
    "INPUT ...",
    "[DIR]",
    "FROM",
    "TO",
    "[FOLDER]",
}
"""What the shell completes as names of any files."""


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_names_of_files_are_offered_where_files_belong(words):
    command = LEAVES[words]
    context = command.make_context("segcli", [], resilient_parsing=True)
    for entry in command.params:
        if entry.name != "help" and not getattr(entry, "is_flag", False):
            offered = [item.value for item in entry.shell_complete(context, "x")]
            assert (offered == ["x:files"]) == (entry.metavar in TYPED), (entry.name, entry.metavar, offered)
