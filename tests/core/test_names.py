"""Names out of files as parts of paths."""

from pathlib import Path

import pytest

from segcli.core.names import LONGEST, printable, safe_name, safe_path

HOSTILE = [
    "", ".", "..", "../../x", "/etc/passwd", "a/b", "a\\b", "..\\..\\x", "C:\\x", "x\0y", "x\ny", "\x1b[31mred",
    "\u202egnp.x", " x", "x ", ".x", "x.", "\u00a0x", "CON", "con.png", "Lpt1.nii.gz", "COM¹", "x" * 300, "é" * 200,
    "\udcff", "\u2028",
]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "Übung_01",
        "case 7",
        "0001",
        "a.b.nii.gz",
        "exp-1+exp-2",
        "日本",
        "x" * LONGEST,
        "console",
        "a~b",
        "\u0646\u0627\u0645\u200c\u0647\u0627",
    ],
)
def test_a_name_that_can_be_one_stays_as_it_is(name):
    assert safe_name(name) == name


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_becomes_one_part_of_a_path_that_can_be_written(tmp_path, text):
    name = safe_name(text)
    (tmp_path / name).write_text("here")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert name.isprintable()
    assert not set(name) & set("/\\")
    assert len(name.encode()) <= LONGEST
    assert name == name.strip(" .")
    assert safe_name(name) == name
    assert safe_name(name).partition(".")[0].lower() not in {"con", "lpt1", "com¹"}


def test_different_texts_become_different_names():
    texts = [
        *HOSTILE,
        "a_b",
        "_.._x",
        "unnamed",
        *("x" * 300 + end for end in "yz"),
        *("y" * 300 + end for end in (".png", ".tif")),
    ]
    assert len({safe_name(text) for text in texts}) == len(texts)


def test_the_ending_is_kept():
    assert safe_name("x" * 300 + ".nii.gz").endswith(".nii.gz")
    assert len(safe_name("x" * 300 + ".nii.gz")) == LONGEST


def test_slashes_are_folders_and_lead_nowhere_else():
    assert safe_path(Path("out"), "Video_000/0001.png") == Path("out/Video_000/0001.png")
    for text in ("../../x.png", "/etc/x.png", "a/../../../x.png"):
        path = safe_path(Path("out"), text)
        assert path.parts[0] == "out"
        assert ".." not in path.parts
        assert "" not in path.parts


def test_a_message_shows_escapes_and_is_short():
    assert printable("Übung\x1b[2J\0") == r"Übung\x1b[2J\x00"
    assert len(printable("x" * 10**6)) == 60
