import hashlib
import json
import os
from pathlib import PurePosixPath

import pytest
import torch
from safetensors.torch import load_file, save_file

from segcli.core.errors import CheckpointError
from segcli.engine.checkpoint import Checkpoint, write_checkpoint
from segcli.nn.state_dict import read_state_dict, read_tensors


class Command:
    """An object whose pickle calls a command of the system."""

    def __reduce__(self):
        return os.system, ("true",)


@pytest.fixture
def own(tmp_path):
    """Weights in a checkpoint of segcli."""
    write_checkpoint(tmp_path / "own.safetensors", Checkpoint({}, {"model/a": torch.arange(50.0)}))
    return tmp_path / "own.safetensors"


def test_a_changed_bit_in_the_weights_of_a_run_is_told(own):
    content = bytearray(own.read_bytes())
    content[-3] ^= 1
    own.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"are damaged .their checksum does not match"):
        read_state_dict(own)


def test_weights_of_a_run_whose_checksum_is_lost_are_told(own):
    save_file(load_file(own), own)
    with pytest.raises(CheckpointError, match="their checksum does not match"):
        read_state_dict(own)


def test_weights_of_other_programs_need_no_checksum(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors", metadata={"format": "pt"})
    assert read_state_dict(tmp_path / "a.safetensors")["a"].tolist() == [1, 1]


def test_a_changed_bit_in_a_file_of_pytorch_is_told(tmp_path):
    path = tmp_path / "net.pth"
    torch.save({"a": torch.arange(5000.0)}, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="`net/data/0` differs from its checksum"):
        read_state_dict(path)


def test_weights_must_have_the_stated_sha256(own):
    right = hashlib.sha256(own.read_bytes()).hexdigest()
    assert list(read_state_dict(own, sha256=right)) == ["a"]
    with pytest.raises(CheckpointError, match=f"is {right}, but `model.weights_sha256` is 0000"):
        read_tensors(own, hint="", sha256="0" * 64)


@pytest.mark.parametrize("found", [[], 5, None, {"segcli": 5, "checksum": 5}])
def test_metadata_that_is_no_text_is_told(tmp_path, found):
    text = json.dumps({"__metadata__": found}).encode()
    (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(CheckpointError, match="holds no weights"):
        read_tensors(tmp_path / "a.safetensors", hint="")


NEVER_RUN = "such as a whole network, and no code in a file is run"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (
            {"a": torch.ones(1), "home": PurePosixPath("x")},
            rf"it needs the code of `pathlib\.PurePosixPath`, {NEVER_RUN}",
        ),
        ({"a": Command()}, rf"it needs the code of `\w+\.system`, {NEVER_RUN}"),
        (b"hello", "it was not written by `torch.save`, or it is damaged"),
        (bytes(range(256)), "it was not written by `torch.save`, or it is damaged"),
    ],
)
def test_nobody_is_advised_to_run_the_code_in_a_file_of_weights(tmp_path, content, why):
    path = tmp_path / "net.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=rf"holds no weights \({why}\)$"):
        read_tensors(path, hint="")
