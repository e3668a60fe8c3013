"""Components of a user's own: a class or function in one file, `path/to/file.py:Name`, or of an installed package.

A checkpoint holds no code. It stores the path and the SHA-256 of the file, and only a file with this digest is run: the
file is read once, its digest is compared, and the very same bytes are executed. `config/own_code.py` decides which
configs may name a file. The module `_own` of each room makes what was found a component like those of segcli.
"""

import hashlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial, wraps
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ConfigDict, create_model, model_validator

from segcli.core.errors import ConfigError, SegcliError, Stopped, nearest
from segcli.core.installed import entry_of, source_of
from segcli.core.types import ConfigModel

__all__ = [
    "Code",
    "accepted",
    "arguments",
    "blame",
    "blamed",
    "called",
    "component",
    "is_called",
    "of_contract",
    "options_of",
    "refuse_kind",
    "travels",
]


@dataclass(frozen=True)
class Code:
    """Say where a component of the user's own comes from."""

    room: str
    word: str
    """Word for one component in messages, such as `loss`."""
    name: str
    """Name of the class or function in its file, or of the component of a package."""
    file: Path | None = None
    """The user's file; None for a component of an installed package."""
    digest: str | None = None
    """SHA-256 of the file."""
    kind: str = ""
    """Kind of the component in the names of entry points."""

    @property
    def shown(self) -> str:
        """Name for messages."""
        return self.name if self.file is None else f"{self.file.name}:{self.name}"


@cache
def component(code: Code) -> Any:
    """Import a component of the user's own and make it one like those of segcli.

    Raises:
        ConfigError: The file has another digest, cannot be imported, or what it holds does not fit.
    """
    found = _of_package(code) if code.file is None else _in_file(code)
    lacks = sorted(getattr(found, "__abstractmethods__", ())) if inspect.isclass(found) else []
    if lacks:
        raise ConfigError(f"the {code.word} `{code.shown}` lacks {', '.join(f'`{name}`' for name in lacks)}")
    return import_module(f"segcli.{code.room}._own").adapted(found, code)


def _in_file(code: Code) -> Any:
    assert code.file is not None
    module = _imported(code.file, code.digest)
    found = getattr(module, code.name, None)
    if found is None:
        known = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        close = nearest(code.name, known)
        hint = f"did you mean `{close}`?" if close else f"it has {', '.join(known) or 'none'}"
        raise ConfigError(f"`{code.file}` has no {code.word} `{code.name}`", hint=hint)
    return found


