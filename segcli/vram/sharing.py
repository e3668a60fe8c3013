"""Memory that one GPU of several needs for training together: buckets of gradients, or shards and what is gathered.

Both classes follow PyTorch. `Replicated` follows DistributedDataParallel (`reducer.cpp`), `Sharded` follows FSDP2
(`_fsdp_param_group.py`, `_fsdp_collectives.py`). The step itself is played on one GPU, with its share of the batch.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from segcli.nn.units import padded_share, units
from segcli.vram.recorder import Recorder

__all__ = ["ALONE", "Group", "Replicated", "Sharded", "Sharing", "buckets", "sharing"]

FIRST_BUCKET = 2**20
"""Bytes after which the first bucket of gradients is full."""
BUCKET = 25 * 2**20
"""Bytes after which every other bucket is full."""


@dataclass(frozen=True)
class Group:
    """GPUs that train one network together."""

    gpus: int = 1
    strategy: Literal["ddp", "fsdp"] = "ddp"

    def share(self, batch_size: int) -> int:
        """Return the largest number of images of a batch that one GPU takes.

        Example:
            >>> Group(4).share(10)
            3
        """
        return -(-batch_size // self.gpus)


ALONE = Group()


class Sharing:
    """Training on one GPU: nothing is shared.

    Args:
        recorder: Records the memory.
        network: Network that is trained.
        gpus: Number of GPUs.
    """

    def __init__(self, recorder: Recorder, network: nn.Module, gpus: int) -> None:
        self.recorder, self.network, self.gpus = recorder, network, gpus

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Follow the units of the network through forward passes."""
        yield

    def stepper_made(self, averaged: nn.Module | None) -> None:
        """Note that optimizer and averaged network were made."""

    def batch_begins(self, *, is_last: bool) -> None:
        """Note that a batch begins; the last one of an optimizer step adds up the gradients of all GPUs."""

    def backward_begins(self) -> None:
        """Note that a backward pass begins."""

    def node_begins(self, number: int) -> None:
        """Note that the backward pass of the node with this number begins."""

    def accumulated(self, parameter: nn.Parameter) -> None:
        """Note that a parameter has its gradient."""

    def backward_over(self) -> None:
        """Note that the backward pass is over."""

    def updating(self) -> None:
        """Note that the optimizer begins."""

    def updated(self) -> None:
        """Note that the optimizer is done and the gradients are gone."""

    def held(self, parameter: Tensor) -> int:
        """Return the bytes of a parameter that this GPU holds."""
        return parameter.numel() * parameter.element_size()


def sharing(group: Group, recorder: Recorder, network: nn.Module) -> Sharing:
    """Make what follows the group's strategy."""
    kind = Sharing if group.gpus == 1 else {"ddp": Replicated, "fsdp": Sharded}[group.strategy]
    return kind(recorder, network, group.gpus)


def buckets(sizes: Sequence[int]) -> list[list[int]]:
    """Put gradients of these sizes into buckets, in order; returns their positions.

    Example:
        >>> buckets([600_000, 600_000, 20_000_000, 20_000_000, 1])
        [[0, 1], [2, 3], [4]]
    """
    found: list[list[int]] = [[]]
    size = 0
    for position, each in enumerate(sizes):
        found[-1].append(position)
        size += each
        if size >= (FIRST_BUCKET if len(found) == 1 else BUCKET):
            found.append([])
            size = 0
    return [bucket for bucket in found if bucket]


