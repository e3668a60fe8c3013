"""Find the candidates for TAB after `KEY` and `KEY=`, from what the experiment chooses; NumPy is not loaded."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from segcli.config.outline import Key, Section, component, keys_of, literal_of
from segcli.core.errors import ConfigError
from segcli.core.registry import (
    DATASETS,
    LOSSES,
    METRICS,
    MODELS,
    OPTIMIZERS,
    SAMPLES,
    SCHEDULERS,
    TASKS,
    TRACKERS,
    Registry,
)

__all__ = ["FILES", "Chosen", "overrides"]

FILES = ":files"
"""End of the candidate that asks the shell to complete names of files itself; what is typed stands before it."""
RUN = Section("config.schema", "Run")
LOSS, MONITOR = "training.loss", "training.early_stopping.monitor"
AUGMENTATION, DATASET = "data.augmentation", "dataset"
"""Sections that may also be one word: a preset, and the path of a file."""
COMPONENTS: dict[str, tuple[Registry, str, str]] = {
    "model": (MODELS, "type", ""),
    "training.optimizer": (OPTIMIZERS, "type", "adam"),
    "training.scheduler": (SCHEDULERS, "type", "cosine"),
    "dataset": (DATASETS, "format", "image_folders"),
}
"""Sections that choose a component: its registry, the key of its name, and the default."""
NAMES: dict[str, Registry] = {
    LOSS: LOSSES,
    f"{LOSS}.type": LOSSES,
    "training.metrics": METRICS,
    "logging.trackers": TRACKERS,
    "dataset.task": TASKS,
    "dataset.sample": SAMPLES,
    **{f"{path}.{key}": registry for path, (registry, key, _) in COMPONENTS.items()},
    **{path: registry for path, (registry, _, _) in COMPONENTS.items() if path != "dataset"},
}
"""Keys whose values are names of components."""
VALUES = {
    "device": ("auto", "cpu", "cuda", "mps"),
    "data.batch_size": ("auto",),
}
"""Values of keys whose type does not list them."""


class Chosen:
    """Holds the choices of an experiment file and the overrides so far; a file that cannot be read chooses nothing."""

    def __init__(self, file: Path | None, typed: Sequence[str]) -> None:
        self.values = _read(file)
        self.file = file
        self.typed = {key: value for key, _, value in (word.partition("=") for word in typed)}

    def value(self, *dotted: str) -> Any:
        """Find the value of the first of these keys that is set, by an override or else in the file."""
        for each in dotted:
            if each in self.typed:
                return _parsed(self.typed[each])
        for each in dotted:
            found: Any = self._values_of(each)
            for part in each.split("."):
                found = found.get(part) if isinstance(found, dict) else None
            if found is not None:
                return found
        return None

    def _values_of(self, dotted: str) -> dict[str, Any]:
        if not dotted.startswith("dataset."):
            return self.values
        named = self.typed.get("dataset", self.values.get("dataset", self.values))
        return {"dataset": _read(self._dataset_file(named)) if isinstance(named, str) else named}

    def _dataset_file(self, named: str) -> Path:
        beside = Path(named) if self.file is None else self.file.parent / named
        if beside.is_file() or Path(named).is_file():
            return beside if beside.is_file() else Path(named)
        from segcli.config.shipped import dataset_file

        return (self.file and dataset_file(named, self.file)) or beside

    def component(self, path: str) -> Section | None:
        """Find the component that a section chooses."""
        registry, key, default = COMPONENTS[path]
        given = self.value(f"{path}.{key}", *(() if path == "dataset" else (path,)))
        name = given.get(key) if isinstance(given, dict) else given
        return _section(registry, name if isinstance(name, str) else default)

    def losses(self) -> dict[str, Section | None]:
        """Find the parts of the loss by name."""
        given = self.value(f"{LOSS}.type", LOSS)
        if isinstance(given, dict):
            given = [given["type"]] if "type" in given else list(given)
        names = [given] if isinstance(given, str) else given or []
        return {str(name): _section(LOSSES, str(name)) for name in names}

    def metrics(self) -> list[str]:
        """List the metrics; all of them if the experiment leaves them to the task."""
        given = self.value("training.metrics")
        if not isinstance(given, list):
            return list(METRICS.names())
        return [str(each.get("type") if isinstance(each, dict) else each) for each in given]


def overrides(chosen: Chosen, incomplete: str, *, alone: bool = False) -> list[str]:
    """List keys that begin as typed, or after `=` the values of the key.

    Args:
        chosen: What decides on keys and values.
        incomplete: What is typed.
        alone: The keys are those of a data set, without `dataset.` before them.
    """
    before = "dataset." if alone else ""
    key, sign, value = f"{before}{incomplete}".partition("=")
    keys = dict(_below(RUN, "", key, chosen))
    if not sign:
        return [f"{name.removeprefix(before)}=" for name in sorted(keys) if name.startswith(key)]
    return [f"{key.removeprefix(before)}={word}" for word in _values(key, keys.get(key), chosen, value)]


def _below(section: Section, path: str, typed: str, chosen: Chosen) -> Iterator[tuple[str, Key]]:
    """List the keys of a section with dots; sections that cannot hold what is typed are not read."""
    for key in keys_of(section).values():
        name = f"{path}{key.name}"
        if not (f"{name}.".startswith(typed) or typed.startswith(name)):
            continue
        if name == LOSS:
            yield from _of_loss(key, chosen)
        elif key.section is None or key.is_list or key.by_name:
            yield name, key
        else:
            if name == AUGMENTATION:
                yield name, Key(name, words=(*keys_of(key.section)["preset"].words, "false"))
            if name == DATASET:
                yield name, Key(name, is_path=True)
            own = chosen.component(name) if name in COMPONENTS else None
            for below in (key.section, *([own] if own is not None else [])):
                yield from _below(below, f"{name}.", typed, chosen)


def _of_loss(key: Key, chosen: Chosen) -> Iterator[tuple[str, Key]]:
    yield LOSS, key
    yield f"{LOSS}.type", Key("type")
    parts, shared = chosen.losses(), keys_of(Section("config.sections", "LossPart"))
    for name, section in parts.items():
        own = {**shared, **(keys_of(section) if section is not None else {})}
        within = LOSS if len(parts) == 1 else f"{LOSS}.{name}"
        yield from ((f"{within}.{each}", entry) for each, entry in own.items())


def _values(name: str, key: Key | None, chosen: Chosen, typed: str) -> list[str]:
    """List the values of a key that begin as typed."""
    if name == MONITOR:
        return _starting(_monitors(chosen), typed)
    words: Sequence[str] = NAMES[name].names() if name in NAMES else VALUES.get(name, key.words if key else ())
    if key is not None and key.is_list and (typed.startswith("[") or not key.words):
        return _entries(words, typed)
    if key is not None and key.is_path and not words:
        return [f"{typed}{FILES}"]
    return _starting(words, typed)


def _entries(words: Sequence[str], typed: str) -> list[str]:
    """List what the last entry of a list may be; an entry that is sure is followed by `,` or `]`."""
    if not words or not "[".startswith(typed[:1]) or typed.endswith("]"):
        return []
    before, comma, last = typed.removeprefix("[").rpartition(",")
    listed = {word.strip() for word in before.split(",")}
    blank = " " * (len(last) - len(last.lstrip()))
    left = [word for word in words if word not in listed]
    found = _starting(left, last.strip())
    ends = (",", "]") if len(found) == 1 else ("",)
    return [f"[{before}{comma}{blank}{word}{end}" for word in found for end in ends]


def _monitors(chosen: Chosen) -> list[str]:
    parts: list[str] = []
    for name in chosen.losses():
        own = literal_of(LOSSES, LOSSES.canonical(name), "parts") if _section(LOSSES, name) is not None else ()
        parts += [f"{name}_{part}" if part in parts else part for part in own or (name,)]
    several = [f"val_loss_{part}" for part in parts] if len(parts) > 1 else []
    return ["val_loss", *several, *(f"val_{name}" for name in chosen.metrics())]


def _section(registry: Registry, name: str) -> Section | None:
    """Find the keys of a component; None for an unknown one, or one in a file of the user's."""
    if not name or ".py:" in name:
        return None
    try:  # to list installed packages takes longer than to read a folder
        return component(registry, name if name in registry.names() else registry.canonical(name))
    except (ConfigError, OSError):
        return None


def _read(file: Path | None) -> dict[str, Any]:
    values = _parsed(_text(file)) if file is not None else None
    return values if isinstance(values, dict) else {}


def _text(file: Path) -> str:
    from segcli.core.strict_yaml import LONGEST

    try:
        return file.read_text(encoding="utf-8") if file.is_file() and file.stat().st_size <= LONGEST else ""
    except (OSError, ValueError):
        return ""


def _parsed(text: str) -> Any:
    from yaml import YAMLError

    from segcli.core.strict_yaml import parse

    try:
        return parse(text)
    except YAMLError:
        return None


def _starting(words: Sequence[str], typed: str) -> list[str]:
    return [word for word in words if word.startswith(typed)]
