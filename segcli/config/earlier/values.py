"""Read old values: sizes, paths of Windows, devices, switches."""

import math
import re
from typing import Any

from segcli.config.earlier.row import Asked, LeftOut, Sets, Undecided

__all__ = [
    "amount",
    "amounts",
    "as_list",
    "binary_classes",
    "clip",
    "device",
    "largest",
    "number",
    "path",
    "probability",
    "run_folder",
    "size",
    "stop_patience",
    "switch",
    "words",
]

WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def switch(value: Any, asked: Asked) -> bool:
    """Read true or false."""
    found = WORDS.get(str(value).strip().lower())
    if found is None:
        raise Undecided(f"`{value}` is neither true nor false")
    return found


def number(value: Any, asked: Asked) -> float:
    """Read a number, also one in quotes."""
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise Undecided(f"`{value}` is no number")
    return found


def amount(value: Any, asked: Asked) -> int:
    """Read a whole number, also one in quotes or such as `1e2`."""
    found = number(value, asked)
    if found != int(found):
        raise Undecided(f"`{value}` is no whole number")
    return int(found)


def amounts(value: Any, asked: Asked) -> list[int] | int:
    """Read a whole number, or a list of them."""
    return [amount(entry, asked) for entry in value] if isinstance(value, list) else amount(value, asked)


def largest(value: Any, asked: Asked) -> float:
    """Read a number, or the largest distance from 0 in a list."""
    return max((abs(number(entry, asked)) for entry in as_list(value, asked)), default=0.0)


def clip(value: Any, asked: Asked) -> float:
    """Read the largest norm of the gradient; 0 and none are no limit."""
    if value in (None, False, 0):
        raise LeftOut("no limit is the default")
    return number(value, asked)


def size(value: Any, asked: Asked) -> list[int]:
    """Read a size: one number for all axes, or one for each."""
    if isinstance(value, str):
        value = [part for part in re.split(r"[x,\s()\[\]]+", value) if part]
    if not isinstance(value, list):
        return [amount(value, asked)] * asked.ndim
    sides = [amount(side, asked) for side in value]
    sides = sides * asked.ndim if len(sides) == 1 else sides
    if len(sides) == asked.ndim + 1 and sides[-1] in (1, 3):
        sides = sides[:-1]  # height, width, channels
    if len(sides) != asked.ndim:
        raise Undecided(f"`{value}` has {len(sides)} numbers for {asked.ndim} axes")
    return sides


def path(value: Any, asked: Asked) -> str:
    """Read a path; backslashes of Windows become slashes, and a drive letter stays."""
    if not isinstance(value, str) or not value.strip():
        raise Undecided(f"`{value}` is no path")
    if not value.isprintable():
        raise Undecided(
            f"{value!r} holds a control character: in double quotes, YAML reads `\\t` and `\\n` so; write the old path "
            "in single quotes"
        )
    return value.replace("\\", "/")


def run_folder(value: Any, asked: Asked) -> str:
    """Read the folder of the checkpoints as the folder of a run, whose `checkpoints` holds them."""
    folder = path(value, asked).rstrip("/").removeprefix("./")
    above, _, last = folder.rpartition("/")
    if last.lower() in {"checkpoints", "checkpoint", "ckpt", "weights", "models", "saved_models"}:
        folder = above
    if not folder:
        raise LeftOut("it was no folder of this run alone; checkpoints are in `outputs/experiments/<name>/checkpoints`")
    return folder


def device(value: Any, asked: Asked) -> str:
    """Read a device; several are a choice of the command that starts the training."""
    several = "one training uses one device; name one, such as `cuda:0`"
    if isinstance(value, bool):
        return "cuda" if value else "cpu"
    if isinstance(value, list):
        if len(value) != 1:
            raise Undecided(several)
        value = value[0]
    text = str(value).strip().lower()
    if re.fullmatch(r"-?\d+", text):
        return "cpu" if text == "-1" else f"cuda:{text}"
    if "," in text:
        raise Undecided(several)
    text = {"gpu": "cuda", "none": "auto"}.get(text, text)
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise Undecided(f"`{value}` is no device; choose auto, cpu, cuda, cuda:N or mps")
    return text


def stop_patience(value: Any, asked: Asked) -> Sets:
    """Read early stopping: true or false, or the patience; none and numbers below 1 turn it off."""
    if isinstance(value, bool) or value is None:
        return Sets({"training.early_stopping.enabled": bool(value)})
    patience = amount(value, asked)
    if patience < 1:
        return Sets({"training.early_stopping.enabled": False})
    return Sets({"training.early_stopping.enabled": True, "training.early_stopping.patience": patience})


def binary_classes(value: Any, asked: Asked) -> int:
    """Read the number of classes of a pipeline for one mask; 2 may count the background."""
    count = amount(value, asked)
    if count == 2:
        raise Undecided(
            "2 classes: if that is foreground and background, one mask is meant, which is the default "
            "(`dataset.num_classes: 1`); if they are two kinds of foreground, set `dataset.num_classes: 3` with "
            "`classes`"
        )
    return count


def probability(value: Any, asked: Asked) -> float:
    """Read a probability; true is 0.5, false 0."""
    share = {True: 0.5, False: 0.0}[value] if isinstance(value, bool) else number(value, asked)
    if not 0.0 <= share <= 1.0:
        raise Undecided(f"`{value}` is no probability from 0 to 1")
    return share


def as_list(value: Any, asked: Asked) -> list[Any]:
    """Read a list, or one entry."""
    return value if isinstance(value, list) else [value]


def words(value: Any, asked: Asked) -> list[str]:
    """Read a list of names, also one text with commas."""
    listed = value.split(",") if isinstance(value, str) else as_list(value, asked)
    return [str(entry).strip() for entry in listed]
