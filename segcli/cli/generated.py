"""Parts of pages that are generated: `<!-- generated: NAME -->`, the lines, `<!-- end -->`."""

import re
from collections.abc import Iterable

__all__ = ["filled"]


def filled(text: str, name: str, lines: Iterable[str]) -> str:
    r"""Give a page new lines between the marks of a part; a page without the part does not change.

    Example:
        >>> filled("<!-- generated: keys -->\nold\n<!-- end -->", "keys", ["new"])
        '<!-- generated: keys -->\nnew\n<!-- end -->'
    """
    part = re.compile(rf"(<!-- generated: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    body = "\n".join(lines)
    return part.sub(lambda found: f"{found[1]}{body}\n{found[2]}", text)
