"""Check the components that a run chooses: their names and their own keys."""

from typing import Any

from pydantic import ValidationError

from segcli.config.chosen import Chosen, chosen
from segcli.config.document import Document, Loc, Problem
from segcli.config.messages import problems_of
from segcli.config.sections import Component
from segcli.core.errors import ConfigError
from segcli.core.registry import AUGMENTATIONS, DATASETS, LOSSES, METRICS, MODELS, Registry, label

__all__ = ["check_components", "compared_digest"]


def compared_digest(registry: Registry, name: str, section: dict[str, Any]) -> str | None:
    """Compare the file of a user's own component with the digest in its section; None if it is another file.

    A section without a digest gets that of the file; nothing is imported. For a component without a file it is empty.

    Raises:
        ConfigError: There is no such component, or its file cannot be read.
    """
    digest = registry.digest(name)
    if digest is None:
        return ""
    return digest if section.setdefault("sha256", digest) == digest else None


def _blame_other_file(document: Document, chosen: Chosen) -> None:
    """Blame the file of a user's own component that has other bytes than the run was trained with; nothing ran."""
    digest = chosen.registry.digest(chosen.name)
    loc: Loc = (*chosen.loc, "sha256")
    document.problems.append(
        document.problem(
            loc,
            f"the file is not the one that the run was trained with: `{chosen.name.rpartition(':')[0]}` has the "
            f"SHA-256 `{digest}`, not `{chosen.section['sha256']}`",
            f"put the old file back; {_way_out(chosen, digest)}",
        )
    )


def _way_out(chosen: Chosen, digest: str | None) -> str:
    """Say how to accept the file with its new content."""
    if chosen.registry is AUGMENTATIONS:
        return "or start a new run with `segcli train` and another `name`"
    commands = {MODELS: "`train`, `eval`, `export` and `profile-memory`", DATASETS: "`train` and `eval`"}
    taking = commands.get(chosen.registry, "`train` and `resume`")
    if chosen.in_list:
        return f"{taking} accept the new content with `{chosen.dotted.rpartition('.')[0]}=[...]`, which names it again"
    return f"{taking} accept the new content with `{chosen.dotted}.sha256={digest}`"


def check_components(document: Document) -> None:
    """Check each component's name and its own keys; write canonical names and all defaults into the values."""
    losses: dict[str, str] = {}
    for each in list(chosen(document.values)):
        if each.name in document.left_out:
            continue
        try:
            canonical = each.registry.canonical(each.name)
            digest = compared_digest(each.registry, canonical, each.section)
            if digest is None:
                _blame_other_file(document, each)
                continue
            kind = each.registry.load(canonical, digest=digest or None)
            _refuse_taken(each.registry, canonical)
        except ConfigError as error:
            document.problems.append(document.problem(each.name_loc, error.message, error.hint))
            continue
        if each.registry.read_as(each.name) == canonical:
            document.read_as(each.name, canonical)
        if each.registry is LOSSES and _is_taken(document, each, canonical, losses):
            continue
        each.rename(document, canonical)
        document.problems += _check_own_keys(document, each, kind)
    training = document.values.get("training")
    if isinstance(training, dict):
        _rename_monitored(document, training.get("early_stopping"))


def _is_taken(document: Document, each: Chosen, canonical: str, first: dict[str, str]) -> bool:
    """Blame a part of the loss that is in the loss under another name, too: one would replace the other."""
    names = document.values["training"]["loss"]
    other = first.setdefault(canonical, each.name)
    if other != each.name:
        place = each.name_loc
    elif canonical != each.name and canonical in names:
        place, other = (*each.name_loc[:-1], canonical), each.name
    else:
        return False
    message = f"is the loss `{canonical}`, as `{other}` is"
    document.problems.append(document.problem(place, message, "remove one of the two"))
    return True


def _rename_monitored(document: Document, stopping: Any) -> None:
    """Give the monitored metric our name, such as `val_mean_iou` for `val_miou`."""
    monitor = stopping.get("monitor") if isinstance(stopping, dict) else None
    if not isinstance(monitor, str) or not monitor.startswith("val_"):
        return
    ours = METRICS.read_as(monitor.removeprefix("val_"))
    if ours is not None:
        document.read_as(monitor, f"val_{ours}")
        stopping["monitor"] = f"val_{ours}"


def _refuse_taken(registry: Registry, name: str) -> None:
    """Refuse a component of the user's own whose values would be logged under the name of one of ours."""
    if registry in (LOSSES, METRICS) and registry.own_file(name) and not registry.is_foreign(label(name)):
        raise ConfigError(
            f"`{label(name)}` is the name of a {registry.word} of segcli", hint="give the class another name"
        )


def _check_own_keys(document: Document, chosen: Chosen, kind: Any) -> list[Problem]:
    section = chosen.keys_beside
    shared = section.shared(kind) if issubclass(section, Component) else set()
    beside = set(section.model_fields) - shared
    options = {key: value for key, value in chosen.section.items() if key not in beside}
    try:
        checked = kind.Config.model_validate(options)
    except ValidationError as error:
        return problems_of(error, document, kind.Config, loc=chosen.loc, beside=section, options=options)
    chosen.section.update(checked.model_dump(mode="python"))
    return []
