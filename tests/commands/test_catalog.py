"""What there is: networks, losses, metrics, formats and keys."""

import json

import pytest

from segcli.core.registry import DATASETS, FILES, LOSSES, METRICS, MODELS


def test_each_room_is_listed_with_one_line_for_each_component(run_cli):
    for command, rooms in {
        "models": [MODELS],
        "losses": [LOSSES],
        "metrics": [METRICS],
        "formats": [DATASETS, FILES],
    }.items():
        found = json.loads(run_cli(command, "--json").out)
        for room in rooms:
            assert [row["name"] for row in found[room.room]] == list(room.names())
            assert [row for row in found[room.room] if not row["about"] or "\n" in row["about"]] == []
        shown = run_cli(command).out
        assert [name for room in rooms for name in room.names() if name not in shown] == []


def test_parameters_are_counted_for_three_channels_and_one_mask(run_cli):
    counts = {row["name"]: row["parameters"] for row in json.loads(run_cli("models", "--json").out)["models"]}
    assert (counts["unet"], counts["utrans"], counts["sa_unet"]) == (7_763_041, 100_300_993, 537_299)
    assert "7,763,041 parameters" in run_cli("models", "U-Net").out


def test_one_component_is_told_with_paper_keys_types_and_defaults(run_cli):
    values = json.loads(run_cli("losses", "tversky", "--json").out)
    assert values["paper"].endswith("https://arxiv.org/abs/1706.05721.")
    assert values["yaml"] == "training.loss: {type: tversky}"
    assert [row["key"] for row in values["keys"]] == ["alpha", "beta", "smooth"]
    shown = " ".join(run_cli("models", "unet").out.split())
    assert "Ronneberger et al." in shown
    assert "depths list of whole numbers of at least 1 (2 or more), default [32, 64, 128, 256, 512]" in shown
    assert "Channels at each level" in shown
    assert "split.by folders, lists or fraction, default folders" in " ".join(
        run_cli("formats", "image_folders").out.split()
    )
    assert "images and volumes: .tif" in run_cli("formats", "tiff").out
    assert "no keys of its own" in run_cli("metrics", "dice").out


@pytest.mark.parametrize("words", [("formats", "image_folders"), ("models", "unet"), ("config", "keys", "training")])
def test_the_meaning_of_a_key_is_not_cut_at_the_width(run_cli, words):
    found = json.loads(run_cli(*words, "--json").out)
    shown = " ".join(run_cli(*words).out.split())
    keys = found["keys"]
    assert max(len(row["about"]) for row in keys) > 150
    assert [row["key"] for row in keys if " ".join(row["about"].split()) not in shown] == []


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["models", "unett"], "unknown model `unett`", "did you mean `unet`?"),
        (["models", "mine.py:Net"], "`mine.py:Net` is a file of your own", "one of deeplabv3_plus"),
        (["formats", "nify"], "unknown format `nify`", "did you mean `nifti`?"),
        (["config", "keys", "dataset.split"], "no key `dataset.split` in every format", "`segcli formats NAME`"),
        (["config", "keys", "training.emma"], "no key `training.emma`", "did you mean `training.ema`?"),
    ],
)
def test_an_unknown_name_gives_the_nearest(run_cli, words, message, hint):
    result = run_cli(*words)
    assert result.code == 2
    assert message in result.err
    assert hint in result.err


def test_keys_of_a_section_are_listed_with_the_defaults_of_a_run(run_cli):
    rows = {row["key"]: row for row in json.loads(run_cli("config", "keys", "training.ema", "--json").out)["keys"]}
    assert rows["training.ema.enabled"]["default"] == "false"  # the section alone would be on
    assert rows["training.ema.decay"]["type"] == "number above 0 and below 1"
    assert rows.keys() == {"training.ema.enabled", "training.ema.decay"}
    every = run_cli("config", "keys").out
    assert "name  text, required" in every
    assert "data.cache  auto, none, memory or disk, default auto" in every
