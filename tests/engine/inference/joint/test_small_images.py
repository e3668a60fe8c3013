"""Small images that share a call of the network have the bits that they have alone."""

import random
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from factories import write_folders

from segcli.config.load import load_run
from segcli.data.samples import Sample
from segcli.engine.assembly import assemble
from segcli.engine.events import Silent
from segcli.engine.inference.arrays import NumPyArrays
from segcli.engine.inference.checkpoint_predictor import _forward, of_checkpoint
from segcli.engine.inference.evaluator import evaluate
from segcli.engine.inference.inferer import Inferer
from segcli.engine.inference.joint.small_images import SmallImages
from segcli.engine.inference.predictor import Overrides
from segcli.engine.runtime import seed_everything


@pytest.mark.parametrize("amp", ["off", True])
@pytest.mark.parametrize("model", ["unet", "sa_unet"])
def test_an_image_has_the_same_bits_alone_in_any_order_and_beside_any_other(tiny, model, amp):
    parts = assemble(load_run(tiny(model={"type": model, "depths": [4, 8]}, training__amp=amp)))
    parts.network.eval()
    forward = SmallImages(_forward(parts), NumPyArrays())
    images = np.random.default_rng(1).normal(0, 1, (8, 3, 48, 48)).astype(np.float32)
    alone = np.concatenate([forward(images[index : index + 1])["mask"] for index in range(8)])
    for order in (np.arange(8), np.arange(8)[::-1], np.roll(np.arange(8), 3)):
        np.testing.assert_array_equal(forward(images[order])["mask"], alone[order])
    for beside in (0.0, 1e4, np.nan):
        images[1:] = beside
        np.testing.assert_array_equal(forward(images)["mask"][:1], alone[:1])


def one_only(images):
    if len(images) > 1:
        raise IndexError("this network takes one image")
    return images


@pytest.mark.parametrize(
    ("network", "calls"),
    [
        pytest.param(lambda images: images - images.mean(axis=(1, 2, 3), keepdims=True), [8, 8], id="each"),
        pytest.param(lambda images: images - images.mean(axis=0, keepdims=True), [1] * 16, id="mixed"),
        pytest.param(one_only, [1] * 16, id="one_only"),
        pytest.param(lambda images: np.ones((1, 1), np.float32), [1] * 16, id="one_for_all"),
    ],
)
def test_a_network_that_does_not_treat_images_each_by_itself_is_given_one_at_a_time(network, calls):
    seen = []

    def forward(images):
        seen.append(len(images))
        return {"mask": network(images)}

    small = SmallImages(forward, NumPyArrays())
    images = np.random.default_rng(1).normal(0, 1, (8, 3, 8, 8)).astype(np.float32)
    first = small(images)
    assert len(first["mask"]) == 8
    seen.clear()  # calls that try it out
    np.testing.assert_array_equal(small(images)["mask"], first["mask"])
    np.testing.assert_array_equal(small(images)["mask"][2:3], forward(images[2:3])["mask"])
    assert seen[:-1] == calls


def test_many_sizes_cost_a_trial_for_64_images_and_each_is_tried_at_last():
    seen = []

    def forward(images):
        seen.append(len(images))
        return {"mask": images}

    small = SmallImages(forward, NumPyArrays())
    for side in range(8, 20):
        small(np.zeros((8, 3, side, 8), np.float32))
    assert sum(seen) == 12 * 8 + 2 * 16  # the trials are those of the first and of the eighth size
    for _ in range(100):
        seen.clear()
        small(np.zeros((8, 3, 19, 8), np.float32))
    assert seen == [8]


def test_a_trial_leaves_the_random_numbers_of_a_network_as_they_are():
    def forward(images):
        drawn = torch.rand(1).item() + np.random.rand() + random.random()
        return {"mask": images + np.float32(drawn)}

    images = np.zeros((8, 3, 8, 8), np.float32)
    seed_everything(1)
    alone = [forward(images[:1])["mask"] for _ in images]
    seed_everything(1)
    np.testing.assert_array_equal(SmallImages(forward, NumPyArrays())(images)["mask"], np.concatenate(alone))


@pytest.mark.parametrize("tta", [False, True])
def test_a_prediction_with_others_is_that_of_the_image_alone(tiny_run, tta):
    predictor = of_checkpoint(tiny_run / "checkpoints/best.safetensors", Overrides(tta=tta))
    rng = np.random.default_rng(0)
    samples = [Sample(rng.integers(0, 255, (37, 61, 3), dtype=np.uint8)) for _ in range(8)]
    assert predictor.at_once((37, 61)) == 8
    together = predictor.predict_together(samples, [None] * 8)
    for sample, found in zip(samples, together, strict=True):
        alone = predictor.predict(sample)
        assert alone.probs.shape == (1, 37, 61)
        np.testing.assert_array_equal(found.probs, alone.probs)
        np.testing.assert_array_equal(found.uncertainty, alone.uncertainty)


def test_large_images_tiles_and_images_at_several_sizes_do_not_share_a_call(tiny_run):
    checkpoint = tiny_run / "checkpoints/best.safetensors"
    predictor = of_checkpoint(checkpoint, Overrides())
    assert [predictor.at_once((side, side)) for side in (64, 96, 128, 192)] == [8, 3, 2, 1]
    resizing = copy(predictor.pipeline)
    resizing.image_size = (64, 64)
    assert [replace(predictor, pipeline=resizing).at_once((side, side)) for side in (48, 96)] == [8, 1]
    several = predictor.inference.model_copy(update={"scales": [0.5, 1.0]})
    assert replace(predictor, inference=several).at_once((64, 64)) == 1
    assert of_checkpoint(checkpoint, Overrides(tile=32)).at_once((64, 64)) == 1


@pytest.mark.parametrize(("amp", "sizes"), [("off", [1] * 19), (True, [8, 8, 3])])
def test_validation_scores_small_images_together_to_the_bit(tiny, workplace, monkeypatch, amp, sizes):
    write_folders(workplace / "data", {"train": 1, "val": 19})
    parts = assemble(load_run(tiny(training__amp=amp)))
    cases = parts.layout.cases("val")
    batches = list(parts.evaluation_loader(cases, parts.source(cases, Silent())))
    assert [len(batch.cases) for batch in batches] == sizes
    seen = {}
    together = evaluate(parts, parts.network, batches, on_image=lambda case, probs, _: seen.update({case.id: probs}))
    monkeypatch.setattr(Inferer, "at_once", lambda *_: 1)
    alone = evaluate(
        parts,
        parts.network,
        list(parts.evaluation_loader(cases, parts.source(cases, Silent()))),
        on_image=lambda case, probs, _: np.testing.assert_array_equal(seen[case.id], probs),
    )
    assert together.averages() == alone.averages()
    assert len(seen) == 19
