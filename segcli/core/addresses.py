"""Network addresses (URLs) among arguments; they are refused, because no command downloads anything."""

import re
from collections.abc import Sequence

from segcli.core.errors import ConfigError

__all__ = ["is_address", "refuse_addresses"]

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # at least two letters: `C://` is a drive
HINT = "download it and name the file or folder"
OPTION = re.compile(r"--[a-z-]+=")


def is_address(text: str) -> bool:
    """Tell if a text begins with a URL scheme, such as `https://`, `s3://` or `file://`."""
    return ADDRESS.match(text) is not None


def refuse_addresses(arguments: Sequence[str]) -> None:
    """Refuse addresses among the arguments of a command that name files, folders and runs.

    Values of KEY=VALUE are not checked: a tracker may have an address.

    Raises:
        ConfigError: An argument is an address.
    """
    for word in arguments:
        value = OPTION.sub("", word, count=1)
        if is_address(value):
            raise ConfigError(f"`{value}` is an address, and segcli opens no connection", hint=HINT)
