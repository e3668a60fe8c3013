"""`report.html` of `train` and `eval`, through the real entry point."""

import csv
import html
import json
import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from factories import SMALL, scenes_experiment, volumes_experiment, write_experiment, write_hdf5, write_sequences
from pages import Page
from sklearn.metrics import confusion_matrix

from segcli.core.errors import CheckpointError
from segcli.data.classes.mistakes import MISTAKES
from segcli.data.images import read_labels

RUN, TESTS = Path("outputs/experiments/tiny"), Path("outputs/tests/tiny")
NASTY = "<script>alert(1)</script> & 'x'"
GREEN, RED, BLUE = MISTAKES
NEVER_BETTER = {"min_delta": 0.99, "patience": 9}
"""The first epoch stays the best one."""
SADAAN = {"type": "sadaan", **SMALL["sadaan"], "presence_threshold": 0.0, "absence_bias": 0.0}


def history():
    return yaml.safe_load((RUN / "metrics_history.yaml").read_text())


def equal(found, told):
    """Whether a number of the page is one of a YAML file; a dash stands for what is not defined."""
    return found == told or (found is None and (told is None or np.isnan(told)))


def holds_summary(page, folder):
    """The table of metrics, compared number by number with `test_metrics.yaml`."""
    summary = yaml.safe_load((folder / "test_metrics.yaml").read_text())
    table = page.table(f"{summary['num_' + summary['split'] + '_images']} images of split {summary['split']}")
    units = summary.get("units", {})
    shown = {name: f"{name} ({units[name]})" if name in units else name for name in summary["average_metrics"]}
    assert [row[0] for row in table.rows[1:]] == list(shown.values())
    for name, value in summary["average_metrics"].items():
        row = shown[name]
        assert equal(table.value(row, "value"), value)
        assert table.text(row, "scope") == summary["scope"][name]
        assert equal(table.value(row, "over all"), summary["over_all_pixels"][name])
        count, is_defined = summary["num_defined"][name], value is not None and not np.isnan(value)
        assert table.value(row, "images") == (None if is_defined and not count else count)
        interval = summary["confidence_intervals"].get(name)
        told = f"{interval['low']:,.4f} to {interval['high']:,.4f}" if interval else "\N{EN DASH}"
        assert table.text(row, "95 % interval") == told or max(interval.values()) >= 1000
    for name, value in summary["losses"].items():
        assert page.table("Losses").value(name, "value") == value
    rows = yaml.safe_load((folder / "per_image_metrics.yaml").read_text())
    images = page.table(f"By {next(iter(summary['average_metrics']))}")
    for row in rows:
        assert all(equal(images.value(row["image"], shown[name]), row[name]) for name in summary["average_metrics"])
    for note in summary["notes"]:
        assert note in page.text
    return summary


def test_a_training_ends_with_a_report_of_its_figures(run_cli, tiny):
    result = run_cli("train", tiny(training__epochs=4, name="tiny", dataset__name=NASTY))
    assert result.code == 0, result.err
    assert "wrote outputs/experiments/tiny/report.html" in result.out
    page = Page(RUN / "report.html")
    assert NASTY in page.text
    best = max(history(), key=lambda entry: entry["val"]["val_dice"])
    table = page.table("Losses and metrics")
    for name, value in best["train"].items():
        assert table.value(name, f"training, epoch {best['epoch']}") == value
        assert table.value(name, f"validation, epoch {best['epoch']}") == best["val"][f"val_{name}"]
    assert {row[0] for row in table.rows[1:]} == set(best["train"])
    assert page.source.count("<svg") == len(best["train"]) + 1  # and the learning rate
    for entry in history():
        assert f"<title>validation, epoch {entry['epoch']}: {entry['val']['val_dice']:.6g}</title>" in page.source
        assert f"<title>learning rate, epoch {entry['epoch']}: {entry['learning_rate']:.6g}</title>" in page.source
    config = yaml.safe_load((RUN / "config.yaml").read_text())
    (written,) = re.findall(r"<summary>Config</summary>\n<pre><code>(.*?)</code>", page.source, re.DOTALL)
    assert yaml.safe_load(html.unescape(written)) == config
    assert "working_folder" in page.text
    assert sorted(name.split(" of ")[1] for name in page.pictures()) == ["00.png"] * 4 + ["01.png"] * 4


