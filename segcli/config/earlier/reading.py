"""Read what an earlier pipeline was started with: YAML, JSON, a script with the command, and words of the command."""

import ast
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from segcli.config.document import read_document
from segcli.config.earlier.row import canonical
from segcli.core.errors import ConfigError, DataError
from segcli.core.paths import is_file
from segcli.core.strict_yaml import LONGEST, Unreadable, parse
from segcli.core.text import read_json, read_text

__all__ = ["SCRIPTS", "Old", "read_old"]

SCRIPTS = (".sh", ".bat", ".cmd", ".ps1", ".txt", ".slurm", ".sbatch")
"""Endings of scripts that hold a command."""
CONFIGS = (".yaml", ".yml", ".json")
CONFIG_OPTIONS = ("config", "cfg", "config_file", "config_path", "yaml", "c")
DATASET_FILE_NAMES = "dataset data data.config dataset_config data_config data_yaml dataset_file"
DATASET_FILES = set(map(canonical, DATASET_FILE_NAMES.split()))
"""Keys that named a data-set file."""
COMMAND = re.compile(r"(?:^|\s)(?:python[\d.]*|torchrun|py|accelerate)(?:\.exe)?\s|\.py(?:\s|$)")


@dataclass
class Old:
    """Holds what an earlier pipeline was started with."""

    values: dict[str, Any] = field(default_factory=dict)
    """Values by dotted key; later ones replaced earlier ones."""
    files: list[Path] = field(default_factory=list)
    """Files that were read."""
    unclear: list[str] = field(default_factory=list)
    """Words of the command that are neither a key nor a file."""


def read_old(path: Path, words: Sequence[str], whole: Callable[[str], bool]) -> Old:
    """Read an old config and the words of an old command, which replace values of the file.

    Args:
        path: YAML or JSON (such as the `config.json` of a run folder of Sacred), or a script with the command.
        words: Words of the command, such as `with a.b=c` or `--lr 1e-4`.
        whole: Tells whether the value of a key is a mapping to be kept as a whole.

    Raises:
        ConfigError: The file is missing, or is no config.
    """
    old = Old()
    if path.suffix.lower() in SCRIPTS:
        old.files.append(path)
        _read_words(old, _command(path), path.parent, whole)
        if not old.values:
            raise ConfigError(f"`{path}` holds no key of a training", hint="give the config file that it names")
    else:
        _read_file(old, path, whole)
    _read_words(old, list(words), path.parent, whole)
    _read_dataset(old, path.parent, whole)
    return old


def _read_dataset(old: Old, folder: Path, whole: Callable[[str], bool]) -> None:
    """Read the data-set file that the config names, and put its keys below `dataset`."""
    for key, value in list(old.values.items()):
        named = isinstance(value, str) and value.lower().endswith(CONFIGS)
        if not named or canonical(key) not in DATASET_FILES:
            continue
        found = _named_file(value, (folder, *folder.absolute().parents[:3]))
        if found is None:
            raise ConfigError(
                f"`{key}` names the file `{value}`, which is not there", hint="copy it beside the old config"
            )
        below = Old()
        _read_file(below, found, whole)
        del old.values[key]
        old.values = {f"dataset.{name}": entry for name, entry in below.values.items()} | old.values
        old.files += below.files


def _named_file(text: str, folders: Sequence[Path]) -> Path | None:
    """Find a file by its path from one of the folders or from the working folder, or else by its name in the first."""
    given = Path(text.replace("\\", "/"))
    places = (*(folder / given for folder in folders), given, folders[0] / given.name)
    return next((place for place in places if is_file(place)), None)


def _read_file(old: Old, path: Path, whole: Callable[[str], bool]) -> None:
    try:
        values = _json(path) if path.suffix.lower() == ".json" else _yaml(path)
    except OSError as error:
        raise ConfigError(f"cannot read `{path}` ({error.strerror or error})") from None
    old.files.append(path)
    old.values |= _flat(values, "", whole)


def _json(path: Path) -> dict[str, Any]:
    if not is_file(path):
        raise ConfigError(f"no config file `{path}`")
    try:
        values: dict[str, Any] = _plain(read_json(path))
    except DataError as error:
        raise ConfigError(error.message, hint=error.hint) from None
    return values


def _yaml(path: Path) -> dict[str, Any]:
    document = read_document(path)
    document.refuse(str(path))
    values: dict[str, Any] = _plain(document.values)
    return values


def _plain(value: Any) -> Any:
    """Unpack what Sacred (jsonpickle) wrote in place of tuples, and Python's `None` in YAML."""
    if isinstance(value, dict):
        if value.keys() == {"py/tuple"}:
            return _plain(value["py/tuple"])
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if value == "None" else value


