"""Other names of components, stated in their files and read without importing them.

A component's file may state `ALIASES`, names that mean the same elsewhere, and `RELATED`, names of other things with
advice on what comes near to them.
"""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["stated_names", "without_package"]

PACKAGE = re.compile(r"^(?:torch\.)?(?:nn|optim)\.(?:lr_scheduler\.)?|^lr_scheduler\.")
"""Beginning of a name of PyTorch, such as `torch.optim.`."""


@cache
def stated_names(file: Path) -> dict[str, Any]:
    """Read the other names that a component's file states: `ALIASES` and `RELATED`, as far as they are there."""
    found: dict[str, Any] = {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in ("ALIASES", "RELATED"):
                found[name] = ast.literal_eval(node.value)
    return found


def without_package(name: str) -> str:
    """Remove the package from a name of PyTorch.

    Example:
        >>> without_package("torch.optim.lr_scheduler.StepLR"), without_package("AdamW")
        ('StepLR', 'AdamW')
    """
    return PACKAGE.sub("", name)