def test_the_pictures_of_a_training_are_those_of_its_best_checkpoint(run_cli, tiny):
    assert run_cli("train", tiny(training__epochs=3, training__early_stopping=NEVER_BETTER)).code == 0
    page = Page(RUN / "report.html")
    assert run_cli("eval", "tiny", "--split", "val").code == 0
    scores = yaml.safe_load(Path("outputs/tests/tiny_val/per_image_metrics.yaml").read_text())
    assert scores
    for row in scores:
        found = page.pictures()[f"prediction of {row['image']}"][:, :, 0] > 128
        saved = read_labels(Path("outputs/tests/tiny_val/predictions") / row["image"]) > 0
        assert np.array_equal(found, saved)
        assert f"{row['image']} dice {row['dice']:.4f}" in page.text
    table = page.table("Losses and metrics of the best epoch")
    assert table.value("dice", "validation, epoch 3") == history()[-1]["val"]["val_dice"]


def test_early_stopping_is_told_and_json_names_the_file(run_cli, tiny):
    stopping = {"enabled": True, "patience": 1, "monitor": "val_dice", "min_delta": 0.99}
    result = run_cli("train", tiny(training__epochs=9, training__early_stopping=stopping), "--json")
    assert result.code == 0, result.err
    told = json.loads(result.out)
    assert told["early"]
    assert Path(told["report"]) == RUN.absolute() / "report.html" or Path(told["report"]) == RUN / "report.html"
    assert "ended by early stopping" in Page(RUN / "report.html").text


def test_a_resumed_and_an_overwritten_run_have_a_report_of_their_own(run_cli, tiny):
    config = tiny(training__epochs=1)
    assert run_cli("train", config).code == 0
    assert "epoch 2" not in Page(RUN / "report.html").text
    result = run_cli("resume", "tiny", "training.epochs=2")
    assert "wrote outputs/experiments/tiny/report.html" in result.out
    assert "epoch 2: training" in Page(RUN / "report.html").text or "epoch 2" in Page(RUN / "report.html").text
    before = (RUN / "report.html").stat().st_mtime_ns
    finished = run_cli("resume", "tiny")
    assert "is finished" in finished.out
    assert (RUN / "report.html").stat().st_mtime_ns == before
    (RUN / "report.html").unlink()  # as if killed before it was written
    assert "wrote outputs/experiments/tiny/report.html" in run_cli("resume", "tiny").out
    assert Page(RUN / "report.html").pictures()
    assert run_cli("train", config, "--overwrite").code == 0
    assert "epoch 2" not in Page(RUN / "report.html").text


def test_warnings_of_the_run_stand_in_its_report(run_cli, tiny):
    result = run_cli("train", tiny(training__epochs=1, logging__log_images=True))
    (warning,) = re.findall(r"warning: (.*)", result.err)
    page = Page(RUN / "report.html")
    assert "Warnings" in page.links()
    assert warning in page.text


def test_without_validation_images_there_is_a_report_of_the_training_alone(run_cli, workplace, tiny):
    values = yaml.safe_load(tiny(training__epochs=1).read_text())
    for path in (workplace / "data/val").rglob("*.png"):
        path.unlink()
    for folder in ("image", "label"):
        (workplace / "data/val" / folder).rmdir()
    (workplace / "data/val").rmdir()
    result = run_cli("train", write_experiment(workplace / "tiny.yaml", values))
    assert result.code == 0, result.err
    page = Page(RUN / "report.html")
    table = page.table("Losses and metrics")
    assert table.value("loss", "training, epoch 1") == history()[0]["train"]["loss"]
    assert table.value("loss", "validation, epoch 1") is None
    assert not page.pictures()


def test_a_report_that_fails_costs_no_training_and_is_not_hidden(run_cli, tiny, monkeypatch):
    def broken(*_, **__):
        raise KeyError("dice")

    monkeypatch.setattr("segcli.commands.report.training_page", broken)
    result = run_cli("train", tiny(training__epochs=1), "--json")
    assert result.code == 0
    assert json.loads(result.out)["report"] is None
    assert (
        "no report.html, because of a bug in segcli; the run is complete: KeyError: 'dice' (test_report.py:"
        in result.err
    )
    assert (RUN / "checkpoints/best.safetensors").exists()
    assert not (RUN / "report.html").exists()


def test_a_report_that_cannot_be_written_is_told_in_one_sentence(run_cli, tiny):
    (RUN / "report.html").mkdir(parents=True)
    result = run_cli("train", tiny(training__epochs=1))
    assert result.code == 0, result.err
    assert "no report.html: cannot write `outputs/experiments/tiny/report.html` (Is a directory)" in result.err
    assert "wrote" not in result.out


def test_without_the_best_checkpoint_the_report_has_no_pictures(run_cli, tiny, monkeypatch):
    def damaged(*_):
        raise CheckpointError("checkpoint `best.safetensors` is damaged")

    monkeypatch.setattr("segcli.commands.report.shown_again", damaged)
    result = run_cli("train", tiny(training__epochs=1))
    assert "no pictures in report.html: checkpoint `best.safetensors` is damaged" in result.err
    page = Page(RUN / "report.html")
    assert not page.pictures()
    assert page.table("Losses and metrics")


