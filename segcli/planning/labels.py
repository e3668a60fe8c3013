"""Describe label maps of volumes by their names and their numbers."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from segcli.core.errors import DataError
from segcli.core.names import printable
from segcli.core.text import read_json
from segcli.planning.facts import Recognised

__all__ = ["described", "state_structures"]

FEW = 12
"""More classes without a name are listed by their numbers alone."""


def described(root: Path) -> dict[int, str]:
    """Read the names of labels by number from a `dataset.json` of the Decathlon or of nnU-Net; empty without one.

    The Decathlon writes `{"1": "liver"}`, nnU-Net `{"liver": 1}`. Regions of several numbers are left out.
    """
    with suppress(DataError, OSError):
        labels = read_json(root / "dataset.json").get("labels")
        if isinstance(labels, dict):
            return {number: printable(name, 200) for number, name in map(_entry, labels.items()) if number is not None}
    return {}


def _entry(item: tuple[str, Any]) -> tuple[int | None, str]:
    key, value = item
    if isinstance(value, int) and not isinstance(value, bool):
        return value, str(key)
    if key.isdecimal() and isinstance(value, str):
        return int(key), value
    return None, str(key)


def state_structures(found: Recognised, numbers: list[int], names: Mapping[int, str], seen: str) -> None:
    """State `classes` and `numbers` of label maps that hold these numbers.

    Raises:
        DataError: The label maps are empty.
    """
    ignored = [number for number, name in names.items() if name.lower() == "ignore"]
    stated = {number: name for number, name in names.items() if number and number not in ignored}
    kept = sorted({*stated, *(number for number in numbers if number and number not in ignored)})
    if not kept:
        raise DataError(f"the label maps are empty: {seen} hold nothing but 0", hint="check that they are label maps")
    if stated:
        found.state("classes", [stated.get(number, f"label_{number}") for number in kept], "names of `dataset.json`")
        found.state("numbers", kept)
    elif len(kept) > FEW:
        found.state("numbers", kept, f"numbers of {seen}; `classes` gives them names in this order")
    else:
        classes = [f"label_{number}" for number in kept]
        found.state("classes", classes, f"numbers of {seen}; rename the structures as you like, the order counts")
        found.state("numbers", kept, "number of each of `classes` in the label maps")
    if ignored:
        found.state("task", "multiclass", "classes exclude each other, so that voxels can be left out")
        found.state("classes", ["background", *found.keys["classes"]])
        found.state("numbers", [0, *kept])
        found.state("other_labels", "ignore", f"number {ignored[0]} marks voxels that do not count")
        found.task = "multiclass"
