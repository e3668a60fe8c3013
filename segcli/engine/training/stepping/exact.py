"""Training step whose result has the same bits on any number of processes (`training.reduce: exact`).

A batch is cut into slots of a few images. Each slot goes through the network by itself, with random numbers of its own,
so that it is computed in the same way wherever it is. Batch norms meet in the middle to take their statistics over all
slots; these, the losses and the gradients are added along one tree.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from segcli.core.errors import ConfigError
from segcli.core.randomness import seed_of
from segcli.core.types import Batch, Outputs
from segcli.data.loader import Loaded
from segcli.engine.assembly import Assembly
from segcli.engine.training.stepping.lockstep import Lockstep
from segcli.engine.training.stepping.sharing import Part, buckets
from segcli.engine.training.stepping.slots import SlotSums
from segcli.engine.training.stepping.step import Guard, TrainingStep
from segcli.engine.world import World
from segcli.nn.sync_norm import Link, SyncNorm

__all__ = ["ExactStep"]

FAST = "set `training.reduce=fast`"


class _SlotLink(Link):
    """Adds vectors of numbers over all slots."""

    def __init__(self, lockstep: Lockstep) -> None:
        super().__init__()
        self.lockstep = lockstep
        self.forward = True
        """False in backward, where a block may run again that keeps no activations."""

    def __deepcopy__(self, _: dict[int, Any]) -> "_SlotLink":
        return self  # the averaged network is never in training

    @property
    def remembers(self) -> bool:
        """Tell whether running statistics are updated: once, not by each slot."""
        return self.forward and self.lockstep.turn == 0

    def add(self, values: Tensor) -> Tensor:
        """Return the sum of the vectors of all slots."""
        return self.lockstep.meet(values)


@dataclass
class _Slot:
    batch: Batch
    count: int
    """Number of its images; 0 if it takes part only because the others would wait."""
    outputs: Outputs = field(default_factory=dict)
    losses: dict[str, Tensor] = field(default_factory=dict)
    slopes: dict[str, Tensor | None] = field(default_factory=dict)
    """Gradient of the loss with respect to each output."""


class ExactStep(TrainingStep):
    """Trains a network on batches that are cut into slots.

    Args:
        parts: Parts of the run.
        guard: As in `TrainingStep`.
        world: As in `TrainingStep`.

    Raises:
        ConfigError: The device or the network does not allow it.
    """

    def __init__(self, parts: Assembly, *, guard: Guard | None = None, world: World | None = None) -> None:
        _refuse(parts)
        self.world = world or World.alone()
        self.size = parts.run.data.slot_size
        self.sums = SlotSums(self.world)
        self.lockstep = Lockstep(self.sums.add)
        self.link = _SlotLink(self.lockstep)
        self.key = (0, 0)
        super().__init__(parts, guard=guard, world=self.world, link=self.link)

    def take(self, loaded: Loaded, *, share: float, place: str) -> bool:
        """Add the gradient of `share` times the loss of a batch, as `TrainingStep.take` does."""
        assert loaded.key is not None
        self.key = loaded.key
        return super().take(loaded, share=share, place=place)

    def _add(self, batch: Batch, share: float, place: str, part: Part) -> bool:
        skips = self.parts.run.debug.on_nan == "skip"
        buffers = self.stepper.buffers() if skips else []
        self.link.begin(own=part.own, total=part.total)
        self.sums.begin(-(-part.total // self.size))
        slots = list(self._cut(batch, part))
        random = [self._random(number) for number in self.sums.own or [self.sums.count]]
        losses = self._forward(slots, random, share, part)
        if not skips:
            self.guard.watch(losses["loss"], place)
        elif not bool(losses["loss"].isfinite()):
            self.stepper.restore_buffers(buffers)
            return False
        self._backward(slots, random)
        self._record(slots, losses, part)
        return True

    def _cut(self, batch: Batch, part: Part) -> Iterator[_Slot]:
        """Cut the images of this process into slots, each in memory of its own, laid out in the same way."""
        for start in range(0, max(part.own, 1), self.size):
            end = min(start + self.size, max(part.own, 1))
            values = {
                name: each[start:end].clone(memory_format=torch.contiguous_format) for name, each in batch.items()
            }
            image = torch.empty_like(values["image"], memory_format=self.parts.memory_format).copy_(values["image"])
            yield _Slot({**values, "image": image if part.own else torch.zeros_like(image)}, min(end, part.own) - start)

    def _random(self, number: int) -> Tensor:
        """Return the state of the random generator for a slot of this batch."""
        return torch.Generator().manual_seed(seed_of(self.parts.run.seed, "slot", *self.key, number)).get_state()

    # ---- forward

    def _forward(self, slots: list[_Slot], random: list[Tensor], share: float, part: Part) -> dict[str, Tensor]:
        """Compute outputs, and the gradients of the loss with respect to them; return the losses of the whole batch."""
        versions = self._versions()
        self.link.forward = True
        self.lockstep.run([partial(self._forward_slot, slot, share, part.total) for slot in slots], random)
        if self._versions() != versions:
            raise ConfigError(
                "the network changes numbers other than those of batch norms while it computes, which does not work "
                "with `training.reduce: exact`",
                hint=FAST,
            )
        if self.parts.loss.pools:
            return self._pooled(slots, share, part)
        names, first = list(slots[0].losses), slots[0].losses["loss"]
        sums = self.sums.add(
            [torch.stack([slot.losses[name].double() for name in names]) * slot.count for slot in slots]
        )
        return dict(zip(names, (sums / part.total).to(first.dtype), strict=True))

    def _forward_slot(self, slot: _Slot, share: float, total: int) -> None:
        with self.parts.precision.autocast(caches=False):  # what is cached would depend on the slots beside
            slot.outputs = self.stepper.forward(slot.batch["image"])
        if self.parts.loss.pools:
            return
        leaves = {name: _leaf(each) for name, each in slot.outputs.items()}
        losses = self.parts.loss(leaves, slot.batch)
        slot.losses = {name: value.detach() for name, value in losses.items()}
        slot.slopes = _slopes(losses["loss"] * (share * slot.count / total), leaves)

    def _pooled(self, slots: list[_Slot], share: float, part: Part) -> dict[str, Tensor]:
        """Compute a loss that looks at the batch as a whole: the same in each process."""
        outputs = {name: torch.cat([slot.outputs[name].detach() for slot in slots]) for name in slots[0].outputs}
        batch = {name: torch.cat([slot.batch[name] for slot in slots]) for name in slots[0].batch}
        first = 0
        if not self.world.is_alone:
            first = sum(self.world.gathered(part.own)[: self.world.rank])
            outputs, batch = self.stepper.sharing.joined(outputs, batch, part)
        leaves = {name: _leaf(each.contiguous()) for name, each in outputs.items()}
        losses: dict[str, Tensor] = self.parts.loss(leaves, {name: each.contiguous() for name, each in batch.items()})
        slopes = _slopes(losses["loss"] * share, leaves)
        for slot in slots:
            window = slice(first, first + slot.count)
            if slot.count:
                slot.slopes = {name: None if each is None else each[window] for name, each in slopes.items()}
            else:
                slot.slopes = {name: torch.zeros_like(slot.outputs[name]) for name in slopes}
            first += slot.count
        return {name: value.detach() for name, value in losses.items()}

    def _versions(self) -> list[int]:
        """Number the changes of all buffers but those of batch norms."""
        others = (module for module in self.stepper.network.modules() if not isinstance(module, SyncNorm))
        return [each._version for module in others for each in module._buffers.values() if each is not None]

    # ---- backward

    def _backward(self, slots: list[_Slot], random: list[Tensor]) -> None:
        """Add the gradients of all slots to those of the parameters."""
        learning = [each for each in self.stepper.network.parameters() if each.requires_grad]
        self.link.forward = False
        found = self.lockstep.run([partial(_gradients, slot, learning) for slot in slots], random)
        if self.sums.own:
            mine = [any(each[index] is not None for each in found) for index in range(len(learning))]
        else:
            mine = [False] * len(learning)
        anywhere = self.world.most(*map(int, mine)) if learning else []
        places = [index for index, used in enumerate(anywhere) if used]
        at = {id(learning[index]): index for index in places}
        for bucket in buckets([learning[index] for index in places]):
            indices = [at[id(each)] for each in bucket]
            self._add_bucket(bucket, [_flat(bucket, [each[index] for index in indices]) for each in found])
        self.stepper.has_gradient = True

    def _add_bucket(self, bucket: list[Any], flats: list[Tensor]) -> None:
        total, start = self.sums.add(flats), 0
        for parameter in bucket:
            gradient = total[start : start + parameter.numel()].view(parameter.shape)
            start += parameter.numel()
            if parameter.grad is None:
                parameter.grad = torch.empty_like(parameter).copy_(gradient)
            else:
                parameter.grad += gradient

    # ---- records

    @torch.no_grad()
    def _record(self, slots: list[_Slot], losses: dict[str, Tensor], part: Part) -> None:
        """Record losses and metrics of the whole batch in the first process, in the order of the images."""
        rows = [self._statistics(slot) for slot in slots if slot.count] if self.totals.tally.rows else []
        every = self.world.collected(rows) if self.totals.tally.rows else []
        if self.world.is_first:
            self.totals.add_losses(losses, part.total)
            for row in (row for rows in every for row in rows):
                self.totals.tally.append(row)

    def _statistics(self, slot: _Slot) -> dict[str, Tensor]:
        task, outputs = self.parts.task, slot.outputs
        probs = task.probabilities(outputs[task.output].detach(), task.presence(outputs))
        return self.totals.tally.of(self.parts.scored(probs, slot.batch, outputs=outputs))


def _refuse(parts: Assembly) -> None:
    if parts.device.type != "cpu":
        raise ConfigError(
            f"`training.reduce: exact` works on CPUs only, and the device is `{parts.device}`",
            hint=f"{FAST}, or `device=cpu`",
        )
    known = (_BatchNorm.forward, nn.SyncBatchNorm.forward, SyncNorm.forward)
    for name, module in parts.network.named_modules():
        if isinstance(module, _BatchNorm) and type(module).forward not in known:
            raise ConfigError(
                f"layer `{name}` is a batch norm of its own kind, `{type(module).__name__}`, which does not work with "
                "`training.reduce: exact`",
                hint=FAST,
            )


def _leaf(values: Tensor) -> Tensor:
    return values.detach().requires_grad_(values.is_floating_point())


def _slopes(loss: Tensor, leaves: Outputs) -> dict[str, Tensor | None]:
    learning = {name: each for name, each in leaves.items() if each.requires_grad}
    return dict(zip(learning, torch.autograd.grad(loss, list(learning.values()), allow_unused=True), strict=True))


def _gradients(slot: _Slot, parameters: list[nn.Parameter]) -> list[Tensor | None]:
    """Compute the gradient of each parameter from one slot; None where it has none."""
    slopes = {name: each for name, each in slot.slopes.items() if each is not None and slot.outputs[name].requires_grad}
    if not slopes or not parameters:
        return [None] * len(parameters)
    ends = [slot.outputs[name] for name in slopes]
    starts = [each.to(end.dtype) for each, end in zip(slopes.values(), ends, strict=True)]
    return list(torch.autograd.grad(ends, parameters, starts, allow_unused=True))


def _flat(parameters: list[Tensor], gradients: list[Tensor | None]) -> Tensor:
    pairs = zip(parameters, gradients, strict=True)
    return torch.cat([(torch.zeros_like(one) if each is None else each).flatten() for one, each in pairs])
