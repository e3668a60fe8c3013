"""Differences between Linux, macOS and Windows: no other module uses what one of them lacks.

Most abilities are looked for, not derived from the name of the system, so that tests can take them away.
"""

import _thread
import io
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any

__all__ = [
    "CGROUP",
    "CPUINFO",
    "GPU_DRIVERS",
    "HANGUP",
    "LIBRARY_ENDING",
    "LINUX",
    "LONGEST_PATH",
    "SHARED_MEMORY",
    "START_METHOD",
    "STOPPING",
    "WINDOWS",
    "die_with_parent",
    "discard",
    "end_at_once",
    "flush",
    "interrupt_main",
    "is_link",
    "is_pipe",
    "is_running",
    "leave_group",
    "lock",
    "memory_limit",
    "peak_memory_kib",
    "replace",
    "reserve",
    "show_all_letters",
    "signal_name",
    "usable_processors",
    "why_not_written",
]


def _only_here(name: str) -> Any:
    """Import a module that some systems lack; None there."""
    try:
        return import_module(name)
    except ImportError:
        return None


fcntl, msvcrt, resource = map(_only_here, ("fcntl", "msvcrt", "resource"))
LINUX = sys.platform == "linux"
WINDOWS = not hasattr(os, "fork")
"""True on Windows, the only supported system whose processes cannot be copied."""
START_METHOD = "fork" if LINUX and not WINDOWS else "spawn"
"""Way in which loader workers start: as copies, which share memory, or as new processes. macOS cannot copy safely."""
STOPPING = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGXCPU", "SIGBREAK")
    if hasattr(signal, name)
)
"""Signals of Ctrl-C, of `kill`, of a closed terminal or a lost connection, of Slurm before its time limit, and of
Ctrl-Break on Windows."""
HANGUP = getattr(signal, "SIGHUP", None)
"""Signal of a closed terminal; None on Windows."""
CPUINFO = Path("/proc/cpuinfo")
"""File in which Linux lists the abilities of each processor."""
CGROUP = Path("/sys/fs/cgroup")
"""Folder in which Linux states the limits of a container or of a job of Slurm."""
GPU_DRIVERS = {Path("/proc/driver/nvidia/version"): "NVIDIA", Path("/dev/kfd"): "AMD"}
"""Files of Linux that exist when the GPU driver of a vendor is loaded."""
SHARED_MEMORY = "shared memory (/dev/shm)" if LINUX else "shared memory"
LIBRARY_ENDING = "dylib" if sys.platform == "darwin" else "so"
"""Suffix of the libraries of PyTorch on macOS and Linux."""
LONGEST_PATH = 259
"""Longest path in characters on Windows, unless long paths are enabled in its registry."""
PR_SET_PDEATHSIG = 1
"""Number of the option of Linux's `prctl` that sets the signal for the death of the parent."""
KILL = getattr(signal, "SIGKILL", None)
LOCKED_BYTE = 2**30
"""Place of the byte that is locked on Windows, beyond the content: nobody can read a locked byte there."""
PATIENCE_S = 2.0
"""Seconds to wait on Windows until another program closes a file."""


# ---- processes


def leave_group() -> None:
    """Leave the process group of the terminal, whose Ctrl-C goes to the whole group; does nothing on Windows."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)


def die_with_parent(parent: int | None, code: int) -> None:
    """Let Linux kill this process when its parent, by number, is killed; exit with `code` if that has happened.

    By itself, a worker notices it after 5 s, and then may wait for ever until its last batch is taken from the pipe.
    """
    if LINUX and not WINDOWS:
        import ctypes  # noqa: PLC0415 - a TAB does not wait for it

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, KILL)
        if parent is not None and os.getppid() != parent:  # it was killed before
            os._exit(code)


def interrupt_main(signum: int) -> None:
    """Let the main thread handle a signal; where the system can, also in the middle of a wait."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signum)
    else:
        _thread.interrupt_main(signal.Signals(signum))


