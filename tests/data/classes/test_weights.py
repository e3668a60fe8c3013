import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from segcli.data.classes.weights import class_pixels, class_weights
from segcli.data.samples import Case, Sample
from segcli.data.settings import DatasetSpec
from segcli.datasets import Layout

PIXELS = np.array([[60, 30, 10, 0], [80, 0, 20, 0]])
"""Two images of 100 valid pixels; the last class never occurs."""


def test_inverse_weights_are_those_of_scikit_learn():
    labels = np.repeat([0, 1, 2], PIXELS.sum(axis=0)[:3])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert class_weights("inverse", PIXELS) == pytest.approx([*expected, 0.0])


def test_median_frequency_divides_by_the_pixels_of_the_images_with_the_class():
    # 140 of 200, 30 of 100 (the second image has none), 30 of 200: the median is 0.3
    assert class_weights("median_frequency", PIXELS) == pytest.approx([0.3 / 0.7, 1.0, 2.0, 0.0])


def test_the_effective_number_follows_its_formula_and_sums_to_the_number_of_classes():
    beta = 0.99
    raw = np.array([(1 - beta) / (1 - beta**count) for count in (140, 30, 30)])
    found = class_weights("effective_number", PIXELS, beta=beta)
    assert found == pytest.approx([*(raw * 3 / raw.sum()), 0.0])
    assert sum(found) == pytest.approx(3)


def test_the_effective_number_is_exact_where_beta_is_almost_one():
    found = class_weights("effective_number", np.array([[10**8, 10**3]]), beta=1 - 1e-9)
    # 1 - (1 - 1e-9)^n is 1 - exp(-n 1e-9) to nine digits
    ratio = (1 - np.exp(-0.1)) / 1e-6
    assert found[1] / found[0] == pytest.approx(ratio, rel=1e-6)


def test_no_weights_are_ones():
    assert class_weights("none", PIXELS) == [1.0] * 4


class Masks:
    """Reads masks of the numbers 0 and 1, and counts how often."""

    reads = 0
    spec = DatasetSpec(num_classes=3)
    truth_of = Layout.truth_of

    def read(self, case):
        self.reads += 1
        mask = np.array([[0, 1, 1]], np.uint8)
        return Sample(np.zeros((1, 3, 1), np.uint8), {"mask": mask, "valid": np.array([[1, 1, int(case.id)]])})


def test_only_valid_pixels_are_counted_and_masks_are_read_once(tmp_path):
    masks, cases = Masks(), [Case(str(number), tmp_path / "x.png") for number in (0, 1)]
    cache = tmp_path / "pixels.json"
    first = class_pixels(masks, cases, 3, cache)
    assert first.tolist() == [[1, 1, 0], [1, 2, 0]]
    assert np.array_equal(class_pixels(masks, cases, 3, cache), first)
    assert masks.reads == 2
    written = cache.read_text()
    for damaged in ("[[1]]", "", "[" * 20000, written.replace("2", "3", 1), written.replace("[", "{"), "{}"):
        masks.reads = 0
        cache.write_text(damaged)
        assert np.array_equal(class_pixels(masks, cases, 3, cache), first)
        assert (masks.reads, cache.read_text()) == (2, written)
