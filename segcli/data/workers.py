"""Worker processes of the loader: how they start, and how they end when they cannot send a batch."""

import errno
import gc
import multiprocessing
import os
import signal
from multiprocessing import queues
from typing import Any

import cv2
import torch

from segcli.core.errors import DeviceError
from segcli.core.platform import SHARED_MEMORY, STOPPING, die_with_parent, leave_group

__all__ = ["CROWDED", "ENLARGE", "FULL", "OPEN_MORE", "start_worker", "unheard"]

FULL, CROWDED, MUTE = 71, 72, 73
"""Exit codes of a worker that cannot send a batch: no shared memory, too many open files, any other reason."""
OPEN_MORE = "raise `ulimit -n`, or set `data.num_workers=0`"
ENLARGE = "enlarge it, or set `data.num_workers=0`"


def start_worker(_: int) -> None:
    """Leave stop signals to the main process; a terminal or a scheduler sends them to the whole group.

    A SIGTERM sent to a worker alone still ends it: PyTorch ends workers in this way when they do not answer.
    """
    leave_group()
    gc.freeze()  # a collection would copy the memory that is still shared with the main process
    parent = multiprocessing.parent_process()
    die_with_parent(None if parent is None else parent.pid, MUTE)
    for signum in STOPPING:
        signal.signal(signum, signal.SIG_DFL if signum == signal.SIGTERM else signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)  # the threads of the main process do not survive a fork
    # Python's own hook for this, which the types do not list
    queues.Queue._on_queue_feeder_error = staticmethod(_end_unheard)  # type: ignore[attr-defined]


def _end_unheard(error: Exception, _: Any) -> None:
    """End a worker that cannot send a batch; Python would drop the batch, and the training would wait without end."""
    full, crowded = (os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EMFILE))
    os._exit(FULL if full else CROWDED if crowded else MUTE)


def unheard(number: int, *, full: bool) -> DeviceError:
    """Tell that a worker could not send a batch to the training."""
    begun = f"loader worker {number} cannot send a batch"
    if full:
        return DeviceError(f"{begun}: {SHARED_MEMORY} is full", hint=ENLARGE)
    return DeviceError(f"{begun}: too many open files", hint=OPEN_MORE)
