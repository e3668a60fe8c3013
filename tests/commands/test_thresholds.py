import json

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from segcli.commands.thresholds import CANDIDATES, _best
from segcli.data.images import read_image, read_labels
from segcli.metrics import Scored
from segcli.metrics.auc import AUC


def test_the_threshold_is_the_one_that_a_search_over_all_pixels_finds():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(3, 1, 60, 60, generator=generator) < 0.3
    probs = (torch.randn(truth.shape, generator=generator) * 0.8 + truth * 1.5 - 1.8).sigmoid()
    counts = AUC(AUC.Config()).statistics(Scored(probs, truth, torch.ones_like(truth), 0.5)).sum(0).numpy()
    pixels, found = truth.numpy().ravel(), probs.numpy().ravel()
    dice = [f1_score(pixels, found >= threshold) for threshold in CANDIDATES]
    assert _best(counts) == CANDIDATES[int(np.argmax(dice))]
    assert _best(counts) != 0.5


def test_of_equal_thresholds_the_middle_one_is_taken():
    truth = torch.tensor([[[[1, 0]]]]).bool()
    counts = AUC(AUC.Config()).statistics(Scored(truth.float(), truth, torch.ones_like(truth), 0.5)).sum(0).numpy()
    assert _best(counts) == 0.5


def test_eval_chooses_on_the_validation_images_and_scores_the_test_images(run_cli, tiny, workplace):
    assert run_cli("train", tiny(training__epochs=2)).code == 0
    assert run_cli("predict", "data/val/image", "--probabilities", "--out", "found").code == 0
    truth = np.concatenate([read_labels(workplace / f"data/val/label/{n}.png").ravel() > 0 for n in ("00", "01")])
    probs = [read_image(workplace / f"found/{n}_probability.png").ravel() / 65535 for n in ("00", "01")]
    dice = [f1_score(truth, np.concatenate(probs) >= threshold) for threshold in CANDIDATES]
    chosen = json.loads(run_cli("eval", "tiny", "--threshold", "best-on-val", "--json").out)
    assert dice[CANDIDATES.index(chosen["threshold"])] == pytest.approx(max(dice), abs=1e-3)
    fixed = json.loads(run_cli("eval", "tiny", "--threshold", chosen["threshold"], "--json").out)
    assert fixed["average_metrics"] == chosen["average_metrics"]
    assert chosen["split"] == "test"
    assert "validation images" in chosen["notes"][0]
    assert "flatter" not in chosen["notes"][0]
    flattering = json.loads(run_cli("eval", "tiny", "--split", "val", "--threshold", "best-on-val", "--json").out)
    assert "the scores are too good" in flattering["notes"][0]


@pytest.mark.parametrize("text", ["1.5", "best", "-0.1", "nan"])
def test_a_threshold_that_is_none_is_a_usage_error(run_cli, tiny, text):
    assert run_cli("train", tiny(training__epochs=1)).code == 0
    result = run_cli("eval", f"--threshold={text}")
    assert result.code == 2
    assert "number from 0 to 1 or best-on-val" in " ".join(result.err.replace("│", " ").split())


def test_best_on_val_without_validation_images_says_what_to_do(run_cli, tiny, workplace):
    assert run_cli("train", tiny(training__epochs=1)).code == 0
    (workplace / "data/val").rename(workplace / "data/other")
    result = run_cli("eval", "--threshold", "best-on-val")
    assert result.code == 2
    assert "no validation split to choose the threshold on" in result.err
