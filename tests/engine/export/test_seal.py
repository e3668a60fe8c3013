"""Checksum in an exported ONNX file."""

import random
import shutil

import onnx
import pytest

from segcli.core.errors import CheckpointError
from segcli.engine.export.portable import open_portable
from segcli.engine.export.seal import SEAL, is_sealed, seal


@pytest.fixture
def exported(tiny_exports, tmp_path):
    """A file that `segcli export` wrote."""
    return shutil.copy(tiny_exports.folder / "outputs/exports/tiny/tiny.onnx", tmp_path / "a.onnx")


def test_every_changed_bit_of_an_exported_file_is_told(exported):
    assert is_sealed(exported)
    content, rng = exported.read_bytes(), random.Random(0)
    for _ in range(60):
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        exported.write_bytes(changed)
        with pytest.raises(CheckpointError, match=r"a\.onnx`"):
            open_portable(exported)


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_file_cut_off_is_told(exported, kept):
    content = exported.read_bytes()
    exported.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(CheckpointError, match=r"a\.onnx`"):
        open_portable(exported)


def test_a_file_that_lost_its_checksum_is_told_and_one_sealed_again_is_read(exported):
    model = onnx.load(exported)
    model.metadata_props.remove(next(entry for entry in model.metadata_props if entry.key == SEAL))
    onnx.save(model, exported)
    with pytest.raises(CheckpointError, match="it has lost its checksum"):
        open_portable(exported)
    model.metadata_props.add(key=SEAL, value="0" * 64)
    onnx.save(model, exported)
    with pytest.raises(CheckpointError, match="its checksum does not match its content"):
        open_portable(exported)
    seal(exported)
    assert open_portable(exported).description.run == "tiny"
