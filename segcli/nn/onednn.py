"""oneDNN, the library with which PyTorch convolves on a CPU."""

import torch

__all__ = ["has_onednn"]


def has_onednn() -> bool:
    """Tell whether this build of PyTorch has oneDNN."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # PyTorch states no types
    return available
