"""Mean and standard deviation, compared with NumPy on all pixels at once."""

import numpy as np
import pytest

from segcli.data import moments
from segcli.data.moments import Moments, rounded
from segcli.data.samples import Sample


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_images_are_converted_in_parts_and_the_numbers_are_those_of_numpy(kind, monkeypatch):
    monkeypatch.setattr(moments, "CHUNK", 100)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 250, (37, 41 + 3 * number, 2)).astype(kind) for number in range(3)]
    valid = [rng.random(image.shape[:2]) < 0.6 for image in images]
    valid[1][:30] = False  # whole parts without a pixel that counts
    seen = []
    real = Moments.of_pixels
    monkeypatch.setattr(Moments, "of_pixels", lambda pixels: seen.append(len(pixels)) or real(pixels))
    parts = [
        Moments.of(Sample(image, {"valid": inside.astype(np.uint8)}))
        for image, inside in zip(images, valid, strict=True)
    ]
    found = Moments.of_all(parts)
    top = {np.uint8: 255, np.uint16: 65535}.get(kind, 1)
    pixels = (
        np.concatenate([image[inside] for image, inside in zip(images, valid, strict=True)]).astype(np.float64) / top
    )
    assert max(seen) <= 100
    assert found.count == len(pixels)
    np.testing.assert_allclose(found.mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, pixels.std(axis=0), rtol=1e-12)


def test_kept_digits_are_enough_for_dark_images_and_for_a_mean_far_from_0():
    assert rounded([0.00012345678], [0.000045678912]) == ([0.0001234568], [0.0000456789])
    (mean,), (std,) = rounded([20000.123456], [0.0123456789])
    assert abs(mean - 20000.123456) < 1e-5 * std
    assert rounded([0.2], [0.0]) == ([0.2], [0.0])
