"""Components by name: a file in a room is a component, and its name is the `type` in YAML.

`names()` only lists the folder and `load()` imports one file. So the command line can complete and check names without
PyTorch, and a component may import its optional package at the top.
"""

from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from segcli.core.errors import ConfigError, nearest
from segcli.core.installed import entry_of, same_name, source_of
from segcli.core.other_names import stated_names, without_package

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "FILES",
    "LOSSES",
    "METRICS",
    "MODELS",
    "OPTIMIZERS",
    "SAMPLES",
    "SCHEDULERS",
    "TASKS",
    "TRACKERS",
    "Registry",
    "label",
    "same_name",
]

EXTRAS = {
    "sacred": "sacred",
    "pkg_resources": "sacred",
    "mlflow": "mlflow",
    "wandb": "wandb",
    "nibabel": "medical",
    "pydicom": "medical",
    "onnx": "export",
    "segmentation_models_pytorch": "zoo",
}
"""Optional package -> extra of segcli that installs it."""


def label(name: str) -> str:
    """Return the name under which a component's values are logged: of `path/to/file.py:Name` the last part.

    Example:
        >>> label("losses/mine.py:Sharp"), label("dice")
        ('Sharp', 'dice')
    """
    file, sign, kind = name.rpartition(".py:")
    return kind if sign and file else name


