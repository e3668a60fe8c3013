"""Checkpoints and run folders from strangers choose no code; the user does."""

import os
import py_compile
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from factories import experiment, write_experiment, write_folders

from segcli.cli.main import run
from segcli.core.registry import MODELS
from segcli.engine.checkpoint import read_checkpoint, write_checkpoint

NET = """
from torch import nn

class Thin(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.body = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, image):
        return self.body(image)
"""
EVIL = f"import pathlib\npathlib.Path('ran').touch()\n{NET}"
COMMANDS = {
    "eval": ("eval", "RUN"),
    "predict": ("predict", "data/test/image", "--run", "RUN"),
    "resume": ("resume", "RUN"),
    "export": ("export", "RUN"),
    "profile-memory": ("profile-memory", "RUN"),
}


def words(command, run, *more):
    """Command line on a run."""
    return [run if word == "RUN" else word for word in COMMANDS[command]] + list(more)


@pytest.fixture(scope="session")
def trained_own(tmp_path_factory):
    """A folder with data, `net.py` and the run `tiny` of its network."""
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        write_folders(folder / "data", {"train": 2, "val": 1, "test": 1})
        (folder / "net.py").write_text(NET)
        write_experiment(folder / "tiny.yaml", experiment(folder / "data", model={"type": "net.py:Thin"}))
        assert run(["train", "tiny.yaml", "training.epochs=1"]) == 0
    return folder


@pytest.fixture
def away(trained_own, workplace):
    """The same in another working folder, on whose machine nothing is known of the run."""
    shutil.copytree(trained_own, workplace, dirs_exist_ok=True, ignore=shutil.ignore_patterns("state"))
    return workplace


def change_model(path, **keys):
    """Let a checkpoint or a config ask for another network."""
    if path.suffix == ".yaml":
        values = yaml.safe_load(path.read_text())
        values["model"] = {key: value for key, value in keys.items() if value is not None}
        path.write_text(yaml.safe_dump(values))
        return
    checkpoint = read_checkpoint(path)
    checkpoint.header["config"]["model"] = {key: value for key, value in keys.items() if value is not None}
    write_checkpoint(path, checkpoint)


@pytest.mark.parametrize("digest", ["wrong", "right", "missing"])
@pytest.mark.parametrize("place", ["file", "folder", "relative"])
@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_stranger_ships_is_not_run(command, place, digest, away, run_cli):
    stated = {"wrong": "0" * 64, "right": sha256(EVIL.encode()).hexdigest(), "missing": None}[digest]
    folder = away / "outputs/experiments/tiny"
    if place == "folder":  # a whole run folder, unpacked where runs are, by somebody who knows where that is
        (folder / "evil_net.py").write_text(EVIL)
        name, kind = "tiny", f"{folder / 'evil_net.py'}:Thin"
    else:  # beside the checkpoint, which is the working folder
        (away / "evil_net.py").write_text(EVIL)
        # only what lies in a folder of checkpoints is a run to go on with
        name = "elsewhere/checkpoints/foreign.safetensors" if command == "resume" else "foreign.safetensors"
        (away / name).parent.mkdir(parents=True, exist_ok=True)
        kind = "evil_net.py:Thin" if place == "relative" else f"{away / 'evil_net.py'}:Thin"
    for path in (folder / "config.yaml", *folder.glob("checkpoints/*")):
        change_model(path, type=kind, sha256=stated)
    if place != "folder":
        shutil.move(folder / "checkpoints/last.safetensors", away / name)
    result = run_cli(*words(command, name))
    assert not (away / "ran").exists()
    assert result.code == 4
    told = " ".join(result.err.split())
    assert f"asks for the code in `{kind}`" in told
    assert name.removesuffix(".safetensors") in told
    assert "name it yourself with `--model-file PATH`" in told


