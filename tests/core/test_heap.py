"""Keeping memory that was freed, in a process of its own: it cannot be undone."""

import platform
import subprocess
import sys

import pytest

from segcli.core import heap
from segcli.core.process import command_line

FAULTS = """
import ctypes, resource
from segcli.core.heap import keep_freed_memory
from segcli.core.process import command_line

assert not keep_freed_memory()
if {keep}:
    with command_line():
        assert keep_freed_memory()
library, size = ctypes.CDLL(None), 48 * 2**20
library.malloc.restype = ctypes.c_void_p
for step in range(16):
    if step == 8:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = ctypes.c_void_p(library.malloc(ctypes.c_size_t(size)))
    ctypes.memset(block, 1, size)
    library.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
"""Eight blocks after eight others, each freed at once."""


def page_faults(*, keep: bool) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting; others are tested below")
def test_large_blocks_are_not_fetched_from_the_system_again():
    assert page_faults(keep=True) < page_faults(keep=False) / 10


def test_another_system_is_left_alone(monkeypatch):
    monkeypatch.setattr(heap, "LINUX", False)
    with command_line():
        assert heap.keep_freed_memory() is False


def test_a_c_library_without_the_setting_is_left_alone(monkeypatch):
    monkeypatch.setattr(heap, "LINUX", True)
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())
    with command_line():
        assert heap.keep_freed_memory() is False


def test_training_on_a_cpu_keeps_it(run_cli, tiny, monkeypatch):
    asked = []
    monkeypatch.setattr("segcli.engine.training.trainer.keep_freed_memory", lambda: asked.append(True))
    assert run_cli("train", tiny(training__epochs=1)).code == 0
    assert asked == [True]