class Replicated(Sharing):
    """DistributedDataParallel: gradients live in buckets, which are there from the first step to the last.

    Before the first backward pass, PyTorch has one bucket for all; then it makes buckets in the order in which the
    gradients came.
    """

    def __init__(self, recorder: Recorder, network: nn.Module, gpus: int) -> None:
        super().__init__(recorder, network, gpus)
        self.views: dict[nn.Parameter, Tensor] = {}
        self.order: list[nn.Parameter] = []
        """Parameters in the order in which their gradients came."""
        self.is_last = True
        self.is_rebuilt = False

    def batch_begins(self, *, is_last: bool) -> None:
        """Make the buckets, or make them anew after the first backward pass."""
        self.is_last = is_last
        if not self.views:
            parameters = [each for each in self.network.parameters() if each.requires_grad]
            self._make([parameters])
        elif self.order and not self.is_rebuilt and is_last:
            self.is_rebuilt = True
            sizes = [each.numel() * each.element_size() for each in self.order]
            self.views.clear()
            self._make([[self.order[position] for position in bucket] for bucket in buckets(sizes)])

    def _make(self, parts: list[list[nn.Parameter]]) -> None:
        with self.recorder.during("training/batch", "gradients"), torch.no_grad():
            for part in parts:
                flat = torch.empty(sum(each.numel() for each in part), dtype=part[0].dtype, device=part[0].device)
                start = 0
                for each in part:
                    self.views[each] = flat.as_strided(each.shape, each.stride(), start)
                    start += each.numel()

    def accumulated(self, parameter: nn.Parameter) -> None:
        """Copy the gradient into its bucket."""
        view = self.views[parameter]
        if self.is_last and parameter.grad is not view:
            assert parameter.grad is not None
            view.copy_(parameter.grad)
            parameter.grad = view
            if not self.is_rebuilt:
                self.order.append(parameter)


@dataclass(eq=False)
class _Unit:
    """Parameters that are gathered together, and what of them is there now."""

    parameters: list[nn.Parameter]
    padded: list[int]
    """Bytes of each gathered parameter, with padding."""
    first: int = 0
    """Number of the first node of its forward pass."""
    last: int = -1
    """Number of the last node of its forward pass."""
    fed: bool = False
    """True if its input has a gradient, so that the end of its backward pass is noticed."""
    buffer: int | None = None
    """Block into which its shards are gathered."""
    gathered: list[int] | None = None
    """Blocks of its whole parameters."""
    reduced: bool = False

    @property
    def size(self) -> int:
        return sum(self.padded)


