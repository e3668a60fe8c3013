from dataclasses import dataclass
from pathlib import Path

import pytest

from segcli.core.registry import METRICS
from segcli.data.samples import Case
from segcli.report.units import units_of

NAMES = ("dice", "hd95", "assd", "surface_dice", "false_positive_volume")


@dataclass
class Layout:
    ndim: int
    known: tuple[bool, ...]

    def spacing(self, case):
        return (1.0,) * self.ndim if self.known[int(case.id)] else None


@pytest.mark.parametrize(
    ("ndim", "known", "length", "volume"),
    [
        (3, (True, True), "mm", "mm³"),
        (2, (True, True), "mm", "mm²"),
        (3, (False, False), "voxels", "voxels"),
        (2, (False,), "pixels", "pixels"),
        (3, (True, False), "mm or voxels", "mm³ or voxels"),
    ],
)
def test_lengths_and_volumes_have_the_unit_of_the_spacing(ndim, known, length, volume):
    metrics = [METRICS.load(name)(METRICS.load(name).Config()) for name in NAMES]
    for metric, name in zip(metrics, NAMES, strict=True):
        metric.name = name
    cases = [Case(str(index), Path(f"{index}.png")) for index in range(len(known))]
    units = units_of(metrics, Layout(ndim, known), cases)
    assert units == {
        "hd95": length,
        "assd": length,
        "surface_dice": f"within 1 {length}",
        "false_positive_volume": volume,
    }
    assert units_of(metrics[:1], Layout(ndim, known), cases) == {}
