"""Decide whether code of the user's own, in a file, may run: a network, loss, metric, layout, and so on.

By naming an experiment file, users allow its code to run. A checkpoint or a run folder may come from a stranger. Code
that it names runs only in two cases: users name the file themselves, or they trained this run with this file on this
machine. Trainings are noted below the user's home, where the author of a run folder cannot write. A component of an
installed package may run, because the user installed it. A command imports only the kinds that it needs.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from segcli.config.chosen import LOSS, Chosen, chosen
from segcli.config.document import Document
from segcli.config.overrides import Override
from segcli.core.errors import CheckpointError, ConfigError, DataError
from segcli.core.files import read_keys, write_yaml
from segcli.core.registry import AUGMENTATIONS, DATASETS, LOSSES, METRICS, MODELS, OPTIMIZERS, TRACKERS, Registry

__all__ = ["EVALUATING", "FORECASTING", "PREDICTING", "UNCHANGEABLE", "CodePermit", "is_typed", "remember_code"]

PREDICTING = (MODELS, DATASETS)
"""Kinds that `predict` and `export` need."""
EVALUATING = (*PREDICTING, METRICS)
FORECASTING = (*PREDICTING, LOSSES, OPTIMIZERS)
UNCHANGEABLE = (*PREDICTING, AUGMENTATIONS)
"""Kinds that a resumed run cannot change."""


@dataclass
class CodePermit:
    """Permission to run files for checkpoints and run folders, beside those that the user trained with."""

    files: Sequence[Path] = ()
    """Files that the user named with `--model-file`."""
    notice: Callable[[str], None] = lambda text: None
    """Receives a message about each file before it runs."""
    needs: Sequence[Registry] | None = None
    """Kinds that the command needs; None for all, as a training does."""
    used: set[Path] = field(default_factory=set)
    """Files whose code was used."""
    told: set[str] = field(default_factory=set)

    def check(self, document: Document, source: str, *, trained: dict[str, Any], overrides: Sequence[Override]) -> None:
        """Write the permitted files into the document, drop unneeded ones, or refuse; nothing is imported.

        Args:
            document: Values with overrides.
            source: Checkpoint, or `config.yaml` of a run folder.
            trained: Values without overrides.
            overrides: Overrides, as applied.

        Raises:
            CheckpointError: The user has not named the file.
            ConfigError: The file is not there.
        """
        before = {(each.registry.room, each.name): each.section for each in chosen(trained)}
        for each in list(chosen(document.values)):
            if not each.registry.is_foreign(each.name):
                continue
            stored = None if is_typed(each, overrides) else before.get((each.registry.room, each.name))
            if self.needs is not None and each.registry not in self.needs:
                self._leave_out(document, each, "which this command does not need")
            elif each.own_file is not None:
                self._check_file(document, each, source, stored)
            elif each.registry.package(each.name) is not None:
                self._tell(
                    f"the {each.registry.spoken} `{_printable(each.name)}` is the code of the installed package "
                    f"`{each.registry.package(each.name)}`, which runs now"
                )

    def _check_file(self, document: Document, each: Chosen, source: str, stored: dict[str, Any] | None) -> None:
        """Find the file that may run; `stored` is the section as trained, None of one that the user typed."""
        assert each.own_file is not None
        path, kind = each.own_file
        if stored is not None:
            allowed = self._named(document, each) if self.files else None
            allowed = allowed or _noted_file(source, stored)
            if allowed is None and each.registry is METRICS and self.needs is not None:
                self._leave_out(document, each, "until its file is named with `--model-file PATH`")
                return
            if allowed is None:
                raise _unnamed(source, each)
            path = allowed
            each.rename(document, f"{path}:{kind}")
        if stored is not None and not path.is_file():
            raise ConfigError(
                f"no file `{_printable(path)}` with the {each.registry.word} `{_printable(kind)}`",
                hint="give its new path with `--model-file PATH`",
            )
        self._tell_of_file(each, path, source, stored)

    def _tell_of_file(self, each: Chosen, path: Path, source: str, stored: dict[str, Any] | None) -> None:
        digest, stated = each.registry.digest(each.name), each.section.get("sha256")
        if stored is not None and stated is None and source.endswith(".safetensors"):
            raise CheckpointError(
                f"`{source}` names a {each.registry.spoken} of your own without the SHA-256 of its file",
                hint=f"`eval`, `export` and `profile-memory` accept `{path}` with `{each.dotted}.sha256={digest}`",
            )
        if stated in (None, digest):
            self._tell(f"the {each.registry.spoken} is the code in `{path}`, which runs now")
        self.used.add(path)

    def _tell(self, text: str) -> None:
        if text not in self.told:
            self.notice(text)
        self.told.add(text)

    def _leave_out(self, document: Document, each: Chosen, why: str) -> None:
        document.left_out.add(each.name)
        if self.needs is EVALUATING and each.registry in (LOSSES, METRICS, TRACKERS):  # the results lack them
            self._tell(f"the {each.registry.spoken} `{_printable(each.name)}` is left out, {why}")

    def _named(self, document: Document, each: Chosen) -> Path | None:
        """Find the named file of a component: that with its digest, else with its name, else one of no other."""
        files = [path.absolute() for path in self.files]
        for path in files:
            if path.suffix != ".py" or not path.is_file():
                raise ConfigError(
                    f"no Python file `{path}`", hint="`--model-file` takes the file of a network of your own"
                )
        others = [one for one in chosen(document.values) if one.own_file is not None and one is not each]
        digests = {path: MODELS.digest(f"{path}:") for path in files}

        def fits(path: Path, one: Chosen) -> int:
            assert one.own_file is not None
            return 2 if digests[path] == one.section.get("sha256") else int(path.name == one.own_file[0].name)

        free = [path for path in files if not any(fits(path, one) for one in others)]
        best = max(files, key=lambda path: fits(path, each))
        return best if fits(best, each) else next(iter(free), None)

    def refuse_unused(self) -> None:
        """Refuse files that no component used.

        Raises:
            ConfigError: There is one.
        """
        for path in self.files:
            if path.absolute() not in self.used:
                raise ConfigError(
                    f"`--model-file {path}` is code that none of these runs needs here",
                    hint="leave it out; a run asks for it when it was trained with code of your own",
                )


def is_typed(each: Chosen, overrides: Sequence[Override]) -> bool:
    """Tell whether an override chooses the component, which is the user's word."""
    above = each.loc[:-1] if each.registry is LOSSES else each.name_loc
    return any(
        override.keys == above[: len(override.keys)] or (each.registry is LOSSES and override.keys == (*LOSS, "type"))
        for override in overrides
    )


