"""Trackers that are plug-ins: the real Sacred where it is installed, fakes at the boundary of the others."""

import csv
import json
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from segcli.core.files import plain

FIGURES = ("allocated_mib", "reserved_mib", "peak_mib", "process_mib")


def history():
    return yaml.safe_load(Path("outputs/experiments/tiny/metrics_history.yaml").read_text())


def memory():
    """Largest figures of each epoch in `memory.csv`."""
    with Path("outputs/experiments/tiny/memory.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [
        {name: max(float(row[name]) for row in rows if row["epoch"] == epoch) for name in FIGURES}
        for epoch in dict.fromkeys(row["epoch"] for row in rows)
    ]


@pytest.fixture
def sacred(monkeypatch):
    pytest.importorskip("sacred", exc_type=ImportError)


def test_a_sacred_run_has_config_metrics_artefacts_console_output_and_host(sacred, run_cli, tiny):
    result = run_cli("train", tiny(logging__trackers=["sacred"]))
    assert result.code == 0, result.err
    assert "tracker" not in result.err
    folder = Path("outputs/experiments/tiny/sacred/1")
    run, config, metrics = (json.loads((folder / f"{name}.json").read_text()) for name in ("run", "config", "metrics"))
    assert run["status"] == "COMPLETED"
    assert run["host"]["python_version"]
    resolved = yaml.safe_load(Path("outputs/experiments/tiny/config.yaml").read_text())
    assert {key: value for key, value in config.items() if key in resolved} == plain(resolved)
    for split in ("train", "val"):
        for name, value in history()[0][split].items():
            series = metrics[f"{split}/{name.removeprefix('val_')}"]
            assert series["steps"] == [1, 2]
            assert series["values"] == [entry[split][name] for entry in history()], (name, value)
    kept = ["best.safetensors", "config.yaml", "environment.yaml", "metrics_history.yaml", "report.html"]
    assert sorted(run["artifacts"]) == kept
    assert "epoch 2/2" in (folder / "cout.txt").read_text()


def test_the_record_of_a_resumed_run_has_every_epoch_once(sacred, run_cli, tiny):
    assert run_cli("train", tiny(logging__trackers=["sacred"])).code == 0
    assert run_cli("resume", "tiny", "training.epochs=4").code == 0
    metrics = json.loads(Path("outputs/experiments/tiny/sacred/2/metrics.json").read_text())
    for name, series in metrics.items():
        assert series["steps"] == [1, 2, 3, 4], name
    assert metrics["val/loss"]["values"] == [entry["val"]["val_loss"] for entry in history()]
    assert metrics["memory/process_mib"]["values"] == [largest["process_mib"] for largest in memory()]


def test_sacreds_own_reader_opens_the_run(sacred, run_cli, tiny, workplace):
    assert run_cli("train", tiny(logging__trackers=[{"type": "sacred", "folder": str(workplace / "runs")}])).code == 0
    from sacred.observers import FileStorageObserver

    observer = FileStorageObserver(workplace / "runs")
    assert observer._maximum_existing_run_id() == 1
    assert (workplace / "runs/1/metrics.json").is_file()


def test_sacred_changes_no_weight(sacred, run_cli, tiny, workplace):
    from segcli.engine.checkpoint import read_checkpoint

    for trackers in ([], ["sacred"]):
        values = tiny(logging__trackers=trackers, model__dropout=0.3, data__augmentation="light")
        assert run_cli("train", values, f"name=with{len(trackers)}").code == 0
    one, other = (
        read_checkpoint(workplace / f"outputs/experiments/with{count}/checkpoints/last.safetensors") for count in (0, 1)
    )
    assert [key for key, value in one.tensors.items() if not torch.equal(value, other.tensors[key])] == []


def test_a_run_that_is_stopped_is_called_interrupted(sacred, tmp_path):
    from segcli.trackers.sacred import Sacred

    tracker = Sacred(tmp_path, first_step=1)
    tracker.begin("tiny", {"seed": 3})
    tracker.scalars({"train/loss": 0.5, "val/dice": float("nan")}, 1)
    tracker.close()
    assert json.loads((tmp_path / "sacred/1/run.json").read_text())["status"] == "INTERRUPTED"
    assert list(json.loads((tmp_path / "sacred/1/metrics.json").read_text())) == ["train/loss"]


def test_sacred_writes_into_mongodb_where_its_address_is_given(sacred, run_cli, tiny, monkeypatch):
    mongomock = pytest.importorskip("mongomock")
    gridfs = pytest.importorskip("mongomock.gridfs")
    gridfs.enable_gridfs_integration()
    client = mongomock.MongoClient()
    monkeypatch.setattr("pymongo.MongoClient", lambda url, **_: client if url == "mongodb://here:27017" else None)
    tracker = {"type": "sacred", "mongo_url": "mongodb://here:27017", "mongo_db": "lab"}
    result = run_cli("train", tiny(logging__trackers=[tracker]))
    assert result.code == 0, result.err
    assert "tracker" not in result.err
    run = client["lab"]["runs"].find_one()
    assert run["status"] == "COMPLETED"
    assert run["config"]["model"]["depths"] == [4, 8]
    assert "metrics_history.yaml" in {entry["name"] for entry in run["artifacts"]}
    series = client["lab"]["metrics"].find_one({"name": "val/loss"})
    assert series["values"] == [entry["val"]["val_loss"] for entry in history()]
    assert not Path("outputs/experiments/tiny/sacred").exists()


