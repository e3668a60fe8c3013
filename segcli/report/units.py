"""Units of metrics that measure lengths and volumes."""

from collections.abc import Iterable

from segcli.data.samples import Case
from segcli.datasets import Layout
from segcli.metrics import Metric

__all__ = ["units_of"]


def units_of(metrics: Iterable[Metric], layout: Layout, cases: Iterable[Case]) -> dict[str, str]:
    """Return the unit of each metric that has one, such as `mm` for distances between outlines.

    Args:
        metrics: The metrics.
        layout: Knows the spacing of each case; without a spacing, pixels or voxels are counted.
        cases: Cases that are scored.
    """
    if not any(metric.unit("length", "volume") for metric in metrics):
        return {}
    flat = layout.ndim == 2
    element, power = ("pixels", "mm²") if flat else ("voxels", "mm³")
    known = {layout.spacing(case) is not None for case in cases}
    length = {True: "mm", False: element, None: f"mm or {element}"}[known.pop() if len(known) == 1 else None]
    volume = length.replace("mm", power)
    found = {metric.name: metric.unit(length, volume) for metric in metrics}
    return {name: unit for name, unit in found.items() if unit}
