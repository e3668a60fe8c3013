import json

import numpy as np
import pytest
import yaml
from sklearn.metrics import f1_score, jaccard_score, roc_auc_score

from segcli.core.registry import METRICS
from segcli.data.images import read_image, read_labels


@pytest.fixture
def evaluated(run_cli, tiny, workplace):
    """A run scored on its test split; returns the folder of the results."""
    assert run_cli("train", tiny(training__epochs=3)).code == 0
    assert run_cli("eval").code == 0
    return workplace / "outputs/tests/tiny"


def test_the_written_numbers_are_those_of_the_written_masks(evaluated, workplace):
    summary = yaml.safe_load((evaluated / "test_metrics.yaml").read_text())
    rows = yaml.safe_load((evaluated / "per_image_metrics.yaml").read_text())
    assert summary["num_test_images"] == len(rows) == 2
    expected = {"dice": [], "iou": []}
    for row in rows:
        truth = read_labels(workplace / "data/test/label" / row["image"]) > 0
        found = read_labels(evaluated / "predictions" / row["image"]) > 0
        expected["dice"].append(f1_score(truth.ravel(), found.ravel()))
        expected["iou"].append(jaccard_score(truth.ravel(), found.ravel()))
    for name, values in expected.items():
        assert [row[name] for row in rows] == pytest.approx(values, abs=1e-9)
        assert summary["average_metrics"][name] == pytest.approx(np.mean(values), abs=1e-9)
    of_classes = {name for name in METRICS.names() if METRICS.load(name).needs_classes}
    of_presence = {name for name in METRICS.names() if METRICS.load(name).pool == "all cases"}
    others = {"hd95", "assd", "surface_dice", "f1"} | of_classes | of_presence  # of masks, F1 is the Dice
    assert set(summary["average_metrics"]) == set(METRICS.names()) - others
    assert summary["experiment"] == "tiny"
    interval = summary["confidence_intervals"]["dice"]
    assert min(expected["dice"]) <= interval["low"] <= interval["high"] <= max(expected["dice"])


def test_auc_is_over_all_pixels_of_the_split(evaluated, run_cli, workplace):
    assert run_cli("predict", "data/test/image", "--probabilities", "--out", "found").code == 0
    names = ("00", "01")
    truth = np.concatenate([read_labels(workplace / f"data/test/label/{name}.png").ravel() > 0 for name in names])
    probs = np.concatenate([read_image(workplace / f"found/{name}_probability.png").ravel() for name in names])
    summary = yaml.safe_load((evaluated / "test_metrics.yaml").read_text())
    assert summary["scope"]["auc"] == "all pixels"
    assert summary["average_metrics"]["auc"] == pytest.approx(roc_auc_score(truth, probs), abs=5e-4)


def test_no_number_depends_on_batch_size_or_workers(evaluated, run_cli):
    results = [
        json.loads(run_cli("eval", "tiny", *overrides, "--json", "--out", "again").out)
        for overrides in ([], ["data.batch_size=1"], ["data.num_workers=2"], ["data.cache=memory"])
    ]
    for result in results[1:]:
        assert result["average_metrics"] == results[0]["average_metrics"]
        assert result["losses"] == results[0]["losses"]


def test_validation_scores_are_those_of_training(evaluated, run_cli, workplace):
    history = yaml.safe_load((workplace / "outputs/experiments/tiny/metrics_history.yaml").read_text())
    found = json.loads(run_cli("eval", "tiny", "--split", "val", "--json").out)
    epoch = next(entry for entry in history if entry["epoch"] == found["epoch"])
    assert found["average_metrics"]["dice"] == pytest.approx(epoch["val"]["val_dice"], abs=1e-12)
    assert found["losses"]["loss"] == pytest.approx(epoch["val"]["val_loss"], abs=1e-12)
    assert (workplace / "outputs/tests/tiny_val/test_metrics.yaml").exists()


def test_a_threshold_changes_the_masks_and_is_recorded(evaluated, run_cli):
    recalls = []
    for threshold in (0.1, 0.9):
        found = json.loads(run_cli("eval", "tiny", "--threshold", threshold, "--json").out)
        assert found["threshold"] == threshold
        recalls.append(found["average_metrics"]["recall"])
    assert recalls[0] > recalls[1]


def test_the_tables_show_averages_and_the_worst_images(evaluated, run_cli):
    result = run_cli("eval", "tiny")
    for text in ("95 % interval", "per image", "all pixels", "Worst 2 by dice", "test_metrics.yaml"):
        assert text in result.out
    assert "…" not in result.out  # every heading and number can be read


def test_predictions_are_left_out_when_the_run_says_so(run_cli, tiny, workplace):
    assert run_cli("train", tiny(training__epochs=1, output={"save_predictions": False})).code == 0
    assert run_cli("eval").code == 0
    assert not (workplace / "outputs/tests/tiny/predictions").exists()


