"""Find the place of a key that was typed in a section that does not have it."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from segcli.config.document import Loc
from segcli.config.schema import Run
from segcli.config.sections import Component, DatasetSection, LossPart
from segcli.config.short_forms import section_in
from segcli.core.errors import ConfigError
from segcli.core.registry import DATASETS, LOSSES, Registry

__all__ = ["place_of"]

OTHER_NAMES = {
    "lr": "learning_rate",
    "base_lr": "learning_rate",
    "wd": "weight_decay",
    "batch": "batch_size",
    "bs": "batch_size",
    "num_epochs": "epochs",
    "n_epochs": "epochs",
    "max_epochs": "epochs",
    "workers": "num_workers",
    "n_workers": "num_workers",
    "img_size": "image_size",
    "input_size": "image_size",
    "crop_size": "patch_size",
    "accumulate_grad_batches": "gradient_accumulation_steps",
    "mixed_precision": "amp",
    "grad_clip": "gradient_clip_norm",
}
"""Names that other programs have for keys."""
COMMON = {"enabled", "type", "weight", "name", "sha256"}
"""Keys of so many sections that their places say nothing."""
OF_THE_PROGRAM = {"fold"}
"""Sections that no user writes."""
MOST = 3
"""Places that are listed."""


def place_of(loc: Loc, values: dict[str, Any]) -> str | None:
    """Say where a key belongs, as a hint; None if no section of the run has it.

    Args:
        loc: Place where the key was typed.
        values: Values of the run in their long form, which choose the components.

    Example:
        >>> place_of(("training", "lr"), {"training": {"optimizer": {"type": "adam"}}})
        'it is called `training.optimizer.learning_rate`'
        >>> place_of(("epochs",), {})
        'it belongs in the section `training`: `training.epochs`'
    """
    key = str(loc[-1])
    if key in COMMON:
        return None
    word = OTHER_NAMES.get(key, key)
    found = [place for place in _places(Run, values, ()) if place[-1] == word and place != loc]
    if not found:
        return None
    dotted = [f"`{'.'.join(place)}`" for place in found[:MOST]]
    if len(found) > 1:
        return f"there are {', '.join(dotted[:-1])} and {dotted[-1]}"
    if word != key:
        return f"it is called {dotted[0]}"
    section, file = ".".join(found[0][:-1]), ""
    if loc[0] == "dataset" and found[0][0] != "dataset":
        file = " of the experiment file"
    return (
        f"it belongs in the section `{section}`{file}: {dotted[0]}"
        if section
        else f"it belongs at the top{file}: {dotted[0]}"
    )


def _places(model: type[BaseModel], values: Any, loc: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """List all keys of a section, and of those below it."""
    given = values if isinstance(values, dict) else {}
    if issubclass(model, Component | DatasetSection):
        own, word = (DATASETS, "format") if issubclass(model, DatasetSection) else (model.registry, "type")
        name = given.get(word, model.model_fields[word].default)
        yield from ((*loc, key) for key in _own_keys(own, name) if key not in model.model_fields)
    for key, field in model.model_fields.items():
        if key in OF_THE_PROGRAM:
            continue
        yield (*loc, key)
        section, below = section_in(field.annotation), given.get(key)
        if section is LossPart:
            for name, part in (below if isinstance(below, dict) else {}).items():
                yield from ((*loc, key, str(name), each) for each in _own_keys(LOSSES, name))
                yield from _places(LossPart, part, (*loc, key, str(name)))
        elif section is not None and not isinstance(below, list):
            yield from _places(section, below, (*loc, key))


def _own_keys(registry: Registry, name: Any) -> list[str]:
    """List the keys of a component; none of a user's file or of an installed package, which are not imported here."""
    try:
        if not isinstance(name, str) or registry.is_foreign(name):
            return []
        return list(registry.load(name).Config.model_fields)
    except ConfigError:
        return []
