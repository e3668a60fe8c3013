"""How processes share each optimizer step, so that it is the step that one process would take.

A process computes its images of each batch. Batch norms take their statistics over all images, losses are weighted by
the number of images behind them, and gradients are added before the update.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segcli.core.ranks import share_of
from segcli.core.types import Batch, Outputs
from segcli.engine.assembly import Assembly
from segcli.engine.world import World
from segcli.nn.sync_norm import Link, synchronised

__all__ = ["Part", "Sharing", "buckets"]

BUCKET = 32 * 2**20
"""Bytes of gradients that are added at once."""


@dataclass(frozen=True)
class Part:
    """Images of one process in what goes through the network at once."""

    own: int
    """Images of this process; 0 if it takes part only because the others would wait."""
    total: int
    """Images of all processes."""

    @property
    def weight(self) -> float:
        """Share of the images of this process."""
        return self.own / self.total


class Sharing:
    """Exchange between processes within a training step; nothing is exchanged by a process alone.

    Args:
        parts: Parts of the run; the batch norms of its network are replaced.
        world: Processes that share each batch.
        link: Adds the statistics of batch norms, of a step that adds gradients by itself; default: over the processes.
    """

    def __init__(self, parts: Assembly, world: World, link: Link | None = None) -> None:
        self.parts = parts
        self.world = world
        self.part = Part(1, 1)
        self.link = link or Link()
        self.adds = not world.is_alone and link is None
        """True if the gradients of all processes are added before the update."""
        shares = not world.is_alone and parts.run.training.sync_batchnorm is not False
        self.synchronises = shares or link is not None
        self.link.alarmed = not world.is_alone and parts.run.debug.on_oom == "halve"
        if self.synchronises:
            synchronised(parts.network, self.link, compiles=parts.run.training.compile)

    def begin(self, part: Part) -> None:
        """Begin with what goes through the network at once."""
        self.part = part
        self.link.begin(own=part.own, total=part.total)

    def end(self) -> None:
        """Come to the end of it together.

        Raises:
            ExhaustedElsewhereError: Another process has run out of memory.
        """
        self.link.agree(self.parts.device)

    def alarm(self) -> None:
        """Tell the others that this process has run out of memory."""
        if self.link.alarmed:
            self.link.alarm(self.parts.device)

    def losses(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Compute the losses: of the images of this process, or of the whole batch if a loss looks at it as a whole."""
        if self.world.is_alone or not self.parts.loss.pools:
            losses: dict[str, Tensor] = self.parts.loss(outputs, batch)
            return losses
        whole: dict[str, Tensor] = self.parts.loss(*self.joined(outputs, batch, self.part))
        return whole

    def summand(self, loss: Tensor, outputs: Outputs, batch: Batch) -> Tensor:
        """Return what this process adds to the loss of the whole batch; the gradients of all add up to its gradient.

        Args:
            loss: Result of `losses`.
            outputs: Raw outputs of the network.
            batch: Images and targets of this process.
        """
        if self.world.is_alone:
            return loss
        pools = self.parts.loss.pools
        if not self.part.own:
            # the same graph as elsewhere, so that every process comes to the same sums
            return (self.parts.loss(outputs, batch)["loss"] if pools else loss) * 0.0
        return loss if pools else loss * self.part.weight

    def joined(self, outputs: Outputs, batch: Batch, part: Part) -> tuple[Outputs, Batch]:
        """Join outputs and targets of all processes; only those of this one have a gradient."""
        counts = self.world.gathered(part.own)
        return (
            {name: self._whole(outputs[name].float(), counts) for name in sorted(outputs)},
            {name: self._whole(batch[name], counts) for name in sorted(batch)},
        )

    def _whole(self, own: Tensor, counts: list[int]) -> Tensor:
        sent = own.detach().contiguous()
        sent = sent.view(torch.uint8) if sent.dtype == torch.bool else sent
        room = sent.new_zeros(max(counts), *sent.shape[1:])
        mine = counts[self.world.rank]
        room[:mine] = sent[:mine]
        received = [torch.empty_like(room) for _ in counts]
        torch.distributed.all_gather(received, room)
        parts = [each[:count].view(own.dtype) for each, count in zip(received, counts, strict=True)]
        parts[self.world.rank] = own[:mine]
        return torch.cat(parts)

    def all_finite(self, loss: Tensor) -> bool:
        """Tell whether the loss is finite in every process."""
        return not self.world.any(not bool(loss.isfinite()))

    def pieces(self, part: Part, count: int) -> Iterator[tuple[slice, Part]]:
        """Cut a batch into pieces, of which each process has its share.

        Args:
            part: The batch.
            count: Number of pieces.
        """
        size = self.world.size
        owns = [len(share_of(part.total, rank, size)) for rank in range(size)]
        for index in range(count):
            mine = share_of(part.own, index, count)
            total = sum(len(share_of(own, index, count)) for own in owns)
            window = slice(mine.start, mine.stop) if mine else slice(0, 1)
            yield window, Part(len(mine), total)

    def largest(self, part: Part) -> int:
        """Count the images of the process that has most of a batch."""
        return -(-part.total // self.world.size)

    # ---- the update

    @torch.no_grad()
    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients of this process by the sum over all processes."""
        if not self.adds:
            return
        learning = [each for each in parameters if each.requires_grad]
        has_gradient = self.world.most(*(int(each.grad is not None) for each in learning))
        gradients = []
        for parameter, anywhere in zip(learning, has_gradient, strict=True):
            if anywhere and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if parameter.grad is not None:
                gradients.append(parameter.grad)
        for bucket in buckets(gradients):
            flat = torch.cat([each.flatten() for each in bucket])
            self.world.add(flat)
            start = 0
            for each in bucket:
                each.copy_(flat[start : start + each.numel()].view_as(each))
                start += each.numel()

    def adopt_statistics(self, *networks: nn.Module) -> None:
        """Take the running statistics of the first process, which are those of a checkpoint."""
        if self.world.is_alone or self.synchronises:
            return
        for network in networks:
            for buffer in network.buffers():
                torch.distributed.broadcast(buffer, 0)


def buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Put tensors of one type together until a bucket is full; backward gives the last parameters first."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in reversed(tensors):
        if bucket and (size + tensor.nbytes > BUCKET or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.nbytes
    if bucket:
        yield bucket
