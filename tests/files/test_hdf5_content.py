"""HDF5 files that take values from elsewhere, or lack them."""

import json
import re
import shlex
import subprocess
import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import yaml
from factories import bodies, volumes_experiment, write_experiment, write_hdf5

from segcli.core.errors import DataError
from segcli.files import _hdf5_content, open_picture
from segcli.files.hdf5 import HDF5

SHAPE = (6, 16, 16, 8)


@pytest.fixture
def data(workplace):
    """Write a data set and its files, and what other files hold."""
    write_hdf5(workplace / "data")
    (workplace / "set.yaml").write_text(yaml.safe_dump({"format": "hdf5_volumes", "paths": {"root": "data"}}))
    write_experiment(workplace / "tiny.yaml", volumes_experiment(workplace / "data"))
    with h5py.File(workplace / "data/other.h5", "w") as other:
        other["values"] = np.stack([bodies(index)[0] for index in range(6)])
    np.zeros(SHAPE, np.float32).tofile(workplace / "secret.bin")
    return workplace / "data"


def virtual(file, folder):
    layout = h5py.VirtualLayout(SHAPE, np.float32)
    layout[...] = h5py.VirtualSource("other.h5", "values", SHAPE)
    file.create_virtual_dataset("images", layout)


def lost(file, folder):
    layout = h5py.VirtualLayout(SHAPE, np.float32)
    layout[...] = h5py.VirtualSource("gone.h5", "values", SHAPE)
    file.create_virtual_dataset("images", layout)


def external_link(file, folder):
    file["images"] = h5py.ExternalLink("other.h5", "/values")


def link_through_a_group(file, folder):
    file["elsewhere"] = h5py.ExternalLink("other.h5", "/")
    file["images"] = h5py.SoftLink("/elsewhere/values")


def storage(file, folder):
    external = [(str(folder.parent / "secret.bin"), 0, h5py.h5f.UNLIMITED)]
    file.create_dataset("images", SHAPE, np.float32, external=external)


VIRTUAL = "`images` of `data/train.h5` is a virtual dataset: its values are in the file"
ELSEWHERE = {
    virtual: f"{VIRTUAL} `other.h5`, and are 0 without it",
    lost: f"{VIRTUAL} `gone.h5`, and are 0 without it",
    external_link: "`images` of `data/train.h5` is a link to another file, `other.h5`",
    link_through_a_group: "`images` of `data/train.h5` is a link to another file, `other.h5`",
    storage: "`images` of `data/train.h5` has its values in another file, `{folder}/secret.bin`",
}


def changed(folder, make, key="images"):
    with h5py.File(folder / "train.h5", "a") as file:
        if key in file:
            del file[key]
        make(file, folder)


def checked(run_cli):
    found = json.loads(run_cli("data", "check", "set.yaml", "--json").out)["findings"]
    return [finding for finding in found if finding["severity"] == "error"]


@pytest.mark.parametrize("make", ELSEWHERE, ids=lambda make: make.__name__)
def test_values_of_other_files_are_refused_by_check_training_and_prediction(make, data, run_cli):
    message = ELSEWHERE[make].format(folder=data.parent)
    changed(data, make)
    (first, *_) = checked(run_cli)
    assert first["message"] == message
    trained = run_cli("train", "tiny.yaml", "--dry-run")
    assert trained.code == 3
    assert message in " ".join(trained.err.split())
    for read in (lambda: open_picture(data / "train.h5", 3, 0), lambda: HDF5.members(data / "train.h5")):
        with pytest.raises(DataError, match=re.escape(message.replace("`data/", f"`{data}/"))):
            read()


@pytest.mark.parametrize("make", [virtual, external_link, storage], ids=lambda make: make.__name__)
def test_the_command_of_the_advice_collects_the_values(make, data, run_cli):
    changed(data, make)
    hint = checked(run_cli)[0]["hint"]
    program = shlex.split(re.search("`(python .*)`", hint)[1])
    subprocess.run([sys.executable, *program[1:]], check=True, cwd=data.parent)
    (data / "train_whole.h5").rename(data / "train.h5")
    assert checked(run_cli) == ([] if make is not storage else checked(run_cli))
    with h5py.File(data / "train.h5") as file:
        assert file["images"].id.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS
        expected = np.zeros(SHAPE) if make is storage else np.stack([bodies(index)[0] for index in range(6)])
        np.testing.assert_array_equal(file["images"][:], expected.astype(np.float32))


