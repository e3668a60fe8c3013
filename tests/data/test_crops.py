"""Crops lie where a list of all foreground pixels would put them."""

import numpy as np
import pytest

from segcli.data.crops import random_crop
from segcli.data.samples import Sample


def listed(maps, size, rng, *, by_class):
    """Choose the start of a crop around the foreground from a list of all its pixels."""
    mask = maps["mask"]
    room = [max(have - want, 0) for have, want in zip(mask.shape, size, strict=False)]
    assert rng.random() < 1.0
    start = [int(rng.integers(0, free + 1)) for free in room]
    if mask.ndim > len(size):
        present = np.flatnonzero(mask.reshape(-1, mask.shape[-1]).any(0))
        mask = mask[..., present[rng.integers(present.size)]] if present.size else mask[..., 0]
    elif by_class:
        inside = maps.get("valid", np.ones_like(mask)) > 0
        classes = np.unique(mask[inside])
        mask = (mask == classes[rng.integers(classes.size)]) & inside if classes.size else mask * 0
    flat = np.flatnonzero(mask)
    if not flat.size:
        return start
    centre = np.unravel_index(flat[rng.integers(flat.size)], mask.shape)
    return [int(min(max(at - want // 2, 0), free)) for at, want, free in zip(centre, size, room, strict=True)]


def scattered(shape, seed, numbers=3):
    rng = np.random.default_rng(seed)
    return (rng.integers(0, numbers, shape) * (rng.random(shape) < 0.02)).astype(np.uint8)


CASES = {
    "one class": ({"mask": scattered((150, 170), 0)}, (32, 40), False),
    "classes": ({"mask": scattered((150, 170), 1), "valid": scattered((150, 170), 2, 2)}, (32, 40), True),
    "classes that count everywhere": ({"mask": scattered((150, 170), 3)}, (32, 40), True),
    "structures": ({"mask": scattered((20, 50, 40, 3), 4) * np.array([1, 0, 1], np.uint8)}, (8, 20, 60), False),
    "nothing": ({"mask": np.zeros((150, 170), np.uint8)}, (32, 40), False),
    "nothing that counts": ({"mask": scattered((90, 80), 5), "valid": np.zeros((90, 80), np.uint8)}, (32, 40), True),
}


@pytest.mark.parametrize("name", CASES)
def test_a_crop_lies_around_the_drawn_pixel_of_the_foreground(name):
    maps, size, by_class = CASES[name]
    shape = maps["mask"].shape[: len(size)]
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).astype(np.uint16)
    for seed in range(20):
        crop = random_crop(Sample(places, maps), size, np.random.default_rng(seed), 1.0, by_class=by_class)
        start = listed(maps, size, np.random.default_rng(seed), by_class=by_class)
        assert crop.image[(0,) * len(size)].tolist() == start
        window = tuple(slice(begin, begin + want) for begin, want in zip(start, size, strict=True))
        assert all(np.array_equal(crop.maps[key], values[window]) for key, values in maps.items())