class Sharded(Sharing):
    """FSDP2: each GPU keeps a share of parameters, gradients and optimizer state, and gathers a unit when it is used."""

    def __init__(self, recorder: Recorder, network: nn.Module, gpus: int) -> None:
        super().__init__(recorder, network, gpus)
        self.units: dict[nn.Module, _Unit] = {}
        taken: set[int] = set()
        for module in [*units(network).values(), network]:
            own = [each for each in module.parameters() if id(each) not in taken]
            taken.update(map(id, own))
            if own:
                self.units[module] = _Unit(own, [gpus * padded_share(each, gpus) for each in own])
        self.order: list[_Unit] = []
        """Units in the order of the forward pass."""
        self.lingering: int | None = None
        """Buffer of the last unit that was gathered in a forward pass."""
        self.sent: int | None = None
        """Buffer of the gradients that were sent last."""
        self.shards: list[int] = []
        """Blocks of gradients that this GPU keeps."""
        self.earlier: dict[nn.Parameter, Tensor] = {}
        """Gradients of earlier batches of the optimizer step."""
        self.first_block = 0
        """First block of the optimizer step."""
        self.is_backward = False
        self._shrink(network)

    def held(self, parameter: Tensor) -> int:
        """Return the bytes of the shard."""
        return padded_share(parameter, self.gpus)

    def _shrink(self, network: nn.Module) -> None:
        for each in network.parameters():
            self.recorder.resize(each, self.held(each))

    def stepper_made(self, averaged: nn.Module | None) -> None:
        """Shard the averaged network, too."""
        if averaged is not None:
            self._shrink(averaged)

    # ---- forward

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Gather each unit before its forward pass, and free it afterwards."""
        handles = []
        for module, unit in self.units.items():
            handles.append(module.register_forward_pre_hook(self._enter(unit), prepend=True))
            handles.append(module.register_forward_hook(self._leave(unit, is_root=module is self.network)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, unit: _Unit) -> Any:
        def enter(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            if self.is_backward:
                return  # activations are computed again
            unit.first = torch._C._autograd._get_sequence_nr()
            unit.fed = torch.is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in inputs)
            self._gather(unit)
            self.lingering, unit.buffer = unit.buffer, None

        return enter

    def _leave(self, unit: _Unit, *, is_root: bool) -> Any:
        def leave(*_: Any) -> None:
            if self.is_backward:
                return
            unit.last = torch._C._autograd._get_sequence_nr() - 1
            if torch.is_grad_enabled():
                self.order.append(unit)
            if not is_root or not torch.is_grad_enabled():
                self._free(unit)

        return leave

    def _gather(self, unit: _Unit) -> None:
        """Gather the shards of a unit, unless they are here, and copy them to their places."""
        if unit.gathered is not None:
            return
        if unit.buffer is None:
            unit.buffer = self.recorder.begin(unit.size, "gathered")
        if self.lingering is not None:
            self.recorder.end(self.lingering)
            self.lingering = None
        unit.gathered = [self.recorder.begin(size, "gathered") for size in unit.padded]

    def _free(self, unit: _Unit) -> None:
        for number in unit.gathered or []:
            self.recorder.end(number)
        unit.gathered = None

    # ---- backward

    def backward_begins(self) -> None:
        """Begin with the network itself, whose output comes last."""
        self.is_backward = True
        for each in self.network.parameters():
            if each.grad is not None:
                self.earlier[each] = each.grad
                each.grad = None
        for unit in self.units.values():
            unit.reduced = False
        if self.network in self.units:
            self._before(self.units[self.network])

    def node_begins(self, number: int) -> None:
        """Reduce the gradients of units that are done, and gather the one that comes."""
        for unit in self.units.values():
            if unit.fed and not unit.reduced and number < unit.first:
                self._reduce(unit)
        for module, unit in self.units.items():
            if module is not self.network and not unit.reduced and unit.first <= number <= unit.last:
                self._before(unit)

    def _before(self, unit: _Unit) -> None:
        """Gather a unit for its backward pass, and begin to gather the one before it."""
        if unit not in self.order:
            return
        self._gather(unit)
        if unit.buffer is not None:
            self.recorder.end(unit.buffer)
            unit.buffer = None
        position = self.order.index(unit)
        self.order[position:] = []
        if position and self.order[position - 1].gathered is None and self.order[position - 1].buffer is None:
            before = self.order[position - 1]
            before.buffer = self.recorder.begin(before.size, "gathered")

    def _reduce(self, unit: _Unit) -> None:
        """Exchange the whole gradients of a unit for this GPU's share of their sum."""
        unit.reduced = True
        self._free(unit)
        if self.sent is not None:
            self.recorder.end(self.sent)
            self.sent = None
        own = [(each, size) for each, size in zip(unit.parameters, unit.padded, strict=True) if each.grad is not None]
        if not own:
            return
        size = sum(size for _, size in own)
        self.sent = self.recorder.begin(size, "gathered")
        for each, _ in own:
            assert each.grad is not None
            self.recorder.disown(each.grad)
        share = self.recorder.begin(size // self.gpus, "gradients")
        if self.earlier:
            self.recorder.end(share)  # it is added to the share of the earlier batches
        else:
            self.shards.append(share)

    def backward_over(self) -> None:
        """Reduce what is left: units whose input has no gradient."""
        for unit in self.units.values():
            if not unit.reduced:
                self._reduce(unit)
        if self.sent is not None:
            self.recorder.end(self.sent)
            self.sent = None
        for each, grad in self.earlier.items():
            each.grad = grad
        self.earlier.clear()
        self.order.clear()
        self.is_backward = False

    # ---- optimizer

    def updating(self) -> None:
        """Note the first block of the optimizer step."""
        self.first_block = len(self.recorder.log.blocks)

    def updated(self) -> None:
        """Shrink what the optimizer made in the shape of parameters, and free the gradients."""
        shares = {each.numel() * each.element_size(): self.held(each) for each in self.network.parameters()}
        for block in self.recorder.log.blocks[self.first_block :]:
            block.size = shares.get(block.size, block.size)
        for number in self.shards:
            self.recorder.end(number)
        self.shards.clear()
