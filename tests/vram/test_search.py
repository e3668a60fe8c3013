"""The search for the largest batch or image, with logs of blocks in place of simulations."""

import numpy as np
import pytest

from segcli.vram.recorder import Block, Log
from segcli.vram.replay import fits
from segcli.vram.search import Search

MIB = 2**20
MOST = 300
GROWTHS = {
    "linear": lambda n: [3 * MIB, 700_001 * n, 1000 + 311_111 * n, 5000],
    "one block grows with the square": lambda n: [3 * MIB, 700_001 * n, 2000 * n * n, 5000],
    "one block jumps at 40": lambda n: [3 * MIB, 700_001 * n + (30 * MIB if n >= 40 else 0), 5000],
    "all are fixed": lambda n: [3 * MIB, 5000],
    "the first images take more": lambda n: [3 * MIB, 700_001 * n + 9999 * max(4 - n, 0)],
    "other blocks from 40 on": lambda n: [3 * MIB, 700_001 * n, *([MIB] if n >= 40 else [])],
}


def log_of(sizes):
    """All blocks one after the other, then all freed."""
    numbers = range(len(sizes))
    return Log([Block(size, "temporary", "") for size in sizes], [*numbers, *(~number for number in numbers)])


def proportional(number):
    return [3 * MIB, 700_001 * number, 311_111 * number, 5000]


def searched(growth, capacity, first, guess):
    """The answer, and which numbers were simulated."""
    simulated = []

    def simulate(number):
        simulated.append(number)
        return log_of(growth(number))

    return Search(simulate, float, capacity, MOST).largest(first, guess), simulated


def fitting(growth, number, capacity_mib):
    log = log_of(growth(number))
    return fits(log.events, [block.size for block in log.blocks], capacity_mib * MIB)


@pytest.mark.parametrize("growth", GROWTHS.values(), ids=GROWTHS)
@pytest.mark.parametrize("capacity_mib", [4, 40, 61, 100, 5000])
@pytest.mark.parametrize(("first", "guess"), [(2, 38), (4, 4), (1, 1000), (60, 1)])
def test_the_answer_fits_and_the_next_number_does_not(growth, capacity_mib, first, guess):
    best, simulated = searched(growth, capacity_mib * MIB, first, guess)
    assert best == 0 or (fitting(growth, best, capacity_mib) and best in simulated)
    assert best == MOST or not fitting(growth, best + 1, capacity_mib)
    assert len(simulated) == len(set(simulated))


@pytest.mark.parametrize("capacity_mib", [50, 61, 100, 150])
def test_three_simulations_are_enough_where_blocks_grow_linearly(capacity_mib):
    best, simulated = searched(GROWTHS["linear"], capacity_mib * MIB, 2, capacity_mib)
    assert 0 < best < MOST
    assert len(simulated) <= 3


@pytest.mark.parametrize("capacity_mib", [50, 61, 100, 150])
@pytest.mark.parametrize("guess", [1, 7, 300])
def test_two_simulations_are_enough_where_each_block_has_one_size_or_grows_like_the_number(capacity_mib, guess):
    simulated = []

    def simulate(number):
        simulated.append(number)
        return log_of(proportional(number))

    def grows(log):
        return np.array([False, True, True, False])

    best = Search(simulate, float, capacity_mib * MIB, MOST, grows).largest(2, guess)
    assert simulated == [2, best]
    assert [fitting(proportional, number, capacity_mib) for number in (best, best + 1)] == [True, False]


@pytest.mark.parametrize("growth", GROWTHS.values(), ids=GROWTHS)
@pytest.mark.parametrize("capacity_mib", [4, 40, 61, 100])
@pytest.mark.parametrize("all_grow", [False, True])
def test_after_a_wrong_guess_of_what_grows_the_answer_fits_and_the_next_number_does_not(growth, capacity_mib, all_grow):
    def grows(log):
        return np.full(len(log.blocks), all_grow)

    best = Search(lambda n: log_of(growth(n)), float, capacity_mib * MIB, MOST, grows).largest(2, 38)
    assert best == 0 or fitting(growth, best, capacity_mib)
    assert best == MOST or not fitting(growth, best + 1, capacity_mib)


def test_a_neighbour_is_simulated_where_blocks_do_not_grow_linearly():
    best, simulated = searched(GROWTHS["one block grows with the square"], 100 * MIB, 2, 50)
    assert {best, best + 1} <= set(simulated)


def test_what_training_refuses_does_not_fit():
    growth = GROWTHS["linear"]
    search = Search(lambda n: None if n < 3 else log_of(growth(n)), float, 4 * MIB, MOST)
    assert search.largest(1, 2) == 0
