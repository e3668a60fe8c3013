"""Build HTML pages of one file, without scripts and without anything loaded from elsewhere.

Text that is not `Markup` is escaped when it enters a page. A name may therefore hold any characters.
"""

import base64
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import zip_longest

import cv2
from markupsafe import Markup, escape

from segcli import __version__
from segcli.core.types import Array

__all__ = [
    "Cell",
    "Section",
    "bounds",
    "breakable",
    "cards",
    "code",
    "data_uri",
    "facts",
    "folded",
    "joined",
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
.cards span { display: block; overflow-wrap: break-word; color: var(--soft); font-size: .85rem; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .15rem 1.2rem; margin: .6rem 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: .6rem 0; container-type: inline-size; }
.all { width: max-content; min-width: 100%; }
.hint { position: sticky; left: 0; width: 18rem; max-width: 100%; height: 0; overflow: hidden; white-space: nowrap;
  padding-bottom: clamp(0px, (100% - 100cqi) * 999, 1.5rem); color: var(--train); font-size: .85rem; }
caption span { position: sticky; left: 0; display: inline-block; max-width: 100cqi; }
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
.matrix thead th { text-align: center; white-space: normal; }
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
  dl { grid-template-columns: minmax(0, 1fr); } dd { margin-bottom: .35rem; }
  th[scope=row], thead th:first-child { position: sticky; left: 0; max-width: 10rem; background: var(--paper);
    box-shadow: inset 0 -1px var(--line); } }
details { margin: .5rem 0; }
summary { cursor: pointer; font-weight: 600; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .4rem; padding: .7rem; overflow-x: auto;
  font: 12.5px/1.45 ui-monospace, monospace; }
