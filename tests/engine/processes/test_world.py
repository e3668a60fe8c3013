"""Processes exchange values, and none is left waiting for a dead one."""

import os
import signal
import time
from datetime import timedelta

import pytest
import torch
from processes import exit_codes, free_port, together

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


def test_processes_that_are_started_again_do_not_take_what_dead_ones_left_in_the_store(tmp_path, monkeypatch):
    port = free_port()
    kept = torch.distributed.TCPStore("localhost", port, is_master=True, wait_for_workers=False)
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setattr(worlds, "PATIENCE", timedelta(seconds=4))
    begin = torch.distributed.init_process_group

    def later(*arguments: object, **options: object) -> None:
        time.sleep(0.5 * int(os.environ["RANK"]))
        begin(*arguments, **options)

    monkeypatch.setattr(torch.distributed, "init_process_group", later)

    def work(world: World) -> None:
        assert world.gathered(int(world.store.add("segcli/counted", 1))) in ([1, 2], [2, 1])

    for _ in range(2):
        assert exit_codes(2, work, tmp_path, port) == [0, 0], [path.read_text() for path in tmp_path.glob("*.failed")]
    assert kept.num_keys() > 0
