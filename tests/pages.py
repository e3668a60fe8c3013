"""Reads HTML reports as a browser would, and tells what is wrong with them."""

import base64
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np

VOID = {"meta", "img", "br", "line", "polyline", "wbr"}
"""Elements without an end; in SVG they close themselves."""


@dataclass
class Grid:
    """A table."""

    caption: str = ""
    rows: list[list[str]] = field(default_factory=list)
    values: list[list[float | None]] = field(default_factory=list)
    """Numbers in full, as programs read them; None for other cells."""

    @property
    def headings(self) -> list[str]:
        return self.rows[0]

    def value(self, row: str, column: str) -> float | None:
        """The number in a row and a column by their names."""
        (index,) = [index for index, cells in enumerate(self.rows) if index and cells[0] == row]
        return self.values[index][self.headings.index(column)]

    def text(self, row: str, column: str) -> str:
        (found,) = [cells for cells in self.rows[1:] if cells[0] == row]
        return found[self.headings.index(column)]


class Page(HTMLParser):
    """A parsed page; whatever is not as it must be fails here."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[Grid] = []
        self.texts: list[str] = []
        self.style = ""
        assert self.source.startswith("<!doctype html>\n<html lang=")
        self.feed(self.source)
        self.close()
        assert self.open == []
        self.check()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        assert len(values) == len(attrs), f"an attribute stands twice: {attrs}"
        self.attributes.append((tag, values))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append(Grid())
        if tag == "tr":
            self.tables[-1].rows.append([])
            self.tables[-1].values.append([])
        if tag in ("td", "th"):
            self.tables[-1].rows[-1].append("")
            self.tables[-1].values[-1].append(None)
        if tag == "data" and "td" in self.open and self.tables[-1].values[-1][-1] is None:
            self.tables[-1].values[-1][-1] = float(values["value"] or "nan")

    def handle_startendtag(self, tag, attrs):
        assert tag in VOID
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        after_break = bool(self.attributes) and self.attributes[-1][0] == "wbr" and bool(self.texts)
        if "style" in self.open:
            self.style += data
            return
        if after_break and self.texts[-1].endswith("_"):
            self.texts[-1] += data  # one word
        else:
            self.texts.append(data)
        if "caption" in self.open:
            self.tables[-1].caption += data
        elif "td" in self.open or "th" in self.open:
            self.tables[-1].rows[-1][-1] += data

    def check(self) -> None:
        """What every page promises."""
        tags = [tag for tag, _ in self.attributes]
        assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & set(tags)
        assert "title" in tags
        ids = [values["id"] for _, values in self.attributes if "id" in values]
        assert len(ids) == len(set(ids))
        for tag, values in self.attributes:
            assert not [name for name in values if name.startswith("on")], (tag, values)
            assert "src" not in values or tag == "img"
            href = values.get("href")
            assert href is None or (href.startswith("#") and href[1:] in ids), href
            if tag == "th":
                assert values["scope"] in ("row", "col")
            if tag == "svg":
                assert values["role"] == "img"
                assert values["aria-label"]
        assert not re.search(r"url\(|@import|http", self.style)
        for table in self.tables:
            assert table.caption
            assert len({len(row) for row in table.rows}) == 1, table.rows
        assert all(pixels.size for pixels in self.pictures().values())

    def pictures(self) -> dict[str, np.ndarray]:
        """RGB pictures by what they show."""
        found = {}
        for tag, values in self.attributes:
            if tag == "img":
                kind, data = values["src"].split(",")
                assert kind == "data:image/png;base64"
                pixels = cv2.imdecode(np.frombuffer(base64.b64decode(data, validate=True), np.uint8), cv2.IMREAD_COLOR)
                assert pixels.shape[:2] == (int(values["height"]), int(values["width"]))
                assert values["alt"]
                assert values["alt"] not in found
                found[values["alt"]] = pixels[:, :, ::-1]
        return found

    def table(self, start: str) -> Grid:
        """The table whose caption begins so."""
        (found,) = [table for table in self.tables if table.caption.startswith(start)]
        return found

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def links(self) -> list[str]:
        """Headings of the sections."""
        return re.findall(r"<h2>(.*?)</h2>", self.source)
