"""Model of PyTorch's caching allocator for CUDA: how blocks are rounded, placed, split, merged and kept.

The rules are those of `c10/cuda/CUDACachingAllocator.cpp` with its default settings, on one stream: requests are
rounded up to 512 bytes; those up to 1 MiB share segments of 2 MiB; those below 10 MiB share segments of 20 MiB; larger
ones get a segment of their own, a multiple of 2 MiB. The smallest free block that is large enough is taken, and split
if enough is left. A freed block merges with its free neighbours and stays reserved. When the GPU is full, completely
free segments are released before the request fails.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass

__all__ = ["LEAST", "CachingAllocator", "OutOfMemory", "rounded"]

LEAST = 512
"""Bytes to whose multiples requests are rounded up."""
SMALL = 2**20
"""Largest request that is served from small segments."""
SMALL_SEGMENT = 2 * 2**20
LARGE_SEGMENT = 20 * 2**20
OWN_SEGMENT = 10 * 2**20
"""Smallest request that gets a segment of its own size."""
OWN_ROUNDING = 2 * 2**20


class OutOfMemory(Exception):  # noqa: N818 - a result of the model, not an error
    """The simulated GPU is full."""


def rounded(size: int) -> int:
    """Round a request up to the bytes that it takes.

    Example:
        >>> rounded(1), rounded(512), rounded(513)
        (512, 512, 1024)
    """
    return max(LEAST, -(-size // LEAST) * LEAST)


def _segment_size(size: int) -> int:
    if size <= SMALL:
        return SMALL_SEGMENT
    if size < OWN_SEGMENT:
        return LARGE_SEGMENT
    return -(-size // OWN_ROUNDING) * OWN_ROUNDING


@dataclass(slots=True, eq=False)
class _Block:
    address: int
    size: int
    small: bool
    free: bool = False
    before: "_Block | None" = None
    after: "_Block | None" = None

    @property
    def fills_segment(self) -> bool:
        return self.before is None and self.after is None


class CachingAllocator:
    """Places blocks as PyTorch's allocator does, one after the other.

    Args:
        capacity: Bytes that may be reserved; None for no limit.
    """

    def __init__(self, capacity: int | None = None) -> None:
        self.capacity = capacity
        self.allocated = 0
        self.reserved = 0
        self.peak_allocated = 0
        self.peak_reserved = 0
        self._next_address = 0
        # free blocks of the small and of the large pool, by size, then by address
        self._free: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
        self._at: dict[int, _Block] = {}

    def allocate(self, size: int) -> int:
        """Allocate a block of at least `size` bytes and return its address.

        Raises:
            OutOfMemory: The block does not fit.
        """
        size = rounded(size)
        small = size <= SMALL
        free = self._free[small]
        position = bisect_left(free, (size, -1))
        block = self._at[free.pop(position)[1]] if position < len(free) else self._new_segment(size, small=small)
        self._split(block, size)
        block.free = False
        self.allocated += block.size
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        return block.address

    def release(self, address: int) -> None:
        """Free the block at this address."""
        block = self._at[address]
        self.allocated -= block.size
        for neighbour in (block.before, block.after):
            if neighbour is not None and neighbour.free:
                block = self._merged(block, neighbour)
        block.free = True
        insort(self._free[block.small], (block.size, block.address))

    def _new_segment(self, size: int, *, small: bool) -> _Block:
        length = _segment_size(size)
        if self.capacity is not None and self.reserved + length > self.capacity:
            self._give_back()
            if self.reserved + length > self.capacity:
                raise OutOfMemory
        block = _Block(self._next_address, length, small)
        self._next_address += length
        self._at[block.address] = block
        self.reserved += length
        self.peak_reserved = max(self.peak_reserved, self.reserved)
        return block

    def _give_back(self) -> None:
        """Release every segment without a block in use."""
        for small, free in self._free.items():
            unused = [entry for entry in free if self._at[entry[1]].fills_segment]
            self._free[small] = [entry for entry in free if not self._at[entry[1]].fills_segment]
            for size, address in unused:
                del self._at[address]
                self.reserved -= size

    def _split(self, block: _Block, size: int) -> None:
        left = block.size - size
        if not (left >= LEAST if block.small else left > SMALL):
            return
        rest = _Block(block.address + size, left, block.small, free=True, before=block, after=block.after)
        if block.after is not None:
            block.after.before = rest
        block.after, block.size = rest, size
        self._at[rest.address] = rest
        insort(self._free[rest.small], (rest.size, rest.address))

    def _merged(self, block: _Block, neighbour: _Block) -> _Block:
        free = self._free[neighbour.small]
        free.pop(bisect_left(free, (neighbour.size, neighbour.address)))
        first, second = (neighbour, block) if neighbour.address < block.address else (block, neighbour)
        first.size += second.size
        first.after = second.after
        if second.after is not None:
            second.after.before = first
        del self._at[second.address]
        return first
