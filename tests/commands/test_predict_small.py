"""Many small images: those of one size share a call of the network, and nothing that a user sees depends on it."""

import signal

import cv2
import numpy as np
import pytest
from PIL import Image

from segcli.commands.answers import PredictOptions, groups
from segcli.commands.answers.pixels import PixelAnswers
from segcli.commands.predict import predict
from segcli.core.errors import DeviceError
from segcli.engine.events import Silent
from segcli.engine.inference.checkpoint_predictor import trained
from segcli.engine.inference.joint.small_images import SmallImages
from segcli.engine.inference.predictor import Overrides


class Heard(Silent):
    """Warnings, each with the number of images that were done before."""

    def __init__(self):
        self.words, self.done = [], 0

    def warn(self, text):
        self.words.append((self.done, text))

    def advance(self, count=1):
        assert count == 1
        self.done += 1


@pytest.fixture
def calls(monkeypatch):
    """Images in each call of the network that a prediction makes; groups are made of few images, too."""
    seen, call = [], SmallImages.__call__

    def counted(self, images):
        seen.append(len(images))
        return call(self, images)

    monkeypatch.setattr(groups, "MANY", 2)
    monkeypatch.setattr(SmallImages, "__call__", counted)
    return seen


def predicted(tiny_run, workplace, inputs, out):
    """Predict files; return what was done, what was heard and the masks by name."""
    heard = Heard()
    candidate = trained(tiny_run / "checkpoints/best.safetensors", Overrides())
    done = predict(inputs, [candidate], Overrides(), PredictOptions(out=workplace / out), listener=heard)
    masks = {file.name: np.array(Image.open(file)) for file in sorted((workplace / out).glob("*.png"))}
    return done, heard, masks


def write(folder, names, size=(48, 48)):
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(len(names))
    for name in names:
        cv2.imwrite(str(folder / name), rng.integers(0, 255, (*size, 3), dtype=np.uint8))


def test_masks_of_a_mixed_folder_are_those_of_its_files_one_by_one_in_their_order(tiny_run, workplace, calls):
    names = [f"{index:02}.png" for index in range(24)]
    write(workplace / "small", names)
    write(workplace / "small", ["09.png"], (37, 61))
    (workplace / "small/13.png").write_text("junk")
    done, heard, masks = predicted(tiny_run, workplace, [str(workplace / "small")], "found")
    assert calls == [8, 1, 1, 1, 1, 1, 8, 1, 1]
    readable = [name for name in names if name != "13.png"]
    assert [entry["image"].rsplit("/")[-1] for entry in done.written] == readable
    assert [entry["file"].rsplit("/")[-1] for entry in done.failed] == ["13.png"]
    ((before, message),) = heard.words
    assert before == 13
    assert "cannot read image" in message
    assert "13.png" in message
    assert heard.done == 24
    assert list(masks) == readable
    for name in readable:
        _, _, alone = predicted(tiny_run, workplace, [str(workplace / "small" / name)], f"alone_{name}")
        np.testing.assert_array_equal(masks[name], alone[name])


@pytest.mark.usefixtures("tiny_run")
def test_a_stop_leaves_whole_masks_only(workplace, calls, run_cli, monkeypatch):
    write(workplace / "small", [f"{index:02}.png" for index in range(24)])
    call = SmallImages.__call__

    def stopped(self, images):
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return call(self, images)

    monkeypatch.setattr(SmallImages, "__call__", stopped)
    assert run_cli("predict", "small").code == 130
    found = sorted((workplace / "outputs/predictions/tiny").iterdir())
    assert 0 < len(found) <= 16
    for file in found:
        assert np.array(Image.open(file)).shape == (48, 48)


@pytest.mark.usefixtures("tiny_run", "calls")
def test_the_first_mask_of_a_group_that_cannot_be_written_is_the_one_that_is_told(workplace, run_cli):
    write(workplace / "small", [f"{index:02}.png" for index in range(16)])
    for index in range(3, 16):
        (workplace / f"found/{index:02}.png").mkdir(parents=True)
    failed = run_cli("predict", "small", "--out", "found", "--overwrite")
    assert failed.code == 3
    assert "cannot write `found/03.png`" in failed.err
    assert [file.name for file in sorted((workplace / "found").iterdir()) if file.is_file()] == [
        "00.png",
        "01.png",
        "02.png",
    ]


@pytest.mark.usefixtures("calls")
def test_a_fault_while_a_group_is_read_comes_after_the_masks_of_the_images_before(tiny_run, workplace, monkeypatch):
    write(workplace / "small", [f"{index:02}.png" for index in range(16)])
    read = PixelAnswers.read

    def failing(self, job):
        if job.image.name == "11.png":
            raise DeviceError("no such luck")
        return read(self, job)

    monkeypatch.setattr(PixelAnswers, "read", failing)
    with pytest.raises(DeviceError, match="no such luck"):
        predicted(tiny_run, workplace, [str(workplace / "small")], "found")
    assert len(list((workplace / "found").iterdir())) == 11
