"""Records every block of GPU memory: allocation, release, layer, stage and kind."""

import weakref
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from segcli.vram import kernels

__all__ = ["TOP", "Block", "Log", "Recorder"]

TOP = "(network)"
"""Layer name for operators that run in the network but in none of its modules."""

DEVICE = torch.ops.prim.device.default
"""Operator that tells the device of a tensor; it is asked more often than all others together."""


def _names(network: nn.Module) -> dict[int, str]:
    return {id(module): name or TOP for name, module in network.named_modules()}


def _device_of(tensor: Tensor) -> torch.device:
    """Tell the device as a fake tensor does, without a call of the operator."""
    if not isinstance(tensor, FakeTensor):
        return tensor.device
    return torch.device("meta") if tensor.fake_mode.in_kernel_invocation else tensor.fake_device


@dataclass(slots=True)
class Block:
    """Block of GPU memory."""

    size: int
    """Requested bytes, before the allocator rounds up."""
    kind: str
    """`parameters`, `buffers`, `gradients`, `buckets`, `gathered`, `optimizer`, `ema`, `batch`, `activations`,
    `temporary` or `workspace`."""
    layer: str
    """Module that allocated the block; empty outside of all modules."""
    like_weight: bool = False
    """True if the tensor has the shape of a weight, such as its copy in another dtype."""


@dataclass(slots=True)
class Moment:
    """Stage and layer of the step, valid from one event on."""

    first_event: int
    stage: str
    layer: str


