"""Keeps the files of all tests in memory: there are 120,000 of them, and a disk takes 0.2 ms for each.

Where that is not possible, or `--basetemp` or PYTEST_DEBUG_TEMPROOT says where the files shall be, nothing changes. The
folder is removed after tests that have passed; else the next tests remove it.
"""

import os
import shutil
from pathlib import Path

import psutil

MEMORY = Path("/dev/shm")
"""A disk in memory, on Linux."""
NEEDED = 8 * 2**30
"""Bytes that must be free, in memory and on this disk; all tests write a quarter of that."""
NAME = "segcli-tests-"


def folder_in_memory(place: Path = MEMORY) -> Path | None:
    """Name a folder for the files of this process and remove those of earlier ones; None where there is no room."""
    if not place.is_dir() or not os.access(place, os.W_OK):
        return None
    for left in place.glob(f"{NAME}*"):
        process = left.name.removeprefix(NAME)
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            shutil.rmtree(left, ignore_errors=True)
    if min(shutil.disk_usage(place).free, psutil.virtual_memory().available) < NEEDED:
        return None
    return place / f"{NAME}{os.getpid()}"
