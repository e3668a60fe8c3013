"""Processes that do one piece of work together, each on its own device: what one has, all can have.

PyTorch starts them (`torchrun`, or `--gpus` and `--processes`) and carries what they exchange: numbers and objects on
the host through Gloo, gradients on GPUs through NCCL.
"""

import os
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

import psutil
import torch
from torch import Tensor

from segcli import __version__
from segcli.core.errors import ConfigError, DeviceError
from segcli.core.ranks import LOST, Place, place

__all__ = ["World", "is_claimed", "was_lost"]

PATIENCE = timedelta(minutes=30)
"""Longest time to wait for another process, which may read or write large files meanwhile."""
MET_S = 0.01
"""Seconds between two looks for processes that have not come yet."""
WATCHED_S = 1.0
"""Seconds between two looks at the other processes of this machine."""
NOTICED_S = 4.0
"""Seconds in which this process may notice by itself that another one has ended."""
SIGNS = (
    "gloo",
    "closed by peer",
    "reset by peer",
    "broken pipe",
    "nccl",
    "failed to recv",
    "socket timeout",
    "another process is out of memory",
)
"""What errors of PyTorch say, in small letters, when another process cannot be reached."""
Value = TypeVar("Value")


def was_lost(error: BaseException) -> bool:
    """Tell whether an error says only that another process cannot be reached any more.

    Example:
        >>> was_lost(RuntimeError("[pair.cc:547] Connection closed by peer [127.0.0.1]:5211"))
        True
    """
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in SIGNS)


def is_claimed(what: str) -> bool:
    """Tell whether another process was here first, so that only one of them tells what all know."""
    with suppress(Exception):  # the process that keeps the list may have ended
        return int(torch.distributed.distributed_c10d._get_default_store().add(f"segcli/{what}", 1)) > 1
    return False


class World:
    """All processes of a command, seen from one of them.

    Args:
        rank: Number of this process, from 0.
        size: Number of processes.
        local_rank: Number of this process on its machine.
    """

    def __init__(self, rank: int, size: int, local_rank: int) -> None:
        self.rank = rank
        self.size = size
        self.local_rank = local_rank
        self.works = 0
        """Number of pieces of work so far whose progress the processes have counted together."""
        self._over = threading.Event()

    @classmethod
    def alone(cls) -> "World":
        """Make the world of one process, in which nothing is exchanged."""
        return cls(0, 1, 0)

    @classmethod
    def joined(cls, device: str = "auto") -> "World":
        """Join the processes that `torchrun` has started with this one; alone if it has started none.

        Args:
            device: Device of the work, as the key `device` of a run; on GPUs, each process takes one for itself.

        Raises:
            ConfigError: The processes cannot find each other, or have different versions of segcli.
            DeviceError: There are more processes than GPUs.
        """
        here = place()
        if here is None:
            return cls.alone()
        on_gpus = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
        if on_gpus:
            _take_gpu(here)
        _meet("cpu:gloo,cuda:nccl" if on_gpus else "gloo", here)
        world = cls(here.rank, here.size, here.local_rank)
        _refuse_mixed(world.gathered((__version__, torch.__version__)))
        world._watch(world.gathered(os.getpid()))
        return world

    def __enter__(self) -> "World":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()

    @property
    def is_first(self) -> bool:
        """Tell whether this process is the one that writes and prints."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Tell whether there is no other process."""
        return self.size == 1

    @property
    def store(self) -> Any:
        """Return PyTorch's store of numbers and bytes by name, which no process waits for."""
        return torch.distributed.distributed_c10d._get_default_store()

    # ---- exchange of objects and numbers on the host; every process must come to the same call

    def gathered(self, value: Value) -> list[Value]:
        """Give the values of all processes, by rank, to all of them."""
        if self.is_alone:
            return [value]
        values: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values

    def collected(self, value: Value) -> list[Value]:
        """Give the values of all processes, by rank, to the first one, and none to the others."""
        if self.is_alone:
            return [value]
        values: list[Any] | None = [None] * self.size if self.is_first else None
        torch.distributed.gather_object(value, values)
        return values or []

    def told(self, value: Value) -> Value:
        """Give the value of the first process to all of them."""
        if self.is_alone:
            return value
        values: list[Any] = [value]
        torch.distributed.broadcast_object_list(values, src=0)
        found: Value = values[0]
        return found

    def most(self, *numbers: int) -> list[int]:
        """Give the largest of each number in all processes."""
        if self.is_alone:
            return list(numbers)
        largest = torch.tensor(numbers, dtype=torch.int64)
        torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX)
        return [int(number) for number in largest]

    def any(self, flag: object) -> bool:
        """Tell whether the flag is set in any of the processes."""
        return bool(flag) if self.is_alone else bool(self.most(int(bool(flag)))[0])

    def barrier(self) -> None:
        """Wait until all processes are here."""
        self.most(0)

    def add(self, values: Tensor) -> None:
        """Replace a tensor, wherever it is, by the sum of those of all processes."""
        if not self.is_alone:
            torch.distributed.all_reduce(values)

    def shares(self, costs: Sequence[float]) -> list[list[int]]:
        """Share out pieces of work by their costs; the result is the same in all processes.

        The next largest piece goes to the process with the least work so far.

        Args:
            costs: Cost of each piece in any unit.

        Returns:
            Positions of the pieces of each process, in their order.

        Example:
            >>> World(0, 2, 0).shares([1, 5, 1, 1, 2])
            [[1], [0, 2, 3, 4]]
        """
        load = [0.0] * self.size
        shares: list[list[int]] = [[] for _ in load]
        for index in sorted(range(len(costs)), key=lambda each: (-costs[each], each)):
            least = load.index(min(load))
            load[least] += costs[index]
            shares[least].append(index)
        return [sorted(share) for share in shares]

    # ---- the end

    def close(self) -> None:
        """Wait until all have done their work, and leave the others."""
        if self.is_alone or self._over.is_set():
            return
        self._over.set()
        self.barrier()
        torch.distributed.destroy_process_group()

    def _watch(self, processes: list[int]) -> None:
        """Watch the other processes with the same parent, and end a while after one of them.

        This process may wait for the dead one in a place where neither a signal nor an error reaches it.

        Args:
            processes: Numbers of all processes; those of other machines mean nothing here.
        """
        others = [pid for pid in processes if pid != os.getpid() and _is_sibling(pid)]

        def look() -> None:
            while not self._over.wait(WATCHED_S):
                if not all(_lives(pid) for pid in others):
                    time.sleep(NOTICED_S)
                    if not self._over.is_set():
                        os._exit(LOST)

        threading.Thread(target=look, name="watch", daemon=True).start()


