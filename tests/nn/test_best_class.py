import pytest
import torch

from segcli.nn import best_class as module
from segcli.nn.best_class import best_class
from segcli.nn.scored import ScoredClasses


def probabilities(*shape):
    """Probabilities of which many are equal."""
    draw = torch.Generator().manual_seed(5)
    return torch.randint(0, 6, shape, generator=draw).float().div(8)


@pytest.mark.parametrize("count", [2, 5, 40])
@pytest.mark.parametrize("size", [(7, 9), (3, 4, 5), ()])
@pytest.mark.parametrize("last", [False, True])
def test_the_best_class_is_the_first_of_the_largest_in_every_layout(monkeypatch, count, size, last):
    monkeypatch.setattr(module, "BLOCK", 10)  # the last block is smaller
    probs = probabilities(2, count, *size)
    if last:
        probs = probs.movedim(1, -1).contiguous().movedim(-1, 1)
    expected = probs.double().numpy().argmax(axis=1)  # the first of equal ones
    found = best_class(probs)
    assert (found.dtype, found.tolist()) == (torch.int64, expected.tolist())


def test_the_confusion_matrix_counts_the_valid_pixels_of_each_image():
    probs, draw = probabilities(2, 6, 5, 4), torch.Generator().manual_seed(1)
    truth = torch.randint(0, 6, (2, 5, 4), generator=draw)
    valid = torch.rand(2, 1, 5, 4, generator=draw) > 0.4
    matrix = ScoredClasses(probs, truth, valid).matrix
    expected = torch.zeros(2, 6, 6, dtype=torch.int64)
    for image, row, column in valid[:, 0].nonzero().tolist():
        best = max(range(6), key=lambda k: (float(probs[image, k, row, column]), -k))
        expected[image, truth[image, row, column], best] += 1
    assert matrix.tolist() == expected.tolist()
