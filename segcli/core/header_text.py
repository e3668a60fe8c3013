"""JSON text of the header of a checkpoint."""

import json
import math
from typing import Any

from segcli.core.files import plain
from segcli.core.once import Once

__all__ = ["HeaderText", "decoded"]

GROWS = "history"
"""Key of the list to which each epoch adds an entry that never changes."""
STAYS = "dataset"
"""Key of a value that never changes in a training, and that lists every case."""


class HeaderText:
    """Converts the headers of one training to JSON: what earlier headers held, of history and data, only once."""

    def __init__(self) -> None:
        self._history = Once(_json, between=",")
        self._dataset = Once(_json)

    def of(self, header: dict[str, Any]) -> str:
        """Convert a header; NaN and infinity become a form that JSON allows, which `decoded` reverses."""
        parts: list[str] = []
        for key, value in header.items():
            parts += ["," if parts else "{", json.dumps(str(key)), ":", *self._texts(key, value)]
        return "".join([*parts, "}"] if parts else ["{}"])  # the history may be long: copy it once

    def _texts(self, key: str, value: Any) -> list[str]:
        """Convert a value to parts of its text."""
        if key == GROWS and isinstance(value, list):
            return ["[", self._history.joined(value), "]"]
        return self._dataset.texts([value]) if key == STAYS else [_json(value)]


def _json(value: Any) -> str:
    return json.dumps(_encoded(plain(value)), separators=(",", ":"), allow_nan=False)


def _encoded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _encoded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_encoded(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    return value


def decoded(value: Any) -> Any:
    """Convert what JSON gives back: numbers that it does not allow become floats again."""
    if isinstance(value, dict):
        return float(value["$float"]) if set(value) == {"$float"} else {k: decoded(v) for k, v in value.items()}
    return [decoded(item) for item in value] if isinstance(value, list) else value
