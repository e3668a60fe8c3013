"""Make a class of the user's own a layout of data sets."""

import inspect
from typing import Any

from segcli.core.own_code import Code, of_contract, refuse_kind, travels
from segcli.datasets import Layout

__all__ = ["adapted"]


def adapted(found: Any, code: Code) -> type[Layout]:
    """Make `found` a layout; it must be a subclass of `Layout` or of a layout of segcli, such as `ImageFolders`.

    Raises:
        ConfigError: It is none, or lacks a method.
    """
    accepts = "a subclass of `segcli.datasets.Layout`, made with `(config, spec)`"
    if not (inspect.isclass(found) and issubclass(found, Layout)):
        raise refuse_kind(code, found, accepts)
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing or "config" not in inspect.signature(found).parameters:
        raise refuse_kind(code, found, f"{accepts}, and has {', '.join(missing)}" if missing else accepts)
    kind: type[Layout] = travels(of_contract(found, code), code)
    return kind
