import pytest
import torch

from segcli.nn.dropblock import DropBlock


def dropped(size, keep_prob=0.9, block_size=7, images=200):
    torch.manual_seed(0)
    block = DropBlock(len(size), block_size=block_size, keep_prob=keep_prob)
    return block(torch.ones(images, 1, *size))


@pytest.mark.parametrize("size", [(32, 32), (40, 9), (8, 8), (9, 12, 15)])
def test_the_share_that_is_dropped_is_near_the_one_asked_for(size):
    # The formula of the paper ignores overlaps, which leave a little more.
    share = (dropped(size) == 0).float().mean()
    assert 0.08 < share < 0.105


def test_what_is_dropped_are_squares_of_the_block_size():
    holes = dropped((33, 33), keep_prob=0.995, images=400) == 0
    single = [hole for hole in holes[:, 0] if 0 < hole.sum() <= 49]
    assert len(single) > 20
    for hole in single:
        rows, columns = torch.nonzero(hole, as_tuple=True)
        assert hole[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
        assert rows.max() - rows.min() == columns.max() - columns.min() == 6


def test_the_mean_of_the_features_stays():
    torch.testing.assert_close(dropped((32, 32)).mean(), torch.tensor(1.0))


def test_channels_and_images_are_dropped_apart():
    torch.manual_seed(0)
    holes = DropBlock(2, keep_prob=0.5)(torch.ones(2, 2, 32, 32)) == 0
    assert not torch.equal(holes[0, 0], holes[0, 1])
    assert not torch.equal(holes[0, 0], holes[1, 0])


def test_evaluation_drops_nothing():
    image = torch.randn(1, 2, 16, 16)
    assert DropBlock(2, keep_prob=0.1).eval()(image) is image


def test_the_kept_share_falls_along_the_ramp_and_then_stays():
    block = DropBlock(2, keep_prob=0.8, ramp=0.5)
    kept = []
    for share in (0.0, 0.25, 0.5, 1.0):
        block.progressed(share)
        kept.append(float(block.keep))
    assert kept == pytest.approx([1.0, 0.9, 0.8, 0.8])
    constant = DropBlock(2, keep_prob=0.8, ramp=0.0)
    constant.progressed(0.0)
    assert float(constant.keep) == pytest.approx(0.8)