def _imported(path: Path, digest: str | None) -> ModuleType:
    """Run the bytes of the file as a module; never use a cached compiled copy."""
    code = path.read_bytes()
    if hashlib.sha256(code).hexdigest() != digest:
        raise ConfigError(f"`{path}` changed while it was checked", hint="start again")
    name = f"segcli_own_{digest[:16]}"
    if name in sys.modules:  # another component of the same file
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look up their module
    try:
        exec(compile(code, str(path), "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ConfigError(f"`{path}` cannot be imported ({type(error).__name__}: {error})") from error
    return module


def _of_package(code: Code) -> Any:
    entry = entry_of(code.kind, code.name)
    assert entry is not None
    try:
        return entry.load()
    except Exception as error:
        raise ConfigError(
            f"{code.word} `{code.name}` of the package `{source_of(entry)}` cannot be imported "
            f"({type(error).__name__}: {error})"
        ) from error


def refuse_kind(code: Code, found: Any, accepts: str) -> ConfigError:
    """Make the error for a class or function that is no component of this kind."""
    what = "a class" if inspect.isclass(found) else "a function" if callable(found) else "neither class nor function"
    return ConfigError(
        f"`{code.shown}` is {what}, and no {code.word}", hint=f"{_article(code.word)} {code.word} is {accepts}"
    )


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


# ---- keys


def options_of(
    found: Callable[..., Any],
    code: Code,
    *,
    given: int = 0,
    program: Sequence[str] = (),
    base: type[ConfigModel] = ConfigModel,
) -> type[ConfigModel]:
    """Make the config of a class or function whose keys are its arguments; wrong keys are refused in words.

    Args:
        found: The class or function.
        code: Where it comes from.
        given: Number of first arguments that the program gives.
        program: Names of arguments that the program gives if they are there.
        base: Keys that every component of the kind has.
    """
    signature = inspect.signature(found)
    first = list(signature.parameters)[:given]

    class Arguments(base):  # type: ignore[misc, valid-type]
        model_config = ConfigDict(extra="allow")

        @model_validator(mode="after")
        def _fit(self) -> "Arguments":
            keys = arguments(self, signature, dict.fromkeys(program))
            try:
                signature.bind(*first, **keys)
            except TypeError as error:
                raise ValueError(f"`{code.shown}` cannot be made from these keys: {error}") from None
            return self

    return _remembering(Arguments, code)


def _remembering(base: type[ConfigModel], code: Code) -> type[ConfigModel]:
    """Add the digest of the file to the keys."""
    if code.digest is None:
        return base
    return create_model("Config", __base__=base, __module__=base.__module__, sha256=(str, code.digest))


def arguments(config: ConfigModel, signature: inspect.Signature, program: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the arguments of a class or function: the keys of the user, and of the program what it takes."""
    given = {key: value for key, value in (config.model_extra or {}).items() if key != "sha256"}
    return {**{key: value for key, value in program.items() if key in signature.parameters}, **given}


def of_contract(kind: Any, code: Code, *, contract: Any = None) -> Any:
    """Derive a component from a class that keeps the contract of its room.

    Its constructor takes `config`, an object of its class `Config`, as those of segcli do. If it does not, the keys
    beside `type` are its arguments.

    Args:
        kind: The class.
        code: Where it comes from.
        contract: Class whose constructor is called first; None if the constructor of `kind` calls it.
    """
    signature = inspect.signature(kind)
    names: dict[str, Any] = {"__doc__": kind.__doc__, "__module__": kind.__module__}
    if "config" in signature.parameters:
        names["Config"] = _remembering(getattr(kind, "Config", ConfigModel), code)
        return type(kind.__name__, (kind,), names)

    def made(self: Any, config: ConfigModel, **program: Any) -> None:
        if contract is not None:
            contract.__init__(self, config, **program)
        with blamed(code):
            kind.__init__(self, **arguments(config, signature, program))

    base = vars(contract).get("Config", ConfigModel) if contract is not None else ConfigModel
    names |= {"Config": options_of(kind, code, base=base), "__init__": made}
    return type(kind.__name__, (kind,), names)


def is_called(found: Any) -> bool:
    """Tell whether this is a function, or a class whose objects are called like one."""
    if inspect.isclass(found):
        return any("__call__" in vars(base) for base in found.__mro__)
    return inspect.isfunction(found)


def accepted(call: Callable[..., Any], named: Sequence[str]) -> list[str]:
    """List the arguments by name that a function takes."""
    return [name for name in named if name in inspect.signature(call).parameters]


def called(found: Any, config: ConfigModel) -> Callable[..., Any]:
    """Make what is called: a function with the keys of the user, or an object of a class made from them."""
    keys = arguments(config, inspect.signature(found), {})
    if not inspect.isclass(found):
        return partial(found, **keys)
    make: Any = found
    made: Callable[..., Any] = make(**keys)
    return made


# ---- errors


@contextmanager
def blamed(code: Code, doing: str = "") -> Iterator[None]:
    """Tell an error inside the user's own code in one sentence, with the line where it occurred.

    Args:
        code: Where the code comes from.
        doing: What it was asked to do, such as ` on an image of 32x32 pixels`.

    Raises:
        ConfigError: The code failed.
    """
    try:
        yield
    except (SegcliError, Stopped, MemoryError):
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        if "memory" in text or "DataLoader worker" in text:  # no fault of the code
            raise
        line = _line(error, code)
        raise ConfigError(f"`{code.shown}` fails{doing}{line} ({type(error).__name__}: {text[:300]})") from error


def blame(kind: Any, method: str, code: Code) -> None:
    """Let a method of a derived class tell its errors as `blamed` does."""
    inner: Callable[..., Any] = getattr(kind, method)

    @wraps(inner)
    def outer(*args: Any, **keys: Any) -> Any:
        with blamed(code):
            return inner(*args, **keys)

    setattr(kind, method, outer)


def _line(error: BaseException, code: Code) -> str:
    trace, line = error.__traceback__, None
    while trace is not None:
        if code.file is not None and trace.tb_frame.f_code.co_filename == str(code.file):
            line = trace.tb_lineno
        trace = trace.tb_next
    return "" if line is None else f" in line {line}"


# ---- other processes


def travels(kind: Any, code: Code) -> Any:
    """Let objects of a derived class be pickled for loader workers that are started afresh, as on macOS."""

    def reduced(self: Any) -> Any:
        state = {key: value for key, value in vars(self).items() if key != "config"}
        return _restored, (code, self.config.model_dump()), state

    kind.__reduce__ = reduced
    return kind


def _restored(code: Code, keys: dict[str, Any]) -> Any:
    kind = component(code)
    made = kind.__new__(kind)
    made.config = kind.Config.model_validate(keys)
    return made
