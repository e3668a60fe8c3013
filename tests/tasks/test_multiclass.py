import numpy as np
import torch

from segcli.data.settings import DatasetSpec, Paths
from segcli.tasks.multiclass import Multiclass


def task(classes=("sky", "road", "car"), colors=(None, None, None), offsets=()):
    entries = [{"name": name, "color": color} for name, color in zip(classes, colors, strict=True)]
    spec = {"name": "x", "format": "sequences", "num_classes": len(classes), "classes": entries}
    return Multiclass(DatasetSpec.model_validate({**spec, "paths": Paths()}), offsets)


def test_a_pixel_belongs_to_the_most_probable_class_whatever_the_threshold():
    probs = np.array([[[0.2, 0.4]], [[0.5, 0.4]], [[0.3, 0.2]]], np.float32)
    for threshold in (0.0, 0.5, 1.0):
        assert task().decide(probs, threshold).tolist() == [[1, 0]]


def test_probabilities_of_half_precision_logits_sum_to_one():
    probs = task().probabilities(torch.randn(2, 3, 4, 5).half() * 20)
    assert probs.dtype == torch.float32
    torch.testing.assert_close(probs.sum(1), torch.ones(2, 4, 5))


def test_probabilities_are_divided_by_weights_that_are_taken_back():
    probs, weights = np.array([0.2, 0.5, 0.3]), np.array([4.0, 1.0, 0.25])
    expected = probs / weights / (probs / weights).sum()  # as of a network that learnt without them
    logits = np.tile(np.log(probs)[:, None, None], (1, 4, 5)).astype(np.float32) + 3
    made = task(offsets=np.log(weights))
    for found in (made.probabilities(logits[None])[0], made.probabilities(torch.from_numpy(logits)[None])[0].numpy()):
        np.testing.assert_allclose(found, np.broadcast_to(expected[:, None, None], (3, 4, 5)), atol=1e-6)


def test_classes_without_a_colour_get_one_of_their_own():
    made = task([f"c{number}" for number in range(40)], [[0, 38, 0], *[None] * 39])
    assert made.colors[0] == (0, 38, 0)
    assert len(set(made.colors)) == 40
    answer = np.arange(40, dtype=np.uint8).reshape(5, 8)
    assert [tuple(color) for color in made.painted(answer).reshape(-1, 3).tolist()] == made.colors


def test_shares_are_of_all_pixels():
    assert task().shares(np.array([[0, 0, 2, 0]], np.uint8)) == {"sky": 0.75, "road": 0.0, "car": 0.25}