# ---- fakes


@pytest.fixture
def mlflow(monkeypatch):
    """Stands in for the package; returns what it was told."""
    told = {"params": {}, "metrics": [], "artifacts": [], "status": None, "uri": None}
    fake = types.ModuleType("mlflow")
    fake.set_tracking_uri = lambda uri: told.update(uri=uri)
    fake.get_experiment_by_name = lambda name: told.get("experiment")
    fake.create_experiment = lambda name, artifact_location: told.update(artifact_location=artifact_location)
    fake.set_experiment = lambda name: told.update(experiment=name)
    fake.start_run = lambda run_name: told.update(name=run_name)
    fake.log_params = told["params"].update
    fake.log_metrics = lambda values, step: told["metrics"].append((step, values))
    fake.log_artifact = lambda path: told["artifacts"].append(Path(path).name)
    fake.end_run = lambda status: told.update(status=status)
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    monkeypatch.delitem(sys.modules, "segcli.trackers.mlflow", raising=False)
    yield told
    sys.modules.pop("segcli.trackers.mlflow", None)


def test_mlflow_is_told_parameters_metrics_and_artefacts_and_stays_on_this_machine(mlflow, run_cli, tiny, workplace):
    result = run_cli("train", tiny(logging__trackers=["mlflow"]))
    assert result.code == 0, result.err
    folder = workplace / "outputs/experiments/tiny"
    assert mlflow["uri"] == f"sqlite:///{folder / 'mlflow.db'}"
    assert mlflow["artifact_location"] == (folder / "mlflow_artifacts").as_uri()
    assert mlflow["name"] == "tiny"
    assert mlflow["params"]["model.depths"] == "[4, 8]"
    by_step = [values for step, values in mlflow["metrics"] if "train/loss" in values]
    assert [values["train/loss"] for values in by_step] == [entry["train"]["loss"] for entry in history()]
    figures = [{name: values[f"memory/{name}"] for name in FIGURES} for values in by_step]
    assert figures == memory()
    assert "metrics_history.yaml" in mlflow["artifacts"]
    assert mlflow["status"] == "FINISHED"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_tracker_that_fails_is_dropped_with_one_warning_and_the_training_goes_on(mlflow, run_cli, tiny):
    sys.modules["mlflow"].log_metrics = lambda values, step: 1 / 0
    result = run_cli("train", tiny(logging__trackers=["mlflow"]))
    assert result.code == 0
    assert result.err.count("tracker `mlflow` failed and is switched off") == 1
    assert len(history()) == 2


@pytest.fixture
def wandb(monkeypatch):
    """Stands in for the package; returns what it was told."""
    told = {"logged": [], "summary": {}, "exit": None}
    fake = types.ModuleType("wandb")
    fake.Image = np.asarray

    class Run:
        summary = told["summary"]

        def log(self, values, step):
            told["logged"].append((step, values))

        def finish(self, exit_code):
            told["exit"] = exit_code

    def init(**options):
        told.update(options=options)
        return Run()

    fake.init = init
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_ERROR_REPORTING", raising=False)
    monkeypatch.delitem(sys.modules, "segcli.trackers.wandb", raising=False)
    yield told
    sys.modules.pop("segcli.trackers.wandb", None)


def test_wandb_is_offline_unless_asked_for_and_told_every_epoch(wandb, run_cli, tiny):
    result = run_cli("train", tiny(logging__trackers=[{"type": "wandb", "project": "mine"}]))
    assert result.code == 0, result.err
    assert (wandb["options"]["mode"], wandb["options"]["project"]) == ("offline", "mine")
    assert wandb["options"]["config"]["model"]["depths"] == [4, 8]
    losses = [values["val/loss"] for _, values in wandb["logged"] if "val/loss" in values]
    assert losses == [entry["val"]["val_loss"] for entry in history()]
    processes = [values["memory/process_mib"] for _, values in wandb["logged"] if "val/loss" in values]
    assert processes == [largest["process_mib"] for largest in memory()]
    assert "best/val_dice" in wandb["summary"]
    assert wandb["exit"] == 0
    assert os.environ["WANDB_ERROR_REPORTING"] == "false"


@pytest.mark.parametrize(("name", "extra"), [("sacred", "sacred"), ("mlflow", "mlflow"), ("wandb", "wandb")])
def test_a_missing_package_is_one_sentence_with_the_extra(name, extra, run_cli, tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"segcli.trackers.{name}", raising=False)
    result = run_cli("train", tiny(logging__trackers=[name]))
    assert result.code == 2
    assert f"tracker `{name}` needs the package `{name}`" in result.err
    assert f"`pip install 'segcli[{extra}]'`" in result.err
    assert "Traceback" not in result.err
