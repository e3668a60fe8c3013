"""Each 2D network trains on generated vessels, in colour and in grey."""

import math

import pytest
import torch
import yaml
from factories import SMALL, experiment, scenes_experiment, write_experiment, write_sequences

from segcli.core.registry import MODELS
from segcli.engine.checkpoint import read_checkpoint

FLAT = [name for name in MODELS.names() if 2 in MODELS.load(name).can_ndim]


def case(name, channels, preset):
    """A network on grey or coloured images with a preset.

    A preset does not know which network it feeds: the U-Net sees each with both kinds of images, the others the least
    and the most, large ones the least. A release sees all.
    """
    often = (
        name == "unet"
        or (channels, preset) == (1, "light")
        or ((channels, preset) == (3, "heavy") and name not in LONG)
    )
    return pytest.param(name, channels, preset, marks=() if often else pytest.mark.slow)


LONG = ("deeplabv3_plus", "transroinet")
PRESETS = ("light", "medium", "heavy")
CASES = [case(name, channels, preset) for name in FLAT for channels in (1, 3) for preset in PRESETS]


@pytest.mark.parametrize(("name", "channels", "preset"), CASES)
def test_two_epochs_are_finite_and_change_every_weight(name, channels, preset, run_cli, vessels, workplace):
    values = experiment(
        vessels,
        model={"type": name, **SMALL[name]},
        data={"batch_size": 4, "num_workers": 0, "augmentation": {"preset": preset}},
        dataset__color="grey" if channels == 1 else "rgb",
        dataset__num_channels=channels,
        dataset__mean=[0.4] * channels,
        dataset__std=[0.2] * channels,
        dataset__fov_folder="fov",
        checkpoint__save_every=1,
    )
    result = run_cli("train", write_experiment(workplace / "model.yaml", values))
    assert result.code == 0, result.err
    folder = workplace / "outputs/experiments/tiny"
    history = yaml.safe_load((folder / "metrics_history.yaml").read_text())
    assert len(history) == 2
    assert all(math.isfinite(entry["train"]["loss"]) and math.isfinite(entry["val"]["val_loss"]) for entry in history)
    one, two = (read_checkpoint(folder / f"checkpoints/epoch_000{epoch}.safetensors") for epoch in (1, 2))
    weights = one.below("model")
    assert len(weights) > 10
    assert [key for key, value in weights.items() if torch.equal(value, two.below("model")[key])] == []


@pytest.mark.parametrize("name", FLAT)
def test_every_network_trains_on_many_classes(name, run_cli, workplace):
    dataset = write_sequences(workplace / "data", {"Video_000": 4, "Video_001": 1, "Video_002": 1})
    values = scenes_experiment(dataset, model={"type": name, **SMALL[name]}, training__epochs=2)
    result = run_cli("train", write_experiment(workplace / "model.yaml", values))
    assert result.code == 0, result.err
    history = yaml.safe_load((workplace / "outputs/experiments/tiny/metrics_history.yaml").read_text())
    assert all(math.isfinite(entry["train"]["loss"]) and math.isfinite(entry["val"]["val_loss"]) for entry in history)
    last = read_checkpoint(workplace / "outputs/experiments/tiny/checkpoints/last.safetensors")
    assert any(value.shape[0] == 4 for value in last.below("model").values() if value.ndim)  # sky, road, car, tram
