import pytest
import torch

from segcli.losses.focal_tversky import FocalTversky
from segcli.losses.tversky import Tversky


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 6, 5, generator=generator, dtype=torch.float64)
    return (
        logits,
        torch.rand(logits.shape, generator=generator) < 0.4,
        torch.rand(logits.shape, generator=generator) < 0.8,
    )


def loss(case, **options):
    return FocalTversky(FocalTversky.Config(**options)).compute(*case)


def test_focal_tversky_by_hand():
    # probabilities 0.5 on four pixels, one true: index (0.5 + 1) / (0.5 + 0.3 * 1.5 + 0.7 * 0.5 + 1)
    case = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1, 0], [0, 0]]]]), torch.ones(1, 1, 2, 2)
    assert loss(case, gamma=2.0).item() == pytest.approx((1 - 1.5 / 2.3) ** 0.5)


def test_the_root_is_taken_of_each_image_and_not_of_the_batch(case):
    logits, truth, valid = case
    singles = []
    for index in range(3):
        inside = valid[index, 0]
        p, t = logits[index, 0][inside].sigmoid(), truth[index, 0][inside].double()
        hit, alarm, miss = (p * t).sum(), (p * (1 - t)).sum(), ((1 - p) * t).sum()
        singles.append((1 - (hit + 1) / (hit + 0.3 * alarm + 0.7 * miss + 1)) ** 0.75)
    torch.testing.assert_close(loss(case), torch.stack(singles).mean())


def test_without_focus_it_is_the_tversky_loss(case):
    torch.testing.assert_close(loss(case, gamma=1.0), Tversky(Tversky.Config()).compute(*case))
