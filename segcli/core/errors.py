"""Errors that a user can fix, each with the exit code of the command; and searches for what their messages name."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, ClassVar

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DeviceError",
    "DeviceMemoryError",
    "SegcliError",
    "Stopped",
    "nearest",
    "repeated",
]


class SegcliError(Exception):
    """An error with a message of one sentence, and a hint that says what to do next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.hint)


def _rebuild(kind: type[SegcliError], message: str, hint: str | None) -> SegcliError:
    return kind(message, hint=hint)


class ConfigError(SegcliError):
    """A mistake in YAML, an override or an option, or a combination that cannot work."""

    exit_code = 2


class DataError(SegcliError):
    """A file is missing, unreadable or inconsistent."""

    exit_code = 3


class CheckpointError(SegcliError):
    """A checkpoint is missing, damaged or from another run."""

    exit_code = 4


class DeviceError(SegcliError):
    """A device does not exist, or its memory is exhausted."""

    exit_code = 5


class DeviceMemoryError(DeviceError):
    """The memory of a device is exhausted."""


class Stopped(BaseException):  # not an error: the user asked for it
    """The work stopped because of a signal, with everything saved.

    As `KeyboardInterrupt`, it is no `Exception`, so that code which survives all errors does not catch it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by signal {signum}")
        self.exit_code = 128 + signum
        self.is_shown = False
        """True when the user was told."""


def nearest(word: str, legal: list[str]) -> str | None:
    """Find the legal word that is closest to a misspelt `word`; None when nothing is close.

    Example:
        >>> nearest("dephts", ["depths", "type"])
        'depths'
    """
    found = get_close_matches(word.lower(), [name.lower() for name in legal], n=1, cutoff=0.6)
    return next((name for name in legal if found and name.lower() == found[0]), None)


def repeated(values: Sequence[Any]) -> Any:
    """Return the first value that occurs twice; None if each occurs once.

    Example:
        >>> repeated(["a", "b", "a"])
        'a'
    """
    return next((value for position, value in enumerate(values) if value in values[:position]), None)