@pytest.mark.parametrize("key", ["case_ids", "scenarios"])
def test_names_of_other_files_are_not_read_either(key, data, run_cli, workplace):
    with h5py.File(data / "other.h5", "a") as file:
        file["names"] = [f"secret {index}" for index in range(6)]

    def make(file, folder):
        file[key] = h5py.ExternalLink("other.h5", "/names")

    changed(data, make, key)
    out = run_cli("data", "check", "set.yaml", "--json").out
    assert f"`{key}` of `data/train.h5` is a link to another file" in out
    assert "secret" not in out


def test_links_within_the_file_are_followed(data, run_cli):
    with h5py.File(data / "train.h5", "a") as file:
        file.move("images", "raw")
        file.create_group("deep")["again"] = h5py.SoftLink("../raw")
        file["images"] = h5py.SoftLink("/raw")
    assert checked(run_cli) == []


ODD = {
    "group": (lambda file, folder: file.create_group("images"), "is a group, but it must be a dataset"),
    "empty": (lambda file, folder: file.create_dataset("images", data=h5py.Empty("f4")), "it has no shape"),
    "dangling": (
        lambda file, folder: file.__setitem__("images", h5py.SoftLink("/nowhere")),
        "`images` of `data/train.h5` is a link to `/nowhere`, which is not in the file",
    ),
    "circle": (
        lambda file, folder: file.__setitem__("images", h5py.SoftLink("/images")),
        "is a link that leads round in a circle",
    ),
    "text": (lambda file, folder: file.create_dataset("images", data=np.full(SHAPE, b"a")), "holds text"),
    "complex": (lambda file, folder: file.create_dataset("images", SHAPE, complex), "holds complex numbers"),
    "pairs": (
        lambda file, folder: file.create_dataset("images", data=np.zeros(SHAPE, [("r", "u1"), ("g", "u1")])),
        "holds compound or opaque values",
    ),
    "packed": (
        lambda file, folder: packed(file, "scale_factor", 0.1),
        "`scale_factor: 0.1`, so what is stored are not",
    ),
    "packed with a text": (lambda file, folder: packed(file, "add_offset", "3"), "`add_offset: no number`"),
    "no pixels": (lambda file, folder: file.create_dataset("images", (6, 0, 16, 8), "u1"), "holds no pixels: "),
}


def packed(file, name, value):
    file["images"] = np.zeros(SHAPE, np.int16)
    file["images"].attrs[name] = value


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_dataset_of_numbers_is_told(kind, data, run_cli):
    make, message = ODD[kind]
    changed(data, make)
    (first, *_) = checked(run_cli)
    assert message in first["message"]
    trained = run_cli("train", "tiny.yaml", "--dry-run")
    assert trained.code == 3
    assert first["message"] in " ".join(trained.err.split())
    with pytest.raises(DataError, match=message.replace("data/", ".*")):
        open_picture(data / "train.h5", 3, 0)


def test_text_that_is_not_utf_8_is_told_with_a_command_that_mends_it(data, run_cli):
    with h5py.File(data / "train.h5", "a") as file:
        del file["scenarios"]
        file["scenarios"] = np.array([b"partial", "réséc".encode("latin-1")] * 3)
    (error, *_) = checked(run_cli)
    assert error["message"] == "`scenarios[1]` of `data/train.h5` is not UTF-8 text: b'r\\xe9s\\xe9c'"
    program = shlex.split(re.search("`(python .*)`", error["hint"])[1])
    subprocess.run([sys.executable, *program[1:]], check=True, cwd=data.parent)
    split = json.loads(run_cli("data", "check", "set.yaml", "--json").out)["splits"][0]
    assert split["groups"] == {"partial": 3, "réséc": 3}


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (np.array([b"\xff"] * 6), "`case_ids[0]` of `data/train.h5` is not UTF-8 text"),
        (["a"] * 6, "`a` is there twice"),
        (["../x", *"bcdef"], "`../x` cannot be the name of a file"),
        (["a"], "`case_ids` of `data/train.h5` is 1, but there are 6 cases"),
    ],
)
def test_names_that_cannot_be_used_are_told_and_replaced_by_numbers(names, why, data, run_cli):
    with h5py.File(data / "train.h5", "a") as file:
        file["case_ids"] = names
    found = json.loads(run_cli("data", "check", "set.yaml", "--json").out)["findings"]
    (told,) = [finding for finding in found if finding["code"] == "unused_names"]
    assert told["severity"] == "warning"
    assert why in told["message"]
    assert HDF5.members(data / "train.h5")[1] == "0001"


