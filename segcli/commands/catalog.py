"""`segcli models`, `losses`, `metrics` and `formats`, and `segcli config keys`: what there is, as plain values."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

from segcli.config.plain_types import rows_of
from segcli.config.schema import Run
from segcli.core.errors import ConfigError, nearest
from segcli.core.registry import DATASETS, FILES, LOSSES, METRICS, MODELS, Registry, same_name
from segcli.files._endings import stated_formats

__all__ = ["described", "keys", "listed"]

ROOMS: dict[str, tuple[Registry, ...]] = {
    "models": (MODELS,),
    "losses": (LOSSES,),
    "metrics": (METRICS,),
    "formats": (DATASETS, FILES),
}
PLACES = {
    "models": "model: {{type: {}}}",
    "losses": "training.loss: {{type: {}}}",
    "metrics": "training.metrics: [{}]",
    "datasets": "dataset.format: {}",
}
"""Place of a component in YAML, by its room."""
SIZE = 64
"""Size of the images for which a network of one fixed size is counted."""


def listed(room: str) -> dict[str, Any]:
    """List the components of a room: each with its name and one line, networks also with their parameters."""
    return {registry.room: [_line(registry, name) for name in registry.names()] for registry in ROOMS[room]}


def _line(registry: Registry, name: str) -> dict[str, Any]:
    try:
        kind = registry.load(name)
    except ConfigError as error:  # a package of an extra is not installed
        return {"name": name, "about": f"{error.message}; {error.hint}", **_endings(registry, name)}
    return {"name": name, "about": _first(kind.__doc__), **_endings(registry, name), **_parameters(registry, kind)}


def described(room: str, name: str) -> dict[str, Any]:
    """Describe a component: what it is, its paper, its keys with types and defaults.

    Raises:
        ConfigError: There is no such component, or it needs a package that is not installed.
    """
    registry = _registry_with(room, name)
    if registry.own_file(name) is not None:
        raise ConfigError(
            f"`{name}` is a file of your own, which is not described here",
            hint=f"one of {', '.join(registry.names())}",
        )
    canonical = registry.canonical(name)
    kind = registry.load(canonical)
    module = inspect.getmodule(kind)
    text = inspect.cleandoc(module.__doc__ or "") if module is not None else ""
    paper, differs = _paragraph(text, "Paper: "), _paragraph(text, "Differs from")
    return {
        "name": canonical,
        "room": registry.room,
        "about": _first(kind.__doc__),
        **_endings(registry, canonical),
        **_parameters(registry, kind),
        **({"paper": paper.removeprefix("Paper: ")} if paper else {}),
        **({"differs": differs} if differs else {}),
        **({"yaml": PLACES[registry.room].format(canonical)} if registry.room in PLACES else {}),
        "keys": [row.as_dict() for row in rows_of(kind.Config)] if hasattr(kind, "Config") else [],
    }


def _registry_with(room: str, name: str) -> Registry:
    """Find the registry of a room that has a component."""
    registries = ROOMS[room]
    for registry in registries:
        if same_name(name) in map(same_name, registry.names()):
            return registry
    if len(registries) == 1:
        return registries[0]  # it says what is near
    known = [known for registry in registries for known in registry.names()]
    close = nearest(name, known)
    hint = f"did you mean `{close}`?" if close else f"one of {', '.join(known)}"
    raise ConfigError(f"unknown format `{name}`", hint=hint)


def keys(section: str | None) -> list[dict[str, Any]]:
    """List the keys of a run, or those of a section of it such as `training` or `data.augmentation`.

    Raises:
        ConfigError: There is no such key.
    """
    rows = [row for row in rows_of(Run) if section is None or f"{row.key}.".startswith(f"{section}.")]
    if not rows:
        known = {row.key for row in rows_of(Run)}
        known |= {".".join(key.split(".")[:end]) for key in known for end in range(1, key.count(".") + 1)}
        close = nearest(section or "", sorted(known))
        raise ConfigError(
            f"no key `{section}`", hint=f"did you mean `{close}`?" if close else "`segcli config keys` lists all"
        )
    return [row.as_dict() for row in rows]


def _first(text: str | None) -> str:
    """Return the first paragraph of a docstring as one line."""
    return " ".join(inspect.cleandoc(text or "").split("\n\n", 1)[0].split())


def _paragraph(text: str, beginning: str) -> str:
    """Return the paragraph that begins so, as one line; empty if there is none."""
    found: Iterator[str] = (part for part in re.split(r"\n\s*\n", text) if part.startswith(beginning))
    return " ".join(next(found, "").split())


def _endings(registry: Registry, name: str) -> dict[str, Any]:
    """Describe the files of a file format."""
    if registry is not FILES:
        return {}
    (stated,) = (each for each in stated_formats() if each.name == name)
    kinds = " and ".join("images" if axes == 2 else "volumes" for axes in stated.axes)
    return {"reads": kinds, "endings": ["(folder)"] if stated.is_folder else list(stated.endings)}


def _parameters(registry: Registry, kind: Any) -> dict[str, Any]:
    """Count the parameters of a network with its default keys, for 3 channels and one mask or class."""
    if registry is not MODELS:
        return {}
    import torch  # noqa: PLC0415 - only networks need it

    from segcli.core.types import IOSpec  # noqa: PLC0415

    ndim = kind.can_ndim[0]
    size = (SIZE,) * ndim if kind.needs_size else None
    io = IOSpec(ndim, 3, dict.fromkeys(kind.can_output, 1), size=size)
    with torch.device("meta"):
        network = kind(kind.Config(), io=io)
    return {"parameters": sum(parameter.numel() for parameter in network.parameters())}
