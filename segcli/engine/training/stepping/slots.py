"""Sums over the slots of a batch along one binary tree, whichever processes have the slots.

A slot is a few neighbouring images of a batch. The tree follows from the number of slots alone, so the sums have the
same bits on any number of processes.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from segcli.core.ranks import share_of
from segcli.engine.world import World

__all__ = ["SlotSums", "subtrees"]

Node = tuple[int, int]
"""First slot of a node of the tree, and the one after its last."""


def _middle(node: Node) -> int:
    """Split a node behind the largest power of two, so that equal shares of the slots are whole nodes."""
    first, end = node
    return first + (1 << (end - first - 1).bit_length() - 1)


def subtrees(node: Node, share: range) -> Iterator[Node]:
    """List the largest nodes below `node` that lie within a share of the slots, from left to right.

    Example:
        >>> list(subtrees((0, 8), range(0, 4))), list(subtrees((0, 6), range(2, 6)))
        ([(0, 4)], [(2, 4), (4, 6)])
    """
    first, end = node
    if share.start <= first and end <= share.stop:
        yield node
    elif max(share.start, first) < min(share.stop, end):
        middle = _middle(node)
        yield from subtrees((first, middle), share)
        yield from subtrees((middle, end), share)


def _sum(node: Node, known: dict[Node, Tensor]) -> Tensor:
    if node in known:
        return known[node]
    middle = _middle(node)
    return _sum((node[0], middle), known) + _sum((middle, node[1]), known)


class SlotSums:
    """Adds what the slots of a batch have.

    Args:
        world: Processes that share the slots.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.count = 0
        self.own = range(0)
        """Slots of this process; empty if there are fewer slots than processes."""
        self._nodes: list[list[Node]] = []

    def begin(self, count: int) -> None:
        """Begin a batch of `count` slots."""
        shares = [share_of(count, rank, self.world.size) for rank in range(self.world.size)]
        self.count, self.own = count, shares[self.world.rank]
        self._nodes = [list(subtrees((0, count), share)) for share in shares]

    def add(self, values: list[Tensor]) -> Tensor:
        """Add the values of all slots.

        Args:
            values: Value of each slot of this process; of a process without a slot, one that does not count.
        """
        leaves = {(slot, slot + 1): value for slot, value in zip(self.own, values, strict=False)}
        mine = [_sum(node, leaves) for node in self._nodes[self.world.rank]]
        if self.world.is_alone:
            return mine[0]
        spare = max(map(len, self._nodes)) - len(mine)
        sent = torch.stack([*mine, *[torch.zeros_like(values[0])] * spare])
        received = [torch.empty_like(sent) for _ in self._nodes]
        torch.distributed.all_gather(received, sent)
        known = {
            node: part
            for nodes, parts in zip(self._nodes, received, strict=True)
            for node, part in zip(nodes, parts, strict=False)  # spare room is left over
        }
        return _sum((0, self.count), known)
