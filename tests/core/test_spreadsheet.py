"""Tables read by the csv module of Python; what a spreadsheet computes is listed by OWASP (CSV injection)."""

import csv

import pytest

from segcli.core.spreadsheet import read_cells, write_cells

HOSTILE = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\n=1", "'=1", "''=1", "=", "-"]
PLAIN = ["a=1", "'tis", "1", "-0.25", "+1e-3", "-inf", "", "Übung, a", 'x"y', "a\nb"]


def cells_of(path):
    return list(csv.reader(path.read_text(encoding="utf-8").splitlines(keepends=True)))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_that_a_spreadsheet_computes_is_quoted_and_read_back(tmp_path, text):
    write_cells(tmp_path / "a.csv", [["name", text], [text, 1]])
    (_, heading), (cell, _) = cells_of(tmp_path / "a.csv")
    assert heading == cell == f"'{text}"
    assert read_cells(tmp_path / "a.csv") == [["name", text], [text, "1"]]


@pytest.mark.parametrize("text", PLAIN)
def test_other_texts_and_numbers_stay_as_they_are(tmp_path, text):
    write_cells(tmp_path / "a.csv", [[text, -1.5, 3, -2]])
    assert cells_of(tmp_path / "a.csv") == read_cells(tmp_path / "a.csv") == [[text, "-1.5", "3", "-2"]]


def test_a_return_in_a_text_ends_no_row(tmp_path):
    write_cells(tmp_path / "a.csv", [["a\r=1", "b"]])
    assert cells_of(tmp_path / "a.csv") == [["a\\r=1", "b"]]
