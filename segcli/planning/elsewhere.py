"""Tell of folders that are links to other places, which are read only where the user allows it."""

import os
from collections.abc import Sequence
from pathlib import Path

from segcli.core.errors import DataError
from segcli.core.files import shown
from segcli.core.names import printable

__all__ = ["FOLLOW", "not_followed", "way_to_links"]

FOLLOW = "copy the files into the folder, or state `follow_links=true` if these are the files that you mean"
LONGEST = 200


def not_followed(links: Sequence[Path]) -> list[str]:
    """Name the links that are not followed, in a note."""
    if not links:
        return []
    more = f" (and {len(links) - 1} more links)" if len(links) > 1 else ""
    return [
        f"`{shown(links[0])}` is a link to a folder outside and is not used{more}; state `follow_links=true` to use it"
    ]


def way_to_links(links: Sequence[Path], error: DataError) -> DataError:
    """Name the links that are not followed in the place of a lack that they explain; else return the error."""
    if not links:
        return error
    target = printable(os.path.realpath(links[0]), LONGEST)
    more = f" (and {len(links) - 1} more links)" if len(links) > 1 else ""
    message = f"`{shown(links[0])}` is a link to `{target}`, outside the folder of the data set{more}"
    return DataError(message, hint=FOLLOW)
