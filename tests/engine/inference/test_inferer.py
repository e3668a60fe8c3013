from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from segcli.core.types import Output
from segcli.engine.inference.inferer import Inferer
from segcli.engine.inference.tiles.grid import Grid
from segcli.engine.inference.torch_arrays import TorchArrays
from segcli.engine.inference.views import views_of
from segcli.engine.runtime import Precision

OUTPUTS = (Output("mask", 1), Output("presence", 1, has_pixels=False))


class Named(nn.Module):
    """A convolution whose output is called `mask`; remembers the sizes that it saw."""

    def __init__(self, ndim, kernel):
        super().__init__()
        torch.manual_seed(0)
        kind = {2: nn.Conv2d, 3: nn.Conv3d}[ndim]
        self.conv = kind(2, 1, kernel, padding=kernel // 2)
        self.seen = set()

    def forward(self, image):
        self.seen.add(tuple(image.shape[2:]))
        return {"mask": self.conv(image)}


def inferer(network, tile, batch_size=3, multiple=1, **looks):
    return Inferer(
        network,
        OUTPUTS,
        tile=tile,
        overlap=0.25,
        multiple=multiple,
        precision=Precision(None, "cpu"),
        batch_size=batch_size,
        **looks,
    )


@pytest.mark.parametrize(("size", "tile"), [((50, 41), (16, 16)), ((16, 90), (32, 24)), ((20, 19, 23), (8, 8, 8))])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_tiles_of_a_network_that_sees_one_pixel_give_what_one_pass_gives(size, tile, batch_size):
    network, image = Named(len(size), 1), torch.randn(2, 2, *size)
    with torch.inference_mode():
        whole, tiled = network(image)["mask"], inferer(network, tile, batch_size).logits(image)["mask"]
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=1e-5)


def test_no_seam_shows_away_from_the_border_when_the_overlap_holds_the_receptive_field():
    network, image = Named(2, 5), torch.randn(1, 2, 100, 90)
    with torch.inference_mode():
        whole, tiled = network(image)["mask"].sigmoid(), inferer(network, (32, 32)).logits(image)["mask"].sigmoid()
    # each tile is padded at its own border, where the Gaussian gives it next to no weight
    assert (whole - tiled)[..., 4:-4, 4:-4].abs().max() < 1e-3


def test_no_tile_is_larger_than_allowed_and_sizes_are_multiples():
    network, image = Named(2, 3), torch.randn(1, 2, 100, 64)
    with torch.inference_mode():
        inferer(network, (30, 200), multiple=8).logits(image)
    assert network.seen == {(32, 64)}


def test_an_image_that_fits_is_predicted_in_one_pass():
    network, image = Named(2, 3), torch.randn(1, 2, 32, 16)
    with torch.inference_mode():
        inferer(network, (32, 32)).logits(image)
    assert network.seen == {(32, 16)}


@pytest.mark.parametrize(
    ("length", "tile", "overlap"), [(100, 32, 0.25), (33, 32, 0.5), (1000, 64, 0.0), (64, 64, 0.5)]
)
def test_windows_cover_everything_and_overlap_enough(length, tile, overlap):
    (starts,) = Grid((length,), (tile,), overlap).starts
    assert starts[0] == 0
    assert starts[-1] + tile == length
    assert all(later - start <= tile * (1 - overlap) for start, later in pairwise(starts))


class Directed(nn.Module):
    """Gives the brightness of the pixel to the left of each: a network that every flip and turn changes."""

    def forward(self, image):
        return {"mask": image.roll(1, dims=-1)}


@pytest.mark.parametrize("ndim", [2, 3])
def test_views_are_distinct_and_each_is_undone_exactly(ndim):
    image = torch.randn(2, 3, *(5, 6, 7)[:ndim])
    arrays, views = TorchArrays(), views_of(ndim, True)
    seen = [arrays.seen(image, view) for view in views]
    assert len(seen) == 8
    assert all(not torch.equal(one, other) for i, one in enumerate(seen) for other in seen[:i])
    assert all(torch.equal(arrays.straight(turned, view), image) for view, turned in zip(views, seen, strict=True))


def test_the_average_over_all_views_is_that_of_the_four_neighbours():
    image = torch.randn(1, 1, 12, 10)
    averaged = inferer(Directed(), None, views=views_of(2, True)).logits(image)["mask"]
    neighbours = [image.roll(step, dims=axis) for axis in (-1, -2) for step in (1, -1)]
    torch.testing.assert_close(averaged, torch.stack(neighbours).mean(0))


def test_the_average_over_views_of_a_volume_keeps_its_axes_apart():
    image = torch.randn(1, 1, 4, 6, 10)
    averaged = inferer(Directed(), None, views=views_of(3, True)).logits(image)["mask"]
    torch.testing.assert_close(averaged, (image.roll(1, dims=-1) + image.roll(-1, dims=-1)) / 2)


def test_the_average_with_the_mirror_image_is_that_of_both_neighbours():
    image = torch.randn(1, 1, 12, 10)
    averaged = inferer(Directed(), None, views=views_of(2, "horizontal")).logits(image)["mask"]
    torch.testing.assert_close(averaged, (image.roll(1, dims=-1) + image.roll(-1, dims=-1)) / 2)


def test_scales_average_what_the_network_says_of_the_image_at_other_sizes():
    network, image = Named(2, 3), torch.randn(1, 2, 40, 56)
    with torch.inference_mode():
        averaged = inferer(network, None, multiple=8, scales=[0.6, 1.0, 1.4]).logits(image)["mask"]
        assert network.seen == {(24, 32), (40, 56), (56, 80)}  # the nearest multiples of 8
        expected = network(image)["mask"]
        for size in ((24, 32), (56, 80)):
            small = network(F.interpolate(image, size, mode="bilinear"))["mask"]
            expected = expected + F.interpolate(small, (40, 56), mode="bilinear")
    torch.testing.assert_close(averaged, expected / 3)


def test_views_and_tiles_go_together():
    network, image = Named(2, 1), torch.randn(1, 2, 50, 41)
    with torch.inference_mode():
        both = inferer(network, (16, 24), views=views_of(2, True)).logits(image)["mask"]
        torch.testing.assert_close(both, network(image)["mask"], atol=1e-5, rtol=1e-5)


def test_an_output_without_pixels_is_averaged_as_it_is():
    class Counting(nn.Module):
        def forward(self, image):
            return {"mask": image, "presence": image.mean(dim=(2, 3))}

    image = torch.randn(2, 1, 8, 6)
    outputs = inferer(Counting(), None, views=views_of(2, True)).logits(image)
    torch.testing.assert_close(outputs["presence"], image.mean(dim=(2, 3)))
    torch.testing.assert_close(outputs["mask"], image)
    small = F.interpolate(image, (4, 3), mode="bilinear").mean(dim=(2, 3))
    outputs = inferer(Counting(), None, scales=[0.5, 1.0]).logits(image)
    torch.testing.assert_close(outputs["presence"], (small + image.mean(dim=(2, 3))) / 2)
