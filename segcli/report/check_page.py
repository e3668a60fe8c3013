"""Build the page of `segcli data check`: the findings of each kind, with pictures of the images that they name."""

from collections.abc import Callable, Sequence
from itertools import groupby

from markupsafe import Markup

from segcli.core.names import visible
from segcli.core.types import Array
from segcli.data.checks import Finding
from segcli.report.cells import percentage
from segcli.report.html import Section, cards, code, folded, joined, note, page, picture, table
from segcli.report.results import Checked

__all__ = ["Pictured", "check_page"]

Pictured = Callable[[Finding], Sequence[tuple[str, Array]]]
"""Gives the pictures of the images that a finding names, each with its caption."""
SHOWN = 6
"""Findings of a kind that are shown with pictures; the others are folded."""
WORDS = {"error": "errors", "warning": "warnings", "info": "notes"}


def check_page(result: Checked, pictured: Pictured) -> str:
    """Build the page.

    Args:
        result: Result of the check.
        pictured: Gives the pictures of a finding.
    """
    told = [finding for finding in result.findings if finding.is_shown]
    counts = {kind: sum(finding.severity == kind for finding in told) for kind in WORDS}
    verdict = "no" if result.has_errors else "yes"
    top = [("ready to train", verdict, ""), *((WORDS[kind], str(count), "") for kind, count in counts.items())]
    sections: list[Section] = [("", cards(top)), ("Splits", _splits(result))]
    for (severity, name), same in groupby(told, key=lambda finding: (finding.severity, finding.code)):
        findings = list(same)
        sections.append((f"{name} ({severity}, {len(findings)})", _kind(findings, pictured)))
    if result.measured is not None:
        mean, std = result.measured
        sections.append(("Measured on the training images", code(f"mean: {mean}\nstd: {std}")))
    return page(f"Check of {result.dataset}", "Faults that would spoil a training", sections)


def _splits(result: Checked) -> Markup:
    classes = list(dict.fromkeys(name for entry in result.splits for name in entry.class_shares))
    rows = [
        (
            entry.split,
            str(entry.num_images),
            ", ".join(f"{size} ({n})" for size, n in list(entry.sizes.items())[:4]),
            *([] if classes else [percentage(entry.foreground_share)]),
        )
        for entry in result.splits
    ]
    shares = table("Images", ("split", "images", "sizes", *([] if classes else ["foreground"])), rows)
    if not classes:
        return shares
    cells = [(name, *(f"{entry.class_shares.get(name, 0.0):.2%}" for entry in result.splits)) for name in classes]
    return joined(
        [shares, table(f"Share of the {result.counted} by class", ("class", *(e.split for e in result.splits)), cells)]
    )


def _kind(findings: Sequence[Finding], pictured: Pictured) -> Markup:
    """Show the findings of one code; the same advice is written once."""
    parts = []
    hints = list(dict.fromkeys(finding.hint for finding in findings))
    if len(hints) == 1:
        parts.append(note(_sentence(hints[0])))
    for finding in findings[:SHOWN]:
        hint = finding.hint if len(hints) > 1 else ""
        parts.append(
            Markup("<p>{}</p>").format(_sentence(finding.message)) + (note(_sentence(hint)) if hint else Markup(""))
        )
        shown = [picture(pixels, f"picture of {caption}", caption) for caption, pixels in pictured(finding)]
        if shown:
            parts.append(Markup('<div class="mistakes">{}</div>').format(Markup("").join(shown)))
    rest = findings[SHOWN:]
    if rest:
        lines = Markup("").join(Markup("<li>{}</li>").format(_sentence(each.message)) for each in rest)
        parts.append(folded(f"and {len(rest)} more like this", Markup("<ul>{}</ul>").format(lines)))
    return joined(parts)


def _sentence(message: str) -> Markup:
    """Write what stands between backticks as code, which is broken where the page is narrow."""
    parts = visible(message).split("`")
    if len(parts) % 2 == 0:  # a name holds a backtick
        return Markup("{}").format(visible(message))
    marked = (Markup("<code>{}</code>" if at % 2 else "{}").format(part) for at, part in enumerate(parts))
    return Markup("").join(marked)
