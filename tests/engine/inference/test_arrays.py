"""What the sliding window gives on NumPy arrays and on tensors alike."""

from pathlib import Path

import numpy as np
import pytest
import torch

from segcli.config.schema import DatasetSection, Inference
from segcli.core.types import Output
from segcli.data.pipeline import Pipeline
from segcli.data.samples import Sample
from segcli.data.settings import DataSettings
from segcli.engine.inference.arrays import NumPyArrays
from segcli.engine.inference.predictor import InMemory, Predictor
from segcli.engine.inference.sliding import Sliding
from segcli.engine.inference.tiles.grid import profile
from segcli.engine.inference.torch_arrays import TorchArrays
from segcli.engine.inference.views import views_of
from segcli.tasks.binary import Binary
from segcli.tasks.structures import Structures

KINDS = {"numpy": (NumPyArrays(), np.asarray), "torch": (TorchArrays(), torch.from_numpy)}


@pytest.fixture(params=KINDS)
def kind(request):
    """Operations on a kind of array, and the way from NumPy to it."""
    return KINDS[request.param]


def image_of(*size):
    return np.random.default_rng(0).standard_normal((2, 3, *size), dtype=np.float32)


def found(sliding, image):
    """All bands in one, and what has no pixels."""
    bands = list(sliding.bands(lambda window: image[(slice(None), slice(None), *window)], image.shape[2:]))
    names = bands[0][1]
    joined = {name: np.concatenate([np.asarray(band[name]) for _, band in bands], axis=2) for name in names}
    return joined | {name: np.asarray(values) for name, values in sliding.highest.items()}


@pytest.mark.parametrize(("ndim", "tta"), [(2, True), (2, "horizontal"), (3, True)])
def test_each_view_is_undone_exactly(kind, ndim, tta):
    arrays, make = kind
    image = image_of(*(5, 6, 7)[:ndim])
    for view in views_of(ndim, tta):
        seen = arrays.seen(make(image), view)
        np.testing.assert_array_equal(np.asarray(seen), np.asarray(TorchArrays().seen(torch.from_numpy(image), view)))
        np.testing.assert_array_equal(np.asarray(arrays.straight(seen, view)), image)


