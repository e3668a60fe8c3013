"""Switches of cuDNN and cuBLAS for a training on a GPU: timed algorithms, one order of sums, and TF32."""

import os

import torch

from segcli.config.schema import Training

__all__ = ["set_gpu_switches"]

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
"""Variable that cuBLAS reads at its first product; with this value, its sums have one order."""


def set_gpu_switches(device: torch.device, training: Training, precision: str) -> str | None:
    """Set the switches of this process for a training, and describe them; on a CPU nothing changes.

    cuDNN does not time its algorithms (`torch.backends.cudnn.benchmark`): what it tries takes memory that no forecast
    knows, and images of many sizes are timed again and again. TF32 is used in what is computed in float32, for
    convolutions as PyTorch does by itself, and for matrix products, too; `training.deterministic` turns it off.

    Args:
        device: Device of the training.
        training: Section `training` of the run.
        precision: Name of the precision of the training.

    Returns:
        A line for the user; None on a CPU.
    """
    if device.type != "cuda":
        return None
    exact = training.deterministic
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = exact
    torch.backends.cudnn.allow_tf32 = not exact
    torch.backends.cuda.matmul.allow_tf32 = not exact
    torch.use_deterministic_algorithms(exact, warn_only=True)
    if exact:
        os.environ.setdefault(CUBLAS, ":4096:8")
        return "`training.deterministic`: sums have one order where PyTorch knows one, and TF32 is not used"
    if precision == "fp32":
        return "float32 on this GPU: convolutions and matrix products in TF32 (`training.deterministic=true`: without)"
    return None
