from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from segcli.core.types import Output
from segcli.data.samples import Geometry, interpolated
from segcli.engine.inference import arrays
from segcli.engine.inference.arrays import NumPyArrays
from segcli.engine.inference.inferer import Inferer
from segcli.engine.inference.sliding import Sliding
from segcli.engine.inference.tiles import rows
from segcli.engine.inference.tiles.grid import starts_of, weights_of
from segcli.engine.inference.torch_arrays import TorchArrays
from segcli.engine.inference.views import views_of
from segcli.engine.runtime import Precision

OUTPUTS = (Output("mask", 1), Output("gate", 2, has_pixels=False))


class Named(nn.Module):
    """A convolution whose output is called `mask`."""

    def __init__(self, ndim, kernel):
        super().__init__()
        torch.manual_seed(0)
        kind = {2: nn.Conv2d, 3: nn.Conv3d}[ndim]
        self.conv = kind(2, 1, kernel, padding=kernel // 2)

    def forward(self, image):
        return {"mask": self.conv(image)}


class Judging(Named):
    """Also says how bright its input is, which has no pixels."""

    def forward(self, image):
        return {**super().forward(image), "gate": image.flatten(2).mean(2)}


def forward_of(network):
    def forward(images):
        with torch.inference_mode():
            return {name: values.numpy() for name, values in network(torch.from_numpy(images)).items()}

    return forward


def tiles_of(forward, scratch=None, **settings):
    return Sliding(forward, NumPyArrays(scratch), OUTPUTS, **settings)


def of_array(image, seen=None):
    def read(window):
        if seen is not None:
            seen.append(window)
        return image[(None, slice(None), *window)]

    return read


def joined(tiles, image):
    bands = [(part, found["mask"][0]) for part, found in tiles.bands(of_array(image), image.shape[1:])]
    assert [part.start for part, _ in bands] == [0, *(part.stop for part, _ in bands[:-1])]
    assert bands[-1][0].stop == image.shape[1]
    assert all(values.shape[1] == part.stop - part.start for part, values in bands)
    return np.concatenate([values for _, values in bands], axis=1)


@pytest.mark.parametrize(("size", "tile"), [((50, 41), (16, 16)), ((16, 90), (32, 24)), ((20, 19, 23), (8, 8, 8))])
@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize(("tta", "scales"), [(False, [1.0]), (True, [1.0]), ("horizontal", [0.75, 1.0, 1.5])])
def test_bands_are_what_the_tiles_of_training_and_evaluation_give(size, tile, batch_size, tta, scales):
    if tta is True and len(set(tile)) > 1:
        tile = (16,) * len(size)
    network, image = Judging(len(size), 3), np.random.default_rng(0).standard_normal((2, *size), dtype=np.float32)
    alike = {"tile": tile, "overlap": 0.25, "multiple": 1, "scales": scales}
    tiles = tiles_of(forward_of(network), batch_size=batch_size, views=views_of(len(size), tta), **alike)
    whole = Inferer(network, OUTPUTS, precision=Precision(None, "cpu"), views=views_of(len(size), tta), **alike)
    with torch.inference_mode():
        expected = {name: values[0].numpy() for name, values in whole.logits(torch.from_numpy(image)[None]).items()}
    np.testing.assert_allclose(joined(tiles, image), expected["mask"], atol=2e-6)
    np.testing.assert_allclose(tiles.highest["gate"][0], expected["gate"], atol=2e-6)


@pytest.mark.parametrize(("held", "given"), [(100, 2**25), (100, 3000), (2**28, 3000)])
@pytest.mark.parametrize(("size", "tile"), [((50, 41), (16, 16)), ((20, 19, 23), (8, 8, 8)), ((9, 8, 8), (16, 8, 8))])
def test_rows_that_lie_on_the_disk_or_are_given_a_few_at_a_time_are_the_same(
    monkeypatch, tmp_path, size, tile, held, given
):
    network, image = Named(len(size), 3), np.random.default_rng(0).standard_normal((2, *size), dtype=np.float32)
    alike = {"tile": tile, "overlap": 0.25, "multiple": 1, "batch_size": 3}
    expected = joined(tiles_of(forward_of(network), **alike), image)
    monkeypatch.setattr(arrays, "HELD", held)
    monkeypatch.setattr(rows, "GIVEN", given)
    limited = tiles_of(forward_of(network), tmp_path, **alike)
    np.testing.assert_array_equal(joined(limited, image), expected)
    row_bytes = 4 * int(np.prod(size[1:]))
    assert all(found["mask"].nbytes <= max(given, row_bytes) for _, found in limited.bands(of_array(image), size))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("ndim", "size", "tile"), [(2, (150, 130), (64, 48)), (3, (40, 37, 45), (24, 24, 24))])
