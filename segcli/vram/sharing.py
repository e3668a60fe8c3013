"""Memory that one GPU of several needs for training together.

The trainer's own step is played on one GPU, with its share of the batch and with a world in which nothing is sent. Its
buckets of gradients and its batch norms over all processes are therefore those of a training. `Sharded` adds what
PyTorch's FSDP2 does (`_fsdp_param_group.py`, `_fsdp_collectives.py`), which cannot run on tensors without data.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from unittest.mock import patch

import torch
from torch import Tensor, nn

from segcli.engine.training.stepping.step import TrainingStep
from segcli.engine.world import World
from segcli.nn.units import padded_share, units
from segcli.vram.recorder import Recorder

__all__ = ["ALONE", "Group", "Pretended", "Sharded", "Sharing", "sharing"]

Value = TypeVar("Value")


@dataclass(frozen=True)
class Group:
    """GPUs that train one network together."""

    gpus: int = 1
    strategy: Literal["ddp", "fsdp"] = "ddp"

    @property
    def shards(self) -> bool:
        """Tell whether each GPU has only a share of the network."""
        return self.gpus > 1 and self.strategy == "fsdp"

    def share(self, batch_size: int) -> int:
        """Return the largest number of images of a batch that one GPU takes.

        Example:
            >>> Group(4).share(10)
            3
        """
        return -(-batch_size // self.gpus)


ALONE = Group()


class Pretended(World):
    """Processes that are not there: each of them would have what this one has."""

    def gathered(self, value: Value) -> list[Value]:
        """Give as many times the own value as there are processes."""
        return [value] * self.size

    def told(self, value: Value) -> Value:
        """Give the own value."""
        return value

    def most(self, *numbers: int) -> list[int]:
        """Give the own numbers."""
        return list(numbers)

    def add(self, values: Tensor) -> None:
        """Send nothing."""


def _nothing(*_: Any, **__: Any) -> None:
    """Send nothing."""


class Sharing:
    """Training in which each GPU has the whole network.

    Args:
        recorder: Records the memory.
        network: Network that is trained.
        gpus: Number of GPUs.
    """

    def __init__(self, recorder: Recorder, network: nn.Module, gpus: int) -> None:
        self.recorder, self.network, self.gpus = recorder, network, gpus

    @property
    def world(self) -> World:
        """Processes for the step: one, or as many as there are GPUs, none of which is there."""
        return World.alone() if self.gpus == 1 else Pretended(0, self.gpus, 0)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Send nothing in this context."""
        with ExitStack() as stack:
            for name in ("all_reduce", "all_gather") if self.gpus > 1 else ():
                stack.enter_context(patch(f"torch.distributed.{name}", _nothing))
            yield

    def begin(self, step: TrainingStep) -> None:
        """Note what the step has made, and follow how it adds gradients."""
        shared, add = step.stepper.sharing, step.stepper.sharing.add_gradients

        def add_gradients(parameters: Iterable[nn.Parameter]) -> None:
            with self.recorder.during(self.recorder.stage, "buckets"):
                add(parameters)

        if self.gpus > 1:
            shared.add_gradients = add_gradients  # type: ignore[method-assign]

    def backward_begins(self) -> None:
        """Note that a backward pass begins."""

    def node_begins(self, number: int) -> None:
        """Note that the backward pass of the node with this number begins."""

    def backward_over(self) -> None:
        """Note that the backward pass is over."""

    def updating(self) -> None:
        """Note that the optimizer begins."""

    def updated(self) -> None:
        """Note that the optimizer is done and the gradients are gone."""

    def validating(self) -> None:
        """Note that the validation begins."""

    def held(self, parameter: Tensor) -> int:
        """Return the bytes of a parameter that this GPU holds."""
        return parameter.numel() * parameter.element_size()


def sharing(group: Group, recorder: Recorder, network: nn.Module) -> Sharing:
    """Make what follows the group's strategy."""
    kind = Sharded if group.shards else Sharing
    return kind(recorder, network, group.gpus)


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
    """FSDP2: each GPU keeps a share of weights, gradients and optimizer state, and gathers a unit when it is used."""

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

    def begin(self, step: TrainingStep) -> None:
        """Shard the averaged network, too; gradients are added in the backward pass, and not again."""
        step.stepper.sharing.add_gradients = _nothing  # type: ignore[method-assign]
        if step.stepper.averaged is not None:
            self._shrink(step.stepper.averaged)

    # ---- forward

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Gather each unit before its forward pass, and free it afterwards."""
        with super().watching(), ExitStack() as stack:
            # what optimizers do with shards: no fused kernel, except where there is one for shards, and no lists
            stack.enter_context(patch("segcli.optimizers.is_shard", lambda _: True))
            stack.enter_context(patch("torch.optim.optimizer._get_foreach_kernels_supported_devices", list))
            for module, unit in self.units.items():
                stack.callback(module.register_forward_pre_hook(self._enter(unit), prepend=True).remove)
                stack.callback(module.register_forward_hook(self._leave(unit)).remove)
            yield

    def _enter(self, unit: _Unit) -> Any:
        def enter(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            if self.is_backward or not torch.is_grad_enabled():
                return  # activations are computed again, or the network is there as a whole
            unit.first = torch._C._autograd._get_sequence_nr()
            unit.fed = any(isinstance(x, Tensor) and x.requires_grad for x in inputs)
            self._gather(unit)
            self.lingering, unit.buffer = unit.buffer, None

        return enter

    def _leave(self, unit: _Unit) -> Any:
        def leave(*_: Any) -> None:
            if self.is_backward or not torch.is_grad_enabled():
                return
            unit.last = torch._C._autograd._get_sequence_nr() - 1
            self.order.append(unit)
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

    def validating(self) -> None:
        """Gather the whole network: processes validate different numbers of images, and cannot meet in between."""
        for unit in self.units.values():
            self._gather(unit)
            if unit.buffer is not None:
                self.recorder.end(unit.buffer)
                unit.buffer = None
