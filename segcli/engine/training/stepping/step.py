"""Training step: forward, loss and backward of one batch, and the optimizer update after a group of batches."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from segcli.core.types import Batch
from segcli.data.loader import Loaded
from segcli.engine.assembly import Assembly
from segcli.engine.runtime import out_of_memory
from segcli.engine.training.batches import one_value
from segcli.engine.training.stepping.guard import FiniteGuard
from segcli.engine.training.stepping.sharing import Part
from segcli.engine.training.stepping.stepper import Stepper
from segcli.engine.training.stepping.totals import Totals
from segcli.engine.world import World
from segcli.nn.sync_norm import ExhaustedElsewhereError, Link

__all__ = ["Guard", "HalvingStep", "TrainingStep"]

NAMED = 4
"""Largest number of cases of a batch that a message names."""


class Guard(Protocol):
    """Checks every loss."""

    def watch(self, loss: Tensor, place: str) -> None:
        """Check the loss of the batch that `place` names."""

    def settle(self) -> None:
        """Wait until every loss is checked."""


class TrainingStep:
    """Trains a network on batches; knows neither epochs nor files.

    Args:
        parts: Parts of the run.
        guard: Checks each loss if the run stops at a loss that is not finite; a `FiniteGuard`, which raises a
            `DataError`, when left out.
        world: Processes that share each batch; default: this one alone.
        link: As in `Sharing`.
    """

    def __init__(
        self, parts: Assembly, *, guard: Guard | None = None, world: World | None = None, link: Link | None = None
    ) -> None:
        self.parts = parts
        self.stepper = Stepper(parts, world, link)
        self.guard: Guard = guard or FiniteGuard(parts.device)
        self.totals = Totals([metric for metric in parts.metrics if not metric.costly])
        self.group: int = parts.run.training.gradient_accumulation_steps
        """Number of batches per optimizer update (gradient accumulation)."""

    def take(self, loaded: Loaded, *, share: float, place: str) -> bool:
        """Add the gradient of `share` times the loss of a batch, and record its losses and metrics.

        Args:
            loaded: Batch from the loader.
            share: Weight of the batch among the batches of an update.
            place: Position in the training for messages, such as `epoch 1, batch 2`.

        Returns:
            False if the loss is not finite and the run skips such batches: the batch then has no effect.

        Raises:
            DataError: The loss is not finite and the run does not skip such batches.
        """
        device = self.parts.device
        tensors = {name: tensor.to(device, non_blocking=True) for name, tensor in loaded.tensors.items()}
        tensors["image"] = tensors["image"].to(memory_format=self.parts.memory_format)
        count = len(loaded.cases)
        part = Part(count, count) if loaded.batch is None else Part(count * loaded.counts, len(loaded.batch))
        return self._add(self.parts.task.targets(tensors), share, f"{place}: {_cases(loaded)}", part)

    def update(self, rate: float, number: int) -> None:
        """Take optimizer step `number` with learning rate `rate` and the accumulated gradients."""
        self.stepper.update(rate, number)

    def _add(self, batch: Batch, share: float, place: str, part: Part) -> bool:
        if not part.own:
            batch = {**batch, "image": torch.zeros_like(batch["image"])}
        skips = self.parts.run.debug.on_nan == "skip"
        buffers = self.stepper.buffers() if skips else []
        sharing = self.stepper.sharing
        sharing.begin(part)
        losses, outputs = self.stepper.forward_loss(batch)
        if not skips:
            self.guard.watch(losses["loss"], place)
        elif not sharing.all_finite(losses["loss"]):
            self.stepper.restore_buffers(buffers)  # one such batch would spoil the running statistics for ever
            return False
        self.stepper.backward(sharing.summand(losses["loss"], outputs, batch), share)
        if part.own:
            with torch.no_grad():
                presence = self.parts.task.presence(outputs)
                probs = self.parts.task.probabilities(outputs[self.parts.task.output], presence)
                self.totals.add(losses, self.parts.scored(probs, batch, outputs=outputs), part.own)
        sharing.end()  # after the metrics, which need memory, too
        return True


class HalvingStep(TrainingStep):
    """Splits a batch in halves if memory runs out, again and again until it fits.

    Args:
        parts: Parts of the run.
        warn: Called with a message when batches are split from now on.
        guard: As in `TrainingStep`.
        world: As in `TrainingStep`.
    """

    def __init__(
        self,
        parts: Assembly,
        warn: Callable[[str], None],
        *,
        guard: Guard | None = None,
        world: World | None = None,
    ) -> None:
        super().__init__(parts, guard=guard, world=world)
        self.warn = warn
        self.most: int | None = None
        """Largest number of images that go through the network of a process at once; None for whole batches."""

    def _add(self, batch: Batch, share: float, place: str, part: Part) -> bool:
        sharing, whole = self.stepper.sharing, super()._add
        kept, buffers, mark = self.stepper.gradients(), self.stepper.buffers(), self.totals.mark()
        exhausted: Exception | None = None

        def undo() -> None:
            self.totals.back_to(mark)
            self.stepper.restore_gradients(kept)
            self.stepper.restore_buffers(buffers)

        while True:
            try:
                for window, piece in sharing.pieces(part, self._pieces(part)):
                    values = {name: values[window] for name, values in batch.items()}
                    if not whole(values, share * piece.total / part.total, place, piece):
                        undo()  # a batch is skipped as a whole, also if it is split
                        return False
            except (RuntimeError, MemoryError) as error:
                elsewhere = isinstance(error, ExhaustedElsewhereError)
                if not elsewhere and out_of_memory(error) is None:
                    raise
                if self._pieces(part) >= sharing.largest(part):
                    raise
                exhausted = error
                if not elsewhere:
                    sharing.alarm()
            except ValueError as error:
                if exhausted is None or one_value(error) is None:
                    raise
                raise exhausted from error  # a smaller piece leaves a norm too few values
            else:
                return True
            undo()
            self._cut_finer(part, place)

    def _pieces(self, part: Part) -> int:
        """Count the pieces in which a batch goes through the network."""
        return 1 if self.most is None else -(-self.stepper.sharing.largest(part) // self.most)

    def _cut_finer(self, part: Part, place: str) -> None:
        count = self.stepper.sharing.largest(part)
        pieces = min(2 * self._pieces(part), count)
        self.most = -(-count // pieces)
        if self.parts.device.type == "cuda":
            torch.cuda.empty_cache()
        self.warn(
            f"out of memory in {place.partition(':')[0]}: from now on a batch of {part.total} goes through the network "
            f"in {self._pieces(part)} pieces (`debug.on_oom: halve`)"
        )


def _cases(loaded: Loaded) -> str:
    cases = loaded.cases if loaded.batch is None else loaded.batch
    names = ", ".join(f"`{case.place}`" for case in cases[:NAMED])
    more = len(cases) - NAMED
    return f"{names} and {more} more" if more > 0 else names
