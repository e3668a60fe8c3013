"""Write the generated pages of `docs/reference`: commands, components, configuration keys, messages.

Run: python -m segcli.cli.reference [--check]
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from segcli.cli.app import app
from segcli.cli.generated import filled
from segcli.cli.messages_page import messages
from segcli.core.descriptions import description_of
from segcli.core.registry import DATASETS, LOSSES, METRICS, MODELS, OPTIMIZERS, SCHEDULERS, Registry

__all__ = ["main", "rendered"]

PAGES = Path(__file__).parents[2] / "docs/reference"
ROOMS = (MODELS, LOSSES, METRICS, OPTIMIZERS, SCHEDULERS, DATASETS)


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` say which of them are not up to date."""
    stale = []
    for page in sorted(PAGES.glob("*.md")):
        old = page.read_text(encoding="utf-8")
        new = rendered(old)
        if "--check" not in arguments:
            page.write_text(new, encoding="utf-8")
        elif old != new:
            stale.append(f"docs/reference/{page.name}")
    if stale:
        sys.stderr.write(f"stale: {', '.join(stale)}; run `python -m segcli.cli.reference`\n")
    return int(bool(stale))


def rendered(text: str) -> str:
    """Give a page with new generated parts."""
    parts = {"commands": _commands, "keys": _keys, "components": _components, "messages": _messages}
    for name, written in parts.items():
        if f"<!-- generated: {name} -->" in text:
            text = filled(text, name, written())
    return text


# ---- commands


def _commands() -> Iterator[str]:
    root: Any = typer.main.get_command(app)
    for name, command in _leaves(root, "segcli"):
        if "not built yet" in (command.help or ""):
            continue
        arguments = [entry for entry in command.params if entry.param_type_name == "argument"]
        options = [entry for entry in command.params if entry.param_type_name == "option" and entry.name != "help"]
        yield f"## `{' '.join([name, *(_metavar(entry) for entry in arguments)])}`"
        yield ""
        summary, _, example = (command.help or "").partition("Example: ")
        yield " ".join(summary.split())
        yield ""
        if options:
            yield "| option | meaning |"
            yield "|---|---|"
            yield from (f"| `{', '.join(entry.opts)}` | {entry.help} |" for entry in options)
            yield ""
        if example:
            yield f"Example: `{example.strip()}`"
            yield ""


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield name, command
        return
    # groups first, as in the order of work: data comes before training
    for word, entry in sorted(below.items(), key=lambda pair: not hasattr(pair[1], "commands")):
        yield from _leaves(entry, f"{name} {word}")


# ---- keys


def _keys() -> Iterator[str]:
    from segcli.config.schema import Run

    yield "| key | default | meaning |"
    yield "|---|---|---|"
    yield from _rows(Run, "")


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        annotation = _model(field.annotation)
        if annotation is not None and annotation.model_fields and not get_args(field.annotation):
            yield from _rows(annotation, f"{prefix}{name}.")
            continue
        yield f"| `{prefix}{name}` | {_default(field)} | {_one_line(description_of(model, name))} |"


def _model(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _default(field: Any) -> str:
    if field.default is PydanticUndefined:
        return "required"
    value = field.default
    if value is None:
        return ""
    if isinstance(value, BaseModel):
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text}`" if text not in {"[]", "{}", ""} else ""


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


# ---- components


def _components() -> Iterator[str]:
    for registry in ROOMS:
        plural = "losses" if registry.word == "loss" else f"{registry.word}s"
        yield f"## {plural[0].upper()}{plural[1:]}"
        yield ""
        for name in registry.names():
            yield from _component(registry, name)


def _component(registry: Registry, name: str) -> Iterator[str]:
    kind = registry.load(name)
    yield f"### `{name}`"
    yield ""
    yield _one_line((kind.__doc__ or "").strip().splitlines()[0])
    yield ""
    rows = list(_rows(kind.Config, ""))
    if rows:
        yield "| key | default | meaning |"
        yield "|---|---|---|"
        yield from rows
        yield ""


# ---- messages


def _messages() -> Iterator[str]:
    chapter = None
    for message in messages():
        if message.chapter != chapter:
            chapter = message.chapter
            yield from ("", f"## {chapter}", "", "| message | what to do |", "|---|---|")
        yield f"| {_one_line(message.text)} | {_one_line(message.hint)} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
