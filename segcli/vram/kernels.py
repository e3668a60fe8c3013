"""Memory effects of CUDA kernels that fake tensors do not show: layouts, copies, workspaces.

Each rule names the file in PyTorch's sources that it follows.
"""

from typing import Any

import torch
from torch import Tensor

__all__ = ["IN_PLACE", "WORKSPACE", "attention", "hidden", "in_cudnn_layout", "needs_blas"]

aten = torch.ops.aten
WORKSPACE = 4096 * 1024 * 2 + 16 * 1024 * 8
"""Bytes that each cuBLAS handle reserves at its first matrix product (`CUDABlas.cpp`, GPUs before Hopper)."""
CONVOLUTIONS = {aten.convolution.default, aten.convolution_backward.default}
PRODUCTS = {aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default, aten.linear.default}
IN_PLACE = {aten._fused_sgd_.default, aten._fused_sgd_.tensor_lr}
"""In-place operators without a result that do not support fake tensors."""
FLASH_BLOCK = 128
"""Flash attention rounds the number of tokens up to a multiple of this."""
SORT_BYTES = 20
"""Extra bytes per value for sorting: positions, and a second buffer of values and positions."""


def needs_blas(func: Any) -> bool:
    """Tell if the operator runs in cuBLAS."""
    return func in PRODUCTS


def _layout(*tensors: Tensor) -> torch.memory_format:
    """Return the layout that cuDNN uses: channels-last if one of the tensors has it (`ConvUtils.h`)."""
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(tensors[0].ndim)
    if last is not None and tensors[0].dtype != torch.float64:
        for tensor in tensors:
            if tensor.is_contiguous(memory_format=last) and not tensor.is_contiguous():
                return last
    return torch.contiguous_format


def _convolved(func: Any, args: Any) -> tuple[Tensor, ...]:
    """Return input and weight of a convolution, or output gradient, input and weight of its backward."""
    count = 2 if func is aten.convolution.default else 3
    return tuple(args[:count])


def in_cudnn_layout(func: Any, args: Any, out: Any) -> Any:
    """Convert the results of a convolution to the layout of cuDNN; other results stay as they are."""
    if func not in CONVOLUTIONS:
        return out
    layout = _layout(*_convolved(func, args)[-2:])

    def placed(tensor: Tensor | None) -> Tensor | None:
        if tensor is None or tensor.ndim < 4 or tensor.is_contiguous(memory_format=layout):
            return tensor
        return torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device, memory_format=layout)

    return placed(out) if isinstance(out, Tensor) else tuple(placed(tensor) for tensor in out)


def hidden(func: Any, args: Any, out: Any) -> list[int]:
    """Return the bytes of each temporary block that exists only while the kernel runs."""
    if func in CONVOLUTIONS:
        tensors = _convolved(func, args)
        layout = _layout(*tensors[-2:])
        return [_bytes(tensor) for tensor in tensors if not tensor.is_contiguous(memory_format=layout)]
    if func is aten.binary_cross_entropy_with_logits.default:  # Loss.cpp: the logarithm of the sigmoid
        return [_bytes(args[0])]
    if func is aten._scaled_dot_product_flash_attention_backward.default:  # flash_api.cpp: dq_accum, softmax_d
        batch, heads, tokens, width = args[1].shape
        tokens = -(-tokens // FLASH_BLOCK) * FLASH_BLOCK
        return [4 * batch * heads * tokens * (-(-width // 32) * 32), 4 * batch * heads * tokens]
    if func is aten._scaled_dot_product_efficient_attention_backward.default:  # attention_backward.cu: delta
        batch, heads, tokens, _ = args[1].shape
        return [4 * batch * heads * tokens]
    if func in (aten.sort.default, aten.sort.stable):
        return [SORT_BYTES * out[0].numel() // max(out[0].shape[:-1].numel(), 1)]
    return []


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Run `scaled_dot_product_attention` with the GPU's kernel: flash for 16 bit, memory-efficient for 32 bit."""
    assert not enable_gqa
    if torch.is_autocast_enabled("cuda"):
        kind = torch.get_autocast_dtype("cuda")
        query, key, value = (tensor.to(kind) for tensor in (query, key, value))
    if query.dtype in (torch.float16, torch.bfloat16) and attn_mask is None:
        width = query.shape[-1]
        padded = [
            torch.nn.functional.pad(tensor, (0, -width % 8)) if width % 8 else tensor for tensor in (query, key, value)
        ]
        out = aten._scaled_dot_product_flash_attention(*padded, dropout_p, is_causal, False, scale=scale)[0]
        cut: Tensor = out[..., :width]
        return cut
    wants_grad = any(tensor.requires_grad for tensor in (query, key, value))
    result: Tensor = aten._scaled_dot_product_efficient_attention(
        query, key, value, attn_mask, wants_grad, dropout_p, is_causal, scale=scale
    )[0]
    return result
