"""Backward pass, node by node, with the memory behaviour of PyTorch's autograd engine.

The engine itself needs CUDA streams and cannot run without a GPU. This module follows its rules for memory. Nodes run
in the order of their numbers, from last to first. The tensors saved by a node are freed when it has run. Gradients of a
value that was used twice are added in place if nothing else holds the first one. The first gradient of a parameter is
not copied unless its layout differs. A block with activation checkpointing recomputes its activations once, when its
first node needs them, and frees its inputs after its last node.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

__all__ = ["Saved", "backward"]


class _Kept:
    """Tensor that a node saved; None after the node has run."""

    __slots__ = ("number", "tensor")

    def __init__(self, number: int, tensor: Tensor) -> None:
        self.number = number
        self.tensor: Tensor | None = tensor


class Saved:
    """Tensors that the forward pass saves for the backward pass, by the number of the node that saved them."""

    def __init__(self) -> None:
        self.by_node: defaultdict[int, list[_Kept]] = defaultdict(list)
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack)
        self.running = -1
        """Number of the running node."""
        self.recomputed: list[_Kept] = []
        """Inputs of the blocks that are being recomputed."""

    def _pack(self, tensor: Tensor) -> _Kept:
        kept = _Kept(torch._C._autograd._get_sequence_nr() - 1, tensor)
        self.by_node[kept.number].append(kept)
        return kept

    def _unpack(self, kept: _Kept) -> Tensor:
        # a node unpacks its own tensors; if it unpacks those of another node, `torch.utils.checkpoint` is recomputing
        if kept.number != self.running:
            self.recomputed.append(kept)
        assert kept.tensor is not None
        return kept.tensor

    def enter(self, number: int) -> None:
        """Note that the node with this number starts; all nodes with larger numbers have run."""
        self.running = number
        for kept in self.recomputed:
            if kept.number >= number:
                kept.tensor = None
        self.recomputed = [kept for kept in self.recomputed if kept.number < number]

    def free(self, number: int) -> None:
        """Free the tensors that this node saved."""
        for kept in self.by_node.pop(number, ()):
            kept.tensor = None

    def free_all(self) -> None:
        """Free all saved tensors, as at the end of a backward pass."""
        for number in list(self.by_node):
            self.free(number)
        self.recomputed.clear()


# without an id of the backward pass, `torch.utils.checkpoint` would recompute a block for each unpacked tensor
@patch("torch._C._current_graph_task_id", lambda: 0)
@torch.no_grad()
def backward(loss: Tensor, saved: Saved, enter: Callable[[int], None]) -> None:
    """Compute the gradients of `loss` for all parameters.

    Args:
        loss: Scalar loss.
        saved: Tensors that the forward pass saved.
        enter: Called with the number of each node before the node runs.
    """
    root: Any = loss.grad_fn
    waiting = _dependencies(root)
    inputs: dict[Any, dict[int, Tensor]] = {root: {0: torch.ones_like(loss)}}
    ready = [(-root._sequence_nr(), 0, root)]
    pushed = 1
    while ready:
        _, _, node = heapq.heappop(ready)
        number = node._sequence_nr()
        enter(number)
        saved.enter(number)
        given = inputs.pop(node, {})
        grads = _run(node, given) if given else [None] * len(node.next_functions)
        saved.free(number)
        for position, (following, index) in enumerate(node.next_functions):
            if following is None:
                continue
            grad, grads[position] = grads[position], None
            if grad is not None:
                held = inputs.setdefault(following, {})
                grad = _fitting(grad, following._input_metadata[index])
                held[index] = _added(held.pop(index), grad) if index in held else grad
            del grad
            waiting[following] -= 1
            if waiting[following] == 0:
                if following.name() == "torch::autograd::AccumulateGrad":
                    enter(number)
                    _accumulate(following.variable, inputs.pop(following, {}).pop(0, None))
                else:
                    heapq.heappush(ready, (-following._sequence_nr(), pushed, following))
                    pushed += 1
    saved.free_all()


def _dependencies(root: Any) -> dict[Any, int]:
    """Count the edges that lead to each node."""
    counts: defaultdict[Any, int] = defaultdict(int)
    seen, stack = {root}, [root]
    while stack:
        for following, _ in stack.pop().next_functions:
            if following is not None:
                counts[following] += 1
                if following not in seen:
                    seen.add(following)
                    stack.append(following)
    return counts


def _run(node: Any, given: dict[int, Tensor]) -> list[Tensor | None]:
    grads = [given.get(index) for index in range(len(node._input_metadata))]
    given.clear()
    function = getattr(node, "apply", node)  # a user's own autograd.Function
    out = function(*grads)
    return list(out) if isinstance(out, tuple) else [out]


def _fitting(grad: Tensor, value: Any) -> Tensor:
    """Convert a gradient to the shape and dtype of its value."""
    if tuple(grad.shape) != tuple(value.shape):
        grad = grad.sum_to_size(value.shape)
    return grad if grad.dtype == value.dtype else grad.to(value.dtype)


def _added(first: Tensor, second: Tensor) -> Tensor:
    """Add two gradients of one value."""
    alone = first.numel() * first.element_size() == first.untyped_storage().nbytes() and first._base is None
    return first.add_(second) if alone else first + second


def _accumulate(parameter: Tensor, grad: Tensor | None) -> None:
    if grad is None:
        return
    if parameter.grad is not None:
        parameter.grad.add_(grad)
    elif grad.stride() == parameter.stride() and grad._base is None:
        parameter.grad = grad.detach()
    else:
        parameter.grad = torch.empty_like(parameter).copy_(grad)
