"""Draw curves over epochs as SVG, which scales, follows the colours of the page, and loads nothing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup, escape

__all__ = ["Curve", "chart", "ticks"]

WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 16, 30
MOST_DOTS = 60
"""A curve with more points is drawn without dots."""
MOST_POINTS = 600
"""Largest number of points that are drawn; of longer curves every n-th point is drawn."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """Line of a chart."""

    label: str
    kind: Literal["train", "val"]
    points: Sequence[Point]
    """Pairs of epoch and value; a value that is not finite leaves a gap in the line."""


def ticks(low: float, high: float, count: int = 5, *, whole: bool = False) -> list[float]:
    """Choose round numbers within a range.

    Args:
        low: Smallest value.
        high: Largest value.
        count: Approximate number of ticks.
        whole: Choose whole numbers only.

    Example:
        >>> ticks(0.13, 0.91), ticks(1, 20, whole=True)
        ([0.2, 0.4, 0.6, 0.8], [5.0, 10.0, 15.0, 20.0])
    """
    if high <= low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((factor * power for factor in (1, 2, 5, 10)), key=lambda size: abs(math.log(size / rough)))
    step = max(round(step), 1) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def chart(title: str, curves: Sequence[Curve], *, mark: int | None = None, caption: str = "") -> Markup:
    """Draw curves in one diagram.

    Args:
        title: Title of the figure.
        curves: Lines of the chart.
        mark: Epoch with a vertical line.
        caption: Text after the title.
    """
    known = [point for curve in curves for point in curve.points if math.isfinite(point[1])]
    if not known:
        return Markup(f"<figure><p>no finite value</p><figcaption>{_caption(title, caption)}</figcaption></figure>")
    scale = _Scale(known)
    drawn = [*scale.grid()]
    if mark is not None and scale.first <= mark <= scale.last:
        drawn.append(scale.marked(mark))
    drawn += [part for curve in curves for part in scale.curve(curve)]
    label = escape(f"{title} by epoch: {'; '.join(filter(None, map(_spoken, curves)))}")
    inner = "\n".join(drawn)
    return Markup(
        f'<figure>\n<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">\n{inner}\n</svg>\n'
        f"<figcaption>{_caption(title, caption)}</figcaption>\n</figure>"
    )


def _caption(title: str, caption: str) -> str:
    return f"<b>{escape(title)}</b>{' ' if caption else ''}{escape(caption)}"


def _spoken(curve: Curve) -> str:
    """Describe the curve in words, for screen readers."""
    known = [point for point in curve.points if math.isfinite(point[1])]
    if not known:
        return ""
    (first, begin), (last, end) = known[0], known[-1]
    return f"{curve.label} from {begin:.4g} in epoch {first:g} to {end:.4g} in epoch {last:g}"


class _Scale:
    """Map epochs and values to coordinates of the drawing."""

    def __init__(self, points: Sequence[Point]) -> None:
        epochs, values = [epoch for epoch, _ in points], [value for _, value in points]
        self.first, self.last = min(epochs), max(epochs)
        low, high = min(values), max(values)
        room = (high - low) * 0.05 or abs(high) * 0.1 or 0.1
        self.low, self.high = low - room, high + room

    def x(self, epoch: float) -> float:
        """Map an epoch to x; a single epoch stands in the middle."""
        share = 0.5 if self.last == self.first else (epoch - self.first) / (self.last - self.first)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def grid(self) -> list[str]:
        """Draw grid lines at round numbers, with labels."""
        parts = []
        for value in ticks(self.low, self.high):
            y = self.y(value)
            parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>')
        for epoch in ticks(self.first, self.last, 5, whole=True):
            x = self.x(epoch)
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{epoch:g}</text>')
        parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">epoch</text>')
        return parts

    def marked(self, epoch: int) -> str:
        x = self.x(epoch)
        anchor, shift = ("end", -4) if x > WIDTH / 2 else ("start", 4)
        return (
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 4}" y2="{HEIGHT - BOTTOM}"/>'
            f'<text x="{x + shift:.1f}" y="{TOP - 5}" text-anchor="{anchor}">epoch {epoch}</text>'
        )

    def curve(self, curve: Curve) -> list[str]:
        """Draw lines between neighbouring points, and dots where the points are few."""
        stride = max(1, math.ceil(len(curve.points) / MOST_POINTS))
        points = [*curve.points[:-1:stride], *curve.points[-1:]]
        parts = [
            f'<polyline class="{curve.kind}" points="{" ".join(self._place(point) for point in run)}"/>'
            for run in _runs(points)
            if len(run) > 1
        ]
        few = len(points) <= MOST_DOTS
        return parts + [
            f'<circle class="{curve.kind}" cx="{self.x(epoch):.1f}" cy="{self.y(value):.1f}" r="2.2">'
            f"<title>{escape(curve.label)}, epoch {epoch:g}: {value:.6g}</title></circle>"
            for run in _runs(points)
            for epoch, value in run
            if few or len(run) == 1
        ]

    def _place(self, point: Point) -> str:
        return f"{self.x(point[0]):.1f},{self.y(point[1]):.1f}"


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """Split points at values that are not finite."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if math.isfinite(point[1]):
            runs[-1].append(point)
        else:
            runs.append([])
    return runs
