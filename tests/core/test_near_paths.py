from pathlib import Path

import pytest

from segcli.core.near_paths import meant, near_path


@pytest.fixture(autouse=True)
def _folders(tmp_path, monkeypatch):
    for name in ("Zellen Müller/Bilder", "other/.hidden"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "Zellen Müller/Bilder/probe_01.png").touch()
    (tmp_path / "cells.yaml").touch()
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
    ],
)
def test_a_misspelt_path_means_the_closest_that_exists(typed, close):
    assert near_path(Path(typed)) == (None if close is None else Path(close))


def test_absolute_paths_stay_absolute(tmp_path):
    assert meant(tmp_path / "cell.yaml") == f"did you mean `{tmp_path / 'cells.yaml'}`?"
