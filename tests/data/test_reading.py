"""An image is decoded once for all its crops, and nothing else changes by that."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from segcli.core.errors import DataError
from segcli.data.batches import collated
from segcli.data.loader import TrainLoader
from segcli.data.parts import in_parts, joined
from segcli.data.pipeline import Pipeline
from segcli.data.reading import Cases, with_later
from segcli.data.samples import Case, Sample
from segcli.data.settings import DatasetSpec, DataSettings

CASES = [Case(f"{index}", Path(f"images/{index}.png")) for index in range(7)]
REPEAT = 4


class Counted:
    """Draws the pixels of a case from its name, and counts how often it does."""

    def __init__(self):
        self.reads = 0

    def read(self, case):
        self.reads += 1
        rng = np.random.default_rng(int(case.id))
        image = rng.integers(0, 255, (40, 40, 1), dtype=np.uint8)
        return Sample(image, {"mask": image[..., 0] // 200}, facts={"class": np.array(int(case.id), np.uint8)})


def loader(most_bytes, source=None, **settings):
    spec = DatasetSpec(num_channels=1, mean=[0.5], std=[0.25])
    data = DataSettings(
        **{"batch_size": 3, "patch_size": [8, 8], "patches_per_image": REPEAT, "num_workers": 0, **settings}
    )
    made = TrainLoader(source or Counted(), Pipeline(data, spec, stride=4, seed=1), CASES, seed=1, pin_memory=False)
    made.cases.crops.most_bytes = most_bytes
    return made


def seen(batches):
    return [([case.id for case in loaded.cases], loaded.tensors) for loaded in batches]


def assert_equal(one, other):
    assert [ids for ids, _ in one] == [ids for ids, _ in other]
    for (_, a), (_, b) in zip(one, other, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("changes", [{}, {"preprocessing": {"normalize": "per_image"}}, {"patch_size": None}])
def test_each_image_is_decoded_once_an_epoch_and_gives_the_same_crops(changes):
    once, anew = loader(2**20, **changes), loader(0, **changes)
    for epoch in (0, 1):
        assert_equal(seen(once.epoch(epoch)), seen(anew.epoch(epoch)))
        assert once.cases.source.reads == len(CASES) * (epoch + 1)
        assert anew.cases.source.reads == len(CASES) * REPEAT * (epoch + 1)
    assert (once.cases.crops.crops, once.cases.crops.num_bytes) == ({}, 0)


def test_an_epoch_that_is_taken_up_in_its_middle_holds_only_crops_that_come():
    whole = seen(loader(0).epoch(3))
    resumed = loader(2**20)
    next(resumed.epoch(2))  # leaves crops of another epoch
    assert_equal(seen(resumed.epoch(3, first_batch=5)), whole[5:])
    assert resumed.cases.crops.crops == {}


def test_held_crops_keep_the_order_of_their_axes_in_memory():
    image = np.moveaxis(np.zeros((2, 9, 8), np.float32), 0, -1)[2:7, 1:6]
    assert Sample(image).copied().image.strides == (20, 4, 100)


def test_crops_without_room_are_decoded_again_with_the_same_bits():
    room = 5 * 8 * 8 * 2
    short, anew = loader(room), loader(0)
    batches = []
    for loaded in short.epoch(0):
        batches.append(loaded)
        assert short.cases.crops.num_bytes <= room
    assert_equal(seen(batches), seen(anew.epoch(0)))
    assert len(CASES) < short.cases.source.reads < len(CASES) * REPEAT


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_hold_crops_of_their_own_and_give_the_same_bits(workers):
    held = loader(2**20, num_workers=workers)
    assert_equal(seen(held.epoch(0, first_batch=2)), seen(loader(0).epoch(0, first_batch=2)))
    held.close()


def test_a_sample_names_the_crops_that_come_to_the_same_worker():
    batches = [[(0, 4), (0, 0)], [(0, 5)], [(0, 1), (0, 6)], [(0, 7)]]
    later = {key.number: key.later for batch in with_later(batches, 4, 2) for key in batch}
    assert later == {4: (6,), 0: (1,), 5: (7,), 1: (), 6: (), 7: ()}


@pytest.mark.parametrize("workers", [2, 3])
def test_several_workers_decode_each_image_once_an_epoch_and_change_no_bit(tmp_path, workers):
    class Logged(Counted):
        def read(self, case):
            with (tmp_path / case.id).open("a") as file:
                file.write("x")
            return super().read(case)

    shared = loader(2**20, num_workers=workers, source=Logged())
    alone = loader(2**20)
    for epoch in (0, 1):
        assert_equal(seen(shared.epoch(epoch)), seen(alone.epoch(epoch)))
        assert [(tmp_path / case.id).read_text() for case in CASES] == ["x" * (epoch + 1)] * len(CASES)
    assert_equal(seen(shared.epoch(2, first_batch=5)), seen(alone.epoch(2))[5:])
    shared.close()


def test_parts_of_a_batch_tell_the_mistake_of_a_user_and_sizes_that_differ():
    class Odd(Counted):
        def read(self, case):
            if case.id == "3":
                raise DataError("`3` is damaged")
            sample = super().read(case)
            return replace(sample, image=sample.image[:20], maps={}) if case.id == "4" else sample

    def first_mistake(cases):
        spec, data = DatasetSpec(num_channels=1), DataSettings(batch_size=4, num_workers=0)
        reading = Cases(Odd(), Pipeline(data, spec, stride=4), cases, 2, training=True, held_bytes=2**20)
        batches = [[(0, number) for number in range(2 * len(cases))]]
        parts = [collated([reading[key] for key in part]) for part in with_later(in_parts(batches, 2, 3), 2, 3)]
        return next(joined(parts, batches, 2, 3))

    assert first_mistake([CASES[0], CASES[3]]).message == "`3` is damaged"
    assert (
        "images of one batch differ in size: `images/0.png` 40x40 and `images/4.png` 20x40"
        in first_mistake([CASES[0], CASES[4]]).message
    )
    assert [case.id for case in first_mistake([CASES[0], CASES[1]]).cases] == ["0", "0", "1", "1"]


def test_images_are_normalised_into_their_batch_and_not_copied_into_it():
    spec, data = DatasetSpec(num_channels=1, mean=[0.5], std=[0.25]), DataSettings(batch_size=3, patch_size=[8, 8])
    reading = Cases(Counted(), Pipeline(data, spec, stride=4, seed=1), CASES, 1, training=True)
    [batch] = with_later([[(0, 4), (0, 0), (0, 5)]], 1, 0)
    samples = reading.__getitems__(batch)
    tensors = collated(samples).tensors
    assert tensors["image"].data_ptr() == samples[0][1].arrays["image"].__array_interface__["data"][0]
    turned = collated(samples[::-1]).tensors["image"]  # no longer in the order of the array
    assert torch.equal(turned, tensors["image"].flip(0))
    apart = collated([reading[wanted] for wanted in batch]).tensors
    assert all(torch.equal(values, apart[name]) for name, values in tensors.items())
