"""Headers of checkpoints from strangers: anybody can compute the checksum over an impossible header."""

import json

import pytest
import torch

from segcli.core.errors import CheckpointError
from segcli.engine.checkpoint import Checkpoint, read_checkpoint, read_header, write_checkpoint
from segcli.engine.training.snapshot import Snapshot

PROGRESS = {"epoch": 1, "batch": 0, "step": 4, "skipped": 0, "elapsed_s": 1.5, "finished": False}
NEST = "[" * 100_000


def written(tmp_path, **header):
    write_checkpoint(tmp_path / "a.safetensors", Checkpoint(header, {"model/a": torch.zeros(2)}))
    return tmp_path / "a.safetensors"


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ({"config": "x"}, "`config` must be a valid dictionary, got `x`"),
        ({"progress": {**PROGRESS, "epoch": "many"}}, "`progress.epoch` must be a valid integer, got `many`"),
        ({"progress": {**PROGRESS, "step": -1}}, "`progress.step` must be greater than or equal to 0, got `-1`"),
        ({"progress": {**PROGRESS, "whatever": 1}}, "`progress.whatever` "),
        ({"progress": {"epoch": 1}}, "`progress.batch` Field required"),
        ({"history": [5]}, "`history.0` "),
        ({"history": [{"epoch": 1, "train": {"loss": "low"}}]}, "`history.0.train.loss` "),
        ({"early_stopping": []}, "`early_stopping` "),
        ({"best_validation": {"cases": 5}}, "`best_validation."),
        ({"scheduler": {"scale": []}}, "`scheduler.scale"),
        ({"dataset": 5}, "`dataset` must be a valid dictionary, got `5`"),
    ],
)
def test_a_value_of_an_impossible_type_is_told_with_its_key(tmp_path, header, text):
    path = written(tmp_path, **header)
    for read in (read_checkpoint, read_header):
        with pytest.raises(CheckpointError) as caught:
            read(path)
        assert caught.value.message.startswith(f"checkpoint `{path}` has an impossible header: {text}")


def test_a_changed_header_is_told_although_the_tensors_are_not_read(tmp_path):
    path = written(tmp_path, progress=PROGRESS)
    path.write_bytes(path.read_bytes().replace(b"step", b"stfp"))
    with pytest.raises(CheckpointError, match="the checksum of its header does not match"):
        read_header(path)


def test_a_key_that_is_missing_is_told_where_it_is_needed(tmp_path):
    checkpoint = read_checkpoint(written(tmp_path, progress=PROGRESS))
    with pytest.raises(CheckpointError, match="has an impossible header: `config` is missing"):
        Snapshot.from_checkpoint(checkpoint)


@pytest.mark.parametrize(
    "found",
    [
        None,
        [],
        5,
        {"segcli": 5, "checksum": 5},
        {"segcli": "[]", "checksum": "x"},
        {"segcli": NEST, "checksum": "x"},
        {"segcli": "1" * 5000, "checksum": "x"},
        {"segcli": '{"a": {"$float": null}}', "checksum": "x"},
    ],
)
def test_metadata_that_is_no_header_is_told(tmp_path, found):
    text = json.dumps({"__metadata__": found}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    for read in (read_checkpoint, read_header):
        with pytest.raises(CheckpointError, match=r"a\.safetensors` "):
            read(path)


def test_nested_json_at_the_start_of_the_file_is_told(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(len(NEST).to_bytes(8, "little") + NEST.encode())
    with pytest.raises(CheckpointError, match="it does not start like a safetensors file"):
        read_header(tmp_path / "a.safetensors")


def test_a_file_longer_than_its_tensors_is_refused_before_it_is_read(tmp_path):
    path = written(tmp_path)
    with path.open("r+b") as stream:
        stream.truncate(2**40)  # a hole: takes no space on the disk
    with pytest.raises(CheckpointError, match="has 1,099,511,627,776 bytes, but its header states "):
        read_checkpoint(path)