@pytest.mark.parametrize(("tile", "overlap"), [(16, 0.25), (17, 0.5), (8, 0.0)])
def test_the_weight_of_a_pixel_is_the_same_number(tile, overlap):
    np.testing.assert_allclose(profile(tile, overlap, torch).numpy(), profile(tile, overlap), rtol=1e-6)
    assert profile(tile, overlap).argmax() in ((tile - 1) // 2, tile // 2)
    assert profile(16, 0.5)[:2].max() < 1e-3  # the outer quarter of the overlap is left to the neighbours


@pytest.mark.parametrize(("size", "tile"), [((50, 41), (16, 16)), ((9, 8), (16, 8)), ((20, 19, 23), (8, 8, 8))])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize(("tta", "scales"), [(False, [1.0]), (True, [1.0]), (False, [0.5, 1.0])])
def test_every_image_of_a_batch_is_blended_to_what_the_network_sees_in_each_pixel(
    kind, size, tile, batch_size, tta, scales
):
    arrays, make = kind
    image = np.ones((2, 1, *size), np.float32) * np.array([1.0, 3.0], np.float32).reshape(2, *[1] * (len(size) + 1))
    outputs = [Output("distance", 1), Output("angle", 1, has_pixels=False)]
    settings = {"tile": tile, "overlap": 0.25, "multiple": 1, "batch_size": batch_size, "scales": scales}

    def forward(images):
        return {"distance": images * 2, "angle": images.reshape(len(images), -1)[:, :1]}

    sliding = Sliding(forward, arrays, outputs, views=views_of(len(size), tta), **settings)
    given = found(sliding, make(image))
    np.testing.assert_allclose(given["distance"], image * 2, rtol=1e-6)
    np.testing.assert_allclose(given["angle"], [[1.0], [3.0]])


def test_an_output_is_asked_whether_it_has_pixels_and_of_others_the_shape_tells(kind):
    arrays, make = kind

    def forward(images):
        # 16 values for the whole image, which the shape of the first would not tell from pixels
        values = images[:, :1, :4, :4]
        return {"code": values, "mask": images, "more": images * 2, "tokens": images[:, :, 0]}

    outputs = [Output("code", 1, has_pixels=False), Output("mask", 3)]
    sliding = Sliding(forward, arrays, outputs, tile=(8, 8), overlap=0.0, multiple=1)
    image = image_of(16, 8)
    given = found(sliding, make(image))
    np.testing.assert_allclose(given["mask"], image, rtol=1e-6)
    np.testing.assert_allclose(given["more"], image * 2, rtol=1e-6)
    np.testing.assert_array_equal(given["code"], np.maximum(image[:, :1, :4, :4], image[:, :1, 8:12, :4]))
    assert given["tokens"].shape == (2, 3, 8)


def test_an_output_that_follows_another_is_that_of_the_tile_where_the_other_is_highest(kind):
    arrays, make = kind
    outputs = [Output("mask", 3), Output("gate", 3, has_pixels=False), Output("trust", 3, False, follows="gate")]

    def forward(images):
        return {"mask": images, "gate": images[:, :, 0, 0], "trust": images[:, :, 1, 1]}

    image = image_of(24, 8)
    given = found(Sliding(forward, arrays, outputs, tile=(8, 8), overlap=0.0, multiple=1), make(image))
    gates, trusts = image[:, :, ::8, 0], image[:, :, 1::8, 1]
    np.testing.assert_array_equal(given["gate"], gates.max(2))
    decisive = gates.argmax(2)[..., None]
    np.testing.assert_array_equal(given["trust"], np.take_along_axis(trusts, decisive, 2)[..., 0])
    assert (given["trust"] < trusts.max(2)).any()


def test_the_next_image_knows_nothing_of_the_highest_of_the_last(kind):
    arrays, make = kind
    outputs = [Output("mask", 3), Output("gate", 3, has_pixels=False)]
    sliding = Sliding(
        lambda images: {"mask": images, "gate": images[:, :, 0, 0]}, arrays, outputs, tile=(8, 8), overlap=0, multiple=1
    )
    image = image_of(16, 8)
    found(sliding, make(image + 100))
    assert found(sliding, make(image))["gate"].max() < 10


def test_a_forecast_may_leave_out_passes(kind):
    arrays, make = kind
    calls = []

    def forward(images):
        calls.append(len(images))
        return {"mask": images}

    sliding = Sliding(forward, arrays, [Output("mask", 3)], tile=(8, 8), overlap=0, multiple=1, batch_size=2, passes=2)
    assert found(sliding, make(image_of(16, 40)))["mask"].shape == (2, 3, 16, 40)
    assert calls == [4, 4]


class Distance(Binary):
    """A task whose output with pixels is no mask."""

    output = "distance"


def test_the_output_with_pixels_need_not_be_called_mask():
    section = DatasetSection.model_validate({"name": "x", "num_classes": 1, "num_channels": 1, "paths": {"root": "."}})
    task = Distance(section.spec)
    parts = Predictor(
        name="hand",
        source=Path("hand"),
        layout=section.build(),
        pipeline=Pipeline(DataSettings(preprocessing={"normalize": False}), section.spec, stride=4),
        task=task,
        inference=Inference(tile=[8, 8], overlap=0.25),
        forward=lambda images: {"distance": images * 4},
    )
    image = np.random.default_rng(0).random((21, 17, 1), np.float32)
    expected = 1 / (1 + np.exp(-4 * image[..., 0]))
    np.testing.assert_allclose(parts.predict(Sample(image)).probs[0], expected, rtol=1e-5)
    rows = [part.probs[0] for _, part in parts.bands(InMemory(image))]
    np.testing.assert_array_equal(np.concatenate(rows), parts.predict(Sample(image)).probs[0])
    assert [output.name for output in task.predicting] == ["distance"]


def test_an_answer_needs_the_mask_and_what_has_no_pixels():
    section = DatasetSection.model_validate({"name": "x", "num_classes": 2, "num_channels": 1, "paths": {"root": "."}})
    assert [output.name for output in Structures(section.spec).predicting] == ["mask", "presence", "gate", "confidence"]


def test_presence_is_judged_and_applied_alike(kind):
    _, make = kind
    section = DatasetSection.model_validate({"name": "x", "num_classes": 2, "num_channels": 1, "paths": {"root": "."}})
    task, logits = Structures(section.spec), image_of(4, 5)[:, :2]
    gate = np.array([[0.0, -1e-30], [-3.0, 2.0]], np.float32)
    present = task.presence({"gate": make(gate)})
    assert np.asarray(present).tolist() == [[True, False], [False, True]]
    probs = np.asarray(task.probabilities(make(logits), present))
    expected = 1 / (1 + np.exp(-logits)) * (gate >= 0)[:, :, None, None]
    np.testing.assert_allclose(probs, expected, rtol=1e-5)
    assert task.presence({"mask": make(logits)}) is None
