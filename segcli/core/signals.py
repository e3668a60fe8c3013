"""Signals that ask a command to stop."""

import signal

__all__ = ["HANGUP", "STOPPING"]

STOPPING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGXCPU") if hasattr(signal, name)
)
"""Signals of Ctrl-C, of `kill`, of a closed terminal or a lost connection, and of Slurm before its time limit."""
HANGUP = getattr(signal, "SIGHUP", None)
"""Signal of a closed terminal; None on Windows."""