class Registry:
    """The components of one room."""

    def __init__(self, room: str, word: str, *, takes_files: bool = False) -> None:
        self.room = room
        self.word = word
        """Word for one component in messages, such as `model`."""
        self.takes_files = takes_files
        """True if a file of the user, or a component of an installed package, can be one too."""
        self.key = word.replace("data-set ", "")
        """Kind in the names of entry points."""

    @property
    def spoken(self) -> str:
        """Word for a component of the user's own in messages."""
        return "network" if self.room == "models" else self.word

    @cached_property
    def _files(self) -> dict[str, str]:
        folder = Path(__file__).parents[1] / self.room
        stems = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
        return {same_name(stem): stem for stem in stems}

    def names(self) -> tuple[str, ...]:
        """List the names of all components in alphabetical order."""
        return tuple(self._files.values())

    def _stated(self, kind: str) -> Iterator[tuple[str, Any]]:
        """Find what the files of the components state as `ALIASES` or `RELATED`."""
        for stem in self.names():
            stated = stated_names(Path(__file__).parents[1] / self.room / f"{stem}.py")
            yield from ((stem, entry) for entry in stated.get(kind, ()))

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Names of the components by their other names, each normalised; the files are read and not imported."""
        return {same_name(alias): stem for stem, alias in self._stated("ALIASES")}

    def read_as(self, name: str) -> str | None:
        """Return the name of the component that another name means; None for a component's own name, or no name.

        Example:
            >>> SCHEDULERS.read_as("ReduceLROnPlateau"), SCHEDULERS.read_as("plateau")
            ('plateau', None)
        """
        if same_name(name) in self._files:
            return None
        other = same_name(without_package(name))
        return self._files.get(other) or self.aliases.get(other)

    def _advice(self, name: str) -> str:
        """Advise on an unknown name: what comes near to it, the nearest name, or all names."""
        related = {same_name(other): advice for _, (other, advice) in self._stated("RELATED")}
        if same_name(without_package(name)) in related:
            return str(related[same_name(without_package(name))])
        close = nearest(name, list(self.names()))
        other = None if close else nearest(same_name(name), list(self.aliases))
        close = close or (self.aliases[other] if other else None)
        return f"did you mean `{close}`?" if close else f"one of {', '.join(self.names())}"

    def own_file(self, name: Any) -> tuple[Path, str] | None:
        """Split `path/to/file.py:ClassName` of a user's component into file and class; None for a built-in one."""
        file, sign, kind = name.rpartition(".py:") if isinstance(name, str) else ("", "", "")
        return (Path(f"{file}.py").absolute(), kind) if sign and self.takes_files else None

    def is_foreign(self, name: str) -> bool:
        """Tell whether a component is none of segcli's own; nothing is imported."""
        return self.takes_files and (self.own_file(name) is not None or same_name(name) not in self._files)

    def package(self, name: str) -> str | None:
        """Name the installed package, with its version, that offers a component; None if there is none."""
        entry = entry_of(self.key, name) if self.is_foreign(name) and self.own_file(name) is None else None
        return None if entry is None else source_of(entry)

    def _own(self, name: str) -> tuple[Path, str] | None:
        """Split `path/to/file.py:ClassName` and make sure that the file exists; None for a built-in component."""
        own = self.own_file(name)
        if own is not None and not own[0].is_file():
            raise ConfigError(f"no file `{own[0]}` with the {self.word} `{own[1]}`")
        return own

    def digest(self, name: str) -> str | None:
        """Compute the SHA-256 of a user's component file without importing it; None for a built-in component.

        Raises:
            ConfigError: The file cannot be read.
        """
        own = self._own(name)
        if own is None:
            return None
        try:
            import hashlib  # a TAB does not wait for it

            return hashlib.sha256(own[0].read_bytes()).hexdigest()
        except OSError as error:
            raise ConfigError(f"`{own[0]}` cannot be read ({error.strerror or error})") from error

    def canonical(self, name: str) -> str:
        """Return the file name of the component that `name` means.

        Raises:
            ConfigError: There is no such component.
        """
        own = self._own(name)
        if own is not None:
            return f"{own[0]}:{own[1]}"
        stem = self._files.get(same_name(name))
        entry = entry_of(self.key, name) if self.takes_files else None
        if stem is not None and entry is not None:
            raise ConfigError(
                f"the package `{source_of(entry)}` offers a {self.word} `{stem}`, which is a {self.word} of segcli",
                hint="rename its entry point, or uninstall the package",
            )
        if entry is not None:
            return entry.name.rpartition(".")[2]
        stem = stem or self.read_as(name)
        if stem is None:
            raise ConfigError(f"unknown {self.word} `{name}`", hint=self._advice(name))
        return stem

    def load(self, name: str, *, digest: Any = None) -> Any:
        """Import the component and return its one public class.

        Args:
            name: Name of the component, or `path/to/file.py:ClassName` of a user's component.
            digest: SHA-256 of the user's file; a file with another content is not run.

        Raises:
            ConfigError: There is no such component, or a package that it needs is not installed.
        """
        own = self._own(name)
        if own is not None:
            from segcli.core.own_code import Code, component

            return component(Code(self.room, self.spoken, own[1], own[0], digest))
        stem = self.canonical(name)
        if stem not in self._files.values():
            from segcli.core.own_code import Code, component

            return component(Code(self.room, self.spoken, stem, kind=self.key))
        try:
            module = import_module(f"segcli.{self.room}.{stem}")
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("segcli"):
                raise
            extra = EXTRAS.get(error.name or "")
            package = f"'segcli[{extra}]'" if extra else str(error.name)
            raise ConfigError(
                f"{self.word} `{stem}` needs the package `{error.name}`", hint=f"`pip install {package}`"
            ) from error
        (public,) = module.__all__
        return getattr(module, public)


MODELS = Registry("models", "model", takes_files=True)
LOSSES = Registry("losses", "loss", takes_files=True)
METRICS = Registry("metrics", "metric", takes_files=True)
OPTIMIZERS = Registry("optimizers", "optimizer", takes_files=True)
SCHEDULERS = Registry("schedulers", "scheduler", takes_files=True)
TASKS = Registry("tasks", "task")
DATASETS = Registry("datasets", "data-set format", takes_files=True)
FILES = Registry("files", "file format")
TRACKERS = Registry("trackers", "tracker", takes_files=True)
SAMPLES = Registry("samples", "sample data set")
AUGMENTATIONS = Registry("augmentations", "augmentation", takes_files=True)
"""Augmentations of the user's own; those of segcli are in `data/`, and those of albumentations have their own names."""