@pytest.fixture
def evaluated(run_cli, tiny, workplace):
    """A run scored on a test split with a file of an evil name; returns the parsed report."""
    config = tiny(training__epochs=3)
    for kind in ("image", "label"):
        folder = workplace / "data/test" / kind
        (folder / "01.png").rename(folder / "<img src=x onerror=alert(1)>.png")
    assert run_cli("train", config).code == 0
    result = run_cli("eval", "tiny")
    assert result.code == 0, result.err
    assert "wrote outputs/tests/tiny/report.html" in result.out
    return Page(TESTS / "report.html")


def test_an_evaluation_has_a_report_with_the_numbers_of_its_tables(evaluated, run_cli):
    summary = holds_summary(evaluated, TESTS)
    assert "<img src=x onerror=alert(1)>.png" in evaluated.text
    assert "threshold 0.5" in evaluated.text
    assert evaluated.source.count("<svg") == len(history()[0]["train"]) + 1
    (command,) = re.findall(r"<dt>the same scores</dt><dd><code>(.*?)</code>", evaluated.source)
    words = shlex.split(html.unescape(command))
    assert words[:2] == ["segcli", "eval"]
    again = json.loads(run_cli(*words[1:], "--json").out)
    assert again["average_metrics"] == summary["average_metrics"]
    assert again["report"] == "outputs/tests/tiny/report.html"


@pytest.mark.posix  # Windows has no such names
def test_the_pictures_show_what_the_saved_masks_hold(evaluated, workplace):
    pictures = evaluated.pictures()
    names = [path.name for path in (workplace / "data/test/image").iterdir()]
    assert len(pictures) == 4 * len(names) == 8
    for name in names:
        truth = read_labels(workplace / "data/test/label" / name) > 0
        found = read_labels(TESTS / "predictions" / name) > 0
        assert np.array_equal(pictures[f"truth of {name}"][:, :, 0] > 128, truth)
        assert np.array_equal(pictures[f"prediction of {name}"][:, :, 0] > 128, found)
        stored = cv2.imread(str(workplace / "data/test/image" / name))[:, :, ::-1]
        assert np.array_equal(pictures[f"image of {name}"], stored)
        mistakes = pictures[f"mistakes of {name}"]
        for colour, mask in ((GREEN, found & truth), (RED, truth & ~found), (BLUE, found & ~truth)):
            assert np.array_equal((mistakes == colour).all(axis=2), mask)


def test_the_command_in_a_report_repeats_what_was_asked_for(run_cli, tiny):
    assert run_cli("train", tiny(training__epochs=1)).code == 0
    asked = ("--split", "val", "--threshold", 0.4, "--tta", "--out", "my results", "data.batch_size=1")
    first = json.loads(run_cli("eval", "tiny", *asked, "--json").out)
    page = Page(Path("my results/report.html"))
    (command,) = re.findall(r"<dt>the same scores</dt><dd><code>(.*?)</code>", page.source)
    words = shlex.split(html.unescape(command))[1:]
    assert {str(word) for word in asked} <= set(words)
    assert json.loads(run_cli(*words, "--json").out) == first


def test_many_classes_have_their_tables_and_confusions(run_cli, workplace):
    write_sequences(workplace / "data", {"Video_000": 6, "Video_001": 2, "Video_002": 2})
    config = write_experiment(workplace / "tiny.yaml", scenes_experiment(workplace / "data", training__epochs=3))
    assert run_cli("train", config).code == 0
    assert run_cli("eval", "tiny").code == 0
    page = Page(TESTS / "report.html")
    summary = holds_summary(page, TESTS)
    names = list(summary["per_class"])
    classes = page.table("Value, 95 % interval")
    for name, values in summary["per_class"].items():
        assert all(equal(classes.value(name, metric), values[metric]) for metric in ("iou", "dice", "precision"))
    assert classes.text("tram", "share") == "absent"
    rows = list(csv.reader((TESTS / "confusion_matrix.csv").read_text().splitlines()))[1:]
    counts, shares = page.table("Number of pixels"), page.table("Share of the pixels")
    for name, *pixels in rows:
        numbers = np.array(pixels, int)
        assert [counts.value(name, other) for other in names] == numbers.tolist()
        if numbers.sum():
            told = [shares.value(name, other) for other in names]
            assert told == pytest.approx((numbers / numbers.sum()).tolist())
    assert "another class" in page.text
    training = Page(RUN / "report.html")
    best = max(history(), key=lambda entry: entry["val"]["val_mean_iou"])
    by_class = training.table(f"Validation of epoch {best['epoch']} by class")
    for metric, values in best["val_per_class"].items():
        assert all(equal(by_class.value(name, metric), value) for name, value in values.items())
    assert run_cli("eval", "tiny", "--split", "val").code == 0
    of_val = Page(Path("outputs/tests/tiny_val/report.html")).table("Number of pixels")
    assert training.table("Number of pixels").rows == of_val.rows  # of the best validation


