"""`segcli train FOLDER` is init, train and eval; the two files stay, and the minutes stand in them as epochs."""

import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from factories import blobs, write_folders
from PIL import Image

from segcli.commands import folder, planning
from segcli.commands.report import TrainingReport
from segcli.config.load import load_run
from segcli.engine.events import Silent
from segcli.engine.training.clock.length import Costs
from segcli.vram.forecast import Forecaster

COSTS = Costs(step_s=2.0, epoch_s=1.0, val_s=9.0)


def test_a_folder_is_trained_and_scored_and_the_two_files_stay(
    run_cli: Callable[..., Any], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folders(workplace / "cells")
    monkeypatch.setattr(planning, "measured_costs", lambda trainer, seconds, over: COSTS)
    result = run_cli("train", "cells", "--minutes", "5", "--yes", "training.epochs=1", "training.val_interval=1")
    assert result.code == 0, result.err
    file = workplace / "configs/experiments/cells.yaml"
    written = yaml.safe_load(file.read_text())
    assert (workplace / "configs/datasets/cells.yaml").is_file()
    training, data = written["training"], written["data"]
    assert "minutes" not in training
    batches = data.get("limit_batches", 2)
    spent = COSTS.seconds(training["epochs"], batches, training["val_interval"])
    assert 0.97 * 300.0 <= spent <= 300.0
    assert f"{training['epochs']} epochs" in file.read_text()
    assert "a batch takes 2 s, a validation 9 s, measured here" in file.read_text().replace("\n# ", " ")
    assert (workplace / "outputs/experiments/cells/report.html").is_file()
    assert (workplace / "outputs/tests/cells/test_metrics.yaml").is_file()
    again = run_cli("train", "cells", "--yes")
    assert again.code == 2
    assert "configs/datasets/cells.yaml` exists" in again.err
    assert "`segcli train configs/experiments/cells.yaml` trains it" in again.err
    assert "`segcli train cells name=OTHER_NAME` begins another, or replace it with `--overwrite`" in again.err


def test_what_has_no_split_to_score_is_trained_and_not_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("image", "mask"):
        (tmp_path / "one" / name).mkdir(parents=True)
    image, mask = blobs(0, (64, 64))
    Image.fromarray(image).save(tmp_path / "one/image/a.png")
    Image.fromarray(mask).save(tmp_path / "one/mask/a.png")
    monkeypatch.chdir(tmp_path)
    made = folder.begin(
        Path("one"), folder.Words(None, [], []), ask=None, yes=True, overwrite=False, minutes=None, vram=None
    )
    trained = SimpleNamespace(folder=made.run_folder)
    monkeypatch.setattr(folder, "train", lambda run, **_: trained)
    monkeypatch.setattr(folder, "evaluate_run", lambda *_, **__: pytest.fail("nothing can be scored"))
    assert folder.train_and_score(made, [], overwrite=False, listener=Silent())[:2] == (trained, None)


def test_a_signal_while_the_report_of_the_training_is_written_stops_the_scoring(
    run_cli: Callable[..., Any], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folders(workplace / "cells")
    monkeypatch.setattr(TrainingReport, "write", lambda *_: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(folder, "evaluate_run", lambda *_, **__: pytest.fail("goes on"))
    result = run_cli("train", "cells", "--yes", "training.epochs=1", "data.limit_batches=1")
    assert result.code == 130, result.err
    assert result.err.splitlines()[-1] == "stopped; continue with: segcli resume outputs/experiments/cells"


def test_a_plan_for_another_gpu_is_sized_by_its_memory_and_not_timed_here(
    run_cli: Callable[..., Any], workplace: Path
) -> None:
    write_folders(workplace / "cells")
    result = run_cli("init", "cells", "--yes", "--vram", "1GiB", "--minutes", "5")
    assert result.code == 0, result.err
    text = (workplace / "configs/experiments/cells.yaml").read_text()
    assert "a GPU of 1 GiB, and the forecast of a step is" in text
    assert Forecaster(load_run(Path("configs/experiments/cells.yaml"))).device <= 2**30
    assert yaml.safe_load(text)["training"]["minutes"] == 5.0


def test_options_of_experiment_files_are_refused_for_a_folder(run_cli: Callable[..., Any], workplace: Path) -> None:
    write_folders(workplace / "cells")
    result = run_cli("train", "cells", "--dry-run")
    assert result.code == 2
    assert "`--dry-run` is for an experiment file, and `cells` is a folder of data" in result.err
