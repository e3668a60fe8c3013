"""Watch a process and its children for connections, those of C++ libraries included.

`strace` sees every system call. Without it, a small library in front of the C library's functions sees those that call
them, which all known dependencies do. Where `unshare` works, the process has no network at all while it is watched.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TOOLS = [
    tool for tool, needed in (("strace", "strace"), ("shim", "cc")) if sys.platform == "linux" and shutil.which(needed)
]
"""What can watch here, the best first."""
SHIM = r"""
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static void note(const char *what, const char *where) {
    FILE *log = fopen(getenv("NETWORK_LOG"), "a");
    if (log) { fprintf(log, "%s %s\n", what, where ? where : ""); fclose(log); }
}
static void note_address(const char *what, const struct sockaddr *to) {
    char text[96] = "", line[128];
    if (!to || (to->sa_family != AF_INET && to->sa_family != AF_INET6)) return;
    const struct sockaddr_in *four = (const void *)to;
    const struct sockaddr_in6 *six = (const void *)to;
    inet_ntop(to->sa_family, to->sa_family == AF_INET ? (const void *)&four->sin_addr : &six->sin6_addr, text, 96);
    snprintf(line, sizeof line, "sin_port=htons(%d) \"%s\"", ntohs(four->sin_port), text);
    note(what, line);
}
int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    real = dlsym(RTLD_NEXT, "getaddrinfo");
    note("getaddrinfo", host);
    return real(host, port, hints, found);
}
int connect(int socket, const struct sockaddr *to, socklen_t length) {
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    note_address("connect", to);
    return real(socket, to, length);
}
ssize_t sendto(int socket, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length) {
    ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "sendto");
    note_address("sendto", to);
    return real(socket, data, size, flags, to, length);
}
"""
LOCAL = re.compile(r'"(127\.[\d.]+|::1|::ffff:127\.[\d.]+|localhost)"|getaddrinfo (localhost|127\.[\d.]+|::1)?$')
LOOK_UP = re.compile(r"htons\(53\)|sun_path=\"[^\"]*resolve")  # a name server may run on this machine


@dataclass(frozen=True)
class Watched:
    """What a process did."""

    done: subprocess.CompletedProcess[str]
    attempts: list[str]
    """Calls that look a name up or reach for another machine, whether they succeeded or not."""


def watch(
    command: list[str], folder: Path, *, tool: str = "", timeout_s: float = 120, **environment: str | None
) -> Watched:
    """Run a command under `strace` or the shim.

    Args:
        command: The program and its arguments.
        folder: Where it runs; the log is written beside it.
        tool: One of `TOOLS`, the best when left out; `none` only takes the network away.
        timeout_s: Seconds after which it is given up.
        environment: Changes to the environment; None takes a variable out.
    """
    tool = tool or TOOLS[0]
    log = folder.with_name(f"{folder.name}.{tool}.log")
    log.write_text("")
    values = {key: value for key, value in {**os.environ, **environment}.items() if value is not None}
    if tool == "strace":
        command = [
            "strace",
            "-f",
            "--seccomp-bpf",  # other calls are not even stopped
            "-qq",
            "-e",
            "trace=%network",
            "-e",
            "signal=none",
            "-s",
            "256",
            "-o",
            str(log),
            *command,
        ]
    elif tool == "shim":
        values |= {"LD_PRELOAD": str(_shim(folder.parent)), "NETWORK_LOG": str(log)}
    done = subprocess.run(
        [*_alone(), *command], cwd=folder, env=values, capture_output=True, text=True, check=False, timeout=timeout_s
    )
    return Watched(done, [line for line in log.read_text().splitlines() if is_attempt(line)])


def is_attempt(line: str) -> bool:
    """Whether a line of the log leads away from this machine; sockets between processes of one machine do not."""
    if not re.search(r"\b(getaddrinfo|connect|sendto|sendmsg|sendmmsg)\b", line):
        return False
    reaches = re.search(r"getaddrinfo|AF_INET|sin_port", line)
    return LOOK_UP.search(line) is not None or (reaches is not None and LOCAL.search(line) is None)


@cache
def _alone() -> tuple[str, ...]:
    """Words that run a program without a network, where this user may."""
    for words in (("unshare", "-n"), ("unshare", "-rn")):
        if (
            shutil.which("unshare")
            and subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
        ):
            return words
    return ()


@cache
def _shim(folder: Path) -> Path:
    source, library = folder / "shim.c", folder / "shim.so"
    source.write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return library