@pytest.mark.parametrize("place", ["file", "folder"])
@pytest.mark.parametrize("command", COMMANDS)
def test_the_file_that_the_user_names_runs_and_one_line_says_so(command, place, away, run_cli):
    name = "tiny"
    if place == "file":
        name = "alone/checkpoints/foreign.safetensors"
        (away / "alone/checkpoints").mkdir(parents=True)
        shutil.move(away / "outputs/experiments/tiny/checkpoints/last.safetensors", away / name)
    (away / "net.py").rename(away / "my_net.py")
    refused = run_cli(*words(command, name))
    assert refused.code == 4
    result = run_cli(*words(command, name, "--model-file", "my_net.py"))
    assert result.code == 0, result.err
    assert "".join(result.err.split()).count(f"thenetworkisthecodein`{away / 'my_net.py'}`") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_that_was_trained_here_needs_no_option(command, trained_own, workplace, run_cli, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(trained_own / "state"))
    monkeypatch.chdir(trained_own)
    out = {"eval": 1, "predict": 1, "export": 1}
    more = ["--out", workplace / "out"] if command in out else []
    result = run_cli(*words(command, "tiny", *more))
    assert result.code == 0, result.err
    assert "".join(result.err.split()).count("thenetworkisthecodein") == 1


def test_what_was_trained_here_covers_neither_another_folder_nor_another_file(trained_own, away, run_cli, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(trained_own / "state"))
    assert run_cli("eval", "tiny").code == 4  # the same run, copied
    checkpoint = trained_own / "outputs/experiments/tiny/checkpoints/best.safetensors"
    keep = checkpoint.read_bytes()
    try:
        (away / "evil_net.py").write_text(EVIL)
        change_model(checkpoint, type=f"{away / 'evil_net.py'}:Thin", sha256=sha256(EVIL.encode()).hexdigest())
        assert run_cli("eval", checkpoint).code == 4
        change_model(checkpoint, type=f"{away / 'evil_net.py'}:Thin", sha256=sha256(NET.encode()).hexdigest())
        assert run_cli("eval", checkpoint, "--out", away / "out").code == 0  # with the user's file, wherever it points
    finally:
        checkpoint.write_bytes(keep)
    assert not (away / "ran").exists()


def test_a_resumed_run_is_the_users_own_from_then_on(away, run_cli):
    (away / "net.py").rename(away / "my_net.py")
    assert run_cli("resume", "tiny", "training.epochs=2", "--model-file", "my_net.py").code == 0
    assert run_cli("eval", "tiny").code == 0  # its best checkpoint still has the old path


@pytest.mark.parametrize("command", COMMANDS)
def test_another_content_than_the_trained_one_is_not_run(command, away, run_cli):
    (away / "other.py").write_text(EVIL)
    result = run_cli(*words(command, "tiny", "--model-file", "other.py"))
    assert not (away / "ran").exists()
    assert result.code == 2
    old, new = (sha256(code.encode()).hexdigest() for code in (NET, EVIL))
    assert f"`{away / 'other.py'}` has the SHA-256 `{new}`, not `{old}`" in result.err
    assert "which runs now" not in result.err
    if command in ("eval", "export", "profile-memory"):  # what the hint names
        assert run_cli(*words(command, "tiny", "--model-file", "other.py", f"model.sha256={new}")).code == 0


def test_a_checkpoint_without_a_digest_is_refused_until_one_is_given(away, run_cli):
    checkpoint = away / "outputs/experiments/tiny/checkpoints/best.safetensors"
    change_model(checkpoint, type="evil_net.py:Thin", sha256=None)
    (away / "evil_net.py").write_text(EVIL)
    for command in ("eval", "predict"):
        result = run_cli(*words(command, "tiny", "--model-file", "evil_net.py"))
        assert result.code == 4
        assert "names a network of your own without the SHA-256 of its file" in result.err
        assert not (away / "ran").exists()
    given = f"model.sha256={sha256(EVIL.encode()).hexdigest()}"
    assert given in result.err
    assert run_cli("eval", "tiny", "--model-file", "evil_net.py", given).code == 0


