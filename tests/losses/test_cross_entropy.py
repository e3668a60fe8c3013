import numpy as np
import pytest
import torch
from torch.nn import functional as F

from segcli.losses.cross_entropy import CrossEntropy


def loss(**options):
    made = CrossEntropy(CrossEntropy.Config(**options))
    made.name = "cross_entropy"
    return made


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 4, 6, 5, generator=generator, dtype=torch.float64)
    truth = torch.randint(0, 4, (2, 6, 5), generator=generator)
    valid = torch.rand(2, 1, 6, 5, generator=generator) < 0.7
    return logits, truth, valid


def ignoring(truth, valid):
    return torch.where(valid[:, 0], truth, -100)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_of_one_image_it_is_that_of_pytorch_with_an_ignore_index(case, smoothing):
    logits, truth, valid = (entry[:1] for entry in case)
    expected = F.cross_entropy(logits, ignoring(truth, valid), label_smoothing=smoothing)
    torch.testing.assert_close(loss(label_smoothing=smoothing).compute(logits, truth, valid), expected)


def test_weights_multiply_pixels_and_the_mean_is_over_their_number(case):
    logits, truth, valid = case
    weights = [0.5, 2.0, 0.0, 1.0]
    logs = logits.log_softmax(1).numpy()
    expected = []
    for image in range(2):
        pixels = [
            -weights[truth[image, y, x]] * logs[image, truth[image, y, x], y, x]
            for y in range(6)
            for x in range(5)
            if valid[image, 0, y, x]
        ]
        expected.append(np.mean(pixels))
    found = loss(class_weights=weights).double().compute(logits, truth, valid)
    assert float(found) == pytest.approx(np.mean(expected), rel=1e-12)


def test_weights_move_with_the_loss_and_are_no_part_of_a_checkpoint():
    made = loss(class_weights=[1.0, 2.0]).to(torch.float64)
    assert made.weight.dtype == torch.float64
    assert made.state_dict() == {}
