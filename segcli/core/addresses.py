"""Addresses of the network, which no command follows."""

import re
from collections.abc import Sequence

from segcli.core.errors import ConfigError

__all__ = ["is_address", "refuse_addresses"]

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # two letters at least: `C://` is a drive
HINT = "download it and name the file or folder"
OPTION = re.compile(r"--[a-z-]+=")


def is_address(text: str) -> bool:
    """Whether a text begins as `https://`, `s3://` or `file://` do."""
    return ADDRESS.match(text) is not None


def refuse_addresses(arguments: Sequence[str]) -> None:
    """Refuse addresses among the words of a command, in the place of files, folders and runs.

    Values of KEY=VALUE pass: a tracker may have an address.

    Raises:
        ConfigError: A word is an address.
    """
    for word in arguments:
        value = OPTION.sub("", word, count=1)
        if is_address(value):
            raise ConfigError(f"`{value}` is an address, and segcli opens no connection", hint=HINT)
