import math
import os
import stat
import subprocess
import sys

import numpy as np
import pytest
import yaml

from segcli.core.files import (
    names_flushed_once,
    plain,
    read_keys,
    replacing,
    shown,
    unfinished,
    write_text,
    write_yaml,
)
from segcli.core.platform import WINDOWS
from segcli.core.randomness import generator, seed_of


def write_half(path):
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError


def test_a_writer_that_fails_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        write_half(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_first_write_into_a_folder_removes_what_killed_processes_of_this_machine_left(tmp_path):
    mine, other = unfinished(tmp_path / "a.txt"), tmp_path / ".a.txt.0123abcd-99999999.part"
    killed = mine.with_name(mine.name.replace(f"-{os.getpid()}.", "-99999999."))
    kept = {mine, other, tmp_path / ".a.part", tmp_path / "b.99999999.part", tmp_path / "sub"}
    for path in (*kept, killed, tmp_path / ".a.99999999.part"):
        path.write_text("half")
    write_text(tmp_path / "b.txt", "whole")
    assert set(tmp_path.iterdir()) == kept | {tmp_path / "b.txt"}


def test_the_longest_name_has_an_unfinished_file_beside_it_too(tmp_path):
    for letter in "ab":
        write_text(tmp_path / (letter * 255), letter)
    assert {path.read_text() for path in tmp_path.iterdir()} == {"a", "b"}
    assert len({unfinished(tmp_path / (letter * length)) for letter in "ab" for length in (230, 231, 254, 255)}) == 8


@pytest.mark.parametrize("content", [b"- a: [", b"- 1", b"", b"\xff\xfe\x00", b"a: 2026-99-99", b"[" * 20000, None])
def test_a_file_without_readable_keys_has_none(tmp_path, content):
    path = tmp_path / "a.yaml"
    if content is not None:
        path.write_bytes(content)
    assert read_keys(path) == {}
    write_yaml(path, {"a": 1})
    assert read_keys(path) == {"a": 1}


SYNCED = [("file", False), *([] if WINDOWS else [("folder", True)])]
"""What is flushed, and whether the new file has its name; Windows flushes no folders."""


@pytest.mark.parametrize("synced", [True, False])
def test_the_data_and_then_the_name_reach_the_disk_where_that_matters(synced, tmp_path, monkeypatch):
    seen = []

    def noted(descriptor):
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        seen.append((kind, (tmp_path / "a.txt").exists()))

    monkeypatch.setattr(os, "fsync", noted)
    with replacing(tmp_path / "a.txt", synced=synced) as temporary:
        temporary.write_text("new")
    assert seen == (SYNCED if synced else [])
    assert (tmp_path / "a.txt").read_text() == "new"


def test_the_names_of_many_files_reach_the_disk_once_in_the_end(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append(stat.S_ISDIR(os.fstat(descriptor).st_mode)))
    with names_flushed_once(), names_flushed_once():
        for name in ("a", "b", "c"):
            write_text(tmp_path / "masks" / name, name)
        assert seen == [False] * 3
    assert seen == [False] * 3 + [True] * (not WINDOWS)
    write_text(tmp_path / "d", "d")
    assert seen[4 - WINDOWS :] == [flushed == "folder" for flushed, _ in SYNCED]


def test_numbers_in_yaml_are_read_back_as_numbers_by_anyone(tmp_path):
    values = {"small": 1e-6, "tiny": 1e-300, "large": 1e20, "half": 0.5, "one": 1.0, "bad": math.inf, "text": "1e-6"}
    write_yaml(tmp_path / "a.yaml", values)
    assert yaml.safe_load((tmp_path / "a.yaml").read_text()) == values


def test_nan_survives_yaml(tmp_path):
    write_yaml(tmp_path / "a.yaml", {"value": math.nan})
    assert math.isnan(yaml.safe_load((tmp_path / "a.yaml").read_text())["value"])


def test_paths_tuples_and_numpy_become_plain(tmp_path):
    assert plain({"a": (np.float64(0.5), np.int64(3)), "b": tmp_path}) == {"a": [0.5, 3], "b": str(tmp_path)}


def test_paths_are_shown_as_a_person_would_type_them(workplace):
    assert shown(workplace / "data/train") == "data/train"
    assert shown(workplace.parent) == str(workplace.parent)


def test_seeds_differ_by_purpose_and_are_the_same_in_every_process():
    assert seed_of(1, "crop", 23) != seed_of(12, "crop", 3)
    assert (
        generator(42, "order", 0).integers(1000, size=3).tolist()
        == generator(42, "order", 0).integers(1000, size=3).tolist()
    )
    code = "from segcli.core.randomness import seed_of; print(seed_of(1, 'crop', 23))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == seed_of(1, "crop", 23)


def test_torchvision_can_be_imported_whatever_its_build():
    code = (
        "from segcli.core.torchvision_ops import declare_missing_operators as declare\n"
        "declare(); declare()\nimport torchvision\nprint(torchvision.models.resnet18 is not None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr
