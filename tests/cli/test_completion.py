"""TAB in real shells, and what it costs."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from ast import literal_eval
from pathlib import Path

import pytest

from segcli.cli.completion_scripts import FILES, SCRIPTS, main
from segcli.config.shipped import names

pexpect = pytest.importorskip("pexpect")
COMPLETIONS = Path(__file__).parents[2] / "completions"
NAMES = sorted(names())
SMALL = """name: small
dataset: datasets/clips.yaml
model: {type: SA-UNet}
training: {loss: {bce: 0.5, dice: 0.5}, optimizer: sgd, metrics: [iou, hd95]}
"""


@pytest.fixture
def place(workplace):
    """A working folder with experiments and a run, and `segcli` first on the path."""
    for name in ("exp.yaml", "experiments/wide.yaml", "datasets/mine.yaml"):
        path = workplace / "configs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("name: x\n")
    (workplace / "configs/small.yaml").write_text(SMALL)
    (workplace / "configs/datasets/clips.yaml").write_text("name: clips\nformat: sequences\n")
    for name in ("mine.yaml", "net.py", "notes.txt"):
        (workplace / name).write_text("name: x\n")
    for shell, script in FILES.items():
        (workplace / ".scripts").mkdir(exist_ok=True)
        (workplace / ".scripts" / script).write_text(SCRIPTS[shell])
    for run in ("retina_one", "retina_two"):
        (workplace / "outputs/experiments" / run).mkdir(parents=True)
        (workplace / "outputs/experiments" / run / "config.yaml").write_text("name: x\n")
    return workplace


def environment(place):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "HOME": str(place), "ZDOTDIR": str(place), "TERM": "dumb", "LC_ALL": "C.UTF-8"}


@pytest.fixture
def candidates(place, run_cli, monkeypatch):
    """Asks as the script for fish does, in this process."""
    monkeypatch.setenv("_SEGCLI_COMPLETE", "complete_fish")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")

    def ask(line):
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
        return [entry.split("\t")[0] for entry in run_cli().out.splitlines() if entry]

    return ask


def test_a_command_after_a_completion_in_the_same_process_converts_its_words(candidates, run_cli, monkeypatch):
    assert candidates("segcli train nowhere.yaml --dry") == ["--dry-run"]
    monkeypatch.delenv("_SEGCLI_COMPLETE")
    result = run_cli("train", "nowhere.yaml")
    assert (result.code, "nowhere.yaml" in result.err) == (2, True)


def test_the_scripts_in_the_folder_are_those_that_the_code_writes():
    assert main(["--check"]) == 0
    for shell, name in FILES.items():
        assert (COMPLETIONS / name).read_text() == SCRIPTS[shell]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("segcli res", ["resume"]),
        ("segcli data s", ["sample", "stats", "split"]),
        ("segcli train conf", ["configs/exp.yaml", "configs/experiments/wide.yaml", "configs/small.yaml"]),
        ("segcli train configs/exp.yaml model.type=un", ["model.type=unet"]),
        ("segcli train configs/exp.yaml training.scheduler.type=co", [
            "training.scheduler.type=constant",
            "training.scheduler.type=cosine",
        ]),
        ("segcli train configs/exp.yaml training.epo", ["training.epochs="]),
        ("segcli resume retina_t", ["retina_two"]),
        ("segcli eval retina_two retina", []),
        ("segcli eval --split t", ["train", "test"]),
        ("segcli predict --run retina_o", ["retina_one"]),
        ("segcli data sample v", ["vessels"]),
        ("segcli eval --thr", ["--threshold"]),
        # words of a key
        (
            "segcli train configs/exp.yaml data.cache=",
            ["data.cache=auto", "data.cache=none", "data.cache=memory", "data.cache=disk"],
        ),
        ("segcli train configs/exp.yaml data.augmentation=h", ["data.augmentation=heavy"]),
        ("segcli train configs/exp.yaml data.augmentation.preset=s", ["data.augmentation.preset=street"]),
        ("segcli train configs/exp.yaml data.pin_memory=", ["data.pin_memory=true", "data.pin_memory=false"]),
        ("segcli train configs/exp.yaml training.amp=b", ["training.amp=bf16"]),
        ("segcli train configs/exp.yaml model=ut", ["model=utrans"]),
        ("segcli data convert from to --fit ", ["pad", "resize"]),
        ("segcli export --format t", ["torchscript"]),
        ("segcli models u", ["unet", "utrans"]),
        ("segcli formats ni", ["nifti_volumes", "nifti"]),
        ("segcli config keys training.em", ["training.ema", "training.ema.decay", "training.ema.enabled"]),
        # lists
        ("segcli train configs/exp.yaml training.metrics=[dice,io", [
            "training.metrics=[dice,iou,",
            "training.metrics=[dice,iou]",
        ]),
        ("segcli train configs/exp.yaml training.metrics=[f", [
            "training.metrics=[f1",
            "training.metrics=[false_positive_volume",
            "training.metrics=[frequency_weighted_iou",
        ]),
        ("segcli train configs/exp.yaml training.metrics=[dice,dic", []),
        # what the experiment chooses
        ("segcli train configs/small.yaml training.early_stopping.monitor=", [
            f"training.early_stopping.monitor={value}"
            for value in ("val_loss", "val_loss_bce", "val_loss_dice", "val_iou", "val_hd95")
        ]),
        ("segcli train configs/small.yaml training.metrics=[auc] training.early_stopping.monitor=val_a", [
            "training.early_stopping.monitor=val_auc",
        ]),
        ("segcli train configs/small.yaml model.b", ["model.block_size="]),
        ("segcli train configs/small.yaml model.type=vgg3d model.cl", ["model.classifier_size="]),
        ("segcli train configs/small.yaml training.loss.b", [
            "training.loss.bce.pos_weight=",
            "training.loss.bce.weight=",
        ]),
        ("segcli train configs/small.yaml training.loss=focal training.loss.g", ["training.loss.gamma="]),
        ("segcli train configs/small.yaml training.optimizer.mo", ["training.optimizer.momentum="]),
        ("segcli train configs/small.yaml dataset.split.b", ["dataset.split.by="]),
        ("segcli train configs/small.yaml dataset.split.by=", ["dataset.split.by=sequence", "dataset.split.by=frame"]),
        ("segcli data split configs/datasets/clips.yaml split.by=s", ["split.by=sequence"]),
        ("segcli resume retina_two training.metrics=[auc] training.early_stopping.monitor=val_a", [
            "training.early_stopping.monitor=val_auc",
        ]),
        # files where files belong
        ("segcli train ", ["configs/exp.yaml", "configs/experiments/wide.yaml", "configs/small.yaml", "mine.yaml"]),
        ("segcli train m", ["mine.yaml"]),
        ("segcli data check configs/datasets/m", ["configs/datasets/mine.yaml"]),
        ("segcli train camvid_u", ["camvid_unet_small"]),
        ("segcli data check datasets/hr", ["datasets/hrf"]),
        ("segcli configs copy exp0", [
            name for number in range(1, 6) for name in NAMES if name.startswith(f"exp00{number}")
        ]),
        ("segcli predict pho", ["pho:files"]),
        ("segcli eval --out ", [":files"]),
        ("segcli train configs/exp.yaml dataset.paths.root=da", ["dataset.paths.root=da:files"]),
        ("segcli train configs/exp.yaml dataset=", ["dataset=:files"]),
        ("segcli train --folds ", []),
        ("segcli eval ./out", ["./out:files"]),
        ("segcli resume --model-file ", ["net.py", "configs/", "outputs/"]),
    ],
)  # fmt: skip
def test_tab_offers(candidates, line, expected):
    found = candidates(line)
    assert found == expected if len(expected) < 2 else sorted(found) == sorted(expected)


@pytest.mark.parametrize(
    ("line", "word", "expected"),
    [
        ("segcli res", "res", ["resume"]),
        ("segcli data ", "", ["check", "stats", "split", "sample", "convert"]),
        ("segcli train configs/exp.yaml model.type=un", "model.type=un", ["model.type=unet"]),
        ("segcli resume retina_t", "retina_t", ["retina_two"]),
        ("segcli eval --thr", "--thr", ["--threshold"]),
    ],
)
def test_powershell_gets_words_and_their_meaning(place, line, word, expected):
    asking = {
        "_SEGCLI_COMPLETE": "complete_powershell",
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_WORD_TO_COMPLETE": word,
    }
    command, environ = [sys.executable, "-m", "segcli"], {**environment(place), **asking}
    answer = subprocess.check_output(command, env=environ, text=True).splitlines()
    assert sorted(entry.split(":::")[0] for entry in answer) == sorted(expected)
    assert [entry for entry in answer if entry.count(":::") != 1] == []


def test_the_script_for_powershell_asks_as_typers_own_does():
    template = importlib.import_module("typer._completion_shared").COMPLETION_SCRIPT_POWER_SHELL
    theirs = template % {"autocomplete_var": "_SEGCLI_COMPLETE", "prog_name": "segcli", "complete_func": "x"}
    names = re.compile(r"\$Env:(\w+) = ")
    ours = SCRIPTS["powershell"]
    asked = set(names.findall(theirs))
    assert len(asked) == 3
    assert set(names.findall(ours)) == asked
    assert {name for name in asked if f"Env:{name}\n" in ours} == asked  # removed, so that `segcli` runs afterwards
    for part in ("complete_powershell", ":::", "-Native -CommandName segcli", "'ParameterValue'"):
        assert part in theirs, part
        assert part in ours, part
    for opening, closing in ("{}", "()", "[]"):
        assert ours.count(opening) == ours.count(closing)


@pytest.mark.skipif(shutil.which("pwsh") is None, reason="PowerShell is not installed")
def test_powershell_completes(place):
    line = "segcli resume retina_t"
    script = f". '{COMPLETIONS / 'segcli.ps1'}'; (TabExpansion2 '{line}' {len(line)}).CompletionMatches.CompletionText"
    command = ["pwsh", "-NoProfile", "-NonInteractive", "-Command", script]
    assert subprocess.check_output(command, env=environment(place), cwd=place, text=True).split() == ["retina_two"]


@pytest.mark.parametrize("command", ["train", "eval", "predict", "profile-memory", "export", "data convert"])
def test_the_meaning_of_each_option_fits_one_line(candidates, command):
    assert [word for word in candidates(f"segcli {command} --") if not word.startswith("--")] == []


WITH_HEAVY_MODULES = (
    "import sys\n"
    "from segcli.cli.main import run\n"
    "run(sys.argv[1:])\n"
    "slow = ('torch', 'cv2', 'albumentations', 'numpy', 'pydantic', 'rich.console')\n"
    "print([name for name in slow if name in sys.modules], file=sys.stderr)"
)
"""Runs a command, and lists the slow modules that it has loaded."""


@pytest.mark.parametrize("words", [["resume"], ["eval"], ["export"], ["predict", "a.png", "--run"]])
def test_a_run_that_does_not_exist_is_reported_before_pytorch_is_loaded(place, words):
    command = [sys.executable, "-c", WITH_HEAVY_MODULES, *words, "nosuch"]
    done = subprocess.run(command, env=environment(place), cwd=place, capture_output=True, text=True, check=False)
    assert "no run `nosuch`" in done.stderr
    assert "torch" not in done.stderr.strip().splitlines()[-1]


def test_a_config_file_that_does_not_exist_is_reported_before_pytorch_is_loaded(place):
    command = [sys.executable, "-c", WITH_HEAVY_MODULES, "train", "nosuch.yaml"]
    done = subprocess.run(command, env=environment(place), cwd=place, capture_output=True, text=True, check=False)
    assert "no config file `nosuch.yaml`" in done.stderr
    assert "torch" not in done.stderr.strip().splitlines()[-1]


def test_completion_and_help_load_nothing_heavy(place):
    asking = {"_SEGCLI_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    for arguments, extra in (
        (["--help"], {}),
        (["train", "--help"], {}),
        ([], {**asking, "_TYPER_COMPLETE_ARGS": "segcli train configs/exp.yaml "}),
        ([], {**asking, "_TYPER_COMPLETE_ARGS": "segcli train "}),
        ([], {**asking, "_TYPER_COMPLETE_ARGS": "segcli tr"}),
        ([], {**asking, "_TYPER_COMPLETE_ARGS": "segcli train configs/small.yaml training.early_stopping.monitor="}),
    ):
        done = subprocess.run(
            [sys.executable, "-c", WITH_HEAVY_MODULES, *arguments],
            env={**environment(place), **extra},
            capture_output=True,
            text=True,
            check=False,
        )
        loaded = set(literal_eval(done.stderr.strip().splitlines()[-1])) - (set() if extra else {"pydantic"})
        assert loaded == set(), (arguments, extra, done.stderr)


def test_a_missing_or_mistyped_experiment_is_reported_without_loading_pytorch(place):
    code = (
        "import sys\nfrom segcli.cli.main import run\nstatus = run(sys.argv[1:])\nprint(status, 'torch' in sys.modules)"
    )
    for arguments in (["train", "missing.yaml"], ["data", "check", "configs/exp.yaml", "training.epoch=5"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=environment(place),
            cwd=place,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.splitlines()[-1:] == ["2 False"], (arguments, done.stdout, done.stderr)


def typed(shell, text, expected):
    """Type into the shell and wait for what TAB makes of it."""
    shell.send(text)
    shell.expect_exact(expected, timeout=10)
    shell.send("\x15")  # clear the line


@pytest.mark.posix
@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes(place):
    shell = pexpect.spawn(
        "bash", ["--norc", "--noprofile", "-i"], env=environment(place), cwd=str(place), encoding="utf-8", timeout=15
    )
    shell.sendline("PS1='ready> '; bind 'set bell-style none'; source .scripts/segcli.bash; echo sour''ced")
    shell.expect_exact("sourced")
    typed(shell, "segcli pred\t", "predict ")
    typed(shell, "segcli resume retina_t\t", "retina_two ")
    typed(shell, "segcli train configs/exper\t", "iments/wide.yaml")
    typed(shell, "segcli train configs/exp.yaml model.type=un\t", "model.type=unet ")
    typed(shell, "segcli train configs/exp.yaml training.optimizer.type=s\t", "type=sgd ")
    shell.send("segcli train configs/exp.yaml training.epo\t5 end")
    shell.expect_exact("training.epochs=5 end")  # no blank after the sign
    shell.send("\x15")
    typed(shell, "segcli eval --split t\t\t", "test   train")
    (place / "configs/two words.yaml").touch()
    typed(shell, "segcli train configs/tw\t", "configs/two\\ words.yaml ")
    typed(shell, "segcli train 'configs/tw\t", "'configs/two words.yaml' ")
    (place / "photos").mkdir()
    typed(shell, "segcli predict pho\t", "photos/")  # the shell's own completion of file names
    typed(shell, "segcli eval --out=pho\t", "photos/")
    typed(shell, "segcli train configs/exp.yaml dataset.paths.root=pho\t", "photos/")
    typed(shell, "segcli train configs/exp.yaml training.metrics=[dice,io\t\t\t", "[dice,iou]")
    shell.send("segcli eval retina_one pho\t end")
    shell.expect_exact("retina_one pho end")  # no names of files where none belong
    shell.send("\x15")
    shell.close(force=True)


@pytest.mark.posix
@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes(place):
    shell = pexpect.spawn("zsh", ["-f", "-i"], env=environment(place), cwd=str(place), encoding="utf-8", timeout=15)
    shell.sendline(
        "PS1='ready> '; unsetopt zle_bracketed_paste; autoload -Uz compinit && compinit -u -D; "
        "source .scripts/_segcli; echo sour''ced"
    )
    shell.expect_exact("sourced", timeout=20)
    typed(shell, "segcli pred\t", "predict")
    typed(shell, "segcli resume retina_t\t", "retina_two")
    typed(shell, "segcli train configs/exp.yaml model.type=un\t", "unet")
    shell.send("segcli train configs/exp.yaml training.epo\t5 end")
    shell.expect("epochs=.*5 end")
    shell.close(force=True)


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("segcli pred", ["predict"]),
        ("segcli resume retina_t", ["retina_two"]),
        ("segcli train configs/exp.yaml model.type=un", ["model.type=unet"]),
    ],
)
def test_fish_completes(place, line, expected):
    script = f"source {place / '.scripts/segcli.fish'}; complete -C '{line}'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script], env=environment(place), capture_output=True, text=True, check=True
    )
    assert [entry.split("\t")[0] for entry in done.stdout.splitlines()] == expected


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_offers_files_where_segcli_has_no_words(place):
    (place / "photos").mkdir()
    script = f"source {place / '.scripts/segcli.fish'}; complete -C 'segcli predict pho'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        env=environment(place),
        cwd=place,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("photos/")


def test_the_script_of_a_shell_can_be_printed(run_cli):
    assert run_cli("--completion", "bash").out == SCRIPTS["bash"]
    refused = run_cli("--completion", "tcsh")
    assert refused.code == 2
    assert "no completion for `tcsh`" in refused.err
