"""Texts of any length in a damaged HDF5 file: HDF5 would never end."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from segcli.files._hdf5_content import strings_in
from segcli.files._hdf5_heap import refuse_endless_heap

ROOT = Path(__file__).parents[2]
READ = """
import sys, h5py
from pathlib import Path
from segcli.core.errors import DataError
from segcli.files._hdf5_content import strings_in
from segcli.files._hdf5_heap import refuse_endless_heap
path = Path(sys.argv[1])
try:
    with h5py.File(path) as file:
        strings_in(file, path, "scenarios", 6)
except DataError as error:
    print(error)
"""
LAYOUTS = {
    "contiguous": {},
    "compact": {},
    "chunks": {"chunks": (4,)},
    "packed": {"chunks": (4,), "compression": "gzip"},
    "shuffled": {"chunks": (4,), "compression": "gzip", "shuffle": True},
    "lzf": {"chunks": (4,), "compression": "lzf"},
    "user block": {"userblock_size": 512},
}


def write(path, layout="contiguous"):
    """Six texts of any length; returns the bytes of the file and the place of the first collection."""
    options = dict(LAYOUTS[layout])
    with h5py.File(path, "w", userblock_size=options.pop("userblock_size", 0)) as file:
        if layout == "compact":  # h5py writes them so through its lower half only
            how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            how.set_layout(h5py.h5d.COMPACT)
            kind = h5py.h5t.py_create(h5py.string_dtype(), logical=True)
            texts = h5py.Dataset(h5py.h5d.create(file.id, b"scenarios", kind, h5py.h5s.create_simple((6,)), how))
        else:
            texts = file.create_dataset("scenarios", (6,), h5py.string_dtype(), **options)
        texts[:] = ["both", "one", "none"] * 2
    content = bytearray(path.read_bytes())
    return content, content.index(b"GCOL")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_whole_texts_are_read(tmp_path, layout):
    write(tmp_path / "a.h5", layout)
    with h5py.File(tmp_path / "a.h5") as file:
        assert strings_in(file, tmp_path / "a.h5", "scenarios", 6) == ["both", "one", "none"] * 2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_collection_of_texts_that_leads_nowhere_is_refused_at_once(tmp_path, layout):
    path = tmp_path / "a.h5"
    content, place = write(path, layout)
    at = place + 16
    while int.from_bytes(content[at : at + 2], "little"):  # to the free object at the end, whose index is 0
        at += 16 + -(-int.from_bytes(content[at + 8 : at + 16], "little") // 8) * 8
    content[at + 8 : at + 16] = bytes(8)
    path.write_bytes(content)
    done = subprocess.run(  # without the check it never ends, and hears no signal
        [sys.executable, "-c", READ, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert f"the texts of `scenarios` in `{path}` are damaged (object collection at byte {place:,})" in done.stdout


def test_references_to_nowhere_are_left_to_hdf5(tmp_path):
    content, _ = write(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        offset = file["scenarios"].id.get_offset()
    rng = np.random.default_rng(11)
    for _ in range(20):
        damaged = bytearray(content)
        damaged[offset + int(rng.integers(96))] = int(rng.integers(256))
        (tmp_path / "b.h5").write_bytes(damaged)
        with h5py.File(tmp_path / "b.h5") as file:
            refuse_endless_heap(file["scenarios"], tmp_path / "b.h5", "scenarios")
