"""The rules of CUDACachingAllocator.cpp, by hand."""

import random
from itertools import pairwise

import pytest

from segcli.vram.allocator import CachingAllocator, OutOfMemory, rounded

KIB, MIB = 2**10, 2**20


@pytest.mark.parametrize(
    ("size", "allocated", "reserved"),
    [
        (1, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB, 10 * MIB),
        (10 * MIB + 1, 10 * MIB + 512, 12 * MIB),
        (21 * MIB, 22 * MIB, 22 * MIB),  # what is left over is too little to split off
        (20 * MIB + 1, 20 * MIB + 512, 22 * MIB),
    ],
)
def test_a_first_request_is_rounded_and_reserves_a_segment(size, allocated, reserved):
    model = CachingAllocator()
    model.allocate(size)
    assert (model.allocated, model.reserved) == (allocated, reserved)


def test_small_requests_share_a_segment_of_two_mebibytes():
    model = CachingAllocator()
    for _ in range(4):
        model.allocate(512 * KIB)
    assert model.reserved == 2 * MIB
    model.allocate(1)
    assert model.reserved == 4 * MIB


def test_a_large_block_is_split_only_where_more_than_a_mebibyte_is_left():
    model = CachingAllocator()
    model.release(model.allocate(20 * MIB))
    model.allocate(19 * MIB)  # one is left: the whole block goes
    assert (model.allocated, model.reserved) == (20 * MIB, 20 * MIB)
    model = CachingAllocator()
    model.release(model.allocate(20 * MIB))
    model.allocate(19 * MIB - 512)
    assert (model.allocated, model.reserved) == (19 * MIB - 512, 20 * MIB)
    model.allocate(MIB + 512)  # what was left
    assert model.reserved == 20 * MIB


def test_the_smallest_block_that_is_large_enough_is_taken():
    model = CachingAllocator()
    large, middle = model.allocate(40 * MIB), model.allocate(24 * MIB)
    model.allocate(12 * MIB)
    model.release(large)
    model.release(middle)
    assert model.allocate(22 * MIB) == middle


def test_neighbours_that_are_free_become_one_and_stay_reserved():
    model = CachingAllocator()
    first, second, third = (model.allocate(4 * MIB) for _ in range(3))
    model.release(first)
    model.release(third)
    model.allocate(16 * MIB)  # 20 MiB with a hole of 4 in use: no room
    assert model.reserved == 36 * MIB
    model.release(second)
    assert model.allocate(20 * MIB) == first
    assert model.reserved == 36 * MIB


def test_small_and_large_requests_never_share():
    model = CachingAllocator()
    model.release(model.allocate(20 * MIB))
    model.allocate(MIB)
    assert model.reserved == 22 * MIB


def test_a_full_gpu_gives_back_whole_free_segments_before_it_fails():
    model = CachingAllocator(capacity=64 * MIB)
    kept, freed = model.allocate(20 * MIB), model.allocate(30 * MIB)
    model.release(freed)
    model.allocate(40 * MIB)
    assert (model.reserved, model.peak_reserved) == (60 * MIB, 60 * MIB)
    with pytest.raises(OutOfMemory):
        model.allocate(6 * MIB)
    model.release(kept)
    model.allocate(6 * MIB)
    assert model.allocated == 46 * MIB


def test_a_segment_that_is_in_use_in_part_is_not_given_back():
    model = CachingAllocator(capacity=40 * MIB)
    part, _ = model.allocate(4 * MIB), model.allocate(4 * MIB)
    model.release(part)
    with pytest.raises(OutOfMemory):
        model.allocate(22 * MIB)


def test_blocks_never_overlap_and_nothing_is_lost():
    draw = random.Random(0)
    model, alive = CachingAllocator(), {}
    for _ in range(3000):
        if alive and draw.random() < 0.48:
            model.release(alive.pop(draw.choice(list(alive)))[0])
        else:
            size = draw.choice([draw.randrange(1, 4 * KIB), draw.randrange(1, 3 * MIB), draw.randrange(1, 40 * MIB)])
            address = model.allocate(size)
            alive[address] = (address, size)
        spans = sorted((address, address + rounded(size)) for address, size in alive.values())
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
        assert model.allocated >= sum(rounded(size) for _, size in alive.values())
        assert model.allocated <= model.reserved
    for address, _ in alive.values():
        model.release(address)
    assert model.allocated == 0
    assert all(model._at[address].fills_segment for free in model._free.values() for _, address in free)
