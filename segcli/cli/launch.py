"""Start a command in several processes, through PyTorch's elastic launcher."""

import json
import logging
import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from segcli.cli import starting
from segcli.config.processes import refuse_fewer_images
from segcli.core.errors import CheckpointError, ConfigError, DataError, DeviceError, SegcliError, Stopped
from segcli.core.platform import HANGUP, STOPPING, end_at_once, usable_processors
from segcli.core.process import arguments, command_began
from segcli.core.ranks import BEGAN, FOLDER, LOST, place

if TYPE_CHECKING:
    from segcli.config.schema import Run
    from segcli.engine.world import World

__all__ = ["Team"]

SAVING_S = 600
"""Seconds that processes have to save their work after a stop signal."""
NOISY = ("torch.distributed.elastic", "torch.distributed.launcher", "torch.distributed.nn.jit")
ERRORS: dict[int, type[SegcliError]] = {kind.exit_code: kind for kind in (ConfigError, DataError, CheckpointError)}
ERRORS[DeviceError.exit_code] = DeviceError


class Team:
    """Processes that a command asks for.

    Args:
        gpus: Value of `--gpus`: a number, or `all`.
        processes: Value of `--processes`.
        max_restarts: Value of `--max-restarts`.

    Raises:
        ConfigError: The options contradict each other, or the processes that there are.
    """

    def __init__(self, gpus: str | None = None, processes: int | None = None, max_restarts: int | None = None) -> None:
        self.here = place()
        self.on_gpus, self.on_cpus = gpus is not None, processes is not None
        self.max_restarts = max_restarts or 0
        if gpus is not None and processes is not None:
            raise ConfigError("`--gpus` and `--processes` exclude each other", hint="leave one of them out")
        self.size = _count_of(gpus) if gpus is not None else processes or 1
        if max_restarts and self.size == 1 and self.here is None:
            raise ConfigError(
                "`--max-restarts` starts several processes again", hint="add `--gpus N` or `--processes N`"
            )
        if self.here is not None:
            stated, self.size = self.size, self.here.size
            if (self.on_gpus or self.on_cpus) and stated != self.size and gpus != "all":
                option = "--gpus" if self.on_gpus else "--processes"
                raise ConfigError(
                    f"`{option} {stated}`, but `torchrun` has started {self.size} processes",
                    hint=f"leave out `{option}`",
                )

    def refuse_several(self, what: str, *, hint: str) -> None:
        """Refuse work that one process must do.

        Raises:
            ConfigError: Several processes were asked for.
        """
        if self.size > 1:
            raise ConfigError(f"{what} is for one process, not for {self.size}", hint=hint)

    @property
    def is_parent(self) -> bool:
        """Tell whether the work is done by processes that are still to be started."""
        return self.here is None and self.size > 1

    def device(self, stated: str) -> str:
        """Return the device of a run in each process.

        Args:
            stated: Device in the config.

        Raises:
            ConfigError: The config names another kind of device.
        """
        if self.on_gpus:
            if stated not in ("auto", "cuda"):
                raise ConfigError(f"`--gpus` and `device: {stated}` exclude each other", hint="set `device=cuda`")
            return "cuda"
        if self.on_cpus:
            if stated not in ("auto", "cpu"):
                raise ConfigError(
                    f"`--processes` and `device: {stated}` exclude each other",
                    hint="set `device=cpu`, or take `--gpus N` instead",
                )
            return "cpu"
        if self.here is not None and stated not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"`device: {stated}` and several processes exclude each other", hint="set `device=auto`")
        return stated

    def device_instead(self) -> str | None:
        """Return the device on which a trained network works in each process; None for that of its run."""
        return self.device("auto") if self.on_gpus or self.on_cpus else None

    def placed(self, run: "Run") -> "Run":
        """Put a run on the devices of the processes.

        Raises:
            ConfigError: The run has another kind of device, or batches with fewer images than processes.
        """
        if not run.data.fit_batch_size:
            refuse_fewer_images(run, self.size)
        return self.moved(run)

    def moved(self, run: "Run") -> "Run":
        """Put a run that is trained by a single process on the device of this process.

        Raises:
            ConfigError: The run has another kind of device.
        """
        return run.model_copy(update={"device": self.device(run.device)})

    def world(self, device: str) -> "World":
        """Join the other processes.

        Args:
            device: Device of the run.

        Raises:
            SegcliError: The processes cannot work together.
        """
        from segcli.engine.world import World

        return World.joined(device)

    def start(self, *, resumed_by: Path | None = None) -> None:
        """Run this command in all processes, and wait until they have done it.

        Args:
            resumed_by: Run folder for the `resume` command that is printed when a signal stops the work.

        Raises:
            SegcliError: One of the processes has failed.
            Stopped: A stop signal was received.
            SystemExit: A process has shown a bug.
        """
        from torch.distributed.elastic.multiprocessing import SignalException
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

        starting.end()
        with tempfile.TemporaryDirectory(prefix="segcli_") as folder, _quiet(), _none_left(), _own_signals():
            try:
                self._launch(Path(folder))
            except SignalException as stopped:
                raise _told(Stopped(int(stopped.sigval)), resumed_by) from None
            except ChildFailedError as failed:
                codes = {rank: failure.exitcode for rank, failure in failed.failures.items()}
                raise _told(_cause(codes, Path(folder), self.size, resumed_by), resumed_by) from None

    def _launch(self, folder: Path) -> None:
        from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
        from torch.distributed.launcher.api import LaunchConfig, elastic_launch

        mistakes = folder / "mistakes"
        mistakes.mkdir()
        handled = [each for each in STOPPING if each != HANGUP or signal.getsignal(each) != signal.SIG_IGN]
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=self.size,
            run_id=str(uuid.uuid4()),
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",  # a port that is free
            max_restarts=self.max_restarts,
            logs_specs=DefaultLogsSpecs(log_dir=str(folder / "logs")),
            signals_to_handle=",".join(each.name for each in handled),
            shutdown_timeout=SAVING_S,
            local_addr="localhost",
        )
        threads = str(max(usable_processors() // self.size, 1))
        began = str(time.time() - (time.monotonic() - command_began()))
        threads = os.environ.get("OMP_NUM_THREADS", threads)
        with _environment({FOLDER: str(mistakes), BEGAN: began, "OMP_NUM_THREADS": threads}):
            words = [word.replace("$", "$$") for word in arguments()]  # the launcher replaces `$` in them
            elastic_launch(config, sys.executable)("-P", "-m", "segcli", *words)


def _count_of(gpus: str) -> int:
    """Read the value of `--gpus`.

    Raises:
        ConfigError: It is neither a number nor `all`.
        DeviceError: There are fewer GPUs.
    """
    if gpus != "all" and not (gpus.isdecimal() and int(gpus) > 0):
        raise ConfigError(f"`--gpus` is a number or `all`, got `{gpus}`")
    if place() is not None:
        return 1 if gpus == "all" else int(gpus)
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    wanted = count if gpus == "all" else int(gpus)
    if not count or wanted > count:
        raise DeviceError(
            f"`--gpus {gpus}`: PyTorch {torch.__version__} sees {count} GPU{'s' * (count != 1)} on this machine",
            hint=f"take `--gpus {count}`" if count else "`--processes N` works on CPUs",
        )
    return wanted


def _cause(codes: dict[int, int], folder: Path, size: int, resumed_by: Path | None) -> BaseException:
    """Find why all processes have ended, of what each of them left behind."""
    left = [json.loads(path.read_text()) for path in folder.glob("mistakes/*.json")]
    if left:
        first = min(left, key=lambda each: float(each["time"]))
        return ERRORS.get(first["code"], ConfigError)(first["message"], hint=first["hint"])
    killed = {rank: -code for rank, code in codes.items() if code < 0 and -code != signal.SIGTERM}
    if killed:
        rank, signum = next(iter(killed.items()))
        return DeviceError(
            f"process {rank} of {size} was killed by {signal.Signals(signum).name}",
            hint="the system kills a process when memory runs out; "
            + (
                "start fewer processes"
                if resumed_by is None
                else "`segcli resume` goes on from the last checkpoint, and `--max-restarts N` does so by itself"
            ),
        )
    told = next((code for code in codes.values() if code in ERRORS), None)
    if told is not None:  # the first process has told what failed
        return SystemExit(told)
    if 1 in codes.values():  # a bug, whose traceback is shown
        return SystemExit(1)
    stopped = [code for code in codes.values() if code - 128 in STOPPING]
    if stopped:
        return Stopped(stopped[0] - 128)
    code = next((code for code in codes.values() if code not in (LOST, -signal.SIGTERM)), LOST)
    again = "start the command again" if resumed_by is None else "`segcli resume` goes on"
    return DeviceError(f"{size} processes lost each other (exit code {code})", hint=again)


def _told(error: BaseException, resumed_by: Path | None) -> BaseException:
    """Tell of a stop; only now have all processes ended."""
    if isinstance(error, Stopped):
        from segcli.cli import console

        console.stopped(error, resumed_by)
    return error


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence PyTorch's own messages about processes, which repeat ours in many lines."""
    # PyTorch makes more loggers below these while it works, and gives each its own level
    loggers = [logging.getLogger(name) for name in NOISY]
    nowhere = logging.NullHandler()
    before = [each.propagate for each in loggers]
    for each in loggers:
        each.addHandler(nowhere)
        each.propagate = False
    try:
        yield
    finally:
        for each, propagates in zip(loggers, before, strict=True):
            each.removeHandler(nowhere)
            each.propagate = propagates


@contextmanager
def _own_signals() -> Iterator[None]:
    """Give the signals back, which PyTorch's launcher takes and keeps."""
    before: dict[Any, Any] = {each: signal.getsignal(each) for each in {*STOPPING, signal.SIGTERM}}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _none_left() -> Iterator[None]:
    """Kill processes that are still there at the end: after a second Ctrl-C, nobody waits for them."""
    me = psutil.Process()
    before = {child.pid for child in me.children()}
    try:
        yield
    finally:
        for child in me.children(recursive=True):
            with suppress(psutil.Error):
                if child.pid not in before and child.cmdline()[1:4] == ["-P", "-m", "segcli"]:
                    end_at_once(child)
