"""Masks of volumes that are moved against their volumes."""

import numpy as np
import pytest
from planted import cells

from segcli.data.faults.volume_alignment import VolumeFit, misplaced, volume_fit_of


def organ(seed: int, sign: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Draw a noisy volume with a few objects that differ from slice to slice, and its mask."""
    mask = np.stack([cells(50 * seed + 2 * z // 5, (40, 40), 4)[1] for z in range(24)]) > 0
    noise = np.random.default_rng(seed).normal(0, 0.3, mask.shape)
    return (sign * mask + noise).astype(np.float32)[..., None], mask.astype(np.uint8)


def fits(sign: int, move=None) -> list[VolumeFit | None]:
    pairs = [organ(seed, sign) for seed in range(8)]
    return [
        volume_fit_of(image, mask if move is None or i != 5 else move(mask)) for i, (image, mask) in enumerate(pairs)
    ]


@pytest.mark.parametrize("sign", [1, -1])
def test_masks_that_lie_on_bright_or_dark_objects_are_left_alone(sign):
    assert list(misplaced(fits(sign))) == []


@pytest.mark.parametrize(
    ("move", "kind", "axis", "amount"),
    [
        (lambda mask: np.roll(mask, 3, 0), "shift", 0, -3),
        (lambda mask: np.roll(mask, -4, 2), "shift", 2, 4),
        (lambda mask: mask[::-1], "reversed", 0, 0),
        (lambda mask: mask[:, :, ::-1], "reversed", 2, 0),
        (lambda mask: mask.transpose(0, 2, 1), "exchanged", 1, 2),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_moved_mask_is_found_with_the_way_back(sign, move, kind, axis, amount):
    ((i, way, step),) = misplaced(fits(sign, move))
    assert (i, step) == (5, 1)
    assert (way.kind, way.axis, way.amount) == (kind, axis, amount)


def test_a_fit_is_kept_as_numbers_without_loss():
    for fit in fits(1, lambda mask: mask[::-1]):
        assert fit is not None
        assert VolumeFit.of_numbers(fit.numbers()) == fit
