"""Write the generated parts of README.md: commands, components and configuration keys.

Run: python -m segcli.cli.reference [--check]
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from segcli.cli.app import app
from segcli.core.registry import DATASETS, LOSSES, METRICS, MODELS, OPTIMIZERS, SCHEDULERS, Registry

__all__ = ["main", "rendered"]

README = Path(__file__).parents[2] / "README.md"
ROOMS = (MODELS, LOSSES, METRICS, OPTIMIZERS, SCHEDULERS, DATASETS)


def main(arguments: list[str]) -> int:
    """Rewrite the README, or with `--check` say whether it is up to date."""
    old = README.read_text(encoding="utf-8")
    new = rendered(old)
    if "--check" not in arguments:
        README.write_text(new, encoding="utf-8")
    elif old != new:
        sys.stderr.write("README.md is stale: run `python -m segcli.cli.reference`\n")
        return 1
    return 0


def rendered(text: str) -> str:
    """Give the README with new generated parts."""
    for name, lines in (("commands", _commands()), ("keys", _keys()), ("components", _components())):
        body = "\n".join(lines)
        pattern = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = pattern.sub(lambda found, body=body: f"{found[1]}{body}\n{found[2]}", text)  # type: ignore[misc]
    return text


# ---- commands


def _commands() -> Iterator[str]:
    root: Any = typer.main.get_command(app)
    for name, command in _leaves(root, "segcli"):
        if "not built yet" in (command.help or ""):
            continue
        arguments = [entry for entry in command.params if entry.param_type_name == "argument"]
        options = [entry for entry in command.params if entry.param_type_name == "option" and entry.name != "help"]
        yield f"#### `{' '.join([name, *(_metavar(entry) for entry in arguments)])}`"
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
        yield f"| `{prefix}{name}` | {_default(field)} | {_one_line(field.description)} |"


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
        yield f"**{plural[0].upper()}{plural[1:]}**"
        yield ""
        yield "| `type` | what it is | keys |"
        yield "|---|---|---|"
        yield from (_component(registry, name) for name in registry.names())
        yield ""


def _component(registry: Registry, name: str) -> str:
    kind = registry.load(name)
    summary = (kind.__doc__ or "").strip().splitlines()[0]
    keys = [
        f"`{key}` ({_default(field)})" if _default(field) else f"`{key}`"
        for key, field in kind.Config.model_fields.items()
    ]
    return f"| `{name}` | {_one_line(summary)} | {', '.join(keys)} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
