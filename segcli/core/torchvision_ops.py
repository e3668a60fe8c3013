"""Let `import torchvision` work if its build does not match the build of PyTorch.

With a CPU build of PyTorch, a torchvision built for CUDA does not register `nms` and fails at import with "operator
torchvision::nms does not exist". It is enough to declare the missing schemas first: segcli uses backbones and weights,
never box operators. Import this module before any module that imports torchvision; it does nothing if the operators
exist.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

__all__ = ["declare_missing_operators", "torchvision_models"]

SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_library: torch.library.Library | None = None  # the operators exist only as long as this library object


def declare_missing_operators() -> None:
    """Declare `torchvision::nms` and `torchvision::qnms` if the installed build does not register them.

    The extension of torchvision is loaded first: if it fits PyTorch, it registers the operators, and declaring them
    twice would be an error.
    """
    global _library  # noqa: PLW0603
    if _library is not None or _load_extension():
        return
    _library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name, schema in SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            _library.define(schema)  # type: ignore[no-untyped-call]


def torchvision_models() -> Any:
    """Import and return the module `torchvision.models`."""
    declare_missing_operators()
    return import_module("torchvision.models")


def _load_extension() -> bool:
    """Load torchvision's compiled operators without importing the package; False if they do not fit PyTorch."""
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True
    for library in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
        except OSError:
            return False
    return hasattr(torch.ops.torchvision, "nms")
