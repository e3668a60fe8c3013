import re

import cv2
import numpy as np
import pytest
from markupsafe import Markup, escape
from pages import Page

from segcli.report.html import code, data_uri, folded, number, page, picture, table, without_passwords

NASTY = "<script>alert('1')</script> & \"x\" <img src=x onerror=alert(2)>"


def read(tmp_path, *contents):
    path = tmp_path / "page.html"
    path.write_text(page(NASTY, NASTY, [(NASTY, content) for content in contents]), encoding="utf-8")
    return Page(path)


def test_whatever_a_name_holds_stays_text(tmp_path):
    pixels = np.zeros((4, 4, 3), np.uint8)
    found = read(
        tmp_path,
        table(NASTY, [NASTY, NASTY], [[NASTY, NASTY]]),
        folded(NASTY, code(NASTY)),
        picture(pixels, NASTY, NASTY),
    )
    assert found.tables[0].rows == [[NASTY, NASTY], [NASTY, NASTY]]
    assert list(found.pictures()) == [NASTY]
    assert found.text.count("alert(2)") == 3 + 3 * 2 + 5 + 2 + 1  # head, sections, table, fold, caption


def test_characters_that_no_page_may_have_are_replaced(tmp_path):
    found = read(tmp_path, escape("a\x00b\ud800c\x1bd\x85e\ufffff grün 日本 \U0001f600"))
    assert "a\ufffdb\ufffdc\ufffdd\ufffde\ufffdf grün 日本 \U0001f600" in found.text


def test_numbers_are_rounded_to_read_and_whole_to_compute(tmp_path):
    rows = [["a", 1 / 3, 12345], ["b", float("nan"), None], ["c", 12345.678, -0.00001]]
    found = read(tmp_path, table("numbers", ["row", "x", "y"], rows)).table("numbers")
    assert [row[1:] for row in found.rows[1:]] == [["0.3333", "12,345"], ["\N{EN DASH}"] * 2, ["12,345.7", "-0.0000"]]
    assert (found.value("a", "x"), found.value("a", "y"), found.value("b", "x")) == (1 / 3, 12345, None)
    assert number(float("inf")).endswith(">inf</data>")


def test_a_wide_table_can_be_scrolled_and_says_so(tmp_path):
    found = read(tmp_path, table("wide", ["frequency_weighted_iou", *"abcdef"], [["a_b", *range(6)]]))
    assert found.table("wide").rows[0][0] == "frequency_weighted_iou"  # may be broken after `_`, and is one word
    assert "frequency_<wbr>weighted_<wbr>iou" in found.source
    assert "this table scrolls sideways" in found.text
    hint, _ = re.findall(r"\.hint \{[^}]*\}", found.style)
    assert "height: 0" in hint
    assert "(100% - 100cqi)" in hint  # the line takes room only if the table is wider than the page


def test_a_section_without_content_is_left_out(tmp_path):
    path = tmp_path / "page.html"
    path.write_text(page("title", "lead", [("one", Markup("<p>x</p>")), ("two", Markup())]))
    assert Page(path).links() == ["one"]


def test_pictures_are_png_within_the_page(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 250, 3), np.uint8)
    found = read(tmp_path, picture(pixels, "colours", "caption"), picture(pixels[:, :, 0], "grey", ""))
    pictures = found.pictures()
    assert np.array_equal(pictures["colours"], pixels)
    assert np.array_equal(pictures["grey"][:, :, 1], pixels[:, :, 0])
    assert cv2.imread(data_uri(pixels)) is None  # no file: nothing outside the page is read


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mongo_url: mongodb://ann:p4ss@host/db", "mongo_url: mongodb://***@host/db"),
        ("--uri=https://tok3n@host:80/x http://host/a:b@c", "--uri=https://***@host:80/x http://host/a:b@c"),
        ("postgres://ann:p@ss@host", "postgres://***@host"),
        ("a: b@c d://e", "a: b@c d://e"),
    ],
)
def test_passwords_in_addresses_are_left_out(text, told):
    assert without_passwords(text) == told