def is_running(process: int) -> bool:
    """Tell whether a process with this number runs."""
    if WINDOWS:
        import psutil  # noqa: PLC0415 - only here; `os.kill` with 0, the test of other systems, ends the process

        return bool(psutil.pid_exists(process))
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # a process of another user
        return True
    return True


def end_at_once(process: Any) -> None:
    """End a process of `psutil`, whatever it is doing."""
    process.kill()


def signal_name(code: int | None) -> str:
    """Name the signal that ended a process, or state its exit code.

    Example:
        >>> signal_name(-15), signal_name(3)
        ('SIGTERM', 'exit code 3')
    """
    with suppress(ValueError):
        if code is not None and code < 0:
            return signal.Signals(-code).name
    return f"exit code {code}"


def usable_processors() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# ---- memory


def peak_memory_kib() -> int:
    """Return the largest size in KiB that this process had; on Windows, its size now."""
    if resource is None:
        import psutil  # noqa: PLC0415 - only here

        return int(psutil.Process().memory_info().rss) // 1024
    peak = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak // 1024 if sys.platform == "darwin" else peak  # macOS counts bytes


def memory_limit() -> int | None:
    """Return the bytes of `ulimit -v`; None without a limit."""
    if resource is None:
        return None
    limit = int(resource.getrlimit(resource.RLIMIT_AS)[0])
    return None if limit == resource.RLIM_INFINITY else limit


# ---- files


def lock(descriptor: int) -> bool:
    """Lock an open file for this process; False if another process holds the lock. The lock ends with the process."""
    try:
        if fcntl is not None:
            # POSIX record locks, unlike flock, are not inherited by loader workers, which may outlive a killed process.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except OSError:
        return False
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)
    return True


def discard(descriptor: int, path: Path) -> None:
    """Close and remove a locked file; where possible removed first, so that no process locks it in between."""
    if WINDOWS:
        os.close(descriptor)
        with suppress(OSError):  # another process has opened it
            path.unlink()
    else:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def flush(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk; Windows keeps names without being asked."""
    if WINDOWS and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if WINDOWS else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(temporary: Path, path: Path) -> None:
    """Rename a file to `path`, over an older file; on Windows, wait until a reader has closed the older file."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            temporary.replace(path)
        except PermissionError:
            if not WINDOWS or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def why_not_written(path: Path, error: OSError) -> str:
    """Say what to do when a file cannot be written."""
    length = len(str(path.absolute()))
    if WINDOWS and length > LONGEST_PATH:
        return f"the path has {length} characters, Windows allows {LONGEST_PATH}: use a shorter folder or name"
    if WINDOWS and isinstance(error, PermissionError):
        return "close the program that has the file open, or grant rights there; nothing was overwritten"
    return "free space or grant rights there; nothing was overwritten"


def reserve(stream: IO[bytes], size: int) -> None:
    """Make an open file `size` bytes long; its space is taken at once where the system can.

    Else a full disk would kill the process at a mapped write.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(stream.fileno(), 0, size)
    else:
        stream.truncate(size)


def show_all_letters(stream: object) -> None:
    """Let a stream write letters that its encoding lacks as escapes; Windows does not pipe UTF-8 by itself."""
    if isinstance(stream, io.TextIOWrapper) and not stream.encoding.lower().startswith("utf"):
        stream.reconfigure(errors="backslashreplace")


def is_link(path: Path) -> bool:
    """Tell whether a path is a symbolic link, or a junction of Windows."""
    is_junction = getattr(os.path, "isjunction", None)
    return path.is_symlink() or (is_junction is not None and bool(is_junction(path)))


def is_pipe(path: Path) -> bool:
    """Tell whether a path is a named pipe, whose reader would wait for a writer without end; not one of the shell."""
    of_shell = path.parent == Path("/dev/fd") or path == Path("/dev/stdin")
    return path.is_fifo() and not of_shell
