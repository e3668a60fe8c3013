"""Files that are written whole or not at all."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from segcli.core.errors import DataError

__all__ = ["plain", "remove_leftovers", "replacing", "shown", "told_when_full", "write_text", "write_yaml", "yaml_text"]


@contextmanager
def replacing(path: Path, *, synced: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path`; what is written there takes the place of `path` at once, or never.

    Args:
        path: The file.
        synced: The data reach the disk before the name changes, so that a power cut leaves the old file or the new
            one. Of many small files that can be made again, waiting for the disk is what takes the time.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with told_when_full(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            if synced:
                _sync(temporary)
            temporary.replace(path)
            if synced:
                _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed left unfinished in a folder."""
    for path in folder.glob(".*.part"):
        number = path.name.removesuffix(".part").rpartition(".")[2]
        if number.isdigit() and not _is_running(int(number)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


@contextmanager
def told_when_full(path: Path) -> Iterator[None]:
    """Tell in one sentence that `path` cannot be written: a full disk, missing rights, a file in the way.

    Raises:
        DataError: It cannot.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"cannot write `{shown(path)}` ({reason})", hint="free space or grant rights there; nothing was overwritten"
        ) from error


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def shown(path: Path) -> str:
    """The path as a person would type it: relative where it lies below the working folder."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_yaml(path: Path, value: Any, *, comment: str | None = None) -> None:
    """Write `value` to `path` as YAML, keys in the order given, below a line of comment."""
    text = yaml_text(value)
    write_text(path, text if comment is None else f"# {comment}\n{text}")


def yaml_text(value: Any) -> str:
    """`value` as YAML, keys in the order given."""
    text: str = yaml.dump(plain(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return text


def plain(value: Any) -> Any:
    """Reduce to what JSON and YAML know: paths become text, tuples lists, NumPy numbers Python's."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    item: Callable[[], Any] | None = getattr(value, "item", None)
    return plain(item()) if item is not None else str(value)


class _Dumper(yaml.SafeDumper):
    """Writes short lists of scalars on one line, as people do."""


def _flow_short_lists(dumper: yaml.SafeDumper, value: list[Any]) -> yaml.Node:
    short = all(isinstance(item, int | float | str) for item in value) and len(json.dumps(value)) < 90
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=short)


def _readable_float(dumper: yaml.SafeDumper, value: float) -> yaml.Node:
    text = repr(value)
    if text in {"inf", "-inf", "nan"}:
        text = {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}[text]
    elif "e" in text and "." not in text:
        text = text.replace("e", ".0e")  # YAML 1.1 readers take `1e-06` for text
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(list, _flow_short_lists)
_Dumper.add_representer(float, _readable_float)
