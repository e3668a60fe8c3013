"""`segcli configs`: list, show and copy the experiments that come with segcli."""

from pathlib import Path
from typing import Any

from segcli.config.shipped import SCHEMA, dataset_file, folder, jobs, named, names
from segcli.core.errors import ConfigError
from segcli.core.files import write_text
from segcli.core.strict_yaml import parse

__all__ = ["content", "copy", "listed"]


def listed() -> list[dict[str, Any]]:
    """List the shipped configs by name, each with what its comment says first: experiments, data sets, jobs."""
    found = names(datasets=True)
    ordered = [*sorted(found, key=lambda name: (name.startswith("datasets/"), name)), *jobs()]
    found |= jobs()
    return [{"name": name, "about": _about(found[name]), "path": str(found[name])} for name in ordered]


def _about(path: Path) -> str:
    """Return the first sentence after the command with which a file begins."""
    text = path.read_text(encoding="utf-8").partition("\n#\n")[0]
    lines = text.removeprefix("#!/bin/bash\n").splitlines()[1:]
    comment = " ".join(line.removeprefix("# ") for line in lines if line.startswith("# ") and "$schema=" not in line)
    end = comment.find(". ")
    return comment if end < 0 else comment[: end + 1]


def content(name: str) -> str:
    """Read a shipped config.

    Raises:
        ConfigError: There is none of this name.
    """
    return named(name).read_text(encoding="utf-8")


def copy(name: str, target: Path, *, overwrite: bool) -> list[Path]:
    """Copy a shipped config, its data-set file and the JSON schema, or a job; returns what was written.

    Args:
        name: Name of the config.
        target: Folder that gets the same folders as that of the shipped configs.
        overwrite: Replace files with other content.

    Raises:
        ConfigError: There is no such config, or a file with other content is there.
    """
    path, root = named(name), folder()
    sources = [path] if name in jobs() else [path, *_dataset_of(path), root / SCHEMA]
    texts = {target / source.relative_to(root): _moved(source, target) for source in sources}
    changed = {to: text for to, text in texts.items() if not _holds(to, text)}
    for to in changed:
        if to.exists() and not overwrite:
            raise ConfigError(f"`{to}` exists and is different", hint="name another folder, or add `--overwrite`")
    for to, text in changed.items():
        write_text(to, text)
    return list(changed)


def _dataset_of(path: Path) -> list[Path]:
    dataset = parse(path.read_text(encoding="utf-8")).get("dataset")
    beside = dataset_file(dataset, path) if isinstance(dataset, str) else None
    return [] if beside is None else [beside]


def _moved(source: Path, target: Path) -> str:
    """Read a shipped file; what it says of `configs/` it says of the folder that it is copied into."""
    return source.read_text(encoding="utf-8").replace("configs/", f"{target.as_posix()}/")


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()