def test_pixels_outside_the_field_of_view_count_nowhere(run_cli, tiny, workplace):
    import cv2

    config = tiny(training__epochs=1, dataset__fov_folder="fov")
    for split in ("train", "val", "test"):
        (workplace / "data" / split / "fov").mkdir()
        for path in (workplace / "data" / split / "image").iterdir():
            field = np.zeros((48, 48), np.uint8)
            field[:, :24] = 255
            cv2.imwrite(str(workplace / "data" / split / "fov" / path.name), field)
    assert run_cli("train", config).code == 0
    before = json.loads(run_cli("eval", "--json").out)["average_metrics"]
    for path in (workplace / "data/test/label").iterdir():
        label = cv2.imread(str(path), 0)
        label[:, 24:] = 255 - label[:, 24:]
        cv2.imwrite(str(path), label)
    assert json.loads(run_cli("eval", "--json").out)["average_metrics"] == before


def test_test_time_augmentation_changes_the_scores_in_eval_and_predict_alike(evaluated, run_cli, workplace):
    plain = json.loads(run_cli("eval", "tiny", "--json").out)
    averaged = json.loads(run_cli("eval", "tiny", "--tta", "--json", "--out", "averaged").out)
    assert averaged["average_metrics"]["auc"] != plain["average_metrics"]["auc"]
    assert run_cli("predict", "data/test/image", "--tta", "--out", "found").code == 0
    for name in ("00.png", "01.png"):
        written = read_labels(workplace / "averaged/predictions" / name)
        assert np.array_equal(written, read_labels(workplace / "found" / name))
    by_key = json.loads(run_cli("eval", "tiny", "inference.tta=true", "--json").out)
    assert by_key["average_metrics"] == averaged["average_metrics"]
    back = json.loads(run_cli("eval", "tiny", "inference.tta=true", "--no-tta", "--json").out)
    assert back["average_metrics"] == plain["average_metrics"]


def test_a_run_predicts_as_its_inference_section_says(workplace, tiny, run_cli):
    config = tiny(training__epochs=1, inference={"tta": "horizontal", "scales": [0.75, 1.0, 1.25]})
    assert run_cli("train", config).code == 0
    told = [run_cli("eval", "--out", "averaged").err, run_cli("predict", "data/test/image", "--out", "found").err]
    averaged = yaml.safe_load((workplace / "averaged/test_metrics.yaml").read_text())["average_metrics"]
    looks = "in 2 views (`inference.tta`) at 3 sizes (`inference.scales`): 6.25 times the work of `--no-tta`"
    assert all(looks in " ".join(text.split()) for text in told)
    for name in ("00.png", "01.png"):
        written = read_labels(workplace / "averaged/predictions" / name)
        assert np.array_equal(written, read_labels(workplace / "found" / name))
    of_one_scale = json.loads(run_cli("eval", "inference.scales=[1.0]", "--json").out)["average_metrics"]
    once = json.loads(run_cli("eval", "inference.scales=[1.0]", "inference.tta=false", "--json").out)["average_metrics"]
    assert len({figures["auc"] for figures in (averaged, of_one_scale, once)}) == 3
    assert json.loads(run_cli("eval", "--no-tta", "--json").out)["average_metrics"] == once


def test_metrics_that_cannot_score_the_images_are_left_out(evaluated, run_cli, monkeypatch):
    monkeypatch.setattr(METRICS.load("cldice"), "can_ndim", (3,))
    names = set(json.loads(run_cli("eval", "tiny", "--json").out)["average_metrics"])
    assert names >= {"dice", "mcc"}
    assert "cldice" not in names


def test_distances_are_scored_on_request_in_validation_and_evaluation_only(run_cli, tiny, workplace):
    metrics = ["dice", "hd95", "assd", {"type": "surface_dice", "tolerance_mm": 2.0}]
    config = tiny(training__epochs=2, training__metrics=metrics, training__early_stopping={"monitor": "val_hd95"})
    assert run_cli("train", config).code == 0
    found = json.loads(run_cli("eval", "--json").out)
    assert found["over_all_pixels"]["hd95"] is None
    assert found["average_metrics"]["hd95"] is None or found["average_metrics"]["hd95"] >= 0
    history = yaml.safe_load((workplace / "outputs/experiments/tiny/metrics_history.yaml").read_text())
    assert "val_assd" in history[0]["val"]
    assert "train_assd" not in history[0]["train"]


@pytest.mark.usefixtures("tiny_run")
def test_a_damaged_history_is_told_and_the_advice_leads_on(run_cli, workplace):
    history = workplace / "outputs/experiments/tiny/metrics_history.yaml"
    history.write_text("- [")
    result = run_cli("eval", "tiny")
    assert result.code == 3
    assert "metrics_history.yaml` is damaged" in result.err
    history.unlink()
    assert run_cli("eval", "tiny").code == 0
