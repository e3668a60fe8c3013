import re
import signal
from statistics import mean, stdev

import pytest
import yaml
from factories import nuclei_experiment, scenes_experiment, write_experiment, write_nuclei, write_sequences

from segcli.commands.crossval import fold_run
from segcli.commands.report import TrainingReport
from segcli.config.load import load_run


def folds_of(run, count, workplace):
    folder = workplace / "outputs/experiments" / run
    return [load_run(folder / f"fold_{number + 1}" / "config.yaml").dataset.build() for number in range(count)]


def test_each_sample_is_validated_once_and_classes_are_shared_out_evenly(run_cli, workplace):
    root = write_nuclei(workplace / "data", 12, size=(8, 16, 32))
    config = write_experiment(workplace / "n.yaml", nuclei_experiment(root, training__epochs=1))
    result = run_cli("train", config, "--folds", 3)
    assert result.code == 0, result.err
    layouts = folds_of("tiny", 3, workplace)
    held = [{case.part_of for case in layout.cases("val")} for layout in layouts]
    assert sorted(name for names in held for name in names) == [f"{number:04d}" for number in range(1, 13)]
    for layout, names in zip(layouts, held, strict=True):
        assert sorted(int(name) % 2 for name in names) == [0, 0, 1, 1]
        assert {case.part_of for case in layout.cases("train")} == {f"{n:04d}" for n in range(1, 13)} - names
    told = yaml.safe_load((workplace / "outputs/experiments/tiny/cross_validation.yaml").read_text())
    values = [
        yaml.safe_load((workplace / f"outputs/experiments/tiny/fold_{n}/metrics_history.yaml").read_text())[-1]["val"]
        for n in (1, 2, 3)
    ]
    for name in ("val_loss", "val_accuracy", "val_sample_f1"):
        column = [entry[name] for entry in values]
        assert told["last_epoch"][name]["folds"] == pytest.approx(column)
        assert told["last_epoch"][name]["mean"] == pytest.approx(mean(column))
        assert told["last_epoch"][name]["sd"] == pytest.approx(stdev(column))
    assert "±" in result.out
    again = run_cli("train", config, "--folds", 3)
    assert again.code == 2
    assert "holds a cross-validation" in again.err
    assert run_cli("eval", "outputs/experiments/tiny/fold_2", "--split", "val").code == 0


