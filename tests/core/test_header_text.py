import json
import math

from segcli.core import header_text
from segcli.core.files import plain
from segcli.core.header_text import HeaderText, decoded


def header(epochs, data):
    history = [{"epoch": epoch, "val": {"a": 1 / 3 + epoch, "b": math.nan}} for epoch in range(1, epochs + 1)]
    return {"format": 1, "config": {"depths": (4, 8)}, "history": history, "warnings": ['a "b" ü'], "dataset": data}


def whole(value):
    """The JSON of the whole header, converted at once by an independent rule."""
    text = json.dumps(plain(value), separators=(",", ":")).replace(":NaN", ':{"$float":"nan"}')
    assert "NaN" not in text
    return text


def test_the_text_is_that_of_the_whole_header_whatever_came_before():
    data, text = {"train": {"count": 3}}, HeaderText()
    five = header(5, data)
    for epochs in (0, 2, 5, 5, 1):
        now = {**five, "history": five["history"][:epochs], "warnings": ["w"] * epochs}
        assert text.of(now) == whole(now)
    assert text.of(header(2, {"train": {"count": 4}})) == whole(header(2, {"train": {"count": 4}}))
    found = decoded(json.loads(text.of(five)))
    assert math.isnan(found["history"][0]["val"]["b"])
    assert found["history"][4]["val"]["a"] == 1 / 3 + 5


def test_a_longer_history_costs_its_new_entries_and_the_list_of_cases_is_converted_once(monkeypatch):
    converted, convert = [], header_text._json
    monkeypatch.setattr(header_text, "_json", lambda value: converted.append(value) or convert(value))
    data, text = {"train": {"count": 3}}, HeaderText()
    five = header(5, data)
    for epochs in (4, 5, 5):
        text.of({"history": five["history"][:epochs], "dataset": data})
    assert converted == [*five["history"][:4], data, five["history"][4]]
