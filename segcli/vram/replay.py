"""Replays a log with the allocator model: memory in use at each moment, by kind."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from segcli.vram.allocator import CachingAllocator, OutOfMemory
from segcli.vram.recorder import Log

__all__ = ["Replay", "fits", "replayed"]


@dataclass
class Replay:
    """Memory use computed from a log."""

    peak: int = 0
    reserved: int = 0
    at_peak: dict[str, int] = field(default_factory=dict)
    """Bytes of each kind at the peak before rounding, and the bytes added by `rounding`."""
    kinds: dict[str, int] = field(default_factory=dict)
    """Largest number of bytes of each kind at one time."""
    stages: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Peak and reserved bytes of each stage."""
    layers: dict[str, int] = field(default_factory=dict)
    """Peak bytes while each module itself runs."""
    curve: list[int] = field(default_factory=list)
    """Bytes in use after each event."""
    curve_reserved: list[int] = field(default_factory=list)


def replayed(log: Log) -> Replay:
    """Replay a log without a memory limit."""
    allocator, replay = CachingAllocator(), Replay()
    addresses: dict[int, int] = {}
    now: Counter[str] = Counter()
    moments = iter(log.moments)
    here, following = next(moments), next(moments, None)
    for position, event in enumerate(log.events):
        while following is not None and following.first_event <= position:
            here, following = following, next(moments, None)
        begins = event >= 0
        block = log.blocks[event if begins else ~event]
        sign = 1 if begins else -1
        if begins:
            addresses[event] = allocator.allocate(block.size)
        else:
            allocator.release(addresses.pop(~event))
        now[block.kind] += sign * block.size
        used = allocator.allocated
        replay.curve.append(used)
        replay.curve_reserved.append(allocator.reserved)
        if not begins:
            continue
        replay.kinds[block.kind] = max(replay.kinds.get(block.kind, 0), now[block.kind])
        peak, reserved = replay.stages.get(here.stage, (0, 0))
        replay.stages[here.stage] = max(peak, used), max(reserved, allocator.reserved)
        replay.layers[here.layer] = max(replay.layers.get(here.layer, 0), used)
        if used > replay.peak:
            replay.peak = used
            slack = used - sum(now.values())
            replay.at_peak = {**{kind: size for kind, size in now.items() if size}, "rounding": slack}
    replay.reserved = allocator.peak_reserved
    return replay


def fits(events: Sequence[int], sizes: Sequence[int], capacity: int) -> bool:
    """Tell if the allocator can serve all events with `capacity` bytes.

    Args:
        events: Events of a `Log`.
        sizes: Bytes of each block.
        capacity: Bytes that the allocator may reserve.
    """
    allocator = CachingAllocator(capacity)
    addresses: dict[int, int] = {}
    try:
        for event in events:
            if event >= 0:
                addresses[event] = allocator.allocate(sizes[event])
            else:
                allocator.release(addresses.pop(~event))
    except OutOfMemory:
        return False
    return True