def test_an_override_that_names_the_network_is_the_users_word(away, run_cli):
    assert run_cli("eval", "tiny", "model.width=3").code == 4
    assert run_cli("eval", "tiny", "model.type=net.py:Thin").code == 0


def test_networks_of_several_files_are_averaged(away, run_cli):
    (away / "second.py").write_text(f"# another\n{NET}")
    write_experiment(away / "two.yaml", experiment(away / "data", name="two", model={"type": "second.py:Thin"}))
    write_experiment(away / "own.yaml", experiment(away / "data", name="built_in"))
    assert run_cli("train", "two.yaml", "training.epochs=1").code == 0
    assert run_cli("train", "own.yaml", "training.epochs=1").code == 0
    three = ["predict", "data/test/image", "--run", "tiny", "--run", "two", "--run", "built_in"]
    assert run_cli(*three, "--model-file", "second.py", "--model-file", "net.py").code == 0
    result = run_cli("predict", "data/test/image", "--run", "built_in", "--model-file", "net.py")
    assert result.code == 2
    assert "`--model-file net.py` is code that none of these runs needs here" in result.err
    result = run_cli("eval", "tiny", "--model-file", "nowhere.py")
    assert result.code == 2
    assert f"no Python file `{away / 'nowhere.py'}`" in result.err
    assert "no Python file" in run_cli("eval", "tiny", "--model-file", "tiny.yaml").err


def test_the_bytes_that_were_compared_are_the_bytes_that_run(away, run_cli, monkeypatch):
    honest = type(MODELS).digest

    def swapped(self, name):
        digest = honest(self, name)
        if digest is not None:
            (away / "net.py").write_text(EVIL)
        return digest

    monkeypatch.setattr(type(MODELS), "digest", swapped)
    result = run_cli("train", "tiny.yaml", "name=again")
    assert not (away / "ran").exists()
    assert result.code == 2
    assert "changed while it was checked" in result.err


def test_no_compiled_copy_of_the_file_runs(away, run_cli):
    good, evil = (code + "#" * (len(EVIL) - len(code)) for code in (NET, EVIL))
    path = away / "net.py"
    path.write_text(evil)
    os.utime(path, (1e9, 1e9))
    py_compile.compile(str(path))
    path.write_text(good)
    os.utime(path, (1e9, 1e9))  # the copy looks fresh: same size, same time
    assert run_cli("train", "tiny.yaml", "name=again", "training.epochs=1").code == 0
    assert not (away / "ran").exists()


def test_modules_in_the_working_folder_are_not_imported(away, run_cli, fresh_parity):
    for name in ("numpy", "onnxruntime", "segcli", "json"):
        (away / f"{name}.py").write_text("open('ran', 'w').write('x')\n")
    assert run_cli("export", "tiny", "--model-file", "net.py").code == 0
    assert not (away / "ran").exists()


def test_git_runs_no_command_of_the_working_folder(tiny, workplace, run_cli):
    script = workplace / "monitor.sh"
    script.write_text(f"#!/bin/sh\ntouch {workplace / 'ran'}\n")
    script.chmod(0o755)
    for words_ in (
        ("init", "-q"),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"),
        ("config", "core.fsmonitor", str(script)),
    ):
        subprocess.run(["git", *words_], check=True, cwd=workplace)
    assert run_cli("train", tiny(training__epochs=1)).code == 0
    assert not (workplace / "ran").exists()


def test_a_training_goes_on_where_the_note_cannot_be_written(away, run_cli, monkeypatch):
    Path("no_folder").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(away / "no_folder"))
    result = run_cli("train", "tiny.yaml", "name=again", "training.epochs=1")
    assert result.code == 0
    assert "later commands on this run need `--model-file`" in " ".join(result.err.split())
    assert run_cli("eval", "again").code == 4
    assert run_cli("eval", "again", "--model-file", "net.py").code == 0
