import math
import os
import pickle
import threading

import pytest
import torch

from segcli.core.errors import CheckpointError
from segcli.engine.checkpoint import Checkpoint, read_checkpoint, read_header, write_checkpoint


@pytest.fixture
def written(tmp_path):
    """A checkpoint with what a run may hold: every kind of tensor and number."""
    weight = torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last)
    tensors = {
        "model/weight": weight,
        "model/tied": weight,
        "model/view": weight[1:3],
        "model/half": torch.randn(3).half(),
        "model/bfloat": torch.randn(3).bfloat16(),
        "model/count": torch.tensor(7),
        "model/empty": torch.zeros(0, 3),
        "random/torch": torch.get_rng_state(),
    }
    header = {
        "config": {"a": [1, 2.5, None, True]},
        "nan": math.nan,
        "inf": [-math.inf],
        "tiny": 5e-324,
        "third": 1 / 3,
    }
    path = tmp_path / "last.safetensors"
    write_checkpoint(path, Checkpoint(header, tensors))
    return path, header, tensors


def test_everything_is_read_back_to_the_bit(written):
    path, header, tensors = written
    found = read_checkpoint(path)
    assert found.tensors.keys() == tensors.keys()
    assert all(torch.equal(found.tensors[name], value) for name, value in tensors.items())
    assert all(found.tensors[name].dtype == value.dtype for name, value in tensors.items())
    assert found.header["config"] == header["config"]
    assert (found.header["tiny"], found.header["third"]) == (5e-324, 1 / 3)
    assert math.isnan(found.header["nan"])
    assert found.header["inf"] == [-math.inf]
    assert set(found.below("model")) == {name.removeprefix("model/") for name in tensors if name.startswith("model/")}


def test_every_byte_of_the_file_is_guarded(written):
    path = written[0]
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    # header, metadata, padding and tensors; blanks that pad the header carry nothing
    for position in range(0, len(content), 11):
        changed = bytearray(content)
        changed[position] ^= 4
        path.write_bytes(bytes(changed))
        if position >= 8 + length or content[position] != 0x20:
            with pytest.raises(CheckpointError):
                read_checkpoint(path)


def test_a_file_cut_anywhere_is_refused(written):
    path = written[0]
    content = path.read_bytes()
    for length in range(0, len(content), 211):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"last.safetensors"):
            read_checkpoint(path)


def test_weights_without_our_header_and_other_formats_are_refused(tmp_path, written):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="holds weights but no segcli header"):
        read_checkpoint(tmp_path / "foreign.safetensors")
    write_checkpoint(tmp_path / "new.safetensors", Checkpoint({"format": 99}, {}))
    with pytest.raises(CheckpointError, match="has checkpoint format 99, this segcli reads 1"):
        read_header(tmp_path / "new.safetensors")


class Attack:
    """Runs code when unpickled."""

    def __reduce__(self):
        return print, ("hacked",)


@pytest.mark.parametrize("name", ["evil.pth", "evil.safetensors"])
def test_nothing_that_is_read_runs_code(tmp_path, capsys, name):
    (tmp_path / name).write_bytes(pickle.dumps(Attack()))
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / name)
    assert "hacked" not in capsys.readouterr().out


def test_a_checkpoint_that_is_replaced_all_the_time_is_read_whole(tmp_path):
    path, stop = tmp_path / "last.safetensors", threading.Event()
    write_checkpoint(path, Checkpoint({"number": 0}, {"a": torch.zeros(5000)}))

    def replace():
        number = 0
        while not stop.is_set():
            number += 1
            size = 5000 if number % 2 else 50  # a smaller file in place of a larger one
            write_checkpoint(path, Checkpoint({"number": number}, {"a": torch.full((size,), float(number))}))

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        for _ in range(150):
            checkpoint = read_checkpoint(path)
            assert (checkpoint.tensors["a"] == checkpoint.header["number"]).all()
    finally:
        stop.set()
        writer.join()


@pytest.mark.posix
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_a_checkpoint_can_be_read_by_whom_the_umask_allows(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_checkpoint(tmp_path / "last.safetensors", Checkpoint({}, {"model/a": torch.zeros(2)}))
    finally:
        os.umask(before)
    assert (tmp_path / "last.safetensors").stat().st_mode & 0o777 == 0o666 & ~umask