@dataclass
class Log:
    """All allocations and releases in order."""

    blocks: list[Block] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    """Number of an allocated block, or `~number` of a released block."""
    moments: list[Moment] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    """Blocks of the forward pass that were allocated when the last backward pass began."""

    def settle(self) -> None:
        """Sort blocks that are released together by number, because autocast frees its weights in arbitrary order.

        The free memory afterwards does not depend on the order.
        """
        start = 0
        for position, event in enumerate([*self.events, 0]):
            if event >= 0:
                self.events[start:position] = sorted(self.events[start:position], reverse=True)
                start = position + 1


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the memory of one network during a step.

    Args:
        network: Network whose modules are the layers.
        device_type: Type of device; blocks on other devices are ignored.
    """

    def __init__(self, network: nn.Module, device_type: str = "cuda") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.device_type = device_type
        self.log = Log()
        self.names = _names(network)
        self.shapes = {shape for each in network.parameters() for shape in (each.shape, each.shape[::-1])}
        self.layers = [""]
        self.marks: list[tuple[int, str]] = []
        """First node number of each layer visit, with the name of the layer."""
        self.stage = "start"
        self.kind = "temporary"
        self.alive: dict[int, int] = {}
        """Block number of each storage that is still allocated."""
        self.references: dict[int, Any] = {}
        self.handles: set[bool] = set()
        self._note_moment()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Hide nothing from PyTorch's compiler: it costs time at each operator, and nothing is compiled here."""
        return False

    # ---- blocks

    def adopt(self, tensors: Iterable[Tensor], kind: str) -> None:
        """Record tensors that were made elsewhere, or set the kind of tensors that were recorded here."""
        for tensor in tensors:
            number = self._seen(tensor)
            if number is not None:
                self.log.blocks[number].kind = kind

    def _seen(self, tensor: Tensor) -> int | None:
        """Return the number of the block that holds this tensor; a new block is recorded."""
        if tensor.device.type != self.device_type:
            return None
        storage = tensor.untyped_storage()
        key = storage._cdata
        number = self.alive.get(key)
        if number is None and storage.nbytes():
            number = self.alive[key] = self._begin(storage.nbytes(), self.kind)
            self.log.blocks[number].like_weight = tensor.shape in self.shapes
            self.references[key] = weakref.ref(storage, lambda _: self._storage_died(key))
        return number

    def begin(self, size: int, kind: str) -> int:
        """Record a block that no tensor of this process shows, and return its number."""
        return self._begin(size, kind)

    def end(self, number: int) -> None:
        """Record the release of a block that `begin` has recorded."""
        self.log.events.append(~number)

    def resize(self, tensor: Tensor, size: int) -> None:
        """Record less for a tensor than it has, because this GPU holds only a share of it."""
        self.log.blocks[self.alive[tensor.untyped_storage()._cdata]].size = size

    def disown(self, tensor: Tensor) -> None:
        """Record the release of a tensor that stays only because the simulation needs it."""
        key = tensor.untyped_storage()._cdata
        self.log.events.append(~self.alive[key])
        self.alive[key] = self._begin(0, "temporary")

    def finish(self) -> Log:
        """End the recording: what the collector frees later, at any time, does not belong to the step."""
        self.references.clear()
        self.log.settle()
        return self.log

    def _storage_died(self, key: int) -> None:
        del self.references[key]
        number = self.alive.pop(key)
        block = self.log.blocks[number]
        if block.kind == "passing":
            block.kind = "temporary"
        self.log.events.append(~number)

    def _begin(self, size: int, kind: str) -> int:
        self.log.blocks.append(Block(size, kind, self.layers[-1]))
        self.log.events.append(len(self.log.blocks) - 1)
        return len(self.log.blocks) - 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operator and record the memory of its results."""
        if func is DEVICE:
            return _device_of(args[0])
        if func in kernels.IN_PLACE:
            return None
        out = func(*args, **(kwargs or {}))
        on_gpu = self.device_type == "cuda"
        if on_gpu:
            out = kernels.in_cudnn_layout(func, args, out)
            if kernels.needs_blas(func):
                self._reserve_workspace()
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._seen(leaf)
        if on_gpu:
            hidden = [self._begin(size, "temporary") for size in kernels.hidden(func, args, out) if size]
            self.log.events += [~number for number in hidden]
        return out

    def _reserve_workspace(self) -> None:
        """Record the cuBLAS workspace; the threads of forward and backward pass have one each."""
        behind = self.stage.endswith("backward")
        if behind not in self.handles:
            self.handles.add(behind)
            self._begin(kernels.WORKSPACE, "workspace")

    # ---- stages and layers

    @contextmanager
    def during(self, stage: str, kind: str = "temporary") -> Iterator[None]:
        """Mark a stage of the step; blocks allocated in it get this kind unless another kind is set."""
        before = self.stage, self.kind
        self.enter_stage(stage, kind)
        try:
            yield
        finally:
            self.enter_stage(*before)

    def enter_stage(self, stage: str, kind: str) -> None:
        """Start a stage."""
        self.stage, self.kind = stage, kind
        self._note_moment()

    def _note_moment(self) -> None:
        self.log.moments.append(Moment(len(self.log.events), self.stage, self.layers[-1]))

    def enter_node(self, number: int) -> None:
        """Note that the backward pass of the node with this number starts."""
        position = bisect_right(self.marks, number, key=lambda mark: mark[0]) - 1
        self.layers[-1] = self.marks[position][1] if position >= 0 else ""
        self._note_moment()

    def leave_nodes(self) -> None:
        """Note that the backward pass is over."""
        self.layers[-1] = ""
        self._note_moment()

    @contextmanager
    def following(self, network: nn.Module | None = None) -> Iterator[None]:
        """Track the running module; `network` is a copy of the network with the same layer names."""
        names = self.names
        if network is not None:
            names = _names(network)

        def enter(module: nn.Module, _: Any) -> None:
            if id(module) in names:
                self._move([*self.layers, names[id(module)]])

        def leave(module: nn.Module, *_: Any) -> None:
            if id(module) in names:
                self._move(self.layers[:-1])

        handles = [hooks.register_module_forward_pre_hook(enter)]
        handles.append(hooks.register_module_forward_hook(leave, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _move(self, layers: list[str]) -> None:
        self.layers = layers
        self.marks.append((torch._C._autograd._get_sequence_nr(), layers[-1]))
        self._note_moment()

    def note_saved(self) -> None:
        """Note before a backward pass which blocks of the forward pass are kept for it."""
        self.log.kept = []
        for number in self.alive.values():
            if self.log.blocks[number].kind == "passing":
                self.log.blocks[number].kind = "activations"
                self.log.kept.append(number)
