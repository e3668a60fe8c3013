"""What all tests share: the real entry point and a tiny experiment."""

import contextlib
import functools
import gc
import io
import itertools
import os
import re
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
import typer.main
import yaml
from factories import experiment, write_experiment, write_folders
from files_in_memory import folder_in_memory
from forecasts import play_equal_runs_once

from segcli.cli.main import run
from segcli.commands.data import make_sample
from segcli.core.platform import lock
from segcli.engine.checkpoint import read_checkpoint, write_checkpoint
from segcli.engine.events import Silent
from segcli.engine.export import parity
from segcli.engine.training.precision import timed

collect_ignore = ["without_posix.py"]  # an option: to import it takes POSIX away
torch.set_num_threads(1)
# What a step takes in either precision is timed where a test is about it (`test_timed.py`); volumes took half a second
# each time, and their precision was that of a moment.
timed.LEAST_WORK = float("inf")
# No test pulls the plug, and waiting for the disk took a minute of them all.
os.fsync = lambda descriptor: None
IN_MEMORY = pytest.StashKey[Path | None]()
"""Folder for the files of all tests, where it is in memory."""
SAVE_EVERY = "checkpoint__save_every"
STATES = itertools.count()
"""Numbers of the folders of `state`; pytest's own would list all folders to find the next."""
FOLDERS = itertools.count()
"""Numbers of the folders of `tmp_path`."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose where the files of tests are."""
    if config.option.basetemp is None and not {"PYTEST_XDIST_WORKER", "PYTEST_DEBUG_TEMPROOT"} & set(os.environ):
        config.stash[IN_MEMORY] = folder = folder_in_memory()
        config.option.basetemp = folder


def pytest_unconfigure(config: pytest.Config) -> None:
    """Give the memory back, unless a test has failed and somebody will look at its files."""
    folder, session = config.stash.get(IN_MEMORY, None), config.pluginmanager.get_plugin("session")
    if folder is not None and session is not None and session.testsfailed == 0:
        shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what only POSIX can do."""
    if not hasattr(os, "fork"):
        for item in items:
            if item.get_closest_marker("posix"):
                item.add_marker(pytest.mark.skip(reason="needs POSIX"))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import all modules without garbage collections, which took a quarter of the time and find nothing."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Leave what was imported out of garbage collections: it stays, and going through it took a twelfth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)  # as often as Python does, an export and a forecast took an eighth longer
    keep_what_never_changes()


def keep_what_never_changes() -> None:
    """Build once what each command and each export of a process would build again.

    Typer makes all commands, in a hundredth of a second. PyTorch's exporter reads the sources of five hundred operators
    for each network, a quarter of a small export, and names all operators.
    """
    typer.main.get_command = functools.cache(typer.main.get_command)
    with contextlib.suppress(ImportError, AttributeError):  # another PyTorch is only slower
        from torch._export import utils
        from torch.onnx._internal.exporter import _registration

        registry = _registration.ONNXRegistry
        registry.from_torchlib = staticmethod(functools.cache(registry.from_torchlib))
        named, registered = utils._materialize_cpp_cia_ops, torch._C._dispatch_get_registrations_for_dispatch_key
        once = functools.cache(lambda operators: named())
        utils._materialize_cpp_cia_ops = lambda: once(tuple(registered("CompositeImplicitAutograd")))


@dataclass(frozen=True)
class Result:
    """Outcome of a command."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what commands note below the user's home out of there; few tests make the folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / f"state{next(STATES)}"))


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the test's own, as pytest's, which lists the folders of all earlier tests to find its number."""
    name = re.sub(r"\W", "_", request.node.name)[:26]
    folder = tmp_path_factory.getbasetemp() / f"{name}{next(FOLDERS):05d}"  # each about as long: lines are folded
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run_cli(workplace: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs `segcli ARGUMENTS` in this process, through the real entry point."""

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def tiny(workplace: Path) -> Callable[..., Path]:
    """Makes a tiny data set and an experiment file on it; keyword arguments as those of `experiment`."""

    def make(**changes: object) -> Path:
        dataset = workplace / "data"
        if not dataset.exists():
            write_folders(dataset)
        return write_experiment(workplace / "tiny.yaml", experiment(dataset, **changes))

    return make


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Give the folder that one worker fills for all; the others wait for it."""
    shared = factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else factory.getbasetemp()
    folder, done = shared / name, shared / f"{name}.done"
    with (shared / f"{name}.lock").open("w") as held:
        while not lock(held.fileno()):
            time.sleep(0.05)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def vessels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated vessels of 64 pixels, to be read; a test that changes them copies them."""

    def make(folder: Path) -> None:
        make_sample("vessels", folder, seed=42, size=64, overwrite=False, listener=Silent())

    return made_once(tmp_path_factory, "vessels", make)


