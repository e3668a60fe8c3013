"""Make a class or function of the user's own an augmentation."""

import inspect
from typing import Any

import numpy as np

from segcli.augmentations import Transform
from segcli.core.errors import ConfigError
from segcli.core.own_code import (
    Code,
    accepted,
    blame,
    blamed,
    called,
    is_called,
    of_contract,
    options_of,
    refuse_kind,
    travels,
)
from segcli.core.types import Array, ConfigModel

__all__ = ["adapted"]


def adapted(found: Any, code: Code) -> type[Transform]:
    """Make `found` an augmentation: a subclass of `Transform`, or a class or function called with an image and maps.

    A class is made with the keys beside `type`, and its objects are called with `(image, maps)` and, if they take it,
    `rng`; a function takes the keys beside these. Both return `image, maps`.

    Raises:
        ConfigError: It is neither.
    """
    if inspect.isclass(found) and issubclass(found, Transform):
        kind: type[Transform] = of_contract(found, code, contract=Transform)
        blame(kind, "__call__", code)
    elif is_called(found):
        kind = _wrapped(found, code)
    else:
        raise refuse_kind(code, found, "a subclass of `Transform`, or is called with `(image, maps, rng)`")
    kind.name = code.shown
    result: type[Transform] = travels(kind, code)
    return result


def _wrapped(found: Any, code: Code) -> type[Transform]:
    is_class = inspect.isclass(found)

    class Own(Transform):
        """An augmentation of the user's own."""

        Config = options_of(found, code) if is_class else options_of(found, code, given=2, program=("rng",))

        def __init__(self, config: ConfigModel) -> None:
            super().__init__(config)
            self.takes_rng = bool(accepted(found.__call__ if is_class else found, ["rng"]))

        def __call__(
            self, image: Array, maps: dict[str, Array], rng: np.random.Generator
        ) -> tuple[Array, dict[str, Array]]:
            with blamed(code):
                result = called(found, self.config)(image, maps, **({"rng": rng} if self.takes_rng else {}))
            if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)):
                raise ConfigError(f"augmentation `{code.shown}` must return `image, maps`")
            return result

    Own.__name__, Own.__doc__ = found.__name__, found.__doc__
    return Own
