"""Readers of what TensorBoard shows of a run."""

import io
import time

import numpy as np
import pytest
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

EVERYTHING = {
    "tensorboard": True,
    "log_images": True,
    "image_log_frequency": 2,
    "log_activations": True,
    "activation_log_frequency": 2,
}


def events(folder):
    """All events below `folder/tensorboard`, none sampled away."""
    found = EventAccumulator(str(folder), size_guidance=dict.fromkeys(("scalars", "images", "histograms"), 0))
    found.Reload()
    return found


def scalars(folder):
    """Values by tag, each a list of (step, value)."""
    found = events(folder)
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def history(folder):
    return yaml.safe_load((folder / "metrics_history.yaml").read_text())


def picture(event):
    return np.array(Image.open(io.BytesIO(event.encoded_image_string)))


def panels(event):
    """Input, truth and prediction of a picture."""
    pixels = picture(event)
    width = (pixels.shape[1] - 8) // 3
    return [pixels[:, start : start + width] for start in (0, width + 4, 2 * width + 8)]


def next_second():
    """Event files are ordered by the second in which they begin, as those of a person who resumes are."""
    now = int(time.time())
    while int(time.time()) == now:
        time.sleep(0.02)


def approximately(values):
    return [(step, pytest.approx(value, rel=1e-6, abs=1e-6)) for step, value in values]