# ---- chunks


def half_written(file, folder):
    images = file.create_dataset("images", SHAPE, np.float32, chunks=(1, 8, 16, 8))
    for index in range(5):
        images[index] = bodies(index)[0]
    images[5, :8] = 1


def test_a_case_with_chunks_that_were_never_written_is_refused_and_the_others_are_read(data, run_cli):
    changed(data, half_written)
    message = "`data/train.h5[5]`: its part of `images` was written only in part (50% of its chunks are missing)"
    (first, *_) = checked(run_cli)
    assert first["message"].startswith(message)
    trained = run_cli("train", "tiny.yaml", "--dry-run")
    assert trained.code == 3
    assert message in " ".join(trained.err.split())
    with pytest.raises(DataError, match="was written only in part"):
        open_picture(data / "train.h5", 3, 5)
    with open_picture(data / "train.h5", 3, 4) as picture:
        np.testing.assert_array_equal(picture.read()[..., 0], bodies(4)[0])


@pytest.mark.parametrize("key", ["images", "masks", "presence_labels"])
@pytest.mark.parametrize("chunks", [None, True])
def test_a_dataset_that_was_never_written_is_refused(key, chunks, data, run_cli):
    def make(file, folder):
        shape = {"images": SHAPE, "masks": (6, 2, *SHAPE[1:]), "presence_labels": (6, 2)}[key]
        file.create_dataset(key, shape, np.uint8, chunks=chunks)

    changed(data, make, key)
    assert f"its part of `{key}` was never written" in checked(run_cli)[0]["message"]


def test_masks_of_absent_structures_need_not_be_written(data, run_cli):
    with h5py.File(data / "train.h5", "a") as file:
        masks = file["masks"][:]
        del file["masks"]
        sparse = file.create_dataset("masks", masks.shape, np.uint8, chunks=(1, 1, *SHAPE[1:]), compression="gzip")
        for case, structure in np.argwhere(masks.any((2, 3, 4))):
            sparse[case, structure] = masks[case, structure]
    found = json.loads(run_cli("data", "check", "set.yaml", "--json").out)["findings"]
    assert [finding for finding in found if finding["severity"] == "error"] == []
    (told,) = [finding for finding in found if finding["code"] == "partly_written"]
    assert "of the chunks of `masks` were never written, in 3 of 6 cases" in told["message"]


def test_chunks_that_hold_several_cases_count_for_each(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("a", (5, 4, 4), np.uint8, chunks=(2, 4, 2))
        made[0:2] = 1
        made[4, :, :2] = 1
        np.testing.assert_allclose(_hdf5_content.unwritten(made), [0, 0, 1, 1, 0.5])


def test_a_case_larger_than_the_memory_is_refused_before_it_is_read(data, run_cli, monkeypatch):
    monkeypatch.setattr("segcli.core.free_memory.psutil.virtual_memory", lambda: SimpleNamespace(total=2**10))
    assert "a case of `data/train.h5` takes" in checked(run_cli)[0]["message"]


def test_attributes_of_values_that_are_stored_as_they_are_change_nothing(data, run_cli):
    with h5py.File(data / "train.h5", "a") as file:
        file["images"].attrs.update({"scale_factor": 1.0, "add_offset": np.zeros(1), "units": "HU"})
    assert checked(run_cli) == []


def test_a_file_whose_writer_was_stopped_is_told_as_such(tmp_path):
    write = (
        "import h5py, os, sys; f = h5py.File(sys.argv[1], 'w', libver='latest'); f['images'] = [0]; "
        "f.swmr_mode = True; f.flush(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", write, tmp_path / "a.h5"], check=True)
    with pytest.raises(DataError, match="is marked as being written: its writer is still at work, or was stopped"):
        HDF5.members(tmp_path / "a.h5")


