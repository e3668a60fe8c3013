"""A network that `torch.compile` has compiled, and into how many graphs it was cut."""

from collections.abc import Callable
from typing import Any

from segcli.core.types import Outputs

__all__ = ["TellingForward"]

NAMED = 3
"""Largest number of reasons in the message."""
LENGTH = 90
"""Largest number of letters of a reason."""


class TellingForward:
    """Calls a compiled network, and tells after the first batch how many graphs and graph breaks it has.

    Args:
        forward: The compiled network.
        notice: Called with the message.
    """

    def __init__(self, forward: Callable[[Any], Outputs], notice: Callable[[str], None]) -> None:
        self.forward = forward
        self.notice: Callable[[str], None] | None = notice

    def __call__(self, image: Any) -> Outputs:
        """Compute the outputs."""
        if self.notice is None:
            return self.forward(image)
        graphs, breaks = _counted()
        outputs = self.forward(image)
        more_graphs, more_breaks = _counted()
        self.notice(
            _described(more_graphs - graphs, {each: n - breaks.get(each, 0) for each, n in more_breaks.items()})
        )
        self.notice = None
        return outputs


def _counted() -> tuple[int, dict[str, int]]:
    """Count the graphs that this process has compiled so far, and the breaks by their reasons."""
    from torch._dynamo.utils import counters  # noqa: PLC0415 - takes seconds to import, and is there already

    return int(counters["stats"]["unique_graphs"]), dict(counters["graph_break"])


def _described(graphs: int, breaks: dict[str, int]) -> str:
    new = {reason: count for reason, count in breaks.items() if count}
    count = sum(new.values())
    if not count:
        return f"`training.compile`: {graphs} graph{'s' * (graphs != 1)}, no graph breaks"
    reasons = [" ".join(reason.split())[:LENGTH] for reason in new]
    more = f"; and {len(reasons) - NAMED} more reasons" if len(reasons) > NAMED else ""
    listed = "; ".join(reasons[:NAMED])
    return f"`training.compile`: {graphs} graphs, {count} graph break{'s' * (count != 1)} ({listed}{more})"
