"""Processes exchange values, and none is left waiting for a dead one."""

import os
import signal
import time

import pytest
from processes import exit_codes, together

from segcli.core.ranks import LOST
from segcli.engine import world as worlds
from segcli.engine.world import World

pytestmark = pytest.mark.posix


def test_all_processes_have_the_values_of_all(tmp_path):
    def work(world: World) -> list[object]:
        return [
            world.gathered(world.rank),
            world.told(f"of {world.rank}"),
            world.most(world.rank, 7 - world.rank),
            world.any(world.rank == 1),
            world.any(None),
            world.shares([1.0, 5.0, 1.0, 1.0, 2.0]),
        ]

    expected = [[0, 1, 2], "of 0", [2, 7], True, False, [[1], [3, 4], [0, 2]]]
    assert together(3, work, tmp_path) == [expected] * 3


def test_a_process_does_not_wait_for_a_dead_one_where_no_error_reaches_it(tmp_path, monkeypatch):
    monkeypatch.setattr(worlds, "WATCHED_S", 0.05)
    monkeypatch.setattr(worlds, "NOTICED_S", 0.1)

    def work(world: World) -> None:
        if world.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60.0)

    began = time.monotonic()
    assert exit_codes(2, work, tmp_path) == [LOST, -signal.SIGKILL]
    assert time.monotonic() - began < 10.0
