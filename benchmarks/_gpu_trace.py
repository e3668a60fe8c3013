"""Read from a trace of `torch.profiler` the copies, waits, kernels, and idle time of training steps on a GPU.

Times are in microseconds, as in the trace. An event is a dictionary with `ph`, `cat`, `name`, `ts`, `dur` and `args`.
"""

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["Steps", "allocations", "busy_us", "copies", "heaviest", "read", "steps_of", "waits", "within"]

Event = dict[str, Any]
Steps = list[tuple[float, float]]
"""Begin and end of each step."""
CALLS = ("cuda_runtime", "cuda_driver")
"""Categories of calls of the program to CUDA."""
WORK = ("kernel", "gpu_memcpy", "gpu_memset")
"""Categories of what the GPU does."""
WAITING = ("Synchronize", "Memcpy", "cudaFree", "cuMemFree")
ALLOCATING = ("cudaMalloc", "cudaHostAlloc", "cuMemCreate", "cuMemAlloc")


def read(path: Path) -> list[Event]:
    """Read the events that have a duration from a packed trace."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [event for event in json.load(file)["traceEvents"] if event.get("ph") == "X"]


def steps_of(events: Iterable[Event], name: str) -> Steps:
    """Find the spans that `record_function` has marked with this name, in their order."""
    marks = (event for event in events if event.get("cat") == "user_annotation" and event["name"] == name)
    return sorted((mark["ts"], mark["ts"] + mark["dur"]) for mark in marks)


def within(events: Iterable[Event], steps: Steps, kinds: tuple[str, ...]) -> list[Event]:
    """List the events of these categories that begin in one of the spans, whichever thread they are of."""
    chosen = [event for event in events if event.get("cat") in kinds]
    return [event for event in chosen if any(begin <= event["ts"] < end for begin, end in steps)]


def waits(events: Iterable[Event], steps: Steps) -> Counter[str]:
    """Count the calls in the steps in which the program waits for the GPU, as it also does to free memory.

    An asynchronous copy is none of them: where PyTorch waits for its end, it synchronises by another call.
    """
    return _calls(events, steps, WAITING)


def allocations(events: Iterable[Event], steps: Steps) -> Counter[str]:
    """Count the calls in the steps that ask the driver for memory."""
    return _calls(events, steps, ALLOCATING)


def _calls(events: Iterable[Event], steps: Steps, words: tuple[str, ...]) -> Counter[str]:
    names = (event["name"].partition("_v")[0] for event in within(events, steps, CALLS))
    return Counter(name for name in names if any(word in name for word in words) and "Async" not in name)


def copies(events: list[Event], steps: Steps) -> Counter[str]:
    """Count the copies that were asked for in the steps by their kind, such as `HtoD (Pinned -> Device)`."""
    asked = {event["args"]["correlation"] for event in within(events, steps, CALLS) if "emcpy" in event["name"]}
    done = (event for event in events if event.get("cat") == "gpu_memcpy")
    return Counter(each["name"].removeprefix("Memcpy ") for each in done if each["args"]["correlation"] in asked)


def busy_us(work: Iterable[Event]) -> tuple[float, float, float]:
    """Return the time from the first to the last of these events, the time covered by any, and the longest gap."""
    spans = sorted((event["ts"], event["ts"] + event["dur"]) for event in work)
    if not spans:
        return 0.0, 0.0, 0.0
    covered, longest, until = 0.0, 0.0, spans[0][0]
    for begin, end in spans:
        longest = max(longest, begin - until)
        covered += max(end - max(begin, until), 0.0)
        until = max(until, end)
    return until - spans[0][0], covered, longest


def heaviest(work: Iterable[Event], count: int) -> list[tuple[str, float, int]]:
    """List the names with the largest sums of time: name, sum, number of events."""
    spent: dict[str, float] = defaultdict(float)
    number: Counter[str] = Counter()
    for event in work:
        spent[event["name"]] += event["dur"]
        number[event["name"]] += 1
    names = sorted(spent, key=spent.__getitem__, reverse=True)[:count]
    return [(name, spent[name], number[name]) for name in names]
