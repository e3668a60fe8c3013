"""Commands on several processes, which PyTorch's launcher starts as copies of the test."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from torch.distributed.elastic.multiprocessing.subprocess_handler import subprocess_handler
from torch.distributed.elastic.rendezvous import dynamic_rendezvous

from segcli.cli.main import run


class Copied:
    """A copy of this process that runs a command, with the methods of `Popen` that the launcher uses."""

    def __init__(self, arguments: list[str], environment: dict[str, str], output: Path, before: Callable[[], None]):
        self.args = arguments
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid:
            return
        code = 1
        try:
            os.setsid()
            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
                signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
            os.environ.clear()
            os.environ.update(environment)
            for stream, descriptor in (("out", 1), ("err", 2)):
                name = output / f"{environment['RANK']}.{environment.get('TORCHELASTIC_RESTART_COUNT', 0)}.{stream}"
                os.dup2(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_APPEND), descriptor)
            # `__stdout__` holds the descriptor, as in a new process, also when the command takes another stream
            sys.stdout = sys.__stdout__ = os.fdopen(1, "w", buffering=1)
            sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1)
            before()
            code = run(arguments[arguments.index("segcli") + 1 :])
        finally:
            sys.stdout.flush()
            os._exit(code)

    def poll(self) -> int | None:
        """Give the exit code; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end."""
        deadline = time.monotonic() + (timeout or 1e9)
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            time.sleep(0.01)
        return code

    def send_signal(self, signum: int) -> None:
        """Send a signal."""
        os.kill(self.pid, signum)


@dataclass(frozen=True)
class Ended:
    """End of a command on several processes."""

    code: int
    out: str
    err: str
    """What the command and all its processes have told."""
    elapsed_s: float
    left: int
    """Processes that are still there."""


@pytest.fixture
def run_together(run_cli, workplace, monkeypatch) -> Callable[..., Ended]:
    """Runs `segcli ARGUMENTS` on several processes; `before` is called in each of them."""

    def call(*arguments: object, before: Callable[[], None] = lambda: None) -> Ended:
        output = workplace / "told"
        output.mkdir(exist_ok=True)
        for path in output.iterdir():
            path.unlink()
        started: list[int] = []

        def popen(_: Any, words: tuple[str, ...], environment: dict[str, str]) -> Copied:
            copy = Copied(list(words), environment, output, before)
            started.append(copy.pid)
            return copy

        monkeypatch.setattr(subprocess_handler.SubprocessHandler, "_popen", popen)
        # for a line of its log, it reads the source of each function of the stack: a second for each start of a test
        monkeypatch.setattr(dynamic_rendezvous, "get_method_name", lambda: "some method")
        began = time.monotonic()
        result = run_cli(*arguments)
        elapsed_s = time.monotonic() - began
        told = {end: "".join(path.read_text() for path in sorted(output.glob(f"*.{end}"))) for end in ("out", "err")}
        left = [child for child in psutil.Process().children(recursive=True) if child.pid in started]
        return Ended(result.code, result.out + told["out"], told["err"] + result.err, elapsed_s, len(left))

    return call
