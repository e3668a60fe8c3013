"""Pieces of a page that opens anywhere: one file, no script, nothing loaded from elsewhere.

Whatever is not `Html` is escaped where it enters a page, so that a name can be anything.
"""

import base64
import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import zip_longest

import cv2

from segcli import __version__
from segcli.core.types import Array

__all__ = [
    "Cell",
    "Html",
    "Section",
    "bounds",
    "cards",
    "code",
    "data_uri",
    "facts",
    "folded",
    "joined",
    "markup",
    "note",
    "number",
    "page",
    "picture",
    "table",
    "without_passwords",
]

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #55606f; --line: #d9dee5; --paper: #fff; --card: #f5f7f9;
  --train: #2563b0; --val: #b4500a; --warn: #fff4d6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #a3aebc; --line: #363f4b; --paper: #14181e;
  --card: #1c222b; --train: #6ea8fe; --val: #f0a35e; --warn: #3a3115; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 74rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 .5rem; }
p { max-width: 50rem; margin: .4rem 0; }
.soft, figcaption, caption { color: var(--soft); }
nav { margin: .8rem 0 0; display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .9rem; }
a { color: var(--train); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .7rem; margin: 1.2rem 0; }
.cards div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; }
.cards b { display: block; font-size: 1.45rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.cards span { display: block; overflow-wrap: anywhere; color: var(--soft); font-size: .85rem; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .15rem 1.2rem; margin: .6rem 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th { font-weight: 600; white-space: nowrap; }
thead th { vertical-align: bottom; }
th[scope=row], thead th:first-child, .t { text-align: left; }
table { min-width: 18rem; }
th[scope=row] { max-width: 22rem; white-space: normal; overflow-wrap: break-word; }
td:not(.t) { white-space: nowrap; }
td.t { min-width: 9rem; }
td small { display: block; color: var(--soft); white-space: nowrap; }
.matrix td { text-align: center; min-width: 2.8rem; border: 1px solid var(--line); }
.matrix thead th { text-align: center; white-space: normal; overflow-wrap: anywhere; max-width: 7rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1rem 1.4rem; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: .88rem; overflow-wrap: anywhere; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
.axis { stroke: var(--line); }
.train, .val { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
.train { stroke: var(--train); }
.val { stroke: var(--val); stroke-dasharray: 6 3; }
circle.train { fill: var(--train); stroke: none; }
circle.val { fill: var(--val); stroke: none; }
.mark { stroke: var(--soft); stroke-dasharray: 2 3; }
.key { display: inline-block; width: 2em; height: .75em; vertical-align: -.05em; margin-right: .4em; }
.key.train, .key.val { height: 0; vertical-align: .25em; border-top: 2px solid var(--train); }
.key.val { border-top: 2px dashed var(--val); }
.keys { display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; font-size: .88rem; color: var(--soft); margin: .3rem 0; }
.keys .key { width: 1.1em; border-radius: 2px; }
.keys .key.train, .keys .key.val { width: 2em; border-radius: 0; }
.case { margin: 0 0 1.2rem; }
.panels { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: .4rem; max-width: 74rem; }
.panels figcaption { text-align: center; font-size: .8rem; }
.panels img, .mistakes img { width: 100%; height: auto; display: block; border-radius: 3px; background: var(--card); }
img.tiny { image-rendering: pixelated; }
.mistakes { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: .9rem; }
@media (max-width: 40rem) { .panels { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  dl { grid-template-columns: minmax(0, 1fr); } dd { margin-bottom: .35rem; } }
details { margin: .5rem 0; }
summary { cursor: pointer; font-weight: 600; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .4rem; padding: .7rem; overflow-x: auto;
  font: 12.5px/1.45 ui-monospace, monospace; }
code { font: .92em ui-monospace, monospace; overflow-wrap: anywhere; }
ul.warnings { background: var(--warn); border-radius: .4rem; padding: .6rem .6rem .6rem 1.8rem; }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
@media print { nav { display: none; } .case, .grid figure { break-inside: avoid; } }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Keeps the browser from loading or running anything, whatever the page holds."""
UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\xa0-\U0010fffd]|[\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
PASSWORD = re.compile(r"(?<=://)[^/\s\"]*@")
QUOTE = '"'
TINY = 200
"""Pictures with a longer side below it are shown with their pixels as squares."""


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Cell = str | int | float | None
"""Of a table: `Html`, text to be escaped, or a number."""


def markup(value: str) -> Html:
    """Text as HTML; what is `Html` stays.

    Example:
        >>> markup("a < b & c")
        'a &lt; b &amp; c'
    """
    return value if isinstance(value, Html) else Html(html.escape(UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value)))


def joined(parts: Iterable[str]) -> Html:
    """Pieces one after the other, each on its own line."""
    return Html("\n".join(markup(part) for part in parts))


def number(value: float | None, digits: int = 4) -> Html:
    """A number, rounded for reading and whole for programs; a dash where it is not defined.

    Example:
        >>> number(0.123456), number(12), number(float("nan"))
        ('<data value="0.123456">0.1235</data>', '<data value="12">12</data>', '&ndash;')
    """
    if value is None or math.isnan(value):
        return Html("&ndash;")
    if isinstance(value, int):
        return Html(f'<data value="{value}">{value:,}</data>')
    large = abs(value) >= 1000
    return Html(f'<data value="{float(value)!r}">{value:,.{1 if large else digits}f}</data>')


def bounds(interval: tuple[float, float] | None) -> Html:
    """An interval."""
    return Html("&ndash;" if interval is None else f"{number(interval[0])} to {number(interval[1])}")


def table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[Cell]], *, kind: str = "") -> Html:
    """A table whose first column names its rows.

    Args:
        caption: What it shows.
        headings: Of the columns.
        rows: Cells; texts are aligned left, anything else right.
        kind: Class of the table.
    """
    lines = list(rows)
    texts = [isinstance(cell, str) and not isinstance(cell, Html) for cell in lines[0]] if lines else []
    head = "".join(
        f'<th scope="col"{f" class={QUOTE}t{QUOTE}" if is_text else ""}>{markup(heading)}</th>'
        for heading, is_text in zip_longest(headings, texts)
    )
    body = "\n".join(map(_row, lines))
    label = html.escape(re.sub("<[^>]*>", "", caption) if isinstance(caption, Html) else caption)
    return Html(
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">\n'
        f"<table{f' class={QUOTE}{kind}{QUOTE}' if kind else ''}>\n<caption>{markup(caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _row(cells: Sequence[Cell]) -> str:
    first, *others = cells
    name = markup(first) if isinstance(first, str) else number(first)
    return f'<tr><th scope="row">{name}</th>{"".join(map(_cell, others))}</tr>'


def _cell(value: Cell) -> str:
    if isinstance(value, Html):
        return value if value.startswith("<td") else f"<td>{value}</td>"
    return f'<td class="t">{markup(value)}</td>' if isinstance(value, str) else f"<td>{number(value)}</td>"


def cards(entries: Iterable[tuple[str, str, str]]) -> Html:
    """Figures in large print: name, figure, and what belongs to it."""
    inner = "".join(
        f"<div><span>{markup(name)}</span><b>{markup(figure)}</b><span>{markup(more)}</span></div>"
        for name, figure, more in entries
    )
    return Html(f'<div class="cards">{inner}</div>')


def facts(values: Mapping[str, str]) -> Html:
    """Names with what belongs to them."""
    return Html(
        "<dl>" + "".join(f"<dt>{markup(name)}</dt><dd>{markup(value)}</dd>" for name, value in values.items()) + "</dl>"
    )


def note(text: str) -> Html:
    """A paragraph in a lower voice."""
    return Html(f'<p class="soft">{markup(text)}</p>')


def code(text: str) -> Html:
    """Lines as they stand in a file or on a command line."""
    return Html(f"<pre><code>{markup(text)}</code></pre>")


def folded(title: str, content: str) -> Html:
    """Content that is shown when asked for."""
    return Html(f"<details><summary>{markup(title)}</summary>\n{markup(content)}\n</details>")


def data_uri(pixels: Array) -> str:
    """RGB or grey pixels `(H, W, 3)` or `(H, W)` uint8 as a PNG within the page."""
    ordered = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    done, buffer = cv2.imencode(".png", ordered, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert done
    return f"data:image/png;base64,{base64.b64encode(buffer.tobytes()).decode()}"


def picture(pixels: Array, alt: str, caption: str) -> Html:
    """A picture with what it shows."""
    height, width = pixels.shape[:2]
    tiny = ' class="tiny"' if max(height, width) < TINY else ""
    image = f'<img src="{data_uri(pixels)}" width="{width}" height="{height}" alt="{markup(alt)}"{tiny}>'
    return Html(f"<figure>{image}<figcaption>{markup(caption)}</figcaption></figure>")


Section = tuple[str, Html]
"""Heading and content; without content there is no section."""


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """A whole page.

    Args:
        title: Of the page, and its first heading.
        lead: Sentence below it.
        sections: With their headings.
    """
    there = [(f"s{index}", heading, content) for index, (heading, content) in enumerate(sections) if content]
    links = "".join(f'<a href="#{key}">{markup(heading)}</a>' for key, heading, _ in there if heading)
    body = "\n".join(
        f'<section id="{key}">\n{f"<h2>{markup(heading)}</h2>{chr(10)}" if heading else ""}{content}\n</section>'
        for key, heading, content in there
    )
    written = datetime.now().astimezone()
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{markup(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<header>\n<h1>{markup(title)}</h1>\n<p class="soft">{markup(lead)} &middot; {written:%Y-%m-%d}</p>\n'
        f'<nav aria-label="Sections">{links}'
        f"</nav>\n</header>\n<main>\n{body}\n</main>\n<footer>Written by segcli {markup(__version__)} on "
        f'<time datetime="{written.isoformat(timespec="seconds")}">{written:%Y-%m-%d %H:%M} ({written:%z})</time>.'
        "</footer>\n</body>\n</html>\n"
    )


def without_passwords(text: str) -> str:
    """Text without the name and the password of an address: a report is made to be sent on.

    Example:
        >>> without_passwords("mongo_url: mongodb://ann:secret@host:27017/runs")
        'mongo_url: mongodb://***@host:27017/runs'
    """
    return PASSWORD.sub("***@", text)
