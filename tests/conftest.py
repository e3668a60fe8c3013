"""What all tests share: the real entry point and a tiny experiment."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from factories import experiment, write_experiment, write_folders

from segcli.cli.main import run

torch.set_num_threads(1)
# No test pulls the plug, and waiting for the disk took a minute of them all.
os.fsync = lambda descriptor: None


@dataclass(frozen=True)
class Result:
    """Outcome of a command."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what commands note below the user's home out of there."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


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


@pytest.fixture(scope="session")
def tiny_exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the run `tiny`, its ONNX file, and one with the normalisation baked in; to be copied."""
    folder = tmp_path_factory.mktemp("exports")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        config = write_experiment(folder / "tiny.yaml", experiment(write_folders(folder / "data"), training__epochs=2))
        for words in (["train", str(config)], ["export", "tiny"], ["export", "tiny", "--bake"]):
            assert run(words) == 0
    return folder
