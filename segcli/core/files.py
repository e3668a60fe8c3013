"""Files of segcli: each is written completely or not at all, and YAML is read back."""

import json
import os
import platform
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import Any

import yaml

from segcli.core.errors import ConfigError, DataError
from segcli.core.platform import flush, is_running, replace, why_not_written
from segcli.core.strict_yaml import StrictDumper

__all__ = [
    "file_above",
    "float_text",
    "names_flushed_once",
    "plain",
    "put_in_place",
    "read_keys",
    "refuse_occupied",
    "remove_leftovers",
    "replacing",
    "shown",
    "told_when_full",
    "typed",
    "unfinished",
    "write_text",
    "write_yaml",
    "yaml_text",
]


LONGEST_NAME = 255
"""Longest name of a file in bytes."""
_tidied: set[Path] = set()
"""Folders from which this process has removed leftovers."""
_unflushed: set[Path] | None = None
"""Folders whose names are flushed later; None if each name is flushed at once."""


@contextmanager
def replacing(path: Path, *, synced: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; afterwards the written file replaces `path` atomically.

    The first file that a process writes into a folder removes what killed processes left unfinished there.

    Args:
        path: The file to replace.
        synced: Flush the data to the disk before the rename, so that a power cut leaves either the old or the new
            file. Switch it off for many small files that can be made again: waiting for the disk takes time.
    """
    temporary = unfinished(path)
    with told_when_full(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _tidy_once(path.parent)
        try:
            yield temporary
            put_in_place(temporary, path, synced=synced)
        finally:
            temporary.unlink(missing_ok=True)


def put_in_place(temporary: Path, path: Path, *, synced: bool = True) -> None:
    """Give a temporary file that is written its final name; arguments as those of `replacing`."""
    if synced:
        flush(temporary)
    replace(temporary, path)
    if synced:
        _flush_names(path.parent)


def _flush_names(folder: Path) -> None:
    """Flush the names in a folder, now or in the end."""
    later = _unflushed
    if later is None:
        flush(folder)
    else:
        later.add(folder)


@contextmanager
def names_flushed_once() -> Iterator[None]:
    """Flush the names in each folder to the disk once in the end, not after each of many files.

    A file that exists is whole all the same: its data are on the disk before it has its name. After a power cut, the
    last files may be missing, or be the older ones of the same names.
    """
    global _unflushed  # noqa: PLW0603 - writers in threads and layouts need not know
    if _unflushed is not None:
        yield
        return
    _unflushed = set()
    try:
        yield
    finally:
        folders, _unflushed = _unflushed, None
        for folder in folders:
            with told_when_full(folder):
                if folder.is_dir():
                    flush(folder)


def unfinished(path: Path) -> Path:
    """Name the temporary file beside `path` by this machine and this process, which write it."""
    end = f".{_machine()}-{os.getpid()}.part"
    fits = len(path.name.encode()) + len(end) < LONGEST_NAME
    return path.with_name(f".{path.name if fits else f'{zlib.crc32(path.name.encode()):08x}'}{end}")


def _machine() -> str:
    """Return a short name of this machine: others may write to the same folder, and their processes are not ours."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _tidy_once(folder: Path) -> None:
    place = folder.absolute()
    if place not in _tidied:
        _tidied.add(place)
        with suppress(OSError):
            remove_leftovers(folder)


def remove_leftovers(folder: Path, *, locked: bool = False) -> None:
    """Remove the unfinished temporary files of killed processes from a folder.

    Args:
        folder: The folder.
        locked: No other process may write there, so that files of a process with a used number are left over, too: in
            a container, many processes have the same number.
    """
    for path in folder.glob(".*.part"):
        machine, _, number = path.name.removesuffix(".part").rpartition(".")[2].rpartition("-")
        if number.isdigit() and (locked or (machine in ("", _machine()) and not is_running(int(number)))):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


@contextmanager
def told_when_full(path: Path) -> Iterator[None]:
    """Turn a failed write of `path` (full disk, missing rights, a file in the way) into one `DataError`.

    Raises:
        DataError: `path` cannot be written.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cannot write `{shown(path)}` ({reason})", hint=why_not_written(path, error)) from error


def shown(path: Path) -> str:
    """Show a path as a person would type it: relative if it lies below the working folder."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def typed(path: Path) -> str:
    """Write a path as a word of a command line: as `shown` does, in quotation marks where a shell would part it.

    Example:
        >>> typed(Path("runs/a")), typed(Path("my runs/a"))
        ('runs/a', "'my runs/a'")
    """
    text = shown(path)
    return quote(f"./{text}" if text.startswith("-") else text)


def file_above(path: Path) -> Path | None:
    """Find the file that stands where `path` needs a folder; None if there is none."""
    return next((each for each in path.parents if each.exists() and not each.is_dir()), None)


def refuse_occupied(folder: Path, hint: str, *, overwrite: bool = False) -> None:
    """Refuse a folder for new files that is a file, or that holds files already.

    Args:
        folder: The folder, which need not exist.
        hint: Way out for a folder that holds files.
        overwrite: Allow files in it.

    Raises:
        ConfigError: It is occupied.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"`{folder}` is a file", hint="give a folder")
    if folder.exists() and not overwrite and any(folder.iterdir()):
        raise ConfigError(f"folder `{folder}` is not empty", hint=hint)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())  # a text stream copies a long text in pieces


def write_yaml(path: Path, value: Any, *, comment: str | None = None) -> None:
    """Write `value` to `path` as YAML, keys in the given order, below a comment line."""
    text = yaml_text(value)
    write_text(path, text if comment is None else f"# {comment}\n{text}")


def read_keys(path: Path) -> dict[str, Any]:
    """Read the keys of a YAML file that segcli wrote; empty if it is missing, unreadable, or damaged."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def yaml_text(value: Any) -> str:
    """Convert `value` to YAML text, keys in the given order."""
    text: str = yaml.dump(plain(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return text


def plain(value: Any) -> Any:
    """Convert to types of JSON and YAML: paths to text, tuples to lists, NumPy numbers to Python numbers."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    item: Callable[[], Any] | None = getattr(value, "item", None)
    return plain(item()) if item is not None else str(value)


class _Dumper(StrictDumper):
    """YAML writer that puts short lists of scalars on one line."""


def _flow_short_lists(dumper: yaml.SafeDumper, value: list[Any]) -> yaml.Node:
    short = all(isinstance(item, int | float | str) for item in value) and len(json.dumps(value)) < 90
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=short)


def float_text(value: float) -> str:
    """Write a number for YAML, so that every reader takes it as one."""
    text = repr(value)
    if text in {"inf", "-inf", "nan"}:
        return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}[text]
    # YAML 1.1 readers read `1e-06` as text
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


def _readable_float(dumper: yaml.SafeDumper, value: float) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:float", float_text(value))


_Dumper.add_representer(list, _flow_short_lists)
_Dumper.add_representer(float, _readable_float)
