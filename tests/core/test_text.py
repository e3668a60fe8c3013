"""Text files of users: encodings, JSON and tables, and where a mistake is blamed."""

import pytest

from segcli.core.errors import DataError
from segcli.core.text import read_json, read_table, read_text

TABLE = "sample_id,class\n0001,größer\n0002,klein\n"
CELLS = [{"sample_id": "0001", "class": "größer"}, {"sample_id": "0002", "class": "klein"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_the_byte_order_mark_tells_the_encoding(tmp_path, encoding):
    mark = "\ufeff" if encoding.endswith(("-le", "-be")) else ""
    (tmp_path / "a.txt").write_bytes(f"{mark}größer".encode(encoding))
    assert read_text(tmp_path / "a.txt") == "größer"


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ("eins\nzwei\ngrößer\n".encode("latin-1"), r"a.txt:3` is not UTF-8 text \(byte 0xf6\)"),
        ("eins\nzwei".encode("utf-16-le"), r"a.txt:1` is not text \(it holds a zero byte\)"),
        (b"\xff\xfea", r"a.txt:1` is not UTF-16 text"),
    ],
)
def test_bytes_that_are_no_text_are_blamed_by_their_line(tmp_path, stored, text):
    (tmp_path / "a.txt").write_bytes(stored)
    with pytest.raises(DataError, match=text):
        read_text(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ('{\n "a": 1,\n "b": \n}', r"a.json:4` is not valid JSON \(Expecting value, column 1\)"),
        ("", r"a.json:1` is not valid JSON"),
        ("[1]", r"a.json` holds no keys"),
        ("[" * 100_000, r"nested too deeply"),
    ],
)
def test_damaged_json_is_blamed_by_its_line(tmp_path, stored, text):
    (tmp_path / "a.json").write_text(stored)
    with pytest.raises(DataError, match=text):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        TABLE.replace(",", ";"),
        TABLE.replace(",", "\t"),
        TABLE.replace("\n", "\r\n"),
        TABLE.replace("\n", "\r"),
        TABLE.replace("\n", "\n\n"),
        "\n" + TABLE,
        TABLE.replace("\n", ",\n"),
        TABLE + ",\n",
        'sample_id, "class"\n"0001", "größer"\n 0002 ,klein',
        '"sample_id";"class"\n0001;größer\n0002;klein',
    ],
)
def test_a_table_is_read_whatever_separates_its_cells_and_lines(tmp_path, text):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8", newline="")
    columns, rows = read_table(tmp_path / "a.csv")
    assert columns == ["sample_id", "class"]
    assert [row.cells for row in rows] == CELLS


def test_the_separator_follows_from_the_header_alone(tmp_path):
    (tmp_path / "a.csv").write_text("name;share\nroad, wet;0,5\n")
    assert read_table(tmp_path / "a.csv")[1][0].cells == {"name": "road, wet", "share": "0,5"}


def test_rows_have_the_numbers_of_their_lines(tmp_path):
    (tmp_path / "a.csv").write_text('a,b\n\n1,2\n,\n"3\n4",5\n')
    assert [row.line for row in read_table(tmp_path / "a.csv")[1]] == [3, 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n\n1,2,3\n", "a.csv:3` has 3 cells, but the table has 2 columns: a, b"),
        ('a,b\n1,"2\n', "a.csv:2` is not a row of a table"),
        ("a,b,a\n1,2,3\n", "a.csv` has the column `a` twice"),
    ],
)
def test_a_damaged_table_is_blamed_by_its_line(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "a.csv")


def test_a_text_is_read_up_to_a_bound(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(b"#" * 100)
    assert len(read_text(path, 100)) == 100
    with pytest.raises(DataError, match="is larger than 0 MiB"):
        read_text(path, 99)


def test_a_number_of_too_many_digits_and_an_endless_first_line_are_told(tmp_path):
    (tmp_path / "a.json").write_text('{"a": ' + "1" * 5000 + "}")
    with pytest.raises(DataError, match="holds a number of too many digits"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.csv").write_text("name," + "x" * 200_000 + "\n1,2\n")
    with pytest.raises(DataError, match="has a first line of 200,006 characters"):
        read_table(tmp_path / "a.csv")