def _flat(values: dict[str, Any], above: str, whole: Callable[[str], bool]) -> dict[str, Any]:
    """Bring nested sections into dotted keys."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{above}{name}"
        if isinstance(value, dict) and value and not whole(key):
            flat |= _flat(value, f"{key}.", whole)
        else:
            flat[key] = value
    return flat


def _command(path: Path) -> list[str]:
    """Find the words of the last command in a script that starts a Python program."""
    try:
        text = read_text(path, LONGEST)
    except FileNotFoundError:
        raise ConfigError(f"no script `{path}`") from None
    except DataError as error:
        raise ConfigError(error.message, hint=error.hint) from None
    except OSError as error:
        raise ConfigError(f"cannot read `{path}` ({error.strerror or error})") from None
    joined = re.sub(r"[\\^`]\r?\n", " ", text)
    lines = [line.strip() for line in joined.splitlines()]
    commands = [line for line in lines if COMMAND.search(line) and not line.startswith(("#", "REM ", "rem ", "::"))]
    if not commands:
        raise ConfigError(f"`{path}` starts no Python program", hint="give the config file of the training")
    windows = path.suffix.lower() in (".bat", ".cmd", ".ps1")
    try:
        words = shlex.split(commands[-1].replace("\\", "\\\\") if windows else commands[-1])
    except ValueError as error:
        raise ConfigError(f"`{path}`: the command cannot be read ({error})") from None
    return words


def _read_words(old: Old, words: list[str], folder: Path, whole: Callable[[str], bool]) -> None:
    """Read the words of a command: `a.b=c`, `--key value`, `--key=value`, `--switch`, and files of Sacred."""
    programs = [place for place, word in enumerate(words) if word.endswith(".py")]
    words = words[programs[0] + 1 :] if programs else words
    while words:
        word, *words = words
        option = re.fullmatch(r"--?([A-Za-z][\w.-]*)(?:=(.*))?", word, re.DOTALL)
        pair = re.fullmatch(r"([A-Za-z_][\w.]*)=(.*)", word, re.DOTALL)
        if option:
            key = option[1].replace("-", "_")
            values = [option[2]] if option[2] is not None else []
            while option[2] is None and words and not _begins_option(words[0]):
                values.append(words.pop(0))
            _set_option(old, key, values, folder, whole)
        elif pair:
            _set(old, pair[1], _value(pair[2]), whole)
        elif word.lower().endswith(CONFIGS) and is_file(folder / word):
            _read_file(old, folder / word, whole)
        elif word not in {"with", "python", "python3", "train"}:
            old.unclear.append(word)


def _begins_option(word: str) -> bool:
    return re.match(r"--?[A-Za-z]", word) is not None


def _set_option(old: Old, key: str, values: list[str], folder: Path, whole: Callable[[str], bool]) -> None:
    if key in CONFIG_OPTIONS and len(values) == 1 and values[0].lower().endswith(CONFIGS):
        found = _named_file(values[0], (folder,))
        if found is None:
            raise ConfigError(
                f"no config file `{values[0]}`", hint=f"looked for it in `{folder}` and the working folder"
            )
        if not any(found.samefile(file) for file in old.files):
            before, old.values = old.values, {}
            _read_file(old, found, whole)
            for name, value in before.items():  # words of the command replace values of the file
                _set(old, name, value, whole)
        return
    if not values:
        negated = re.fullmatch(r"(?:no|disable)_(\w+)", key)
        _set(old, negated[1] if negated else key, negated is None, whole)
        return
    read = [_value(value) for value in values]
    _set(old, key, read[0] if len(read) == 1 else read, whole)


def _set(old: Old, key: str, value: Any, whole: Callable[[str], bool]) -> None:
    """Set a key again, with the keys below it, whatever its old section was."""
    plain = canonical(key)
    old.values = {
        known: kept
        for known, kept in old.values.items()
        if canonical(known) != plain and not known.startswith(f"{key}.")
    }
    old.values |= _flat({key: value}, "", whole) if isinstance(value, dict) else {key: value}


def _value(text: str) -> Any:
    """Read a value as Python or YAML has it; anything else is text."""
    try:
        return _plain(_listed(ast.literal_eval(text)))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    try:
        return _plain(parse(text))
    except Unreadable as error:
        raise ConfigError(f"`{text[:200]}`: {error.problem}") from None
    except yaml.YAMLError:
        return text


def _listed(value: Any) -> Any:
    """Convert tuples and sets of Python into lists."""
    if isinstance(value, dict):
        return {str(key): _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple | set) else value
