"""A file is looked at once, however many ways to read its folder are tried."""

import os
from collections import Counter

import pytest
from factories import write_nifti
from public_forms import write_pairs

from segcli.core.errors import DataError
from segcli.planning import looks
from segcli.planning.once import once
from segcli.planning.recognise import recognise


def test_what_a_file_holds_is_kept_until_the_file_changes(tmp_path):
    path, count = tmp_path / "a", Counter()

    @once
    def first_word(path):
        count[path] += 1
        return path.read_text().split()[0]

    path.write_text("one")
    assert [first_word(path), first_word(path)] == ["one", "one"]
    assert count[path] == 1
    path.write_text("other")
    assert first_word(path) == "other"


def test_a_folder_of_pictures_is_looked_at_again(tmp_path):
    (tmp_path / "a").touch()
    count = once(lambda path: len(list(path.iterdir())))
    before = tmp_path.stat()
    assert count(tmp_path) == 1
    (tmp_path / "b").touch()
    os.utime(tmp_path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert count(tmp_path) == 2


def test_the_same_file_is_not_decoded_for_each_way_that_is_tried(tmp_path, monkeypatch):
    count = Counter()
    read = looks.read_marks

    def counted(path):
        count[path] += 1
        return read(path)

    monkeypatch.setattr(looks, "read_marks", counted)
    recognise(write_pairs(tmp_path / "d", image="images/{}.png", mask="masks/{}.png"), "x", {})
    assert set(count.values()) == {1}


def test_a_link_to_a_missing_volume_is_named(tmp_path):
    write_nifti(tmp_path)
    image = sorted(tmp_path.rglob("*.nii.gz"))[0]
    image.unlink()
    image.symlink_to(tmp_path / "gone.nii.gz")
    with pytest.raises(DataError, match=image.name):
        recognise(tmp_path, "x", {})
