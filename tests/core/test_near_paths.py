from pathlib import Path

import pytest

from segcli.core.near_paths import folders_in, meant, near_path


@pytest.fixture(autouse=True)
def _folders(tmp_path, monkeypatch):
    for name in ("Zellen Müller/Bilder", "other/.hidden"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "Zellen Müller/Bilder/probe_01.png").touch()
    (tmp_path / "cells.yaml").touch()
    (tmp_path / "other/nowhere").symlink_to("gone")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("typed", "close"),
    [
        ("Zelen Müller", "Zellen Müller"),
        ("Zelen Müller/Bidler/prob_01.png", "Zellen Müller/Bilder/probe_01.png"),
        ("cels.yaml", "cells.yaml"),
        ("Zellen Müller/Bilder/unlike.tif", None),
        ("cells.yaml/probe", None),
        ("other/.hiden", None),
        ("other/nowhere", None),
        ("other/nowere", None),
    ],
)
def test_a_misspelt_path_means_the_closest_that_exists(typed, close):
    assert near_path(Path(typed)) == (None if close is None else Path(close))


def test_absolute_paths_stay_absolute(tmp_path):
    assert meant(tmp_path / "cell.yaml") == f"did you mean `{tmp_path / 'cells.yaml'}`?"


def test_folders_are_listed_only_where_they_may_be(tmp_path, monkeypatch):
    assert folders_in(tmp_path) == f"; `{tmp_path}` has `Zellen Müller`, `other`"
    assert folders_in(tmp_path / "cells.yaml") == folders_in(tmp_path / "gone") == ""

    def refused(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refused)
    assert folders_in(tmp_path) == ""
