"""Give the caller's random numbers and number of threads back."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from segcli.engine.runtime import random_state, restore_random_state

__all__ = ["callers_state"]


@contextmanager
def callers_state() -> Iterator[None]:
    """Restore the random generators of Python, NumPy and PyTorch, and the threads of PyTorch, after the work.

    Libraries draw random numbers when they are imported; the work imports them.
    """
    cpu, threads = torch.device("cpu"), torch.get_num_threads()
    before = random_state(cpu)
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        restore_random_state(before, cpu)
        if on_gpus is not None:
            torch.cuda.set_rng_state_all(on_gpus)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
