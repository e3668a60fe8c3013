import torch
from torch import nn

from segcli.nn.blocks import ResidualBlock


def test_a_residual_block_that_keeps_its_channels_passes_its_input_on():
    block, image = ResidualBlock(2, 3, 3, kernel_size=5).eval(), torch.randn(1, 3, 8, 8)
    block.second[1].weight.data.zero_()
    assert torch.equal(block(image), image.relu())


def test_a_residual_block_equals_the_sum_of_its_branches():
    torch.manual_seed(0)
    block, image = ResidualBlock(2, 3, 4, kernel_size=9).eval(), torch.randn(1, 3, 12, 12)
    functional = nn.functional
    first = functional.conv2d(image, block.first[0].weight, padding=4) / (1 + 1e-5) ** 0.5
    second = functional.conv2d(first.relu(), block.second[0].weight, padding=4) / (1 + 1e-5) ** 0.5
    shortcut = functional.conv2d(image, block.shortcut[0].weight) / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(block(image), (second + shortcut).relu())
