"""Write the generated tables of the page of old keys.

Run: python -m segcli.cli.old_keys [--check]
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from segcli.cli.generated import filled
from segcli.config.earlier.pipelines import PIPELINES
from segcli.config.earlier.row import Row
from segcli.config.earlier.shared import SHARED

__all__ = ["main", "rendered"]

PAGE = Path(__file__).parents[2] / "docs" / "old_keys.md"
MOST_NAMES = 6
"""Names of one key that the page lists; more are understood."""


def main(arguments: list[str]) -> int:
    """Rewrite the page, or with `--check` say whether it is up to date."""
    old = PAGE.read_text(encoding="utf-8")
    new = rendered(old)
    if "--check" not in arguments:
        PAGE.write_text(new, encoding="utf-8")
    elif old != new:
        sys.stderr.write(f"{PAGE.name} is stale: run `python -m segcli.cli.old_keys`\n")
        return 1
    return 0


def rendered(text: str) -> str:
    """Give the page with new tables."""
    parts = {"shared": _table(SHARED)}
    for name, pipeline in PIPELINES.items():
        about = [f"### {pipeline.title} (`--from {name}`)", "", pipeline.about, f"Example: `{pipeline.example}`"]
        parts[name] = iter([*about, "", *_table(pipeline.rows)])
    for name, lines in parts.items():
        text = filled(text, f"old keys of {name}", lines)
    return text


def _table(rows: tuple[Row, ...]) -> Iterator[str]:
    yield "| old key | our key | remark |"
    yield "|---|---|---|"
    for row in rows:
        names = row.old.split()
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        old = ", ".join(f"`{name}`" for name in names[:MOST_NAMES]) + more
        ours = row.keys if row.new.startswith("~") or not row.new else row.new
        shown = f"`{ours}`" if ours not in ("", "none") else "none"
        yield f"| {old} | {shown} | {row.note.replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