def _lives(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def _is_sibling(pid: int) -> bool:
    with suppress(psutil.Error):
        return psutil.Process(pid).ppid() == os.getppid()
    return False


def _take_gpu(here: Place) -> None:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if here.local_rank >= count:
        raise DeviceError(
            f"PyTorch {torch.__version__} sees {count} GPU{'s' * (count != 1)} on this machine, too few for "
            f"{here.name}",
            hint=f"start {count} processes" if count else "set `device=cpu`",
        )
    torch.cuda.set_device(here.local_rank)


def _meet(backend: str, here: Place) -> None:
    address, port = os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
    try:
        distributed: Any = torch.distributed
        store, _, _ = next(distributed.rendezvous("env://", timeout=PATIENCE))
        store = distributed.PrefixStore(_name_of_meeting(store, here), store)
        torch.distributed.init_process_group(
            backend, store=store, rank=here.rank, world_size=here.size, timeout=PATIENCE
        )
    except (RuntimeError, ValueError) as error:
        if "EADDRINUSE" in str(error) or "address already in use" in str(error).lower():
            raise ConfigError(
                f"port {port} of this machine is in use, and the processes cannot meet there",
                hint="set another port: `MASTER_PORT`, or `--master-port` of `torchrun`",
            ) from error
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ConfigError(
            f"{here.name} cannot reach the others at `{address}:{port}` ({reason[:160]})",
            hint="`MASTER_ADDR` and `MASTER_PORT` name the machine of process 0, and a firewall must let it through",
        ) from error


def _name_of_meeting(store: Any, here: Place) -> str:
    """Agree on a name for what these processes leave in the store.

    PyTorch keeps one store for processes that are started again, and with it the addresses of dead ones. So each
    process asks by a name that nobody had before, and the first one answers until all have heard it.

    Raises:
        RuntimeError: A process did not come in time.
    """
    own, here_is, called, heard = uuid.uuid4().hex, "segcli/here/{}", "segcli/called/{}", "segcli/heard/{}/{}"
    if here.rank:
        store.set(here_is.format(here.rank), own)
        name: str = store.get(called.format(own)).decode()
        store.set(heard.format(name, here.rank), "")
        return name
    until = time.monotonic() + PATIENCE.total_seconds()
    missing = set(range(1, here.size))
    while missing:
        for rank in [each for each in missing if store.check([here_is.format(each)])]:
            store.set(called.format(store.get(here_is.format(rank)).decode()), own)
            missing -= {rank} if store.check([heard.format(own, rank)]) else set()
        if time.monotonic() > until:
            raise RuntimeError(f"process {min(missing)} did not come")
        time.sleep(MET_S)
    return own


def _refuse_mixed(versions: list[tuple[str, str]]) -> None:
    first = versions[0]
    for rank, found in enumerate(versions):
        for name, mine, other in zip(("segcli", "PyTorch"), first, found, strict=True):
            if mine != other:
                raise ConfigError(
                    f"process 0 has {name} {mine}, and process {rank} has {name} {other}",
                    hint="install the same versions on all machines",
                )
