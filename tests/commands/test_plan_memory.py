"""Plans for GPUs of little memory: what becomes smaller first."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from planned_facts import FLAT

from segcli.commands import plan_memory
from segcli.commands.planning import plan_for
from segcli.config.schema import Run
from segcli.core.errors import DeviceError
from segcli.engine.events import Silent
from segcli.planning.facts import Measures, ObjectSizes, Plan, Recognised, Spread
from segcli.vram.inputs import Inputs

GIB = 2**30
LARGE = replace(
    FLAT,
    sizes=Spread((900.0, 900.0), (1000.0, 1000.0), (1100.0, 1100.0)),
    objects=ObjectSizes(per_sample=20.0, median_diameter=20.0, small_diameter=8.0, width=2.0),
)
THICK = replace(
    LARGE,
    ndim=3,
    sizes=Spread((20.0, 256.0, 256.0), (24.0, 256.0, 256.0), (24.0, 256.0, 256.0)),
    class_shares={"liver": 0.03},
    spacing=(5.0, 1.0, 1.0),
    flips=(),
    turns=False,
)


def planned(monkeypatch: pytest.MonkeyPatch, measures: Measures, gib: float) -> Plan:
    """Plan with a forecast that is proportional to the width and the pixels of a step, or a quarter of those seen."""

    def forecaster(run: Run, inputs: Inputs | None = None) -> Any:
        size = [int(each) for each in measures.sizes.high]
        inputs = inputs or Inputs(tuple(run.data.patch_size or size), tuple(size), tuple(size), 1, {}, {})
        width = run.model.model_extra["depths"][0]
        train = int(np.prod(inputs.train)) * run.data.batch_size
        tile = [min(pair) for pair in zip(run.inference.tile or size, size, strict=True)]
        val = int(np.prod(tile)) * run.data.evaluated_at_once // 4
        return SimpleNamespace(device=max(train, val) * width * 100, inputs=inputs)

    monkeypatch.setattr(plan_memory, "Forecaster", forecaster)
    layout = {2: "image_folders", 3: "nifti_volumes"}[measures.ndim]
    classes: dict[str, Any] = {"num_classes": 1} if measures.ndim == 2 else {"classes": ["liver"]}
    keys = {"format": layout, "paths": {"root": "data"}, "num_channels": 1, "mean": [0.4], "std": [0.2], **classes}
    found = Recognised(Path("data"), "x", "made up", keys, "binary" if measures.ndim == 2 else "structures")
    return plan_for(found, measures, vram=int(gib * GIB), listener=Silent())


@pytest.mark.parametrize(("measures", "least"), [(LARGE, 0.2), (THICK, 0.11)], ids=["2D", "3D"])
def test_where_memory_is_short_the_batch_becomes_smaller_then_the_patch_then_the_network(monkeypatch, measures, least):
    plans = [planned(monkeypatch, measures, gib) for gib in (24.0, 2.0, 0.8, 0.45, least)]
    chosen = [(plan.keys["data"], plan.keys["model"]["depths"][0]) for plan in plans]
    pixels = [int(np.prod(data["patch_size"])) for data, _ in chosen]
    widths = [width for _, width in chosen]
    assert [data["batch_size"] for data, _ in chosen][2:] == [2, 2, 2]
    assert pixels[0] > pixels[2]
    assert (pixels, widths) == (sorted(pixels, reverse=True), sorted(widths, reverse=True))
    assert widths[2] == widths[0] > widths[-1]
    small = plans[2]
    assert small.keys["data"].get("val_batch_size") == (1 if measures is LARGE else None)  # volumes are seen in patches
    assert small.reasons["data.patch_size"].startswith("the largest patch of which 2 fit a GPU of 0.8 GiB; in ")
    assert "whose memory has no room for a wider network" in plans[-1].reasons["model.depths"]


def test_validation_of_large_images_costs_no_patch(monkeypatch):
    here = replace(LARGE, sizes=Spread((4000.0, 4000.0), (4000.0, 4000.0), (4000.0, 4000.0)))
    data = planned(monkeypatch, here, 2.8).keys["data"]
    assert (data["batch_size"], data["patch_size"]) == (3, [512, 512])
    assert planned(monkeypatch, here, 0.6).keys["inference"]["tile"] == [512, 512]


def test_a_memory_that_holds_nothing_is_refused(monkeypatch):
    with pytest.raises(DeviceError, match=r"not even the smallest patch of the narrowest network fits"):
        planned(monkeypatch, LARGE, 0.01)
