import gc
import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from segcli.config.load import load_run
from segcli.core.registry import METRICS
from segcli.data.loader import Loaded
from segcli.data.samples import Case, Geometry
from segcli.engine.assembly import assemble
from segcli.engine.inference.evaluator import _of_samples, evaluate
from segcli.engine.inference.kept.figures import Figures
from segcli.metrics import ScoredClasses


def scored(probs, truth):
    return ScoredClasses(probs, truth["class"], truth["valid"])


def figures(*images):
    found = Figures(())
    for case, probs, label in images:
        whole = {"probs": np.array([probs], np.float32), "class": np.array([label]), "valid": np.ones((1, 1), bool)}
        found.add(case, losses={}, statistics={}, matrix=None, whole=whole)
    return found


def parts(*metrics):
    return SimpleNamespace(metrics=metrics, scored=scored, device=torch.device("cpu"))


def test_the_answer_of_a_sample_is_the_mean_of_probabilities_and_not_of_logits():
    accuracy = METRICS.load("accuracy")
    metric = accuracy(accuracy.Config())
    metric.name, metric.exclusive, metric.headline = "accuracy", True, "pooled"
    crops = [("a", 0, (0.999, 0.001)), ("b", 1, (0.2, 0.8)), ("a", 0, (0.2, 0.8)), ("a", 0, (0.2, 0.8))]
    images = [
        (Case(f"{sample}/{number}", Path("x"), part_of=sample), probs, label)
        for number, (sample, label, probs) in enumerate(crops)
    ]
    whole = _of_samples(figures(*images), parts(metric))
    assert [case.id for case in whole.cases] == ["a", "b"]
    assert [answer.parts for answer in whole.answers] == [3, 1]
    assert whole.answers[0].probs.tolist() == pytest.approx([(0.999 + 0.4) / 3, 1.601 / 3], abs=1e-6)
    assert [answer.found for answer in whole.answers] == [1, 1]  # the mean of the logits would be the other class
    assert whole.confusion.tolist() == [[0, 1], [0, 1]]
    assert whole.tally.averages() == {"accuracy": 0.5}


def test_what_is_no_part_of_anything_has_no_second_level():
    whole = (Case("a", Path("x")), (0.5, 0.5), 0)
    assert _of_samples(figures(whole), parts()) is None


def test_no_tensor_of_an_image_is_kept(tiny):
    made = assemble(load_run(tiny(training__metrics=["dice", "auc"])))
    image = torch.rand(1, 3, 32, 32)
    maps = {name: np.ones((32, 32), np.uint8) for name in ("mask", "valid")}
    batch = {"image": image, **{name: torch.from_numpy(values)[None] for name, values in maps.items()}}
    size, done, counts = Geometry((32, 32), (32, 32), (32, 32)), itertools.count(1), {}

    def count(_):
        number = next(done)
        if number in (5, 20):  # to go through all objects takes a quarter of a second
            counts[number] = sum(isinstance(each, torch.Tensor) for each in gc.get_objects())

    found = evaluate(
        made,
        made.network,
        (Loaded(batch, [Case(f"{index}", Path("x"))], [size], [maps]) for index in range(20)),
        after_batch=count,
    )
    assert len(found.cases) == 20
    assert counts[5] == counts[20]
