"""Decide whether the network in a user's own file may run.

By naming an experiment file, users allow its network to run. A checkpoint or a run folder may come from a stranger.
A network that it names runs only in two cases: users name the file themselves, or they trained this run with this file
on this machine. Trainings are noted below the user's home, where the author of a run folder cannot write.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from segcli.core.errors import CheckpointError, ConfigError, DataError
from segcli.core.files import write_yaml
from segcli.core.registry import MODELS

__all__ = ["NetworkPermit", "remember_network"]


@dataclass
class NetworkPermit:
    """Permission to run network files for checkpoints and run folders, beside the networks that the user trained."""

    files: Sequence[Path] = ()
    """Files that the user named with `--model-file`."""
    notice: Callable[[str], None] = lambda text: None
    """Receives a message about each file before it runs."""
    used: set[Path] = field(default_factory=set)
    """Files whose network was used."""

    def check(self, model: Any, source: str, *, trained: Any, typed: bool) -> None:
        """Write the file that may run into the section, or refuse it; nothing is imported.

        Args:
            model: Section of the network, with overrides.
            source: Checkpoint, or `config.yaml` of a run folder.
            trained: The same section without overrides.
            typed: An override names the network.

        Raises:
            CheckpointError: The user has not named the file.
            ConfigError: The file is not there.
        """
        own = MODELS.own_file(model.get("type")) if isinstance(model, dict) else None
        if own is None:
            return
        path, kind = own
        if not typed:
            path = self._named(model.get("sha256")) if self.files else _noted_file(source, trained)
            model["type"] = f"{path}:{kind}"
        if not typed and not path.is_file():
            raise ConfigError(
                f"no file `{_printable(path)}` with the model `{_printable(kind)}`",
                hint="give its new path with `--model-file PATH`",
            )
        digest = MODELS.digest(model["type"])
        if not typed and model.get("sha256") is None and source.endswith(".safetensors"):
            raise CheckpointError(
                f"`{source}` names a network of your own without the SHA-256 of its file",
                hint=f"`eval`, `export` and `profile-memory` take `{path}` as it is with `model.sha256={digest}`",
            )
        if path not in self.used and model.get("sha256") in (None, digest):
            self.notice(f"the network is the code in `{path}`, which runs now")
        self.used.add(path)

    def _named(self, digest: Any) -> Path:
        """Find the named file with this digest, or else take the first, which is refused later for its digest."""
        files = [path.absolute() for path in self.files]
        for path in files:
            if path.suffix != ".py" or not path.is_file():
                raise ConfigError(
                    f"no Python file `{path}`", hint="`--model-file` takes the file of a network of your own"
                )
        return next((path for path in files if MODELS.digest(f"{path}:") == digest), files[0])

    def refuse_unused(self) -> None:
        """Refuse files that no network used.

        Raises:
            ConfigError: There is one.
        """
        for path in self.files:
            if path.absolute() not in self.used:
                raise ConfigError(
                    f"`--model-file {path}` is the network of none of these runs",
                    hint="leave it out; a run asks for it when it was trained with a network of your own",
                )


def remember_network(folder: Path, model: Any) -> None:
    """Note that the user trains a run with a network file of their own.

    Raises:
        DataError: The note cannot be written.
    """
    own = MODELS.own_file(model.type)
    if own is not None:
        note = {"run": str(folder.resolve()), "file": str(own[0]), "sha256": model.options["sha256"]}
        write_yaml(_note(folder), note)


def _noted_file(source: str, model: Any) -> Path:
    """Find the file with which the user trained this run, from the user's notes; the source cannot choose it."""
    path = Path(source).absolute()
    folder = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    try:
        note = yaml.safe_load(_note(folder).read_text(encoding="utf-8"))
        if note["run"] == str(folder.resolve()) and note["sha256"] == model.get("sha256"):
            return Path(note["file"])
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError, DataError):
        pass  # no note, or none that we wrote
    raise CheckpointError(
        f"`{source}` asks for the code in `{_printable(model['type'])}`, and what comes in a file does not choose what "
        "runs",
        hint="look into the network's file, then name it yourself with `--model-file PATH`",
    )


def _note(folder: Path) -> Path:
    given = os.environ.get("XDG_STATE_HOME")
    try:
        state = Path(given) if given else Path.home() / ".local" / "state"
    except RuntimeError:
        raise DataError("there is no home folder to note the run's network in") from None
    return state / "segcli" / "networks" / f"{sha256(str(folder.resolve()).encode()).hexdigest()[:32]}.yaml"


def _printable(text: Any) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))
