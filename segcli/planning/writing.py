"""Write the data-set file and the experiment file, with a comment on every choice."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

import yaml

from segcli.core.paths import escaped
from segcli.core.strict_yaml import StrictDumper
from segcli.planning.facts import Plan, Recognised, Sure

__all__ = ["dataset_text", "experiment_text"]

WIDTH = 118
FLOW = 96
"""Longest mapping or list in one line."""
DOUBT: dict[Sure, str] = {"certain": "", "likely": " (likely)", "guess": " (a guess: please look)"}


def dataset_text(found: Recognised, path: Path, folder: Path) -> str:
    """Write a data-set file.

    Args:
        found: What was recognised.
        path: Path of the file.
        folder: Working folder; paths inside it are written relative to it.
    """
    keys = {"name": found.name, **found.keys}
    keys["paths"] = {key: _relative(value, folder) for key, value in found.keys["paths"].items()}
    reasons = {key: text + DOUBT[found.sure.get(key, "certain")] for key, text in found.reasons.items()}
    doubtful = {key: DOUBT[sure].strip(" ()") for key, sure in found.sure.items() if key not in reasons}
    lines = [
        f"# segcli data check {quote(path.as_posix())}",
        *_comment(f"{found.about}. `segcli init` wrote this file."),
    ]
    lines += [line for note in found.notes for line in _comment(f"{note[:1].upper()}{note[1:]}.")]
    return "\n".join([*lines, *_section(keys, {**doubtful, **reasons})]) + "\n"


def experiment_text(plan: Plan, name: str, path: Path, dataset: Path) -> str:
    """Write an experiment file.

    Args:
        plan: The experiment.
        name: Name of the run.
        path: Path of the file.
        dataset: Path of the data-set file.
    """
    beside = Path(*[".."] * len(_below(path, dataset)[0]), *_below(path, dataset)[1])
    keys = {"name": name, "dataset": escaped(beside), **plan.keys}
    lines = [f"# segcli train {quote(path.as_posix())}", *(line for note in plan.notes for line in _comment(note))]
    return "\n".join([*lines, *_section(keys, plan.reasons)]) + "\n"


def _below(path: Path, other: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the folders of a file, and the way to another one, below the folder that both share."""
    here, there = path.absolute().parent.parts, other.absolute().parts
    shared = next((n for n, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), min(len(here), len(there)))
    return here[shared:], there[shared:]


def _relative(value: Any, folder: Path) -> Any:
    path, here = Path(value), Path(escaped(folder))
    if here not in path.parents:
        return value
    text = path.relative_to(here).as_posix()
    return f"./{text}" if text.startswith("~") else text


def _comment(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _section(values: Mapping[str, Any], reasons: Mapping[str, str], *, before: str = "", depth: int = 0) -> list[str]:
    """Write keys with their comments; a section whose keys have comments of their own gets a line for each."""
    lines: list[str] = []
    indent = "  " * depth
    for key, value in values.items():
        name = f"{before}{key}"
        if name in reasons:
            lines += _comment(reasons[name], indent)
        inner = any(reason.startswith(f"{name}.") for reason in reasons)
        if isinstance(value, dict) and value and (inner or len(_flow(value)) > FLOW):
            lines += [f"{indent}{key}:", *_section(value, reasons, before=f"{name}.", depth=depth + 1)]
        elif isinstance(value, list) and value and isinstance(value[0], dict) and len(_flow(value)) > FLOW:
            lines += [f"{indent}{key}:", *(f"{indent}  - {_flow(each)}" for each in value)]
        else:
            lines += _wrapped(f"{indent}{_flow(key)}: ", _flow(value), indent)
    return lines


def _wrapped(head: str, text: str, indent: str) -> list[str]:
    """Break a long list between its entries."""
    if len(head) + len(text) <= WIDTH or not text.startswith("["):
        return [head + text]
    return textwrap.wrap(
        head + text, WIDTH, subsequent_indent=f"{indent}  ", break_long_words=False, break_on_hyphens=False
    )


def _flow(value: Any) -> str:
    options: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 10**6}
    text: str = yaml.dump(value, Dumper=StrictDumper, default_flow_style=True, **options)
    return text.removesuffix("\n").removesuffix("\n...")
