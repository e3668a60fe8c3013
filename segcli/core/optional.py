"""Packages that only some commands need."""

from importlib import import_module
from typing import Any

from segcli.core.errors import ConfigError

__all__ = ["optional"]


def optional(module: str, *, extra: str, purpose: str) -> Any:
    """Import a module that an extra of segcli installs.

    Args:
        module: Name of the module, such as `onnx`.
        extra: Extra that installs the module.
        purpose: What needs the package, as the beginning of the error message.

    Raises:
        ConfigError: The package is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{purpose} needs the package `{error.name}`", hint=f"`pip install 'segcli[{extra}]'`"
        ) from error