def _unnamed(source: str, each: Chosen) -> CheckpointError:
    return CheckpointError(
        f"`{source}` asks for the code in `{_printable(each.name)}`, but a file cannot choose code to run",
        hint=f"read the {each.registry.spoken}'s file, then name it yourself with `--model-file PATH`",
    )


def remember_code(folder: Path, run: Any) -> None:
    """Note that the user trains a run with files of their own.

    Raises:
        DataError: The note cannot be written.
    """
    own = [each for each in chosen(run.resolved()) if each.own_file is not None]
    if own:
        files = {each.section["sha256"]: str(each.own_file[0]) for each in own if each.own_file is not None}
        write_yaml(_note(folder), {"run": str(folder.resolve()), "files": files})


def _noted_file(source: str, section: dict[str, Any]) -> Path | None:
    """Find the file with which the user trained this run, from the user's notes; the source cannot choose it."""
    path = Path(source).absolute()
    folder = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    try:
        note = read_keys(_note(folder))
        # notes of earlier versions know the network only
        files = note["files"] if "files" in note else {note["sha256"]: note["file"]}
        if note["run"] == str(folder.resolve()):
            return Path(files[section.get("sha256")])
    except (OSError, ValueError, TypeError, KeyError, DataError):
        pass  # no note, or none that we wrote
    return None


def _note(folder: Path) -> Path:
    given = os.environ.get("XDG_STATE_HOME")
    try:
        state = Path(given) if given else Path.home() / ".local" / "state"
    except RuntimeError:
        raise DataError("there is no home folder for the record of the run's code") from None
    return state / "segcli" / "networks" / f"{sha256(str(folder.resolve()).encode()).hexdigest()[:32]}.yaml"


def _printable(text: Any) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))
