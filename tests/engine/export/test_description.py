"""What an exported file says of itself is checked before anything is made of it."""

import json
from pathlib import Path

import pytest

from segcli.core.errors import CheckpointError
from segcli.engine.export.description import Description

GOOD = {
    "run": "tiny", "model": "unet", "task": "binary", "epoch": 1, "ndim": 2, "in_channels": 1,
    "classes": [{"name": "foreground", "color": [255, 0, 0]}], "input_name": "image", "input_dtype": "float32",
    "input_axes": "BCHW", "outputs": ["mask"], "precision": "float32", "baked": False, "stride": 2, "multiple": 4,
    "normalize": True, "mean": [0.5], "std": [0.2], "threshold": 0.5, "tile": [64, 64], "overlap": 0.25, "tta": False,
    "scales": [1.0], "postprocess": {}, "preprocessing": {"image_size": [64, 64]}, "segcli": "0", "class_offsets": [],
    "dataset": {"format": "image_folders", "num_channels": 1, "mean": [0.5], "std": [0.2]}, "size": None, "fov": "auto",
    "format": 4,
}  # fmt: skip


def read(**changes):
    return Description.from_json(json.dumps({**GOOD, **changes}), Path("x.onnx"))


def test_what_is_written_is_read():
    assert json.loads(read().as_json()) == GOOD
    assert Description.from_json(read().as_json(), Path("x.onnx")) == read()


def test_the_chosen_channels_are_written_only_where_there_is_a_choice():
    chosen = read(channels=[3], dataset={**GOOD["dataset"], "channels": [3]})
    assert json.loads(chosen.as_json())["channels"] == [3]
    assert "channels" not in json.loads(read().as_json())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"run": 5}, "`run` must be a valid string, got `5`"),
        ({"run": ""}, "`run` string should have at least 1 character"),
        ({"epoch": -1}, "`epoch` must be greater than or equal to 0, got `-1`"),
        ({"ndim": 4}, "`ndim` must be less than or equal to 3, got `4`"),
        ({"in_channels": 10**6}, "`in_channels` must be less than or equal to 4096"),
        ({"classes": []}, "`classes` list should have at least 1 item"),
        ({"classes": [{"name": "a", "color": [0, 0, 256]}]}, "`classes.color.2` must be less than or equal to 255"),
        ({"classes": [{"name": "a", "path": "x"}]}, "`classes.path` is an unknown key"),
        ({"input_dtype": "object"}, "`input_dtype` string should match pattern"),
        ({"input_axes": "BCDHW"}, "`input_axes` is BCDHW of a network with 2 axes"),
        ({"outputs": []}, "`outputs` list should have at least 1 item"),
        ({"stride": 0}, "`stride` must be greater than or equal to 1, got `0`"),
        ({"multiple": 0}, "`multiple` must be greater than or equal to 1, got `0`"),
        ({"multiple": 3}, "`multiple` is 3, no multiple of the stride 2"),
        ({"multiple": 10**6}, "`multiple` must be less than or equal to 4096"),
        ({"std": [0.0]}, "`std.0` must be greater than 0, got `0.0`"),
        ({"std": [-1]}, "`std.0` must be greater than 0"),
        ({"mean": [float("nan")]}, "`mean.0` must be a finite number, got `nan`"),
        ({"mean": [0.5, 0.5]}, "`mean` has 2 numbers for 1 channels"),
        ({"mean": [0.4]}, "`dataset.mean` is not `mean`"),
        ({"threshold": 1.5}, "`threshold` must be less than or equal to 1"),
        ({"tile": [0, 0]}, "`tile.0` must be greater than or equal to 1, got `0`; `tile.1`"),
        ({"tile": [10**6, 64]}, "`tile.0` must be less than or equal to 65536, got `1000000`"),
        ({"tile": [65536, 65536]}, "`tile` must be 2 sizes of together at most 1,073,741,824 pixels"),
        ({"tile": [64]}, "`tile` list should have at least 2 items"),
        ({"tile": [64, 64, 64]}, "`tile` must be 2 sizes"),
        ({"size": [10**6, 10**6]}, "`size.0` must be less than or equal to 65536"),
        ({"preprocessing": {"image_size": [10**6, 10**6]}}, "`preprocessing.image_size` must be 2 sizes"),
        ({"preprocessing": {"preprocessing": {"pad_to_multiple": 10**6}}}, "pad_to_multiple` is not `multiple`"),
        ({"overlap": 1.0}, "`overlap` must be less than 1"),
        ({"tta": "all"}, "`tta` must be False, True or 'horizontal'"),
        ({"scales": []}, "`scales` list should have at least 1 item"),
        ({"scales": [100.0]}, "`scales.0` must be less than or equal to 4"),
        ({"class_offsets": [1.0, 2.0]}, "`class_offsets` has 2 numbers for 1 classes"),
        ({"class_offsets": [float("inf")]}, "`class_offsets.0` must be a finite number"),
        ({"dataset": {**GOOD["dataset"], "format": "evil.py:Layout"}}, "`dataset.format` must be a name"),
        ({"task": "../evil"}, "`task` must be a name, got `../evil`"),
        ({"dataset": {**GOOD["dataset"], "paths": {"root": "/"}}}, "`dataset.paths` names files"),
        ({"dataset": {**GOOD["dataset"], "num_channels": 3}}, "`dataset.num_channels` is not `in_channels`"),
        ({"channels": [0, 0]}, "`channels` names channel 0 twice"),
        ({"channels": [-1]}, "`channels.0` must be greater than or equal to 0, got `-1`"),
        ({"channels": [0, 3]}, "`channels` chooses 2 channels for 1"),
        ({"channels": [3]}, "`dataset.channels` is not `channels`"),
        ({"dataset": {**GOOD["dataset"], "channels": [3]}}, "`dataset.channels` is not `channels`"),
        ({"later": 1}, "`later` is an unknown key"),
        ({"later\x1b[2J": 1}, r"`later\x1b[2J` is an unknown key"),
        ({"format": 5}, "has description format 5, this segcli reads 2 to 4"),
        ({"fov": "circle"}, "`fov` must be 'auto' or 'none', got `circle`"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_file_and_key(changes, text):
    with pytest.raises(CheckpointError) as caught:
        read(**changes)
    assert text in caught.value.message
    assert "`x.onnx`" in caught.value.message
    assert len(caught.value.message) < 900


def test_many_mistakes_are_told_shortly():
    with pytest.raises(CheckpointError, match=r"; and 995 more\n"):
        read(**{f"key{number}": 1 for number in range(1000)})


def test_an_older_file_without_a_field_of_view_predicts_the_whole_image():
    old = {key: value for key, value in GOOD.items() if key != "fov"} | {"format": 2}
    assert Description.from_json(json.dumps(old), Path("x.onnx")).fov == "none"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "5", "null", "[" * 100_000, b"\xff\xfe", " " * 2**22 + "{}", '{"run": 1}']
)
def test_what_is_no_description_is_damaged(text):
    with pytest.raises(CheckpointError, match="has a damaged segcli description"):
        Description.from_json(text, Path("x.onnx"))
