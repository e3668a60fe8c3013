from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from segcli.core.registry import METRICS
from segcli.data.samples import Case
from segcli.engine.inference.evaluator import _Image, _of_samples
from segcli.metrics import ScoredClasses


def scored(probs, truth):
    return ScoredClasses(probs, truth["class"], truth["valid"])


def truth(label):
    return {"class": torch.tensor([label]), "valid": torch.ones(1, 1, dtype=torch.bool)}


def image(case, probs, label):
    return _Image(case, {}, {}, None, torch.tensor([probs]), truth(label))


def test_the_answer_of_a_sample_is_the_mean_of_probabilities_and_not_of_logits():
    accuracy = METRICS.load("accuracy")
    metric = accuracy(accuracy.Config())
    metric.name, metric.exclusive, metric.headline = "accuracy", True, "pooled"
    crops = [("a", 0, (0.999, 0.001)), ("b", 1, (0.2, 0.8)), ("a", 0, (0.2, 0.8)), ("a", 0, (0.2, 0.8))]
    images = [
        image(Case(f"{sample}/{number}", Path("x"), part_of=sample), probs, label)
        for number, (sample, label, probs) in enumerate(crops)
    ]
    whole = _of_samples(images, SimpleNamespace(metrics=[metric], scored=scored))
    assert [case.id for case in whole.cases] == ["a", "b"]
    assert [answer.parts for answer in whole.answers] == [3, 1]
    assert whole.answers[0].probs.tolist() == pytest.approx([(0.999 + 0.4) / 3, 1.601 / 3], abs=1e-6)
    assert [answer.found for answer in whole.answers] == [1, 1]  # the mean of the logits would be the other class
    assert whole.confusion.tolist() == [[0, 1], [0, 1]]
    assert whole.tally.averages() == {"accuracy": 0.5}


def test_what_is_no_part_of_anything_has_no_second_level():
    whole = image(Case("a", Path("x")), (0.5, 0.5), 0)
    assert _of_samples([whole], SimpleNamespace(metrics=[], scored=scored)) is None