def make_tiny_run(folder: Path, **changes: object) -> None:
    """Train `tiny`; keyword arguments as those of `experiment`, without any for two epochs of which all are kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_folders(folder / "data")
        config = write_experiment(folder / "tiny.yaml", experiment(Path("data"), **changes or {SAVE_EVERY: 1}))
        assert run(["train", str(config), "--quiet"]) == 0


def copied_run(made: Path, workplace: Path) -> Path:
    """Copy the run `tiny` with its data into the working folder; returns the run folder."""
    shutil.copytree(made, workplace, dirs_exist_ok=True)
    folder = workplace / "outputs/experiments/tiny"
    for path in (folder / "checkpoints").iterdir():
        checkpoint = read_checkpoint(path)
        checkpoint.header["config"]["dataset"]["paths"]["root"] = str(workplace / "data")
        write_checkpoint(path, checkpoint)
    (folder / "config.yaml").write_text(yaml.safe_dump(checkpoint.header["config"]))
    return folder


@pytest.fixture
def tiny_run(tmp_path_factory: pytest.TempPathFactory, workplace: Path) -> Path:
    """A copy of the run `tiny` of two epochs, with its data, in the working folder; returns the run folder."""
    return copied_run(made_once(tmp_path_factory, "tiny_run", make_tiny_run), workplace)


@pytest.fixture
def tiny_of(
    tmp_path_factory: pytest.TempPathFactory, workplace: Path, tiny: Callable[..., Path]
) -> Callable[[int], Path]:
    """Copies a run `tiny` of so many epochs, with its data and its experiment, here; returns the run folder."""

    def make(epochs: int) -> Path:
        made = made_once(
            tmp_path_factory, f"tiny_of_{epochs}", lambda folder: make_tiny_run(folder, training__epochs=epochs)
        )
        folder = copied_run(made, workplace)
        tiny(training__epochs=epochs)
        return folder

    return make


@dataclass(frozen=True)
class Exports:
    """A working folder with the run `tiny`, its scores, its ONNX file, and one with the normalisation baked in."""

    folder: Path
    """To be copied."""
    told: dict[str, str]
    """Answer of `export --json`, of `plain` and `baked`."""
    cards: dict[str, str]
    """Model card after each."""


def make_exports(folder: Path) -> None:
    """Train, score and export `tiny`; the answers and cards go beside what is copied."""
    work = folder / "work"
    work.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        config = write_experiment(work / "tiny.yaml", experiment(write_folders(work / "data"), training__epochs=2))
        assert run(["train", str(config)]) == run(["eval", "tiny"]) == 0
        for kind, options in (("plain", []), ("baked", ["--bake"])):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                assert run(["export", "tiny", "--json", *options]) == 0
            (folder / f"{kind}.json").write_text(out.getvalue())
            shutil.copy(work / "outputs/exports/tiny/README.md", folder / f"{kind}.md")


@pytest.fixture(scope="session")
def tiny_exports(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """What several tests export; each takes seconds."""
    folder = made_once(tmp_path_factory, "exports", make_exports)
    told, cards = (
        {kind: (folder / f"{kind}.{ending}").read_text() for kind in ("plain", "baked")} for ending in ("json", "md")
    )
    return Exports(folder / "work", told, cards)


@pytest.fixture
def played_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let forecasts take the simulations of equal runs, also those of earlier tests."""
    play_equal_runs_once(monkeypatch)


@pytest.fixture(autouse=True)
def forked_parity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an exported file be tried in a forked process, which need not import anything again.

    `tiny_exports` and the tests that take `fresh_parity` start a new process, as users do.
    """

    def forked(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        told, telling = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                warnings.simplefilter("ignore")
                if command[-3] == "onnx":
                    sys.modules.pop("torch")  # as in a new process: to import it is a mistake, which is told
                parity._main(*command[-4:])
            except BaseException as error:
                os.write(telling, f"{type(error).__name__}: {error}".encode()[-4096:])
                os._exit(1)
            os._exit(0)
        os.close(telling)
        with os.fdopen(told) as stream:
            said = stream.read()
        return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "", said)

    if hasattr(os, "fork"):
        monkeypatch.setattr(parity, "subprocess", SimpleNamespace(run=forked))


@pytest.fixture
def fresh_parity(forked_parity: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an exported file be tried in a new process."""
    monkeypatch.setattr(parity, "subprocess", subprocess)
