"""What a task counts in a sample, and the shares that follow."""

import numpy as np
import pytest

from segcli.core.registry import TASKS
from segcli.data.samples import Sample
from segcli.data.settings import DatasetSpec

IMAGE = np.zeros((2, 3, 1), np.uint8)


def task(name, count):
    return TASKS.load(name)(DatasetSpec.model_validate({"num_channels": 1, "num_classes": count}))


def test_one_mask_counts_background_and_foreground_where_pixels_count():
    made = task("binary", 1)
    sample = Sample(
        IMAGE, {"mask": np.array([[1, 1, 0], [0, 0, 1]], np.uint8), "valid": np.array([[1, 1, 1], [1, 0, 0]])}
    )
    assert made.counts(sample).tolist() == [2, 2]
    assert made.class_shares(made.counts(sample)) == {"foreground": 0.5}


def test_classes_that_exclude_each_other_share_the_pixels():
    made = task("multiclass", 3)
    counts = made.counts(Sample(IMAGE, {"mask": np.array([[2, 2, 0], [0, 0, 0]], np.uint8)}))
    assert counts.tolist() == [4, 0, 2]
    assert list(made.class_shares(counts).values()) == pytest.approx([4 / 6, 0, 2 / 6])
    assert made.present(counts) is None


def test_structures_that_overlap_are_shares_of_all_pixels_and_may_be_absent():
    made = task("structures", 2)
    mask = np.stack([np.ones((2, 3)), np.zeros((2, 3))], axis=-1).astype(np.uint8)
    counts = made.counts(Sample(IMAGE, {"mask": mask}))
    assert counts.tolist() == [6, 0, 6]
    assert list(made.class_shares(counts).values()) == [1.0, 0.0]
    assert made.present(counts).tolist() == [True, False]


def test_the_class_of_a_whole_image_counts_one():
    made = task("classification", 3)
    assert made.counts(Sample(IMAGE, facts={"class": np.uint8(1)})).tolist() == [0, 1, 0]


@pytest.mark.parametrize("name", ["binary", "multiclass", "structures"])
def test_a_truth_that_could_not_be_read_counts_nothing(name):
    made = task(name, 1 if name == "binary" else 2)
    assert made.counts(Sample(IMAGE)) is None
    assert not made.no_counts.any()


@pytest.mark.parametrize("order", ["C", "F"])
def test_structures_count_what_a_choice_of_the_valid_pixels_holds(order):
    rng = np.random.default_rng(1)
    mask = np.asarray(rng.integers(0, 2, (4, 5, 6, 2), dtype=np.uint8), order=order)
    valid = rng.integers(0, 2, (4, 5, 6), dtype=np.uint8)
    made = task("structures", 2)
    for maps, chosen in (({"mask": mask}, mask.reshape(-1, 2)), ({"mask": mask, "valid": valid}, mask[valid > 0])):
        counts = made.counts(Sample(np.zeros((4, 5, 6, 1), np.uint8), maps))
        assert counts.tolist() == [*chosen.sum(axis=0).tolist(), len(chosen)]
