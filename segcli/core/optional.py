"""Packages that only some commands need."""

from importlib import import_module
from typing import Any

from segcli.core.errors import ConfigError

__all__ = ["optional"]


def optional(module: str, *, extra: str, purpose: str) -> Any:
    """Import a module that an extra of ours installs.

    Args:
        module: Its name, such as `onnx`.
        extra: Extra that installs it.
        purpose: What needs it, as the beginning of a sentence.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{purpose} needs the package `{error.name}`", hint=f"`pip install 'segcli[{extra}]'`"
        ) from error