@pytest.mark.parametrize("count", [2, 3, 4, 5, 12])
def test_every_number_of_folds_shares_out_the_classes_evenly(count, workplace):
    root = write_nuclei(workplace / "data", 12, size=(8, 16, 32))
    run = load_run(write_experiment(workplace / "n.yaml", nuclei_experiment(root)))
    layouts = [fold_run(run, index, count).dataset.build() for index in range(count)]
    held = [{case.part_of for case in layout.cases("val")} for layout in layouts]
    assert sorted(name for names in held for name in names) == [f"{number:04d}" for number in range(1, 13)]
    for names in held:
        assert len(names) in (12 // count, -(-12 // count))
        assert abs(sum(int(name) % 2 for name in names) - len(names) / 2) <= 0.5


def test_masks_are_cross_validated_as_well_and_the_test_split_stays(tiny, run_cli, workplace):
    result = run_cli("train", tiny(training__epochs=1), "--folds", 4)
    assert result.code == 0, result.err
    layouts = folds_of("tiny", 4, workplace)
    held = [[str(case.image) for case in layout.cases("val")] for layout in layouts]
    assert [len(paths) for paths in held] == [2, 2, 2, 2]
    assert len({path for paths in held for path in paths}) == 8
    assert all(len(layout.cases("train")) == 6 for layout in layouts)
    assert {tuple(case.id for case in layout.cases("test")) for layout in layouts} == {("00", "01")}


def test_frames_of_a_sequence_stay_in_one_fold(run_cli, workplace):
    root = write_sequences(workplace / "data", {f"Video_{n:03d}": 2 for n in range(5)})
    values = scenes_experiment(root, training__epochs=1)
    values["dataset"]["split"] = {"train": [f"Video_{n:03d}" for n in range(4)], "val": ["Video_004"]}
    result = run_cli("train", write_experiment(workplace / "s.yaml", values), "--folds", 5)
    assert result.code == 0, result.err
    for layout in folds_of("tiny", 5, workplace):
        sides = [{case.id.split("/")[0] for case in layout.cases(split)} for split in ("train", "val")]
        assert [len(side) for side in sides] == [4, 1]
        assert not set.intersection(*sides)


def test_more_folds_than_cases_are_refused(tiny, run_cli):
    result = run_cli("train", tiny(), "--folds", 9)
    assert result.code == 2
    assert "9 folds need at least 9 cases or groups of cases, there are 8" in result.err


def test_a_stopped_cross_validation_goes_on_and_keeps_finished_folds(tiny, run_cli, workplace, monkeypatch):
    from segcli.engine.training.trainer import Trainer

    config = tiny(training__epochs=2)
    assert run_cli("train", config, "name=whole", "--folds", 3).code == 0
    fit, fits = Trainer._begin_epoch, []

    def stopped(trainer):
        fits.append(trainer.run.name)
        if fits.count("tiny_fold_2") == 2:
            raise KeyboardInterrupt
        return fit(trainer)

    for command in (["resume", "tiny"], ["train", config, "--folds", 3]):
        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "_begin_epoch", stopped)
            assert run_cli("train", config, "--folds", 3, "--overwrite").code == 130
            fits.clear()
        folder = workplace / "outputs/experiments/tiny"
        first = (folder / "fold_1/checkpoints/last.safetensors").stat().st_mtime_ns
        assert not (folder / "fold_3/checkpoints").exists()
        result = run_cli(*command)
        assert result.code == 0, result.err
        assert "±" in result.out
        assert (folder / "fold_1/checkpoints/last.safetensors").stat().st_mtime_ns == first
        told, whole = (
            yaml.safe_load((workplace / f"outputs/experiments/{name}/cross_validation.yaml").read_text())
            for name in ("tiny", "whole")
        )
        assert told["last_epoch"] == whole["last_epoch"]
        assert told["best_epoch"] == whole["best_epoch"]


def test_a_signal_while_a_fold_writes_its_report_stops_the_folds_that_follow(tiny, run_cli, workplace, monkeypatch):
    config = tiny(training__epochs=1)
    write = TrainingReport.write

    def stopped(report, *arguments):
        signal.raise_signal(signal.SIGTERM)
        write(report, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingReport, "write", stopped)
        result = run_cli("train", config, "--folds", 3)
    assert result.code == 143
    assert result.err.splitlines()[-1] == "stopped; continue with: segcli resume outputs/experiments/tiny"
    folder = workplace / "outputs/experiments/tiny"
    assert (folder / "fold_1/report.html").is_file()
    assert not (folder / "fold_2").exists()
    assert run_cli("resume", "tiny").code == 0


def test_a_begun_cross_validation_is_not_mixed_with_another(tiny, run_cli, workplace):
    config = tiny(training__epochs=1)
    assert run_cli("train", config, "--folds", 3).code == 0
    (workplace / "outputs/experiments/tiny/cross_validation.yaml").unlink()  # as if it had been stopped at the end
    other = run_cli("train", config, "--folds", 3, "training.epochs=2")
    assert other.code == 2
    assert "holds a cross-validation that was begun with another `training`" in other.err
    more = run_cli("train", config, "--folds", 4)
    assert "begun with another `--folds`" in more.err
    for words in ([], ["--overwrite"]):
        single = run_cli("train", config, *words)
        assert (single.code, "holds a cross-validation" in single.err) == (2, True)
    assert not (workplace / "outputs/experiments/tiny/checkpoints").exists()
    changed = run_cli("resume", "tiny", "training.epochs=2")
    assert changed.code == 2
    assert "a cross-validation continues with its first settings" in changed.err
    (workplace / "outputs/experiments/tiny/folds.yaml").write_text("folds: [")
    for words in (["resume", "tiny"], ["train", config, "--folds", 3]):
        damaged = run_cli(*words)
        assert damaged.code == 4
        assert "folds.yaml` is damaged" in damaged.err
    advised = re.search(r"`segcli (resume \S+fold_1)`", " ".join(damaged.err.split()))[1]
    assert run_cli(*advised.split()).code == 0
    assert run_cli("train", config, "--folds", 3, "--overwrite").code == 0
