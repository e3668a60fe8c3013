"""Let `import torchvision` work where its build does not match that of PyTorch.

A torchvision built for CUDA registers no `nms` beside a CPU build of PyTorch, and then dies at import with
"operator torchvision::nms does not exist". Declaring the missing schemas first is enough for all that segcli uses
(backbones and weights, never box operators). Import this module before anything that imports torchvision; it does
nothing where the operators exist.
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
_library: torch.library.Library | None = None  # operators live as long as the library that declared them


def declare_missing_operators() -> None:
    """Declare `torchvision::nms` and `torchvision::qnms` where the installed build has not.

    torchvision's own extension is loaded first: where it fits PyTorch it registers the operators, and declaring
    them a second time would be an error.
    """
    global _library  # noqa: PLW0603
    if _library is not None or _load_extension():
        return
    _library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name, schema in SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            _library.define(schema)  # type: ignore[no-untyped-call]


def torchvision_models() -> Any:
    """The module `torchvision.models`."""
    declare_missing_operators()
    return import_module("torchvision.models")


def _load_extension() -> bool:
    """Load torchvision's compiled operators without importing the package; False where they do not fit."""
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True
    for library in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
        except OSError:
            return False
    return hasattr(torch.ops.torchvision, "nms")
