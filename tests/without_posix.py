"""Takes away from segcli what Windows lacks, so that Linux shows what would fail there.

`pytest -p without_posix` (with `tests` on PYTHONPATH) runs the suite so; `.ci/run` runs a part of it. In this process,
in loader workers and in commands that tests start:

- modules of POSIX cannot be imported by segcli, and the functions, flags and signals of POSIX are missing in the `os`
  and `signal` that it sees. Other packages have their own code for Windows and see everything;
- processes are spawned, not forked: `os.fork` is missing for all;
- `msvcrt` locks files, as the module of Windows does;
- an open or mapped file cannot be replaced, renamed or removed, and a folder cannot be opened to be flushed.

Tests that need POSIX by their nature have the mark `posix` and are skipped.
"""

import builtins
import errno
import fcntl
import importlib
import multiprocessing
import os
import shutil
import signal
import stat
import sys
import tempfile
from pathlib import Path
from types import ModuleType

MODULES = "fcntl resource pwd grp pty tty termios syslog posix readline"
"""Modules of Python that Windows lacks."""
FUNCTIONS = """
fork forkpty register_at_fork setpgid setpgrp setsid getpgid getpgrp getsid getuid geteuid getgid getegid getgroups
setuid setgid killpg nice getpriority setpriority mkfifo mknod statvfs fstatvfs sync fdatasync pread pwrite preadv
pwritev posix_fallocate posix_fadvise posix_spawn posix_spawnp sched_getaffinity sched_setaffinity sched_yield wait
wait3 wait4 waitid WNOHANG WIFEXITED WEXITSTATUS WIFSIGNALED WTERMSIG fchmod fchown chown lchown chroot fchdir
getloadavg uname sysconf confstr openpty ttyname tcgetpgrp tcsetpgrp ctermid lockf sendfile pipe2 copy_file_range
memfd_create eventfd getxattr setxattr listxattr removexattr O_NONBLOCK O_DIRECTORY O_NOFOLLOW O_CLOEXEC O_SYNC
O_DSYNC O_NOCTTY O_TMPFILE O_NOATIME O_PATH O_ASYNC
"""
"""Names of `os` that Windows lacks."""
SIGNALS = """
SIGHUP SIGUSR1 SIGUSR2 SIGXCPU SIGXFSZ SIGKILL SIGALRM SIGCHLD SIGCLD SIGPIPE SIGQUIT SIGBUS SIGSTOP SIGCONT SIGTSTP
SIGTTIN SIGTTOU SIGURG SIGVTALRM SIGPROF SIGWINCH SIGIO SIGPOLL SIGPWR SIGSYS SIGTRAP SIGSTKFLT SIGRTMIN SIGRTMAX
alarm setitimer getitimer pause pthread_kill pthread_sigmask sigpending sigwait sigwaitinfo sigtimedwait
siginterrupt ITIMER_REAL
"""
"""Names of `signal` that Windows lacks."""
STAMP = "without_posix_"
STARTED = "import sys; sys.path.append({tests!r}); import without_posix; del sys.modules['without_posix']\n"
"""What a process that is started runs first."""


class _Lesser(ModuleType):
    """A module without some of its names; everything else is that of the whole module, also what tests replace."""

    def __init__(self, whole: ModuleType, missing: str) -> None:
        super().__init__(whole.__name__)
        self._whole, self._missing = whole, frozenset(missing.split())

    def __getattr__(self, name: str) -> object:
        if name in self._missing:
            raise AttributeError(f"Windows has no `{self.__name__}.{name}`")
        return getattr(self._whole, name)


def _locking(descriptor: int, mode: int, count: int) -> None:
    """Lock `count` bytes from the position of the file, as `msvcrt.locking` does."""
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, count, os.lseek(descriptor, 0, os.SEEK_CUR))


def _open(path, flags, *arguments, **options):
    if os.path.isdir(path):  # noqa: PTH112 - as the function of `os` that it is
        raise PermissionError(errno.EACCES, "Permission denied", path)
    return os.open(path, flags, *arguments, **options)


def _stands_in() -> dict[str, ModuleType]:
    lesser, msvcrt = _Lesser(os, FUNCTIONS), ModuleType("msvcrt")
    lesser.open = _open
    msvcrt.LK_NBLCK, msvcrt.locking = 2, _locking
    return {"os": lesser, "signal": _Lesser(signal, SIGNALS), "msvcrt": msvcrt}


def _block_modules() -> None:
    """Give segcli other modules than everybody else."""
    lesser, whole_import, whole_import_module = _stands_in(), builtins.__import__, importlib.import_module

    def found(name: str, importer: str) -> ModuleType | None:
        if not importer.startswith("segcli"):
            return None
        if name in MODULES.split():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return lesser.get(name)

    def imported(name, globals=None, locals=None, fromlist=(), level=0):  # noqa: A002 - the names of Python
        own = found(name, (globals or {}).get("__name__") or "") if level == 0 else None
        return whole_import(name, globals, locals, fromlist, level) if own is None else own

    def import_module(name, package=None):
        own = found(name, sys._getframe(1).f_globals.get("__name__") or "")
        return whole_import_module(name, package) if own is None else own

    builtins.__import__, importlib.import_module = imported, import_module


def _is_open(path: str) -> bool:
    """Tell whether this process has the file open or mapped."""
    try:
        found = Path(path).stat()
    except OSError:
        return False
    if not stat.S_ISREG(found.st_mode):
        return False
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            opened = descriptor.stat()
        except OSError:
            continue
        if (opened.st_dev, opened.st_ino) == (found.st_dev, found.st_ino):
            return True
    number = f" {found.st_ino} "
    with Path("/proc/self/maps").open(encoding="utf-8", errors="replace") as maps:
        return any(number in line for line in maps)


def _watch_files() -> None:
    """Refuse to replace, rename or remove open files."""
    busy = False

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal busy
        if busy or event not in ("os.rename", "os.remove"):
            return
        busy = True
        try:
            places = arguments[:2] if event == "os.rename" else arguments[:1]
            if arguments[-1] != -1:  # relative to an open folder, which Windows has not
                return
            for place in places:
                if not isinstance(place, str | bytes | os.PathLike):
                    continue
                path = os.fsdecode(place)
                if not path.startswith("/dev/shm/") and _is_open(path):  # Python's own shared memory
                    raise PermissionError(errno.EACCES, "The file is open", path)
        finally:
            busy = False

    sys.addaudithook(refuse)


def block() -> None:
    """Take it away from this process and from all that it starts."""
    if not hasattr(os, "fork"):
        return
    del os.fork, os.forkpty
    multiprocessing.set_start_method("spawn", force=True)
    _block_modules()
    _watch_files()


def pytest_configure() -> None:
    """Take it away from processes that tests start, too."""
    if STAMP in os.environ.get("PYTHONPATH", ""):  # a worker of pytest-xdist
        return
    folder = Path(tempfile.mkdtemp(prefix=STAMP))
    (folder / "sitecustomize.py").write_text(STARTED.format(tests=str(Path(__file__).parent)), encoding="utf-8")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def pytest_unconfigure() -> None:
    """Remove the folder that `pytest_configure` made."""
    folder = Path(os.environ["PYTHONPATH"].split(os.pathsep)[0])
    if folder.name.startswith(STAMP) and "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(folder)  # Python may have compiled what is in it


block()