# ---- flags


@pytest.mark.parametrize(("flag", "shown"), [(-1, "-1"), (0.2, "0.2"), (float("nan"), "nan"), (2, "2")])
def test_a_flag_that_is_neither_0_nor_1_is_told_as_it_is_with_its_case(flag, shown, data, run_cli):
    with h5py.File(data / "train.h5", "a") as file:
        flags = file["presence_labels"][:].astype(np.float32)
        flags[3, 1] = flag
        del file["presence_labels"]
        file["presence_labels"] = flags
    message = f"`data/train.h5[3]` (0003): the presence flag of `box` is {shown}, but a flag is 0 or 1"
    assert [error["message"] for error in checked(run_cli)] == [message]
    trained = run_cli("train", "tiny.yaml", "--dry-run")
    assert trained.code == 3
    assert message in " ".join(trained.err.split())


def test_flags_that_are_true_or_float_are_flags(data, run_cli):
    for kind in (bool, np.float64):
        with h5py.File(data / "train.h5", "a") as file:
            flags = file["presence_labels"][:].astype(kind)
            del file["presence_labels"]
            file["presence_labels"] = flags
        assert checked(run_cli) == []


def test_a_scenario_that_is_no_number_is_told_with_its_case(data, run_cli):
    with h5py.File(data / "train.h5", "a") as file:
        del file["scenarios"]
        file["scenarios"] = [1.0, float("nan"), 2.0, 1.0, 1.0, 2.0]
    assert checked(run_cli)[0]["message"] == "`scenarios[1]` of `data/train.h5` is nan"


# ---- filters


def filtered(code, mask=0):
    """Write chunks that claim to be filtered, which HDF5 does not try to write."""

    def make(file, folder):
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((1, *SHAPE[1:]))
        properties.set_filter(code, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple(SHAPE)
        images = h5py.h5d.create(file.id, b"images", h5py.h5t.NATIVE_FLOAT, space, dcpl=properties)
        for index in range(len(file["masks"])):
            images.write_direct_chunk((index, 0, 0, 0), bodies(index)[0].tobytes(), mask)

    return make


@pytest.mark.parametrize(("code", "name"), [(32099, "32099"), (32008, "`bitshuffle` (32008)")])
def test_an_unknown_filter_is_named_with_the_package_that_brings_it(code, name, data, run_cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)  # cannot be imported
    changed(data, filtered(code))
    (error, *_) = checked(run_cli)
    assert error["message"] == (
        f"`images` of `data/train.h5` is compressed with the HDF5 filter {name}, which is not installed"
    )
    assert error["hint"].startswith("`pip install hdf5plugin`")
    with pytest.raises(DataError, match="compressed with the HDF5 filter"):
        open_picture(data / "train.h5", 3, 0)


def test_a_filter_that_no_chunk_went_through_is_not_needed(data, run_cli):
    changed(data, filtered(32099, mask=1))
    assert checked(run_cli) == []


def test_the_plugins_are_imported_only_where_a_filter_is_missing(data, run_cli, monkeypatch):
    tried = []
    monkeypatch.setattr(_hdf5_content.importlib, "import_module", tried.append)
    changed(data, half_written)
    checked(run_cli)
    assert tried == []
    changed(data, filtered(32099))
    checked(run_cli)
    assert set(tried) == {"hdf5plugin"}


@pytest.mark.parametrize("key", ["case_ids", "scenarios"])
@pytest.mark.parametrize("held", ["compound or opaque values", "objects"])
def test_names_that_are_no_texts_are_told_with_what_they_are(key, held, data, run_cli):
    with h5py.File(data / "train.h5", "a") as file:
        if key in file:
            del file[key]
        if held == "objects":
            file[key] = np.array([file["images"].ref] * SHAPE[0], h5py.ref_dtype)
        else:
            file[key] = np.array([(number, b"x") for number in range(SHAPE[0])], [("n", "i4"), ("s", "S3")])
    found = json.loads(run_cli("data", "check", "set.yaml", "--json").out)["findings"]
    (told,) = [finding for finding in found if finding["severity"] != "info"]
    assert told["message"] == f"`{key}` of `data/train.h5` holds {held}, but it must hold text"
