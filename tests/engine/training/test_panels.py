import cv2
import numpy as np
import pytest
import torch
from factories import blobs, experiment

from segcli.config.load import run_from_values
from segcli.data.images import as_rgb
from segcli.data.samples import Case, Sample
from segcli.engine.assembly import assemble
from segcli.engine.training.panels import Panels, picked
from segcli.tasks.binary import Binary


def panels(image, mask, case, name="mask"):
    """Panels on one image that lies nowhere."""
    parts = assemble(run_from_values(experiment("."), source="test"))
    parts.layout.read = lambda _: Sample(image=image, maps={name: mask})
    return Panels(parts, [case])


@pytest.fixture
def case(tmp_path):
    return Case("one", tmp_path / "one.png")


def test_the_same_images_are_picked_from_the_first_to_the_last():
    assert picked(list(range(100))) == [0, 33, 66, 99]
    assert picked([5, 6]) == [5, 6]
    assert picked([]) == []


def test_a_large_image_is_reduced_with_truth_and_prediction_alike(case):
    image, mask = blobs(0, (1200, 900))
    shown = panels(image, (mask > 0).astype(np.uint8), case)
    shown.hear(case, torch.from_numpy(mask > 0).float()[None])
    picture = shown.drawn()["one"]
    assert picture.shape == (512, 3 * 384 + 8, 3)
    truth, found = picture[:, 388:772], picture[:, 776:]
    assert np.array_equal(truth, found)
    assert (truth > 0).mean() == pytest.approx((mask > 0).mean(), rel=0.05)
    assert (
        np.abs(picture[:, :384].astype(float) - cv2.resize(image, (384, 512), interpolation=cv2.INTER_AREA)).max() == 0
    )


def test_the_truth_is_the_map_that_the_task_names(case):
    class Field(Binary):
        output = "field"

    image, mask = blobs(0)
    shown = panels(image, (mask > 0).astype(np.uint8), case, name="field")
    shown.parts.task = Field(shown.parts.task.spec)
    shown.hear(case, torch.zeros(1, 48, 48))
    assert np.array_equal(shown.drawn()["one"][:, 52:100, 0], np.where(mask > 0, 255, 0))


def test_a_prediction_is_decided_at_the_threshold_of_the_run(case):
    image, mask = blobs(0)
    shown = panels(image, (mask > 0).astype(np.uint8), case)
    shown.hear(case, torch.full((1, 48, 48), 0.49))
    assert not shown.drawn()["one"][:, 104:].any()
    shown.hear(case, torch.full((1, 48, 48), 0.51))
    assert shown.drawn()["one"][:, 104:].all()


def test_of_a_volume_the_slice_with_most_foreground_is_shown(case):
    image = np.zeros((5, 8, 8, 1), np.uint8)
    mask = np.zeros((5, 8, 8), np.uint8)
    image[3], mask[3, 2:6, 2:6], mask[1, 0, 0] = 77, 1, 1
    shown = panels(image, mask, case)
    probs = torch.zeros(1, 5, 8, 8)
    probs[0, 3, 4:] = 0.9
    shown.hear(case, probs)
    picture = shown.drawn()["one"]
    assert (picture[:, :8] == 77).all()
    assert np.array_equal(picture[:, 12:20, 0], mask[3] * 255)
    assert np.array_equal(picture[:, 24:, 0] > 0, probs[0, 3].numpy() > 0.5)


def test_deep_images_are_stretched_to_what_a_screen_shows():
    image = np.linspace(1000, 2000, 10_000, dtype=np.uint16).reshape(100, 100, 1)
    shown = as_rgb(image)
    assert (shown.dtype, shown.shape) == (np.uint8, (100, 100, 3))
    assert (shown.min(), shown.max()) == (0, 255)