code { font: .92em ui-monospace, monospace; overflow-wrap: anywhere; }
ul.warnings { background: var(--warn); border-radius: .4rem; padding: .6rem .6rem .6rem 1.8rem; }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
@media print { .hint { display: none; } nav { display: none; } .case, .grid figure { break-inside: avoid; } }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Forbids the browser to load or run anything, whatever the page holds."""
UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\xa0-\U0010fffd]|[\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
PASSWORD = re.compile(r"(?<=://)[^/\s\"]*@")
QUOTE = '"'
TINY = 200
"""Pixels of the longer side; smaller pictures are shown with their pixels as squares."""


HINT = "\N{LEFTWARDS ARROW} this table scrolls sideways \N{RIGHTWARDS ARROW}"
"""Line above a table that is wider than the page; CSS compares the two widths, so that no script is needed."""


Cell = str | int | float | None
"""Content of a table cell: `Markup`, text to be escaped, or a number."""


def joined(parts: Iterable[str]) -> Markup:
    """Join pieces, each on its own line."""
    return Markup("\n").join(parts)


def number(value: float | None, digits: int = 4) -> Markup:
    """Write a number: rounded for the reader, with all digits for programs, a dash where it is not defined.

    Example:
        >>> print(number(0.123456), number(12), number(float("nan")))
        <data value="0.123456">0.1235</data> <data value="12">12</data> &ndash;
    """
    if value is None or math.isnan(value):
        return Markup("&ndash;")
    if isinstance(value, int):
        return Markup(f'<data value="{value}">{value:,}</data>')
    large = abs(value) >= 1000
    return Markup(f'<data value="{float(value)!r}">{value:,.{1 if large else digits}f}</data>')


def breakable(name: str) -> Markup:
    """Let a long name be broken after its underscores.

    Example:
        >>> print(breakable("mean_iou <b>"))
        mean_<wbr>iou &lt;b&gt;
    """
    return Markup(escape(name).replace("_", Markup("_<wbr>")))


def bounds(interval: tuple[float, float] | None) -> Markup:
    """Write an interval."""
    return number(None) if interval is None else Markup("{} to {}").format(*map(number, interval))


def table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[Cell]], *, kind: str = "") -> Markup:
    """Build a table whose first column names the rows.

    Args:
        caption: Text above the table.
        headings: Headings of the columns.
        rows: Cells; text is aligned left, everything else right.
        kind: CSS class of the table.
    """
    lines = list(rows)
    texts = [isinstance(cell, str) and not isinstance(cell, Markup) for cell in lines[0]] if lines else []
    head = "".join(
        f'<th scope="col"{f" class={QUOTE}t{QUOTE}" if is_text else ""}>{breakable(heading)}</th>'
        for heading, is_text in zip_longest(headings, texts)
    )
    body = "\n".join(map(_row, lines))
    label = escape(caption.striptags() if isinstance(caption, Markup) else caption)
    return Markup(
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">\n'
        f'<div class="all">\n<p class="hint" aria-hidden="true">{HINT}</p>\n'
        f"<table{f' class={QUOTE}{kind}{QUOTE}' if kind else ''}>\n<caption><span>{escape(caption)}</span></caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>\n</div>"
    )


def _row(cells: Sequence[Cell]) -> str:
    first, *others = cells
    name = breakable(first) if isinstance(first, str) else number(first)
    return f'<tr><th scope="row">{name}</th>{"".join(map(_cell, others))}</tr>'


def _cell(value: Cell) -> str:
    if isinstance(value, Markup):
        return value if value.startswith("<td") else f"<td>{value}</td>"
    return f'<td class="t">{escape(value)}</td>' if isinstance(value, str) else f"<td>{number(value)}</td>"


def cards(entries: Iterable[tuple[str, str, str]]) -> Markup:
    """Show values in large print, each with its name above and a remark below."""
    card = Markup("<div><span>{}</span><b>{}</b><span>{}</span></div>")
    filled = (card.format(breakable(name), value, remark) for name, value, remark in entries)
    return Markup('<div class="cards">{}</div>').format(Markup().join(filled))


def facts(values: Mapping[str, str]) -> Markup:
    """List names with their values."""
    entry = Markup("<dt>{}</dt><dd>{}</dd>")
    return Markup("<dl>{}</dl>").format(Markup().join(entry.format(*pair) for pair in values.items()))


def note(text: str) -> Markup:
    """Write a paragraph in grey."""
    return Markup('<p class="soft">{}</p>').format(text)


def code(text: str) -> Markup:
    """Show lines of a file or of a command line."""
    return Markup("<pre><code>{}</code></pre>").format(text)


def folded(title: str, content: str) -> Markup:
    """Hide content behind a title; a click opens it."""
    return Markup("<details><summary>{}</summary>\n{}\n</details>").format(title, content)


def data_uri(pixels: Array) -> str:
    """Encode RGB or grey pixels `(H, W, 3)` or `(H, W)` uint8 as a PNG within the page."""
    ordered = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    # level 9 takes four times as long for pictures that are 1 to 4 % smaller
    done, buffer = cv2.imencode(".png", ordered, [cv2.IMWRITE_PNG_COMPRESSION, 6])
    assert done
    return f"data:image/png;base64,{base64.b64encode(buffer.tobytes()).decode()}"


def picture(pixels: Array, alt: str, caption: str) -> Markup:
    """Show a picture with a caption."""
    height, width = pixels.shape[:2]
    tiny = Markup(' class="tiny"' if max(height, width) < TINY else "")
    image = Markup('<img src="{}" width="{}" height="{}" alt="{}"{}>').format(
        data_uri(pixels), width, height, alt, tiny
    )
    return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(image, caption)


Section = tuple[str, Markup]
"""Heading and content; a section without content is left out."""


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """Build a whole page.

    Args:
        title: Title of the page, and its first heading.
        lead: Sentence below the title.
        sections: Headings and contents.
    """
    there = [(f"s{index}", heading, content) for index, (heading, content) in enumerate(sections) if content]
    links = "".join(f'<a href="#{key}">{escape(heading)}</a>' for key, heading, _ in there if heading)
    body = "\n".join(
        f'<section id="{key}">\n{f"<h2>{escape(heading)}</h2>{chr(10)}" if heading else ""}{content}\n</section>'
        for key, heading, content in there
    )
    written = datetime.now().astimezone()
    text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<header>\n<h1>{escape(title)}</h1>\n<p class="soft">{escape(lead)} &middot; {written:%Y-%m-%d}</p>\n'
        f'<nav aria-label="Sections">{links}'
        f"</nav>\n</header>\n<main>\n{body}\n</main>\n<footer>Written by segcli {escape(__version__)} on "
        f'<time datetime="{written.isoformat(timespec="seconds")}">{written:%Y-%m-%d %H:%M} ({written:%z})</time>.'
        "</footer>\n</body>\n</html>\n"
    )
    return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def without_passwords(text: str) -> str:
    """Remove user names and passwords from addresses, because reports are sent to others.

    Example:
        >>> without_passwords("mongo_url: mongodb://ann:secret@host:27017/runs")
        'mongo_url: mongodb://***@host:27017/runs'
    """
    return PASSWORD.sub("***@", text)