def test_the_best_validation_is_remembered_over_a_resume(run_cli, workplace):
    write_sequences(workplace / "data", {"Video_000": 4, "Video_001": 2, "Video_002": 2})
    values = scenes_experiment(workplace / "data", training__epochs=1, training__early_stopping=NEVER_BETTER)
    assert run_cli("train", write_experiment(workplace / "tiny.yaml", values)).code == 0
    before = Page(RUN / "report.html")
    assert run_cli("resume", "tiny", "training.epochs=5").code == 0
    assert history()[-1]["val"]["val_pixel_accuracy"] != history()[0]["val"]["val_pixel_accuracy"]
    after = Page(RUN / "report.html")
    assert after.table("Number of pixels").rows == before.table("Number of pixels").rows
    assert {name: picture.tobytes() for name, picture in after.pictures().items()} == {
        name: picture.tobytes() for name, picture in before.pictures().items()
    }


def test_structures_have_presence_scenarios_and_slices(run_cli, workplace):
    write_hdf5(workplace / "data")
    values = volumes_experiment(workplace / "data", model=SADAAN, training__epochs=1)
    assert run_cli("train", write_experiment(workplace / "tiny.yaml", values)).code == 0
    assert run_cli("eval", "tiny", "--split", "val").code == 0
    folder = Path("outputs/tests/tiny_val")
    page = Page(folder / "report.html")
    summary = holds_summary(page, folder)
    structures = page.table("Value, 95 % interval")
    for name, told in summary["per_class"].items():
        for metric in ("dice", "presence_accuracy", "false_positive_volume"):
            column = "false_positive_volume (mm³)" if metric == "false_positive_volume" else metric
            assert equal(structures.value(name, column), told[metric])
            if told["num_defined"][metric] < 4:
                assert structures.text(name, column).endswith(f"{told['num_defined'][metric]} of 4")
    scenarios = page.table("Scores of each scenario")
    for name, told in summary["per_scenario"].items():
        assert scenarios.value(name, "cases") == told["num_images"]
        assert equal(scenarios.value(name, "dice"), told["dice"])
    assert summary["units"] == {
        "hd95": "mm",
        "assd": "mm",
        "surface_dice": "within 1 mm",
        "false_positive_volume": "mm³",
    }
    assert "found, not true" in page.text
    places = re.findall(r"mistakes of \d{4}, axis 1, slice (\d+) of 16", " ".join(page.pictures()))
    assert len(places) == 4
    assert Page(RUN / "report.html").pictures()


def test_a_checkpoint_by_itself_is_reported_with_the_history_that_it_holds(run_cli, tiny, workplace):
    assert run_cli("train", tiny(training__epochs=2)).code == 0
    alone = workplace / "alone.safetensors"
    alone.write_bytes((RUN / "checkpoints/best.safetensors").read_bytes())
    assert run_cli("eval", alone, "--out", "found").code == 0
    page = Page(Path("found/report.html"))
    assert f"epoch 1: {history()[0]['train']['loss']:.6g}</title>" in page.source
    assert "Environment" not in page.text


def test_trackers_take_the_report_along(run_cli, tiny):
    pytest.importorskip("sacred", exc_type=ImportError)
    assert run_cli("train", tiny(training__epochs=1, logging__trackers=["sacred"])).code == 0
    kept = RUN / "sacred/1/report.html"
    assert kept.read_text() == (RUN / "report.html").read_text()


def test_confusions_of_the_report_are_those_of_the_pngs(run_cli, workplace):
    write_sequences(workplace / "data", {"Video_000": 4, "Video_001": 2, "Video_002": 2}, index=True)
    values = scenes_experiment(workplace / "data", training__epochs=1, dataset__mask_format="index")
    values["dataset"] |= {"classes": ["sky", "road", "car"], "ignore": [{"name": "void", "number": 3}]}
    result = run_cli("train", write_experiment(workplace / "tiny.yaml", values))
    assert result.code == 0, result.err
    assert run_cli("eval", "tiny").code == 0
    truth, found = [], []
    for path in sorted((workplace / "data/Labels/Video_002").glob("*.png")):
        label = read_labels(path)
        truth.append(label[label < 3])
        found.append(read_labels(TESTS / "predictions/Video_002" / path.name)[label < 3])
    expected = confusion_matrix(np.concatenate(truth), np.concatenate(found), labels=[0, 1, 2])
    table = Page(TESTS / "report.html").table("Number of pixels")
    assert [[table.value(row, column) for column in table.headings[1:]] for row in ("sky", "road", "car")] == (
        expected.tolist()
    )