def test_no_seam_shows_away_from_the_border_when_the_overlap_holds_the_receptive_field(ndim, size, tile):
    network, image = Named(ndim, 5), np.random.default_rng(0).standard_normal((2, *size), dtype=np.float32)
    forward = forward_of(network)
    tiled = joined(tiles_of(forward, tile=tile, overlap=0.5, multiple=1), image)
    whole = forward(image[None])["mask"][0]

    def probs(logits):
        return 1 / (1 + np.exp(-logits))

    inner = (slice(None), *[slice(4, -4)] * ndim)
    assert np.abs(probs(tiled) - probs(whole))[inner].max() < 1e-3
    assert tiled.shape == whole.shape


def test_an_image_that_fits_is_given_to_the_network_as_it_is():
    network, image = Named(2, 3), np.random.default_rng(0).standard_normal((2, 32, 16), dtype=np.float32)
    found = joined(tiles_of(forward_of(network), tile=(32, 32), overlap=0.5, multiple=16), image)
    np.testing.assert_array_equal(found, forward_of(network)(image[None])["mask"][0])


def test_no_more_than_a_row_of_tiles_is_held_or_read_ahead():
    image, seen = np.zeros((1, 4096, 64), np.float32), []
    tiles = tiles_of(lambda images: {"mask": images}, tile=(64, 64), overlap=0.25, multiple=1)
    for part, found in tiles.bands(of_array(image, seen), (4096, 64)):
        assert found["mask"].shape[2] <= 64
        assert max(window[0].start for window in seen) <= part.stop + 2 * 64


def test_a_part_that_cannot_be_read_ends_the_prediction_with_its_error():
    def read(window):
        if window[0].start > 100:
            raise OSError("the disk is gone")
        return np.zeros((1, 1, 32, 32), np.float32)

    with pytest.raises(OSError, match="the disk is gone"):
        list(tiles_of(lambda images: {"mask": images}, tile=(32, 32), overlap=0.25, multiple=1).bands(read, (256, 32)))


@pytest.mark.parametrize(
    ("length", "tile", "overlap"), [(100, 32, 0.25), (33, 32, 0.5), (1000, 64, 0.0), (64, 64, 0.5)]
)
def test_tiles_cover_everything_overlap_enough_and_weigh_one_in_all(length, tile, overlap):
    starts = starts_of(length, tile, overlap)
    assert starts[0] == 0
    assert starts[-1] + tile == length
    assert all(later - start <= tile * (1 - overlap) for start, later in pairwise(starts))
    total = np.zeros(length)
    for start, weight in weights_of(length, tile, starts, overlap).items():
        total[start : start + tile] += weight
    np.testing.assert_allclose(total, 1.0, atol=1e-6)


@pytest.mark.parametrize(
    ("padded", "resized", "stored"),
    [((32, 48), (30, 41), (61, 20)), ((16, 16), (16, 16), (16, 16)), ((8, 16, 8), (7, 11, 8), (14, 5, 31))],
)
def test_the_way_back_without_pytorch_is_that_of_pytorch(padded, resized, stored):
    logits = np.random.default_rng(0).standard_normal((2, *padded), dtype=np.float32)
    geometry = Geometry(stored=stored, resized=resized, padded=padded)
    expected = geometry.restore(torch.from_numpy(logits)[None], TorchArrays().resized)[0].numpy()
    np.testing.assert_allclose(geometry.restore(logits[None], interpolated)[0], expected, atol=1e-5)
