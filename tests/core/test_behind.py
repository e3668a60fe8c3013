"""Writes that go on behind the work."""

import threading
import time

import pytest

from segcli.core.behind import MOST_BYTES, THREADS, WritesBehind


def test_writes_wait_for_the_disk_together_and_are_done_at_the_end():
    meet, done = threading.Barrier(THREADS, timeout=10), []

    def write(number):
        meet.wait()  # only if all run at once
        done.append(number)

    with WritesBehind() as behind:
        for number in range(2 * THREADS):
            behind.write(1, write, number)
    assert sorted(done) == list(range(2 * THREADS))


def test_large_files_wait_alone():
    running, most = [], []

    def write():
        running.append(1)
        most.append(len(running))
        time.sleep(0.02)
        running.pop()

    with WritesBehind() as behind:
        for _ in range(4):
            behind.write(MOST_BYTES, write)
    assert most == [1, 1, 1, 1]


def test_the_error_of_a_write_is_raised_and_so_is_that_of_the_work():
    def fail():
        raise OSError("disk is full")

    with pytest.raises(OSError, match="disk is full"), WritesBehind() as behind:
        behind.write(1, fail)

    def work(behind):
        behind.write(1, fail)
        raise ValueError("work")

    with pytest.raises(ValueError, match="work"), WritesBehind() as behind:
        work(behind)
