"""Results of methods that are kept as long as their object; `functools.cache` would keep the object, too."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["cached_method"]

P = ParamSpec("P")
R = TypeVar("R")


def cached_method(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Compute a method once for each object and its arguments; results are not pickled with the object.

    Example:
        >>> class Folder:
        ...     @cached_method
        ...     def files(self, kind: str) -> list[str]:
        ...         print("look for", kind)
        ...         return [f"01.{kind}"]
        >>> folder = Folder()
        >>> folder.files("png"), folder.files("png")
        look for png
        (['01.png'], ['01.png'])
    """
    results: WeakKeyDictionary[Any, dict[Any, R]] = WeakKeyDictionary()

    @wraps(method)
    def cached(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        own = results.setdefault(self, {})
        key = args, tuple(kwargs.items())
        if key not in own:
            own[key] = method(self, *args, **kwargs)
        return own[key]

    return cached
