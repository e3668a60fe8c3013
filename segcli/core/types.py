"""Types that all rooms share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from segcli.core.addresses import is_address
from segcli.core.names import printable
from segcli.core.paths import escaped, expanded, has_escapes

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Array",
    "Batch",
    "ConfigModel",
    "FilePath",
    "IOSpec",
    "Mask",
    "Output",
    "Outputs",
    "Positive",
    "Range",
    "Sha256",
    "Share",
]

Array: TypeAlias = npt.NDArray[Any]
Mask: TypeAlias = npt.NDArray[np.bool_]
LONGEST_NAME = 255
"""Longest name of a file in bytes."""
Outputs: TypeAlias = "dict[str, Tensor]"
"""Raw logits of a network by name, each `(B, K, *S)` or `(B, K)`."""
Batch: TypeAlias = "dict[str, Tensor]"
"""Batch from the loader: `image` `(B, C, *S)`, the targets of the task by name, and `valid` `(B, 1, *S)`."""


def _path(typed: Any) -> Any:
    if not isinstance(typed, str | Path):
        return typed
    path = expanded(typed) if isinstance(typed, str) else str(typed)
    if is_address(path):
        raise ValueError(f"`{path}` is an address, and segcli opens no connection")
    if has_escapes(path):
        raise ValueError(
            f"`{printable(path)}` was read with control characters, because a backslash in double quotes begins an "
            "escape: write single quotes, or slashes as in C:/data"
        )
    if "\0" in path or any(len(part.encode("utf-8", "surrogatepass")) > LONGEST_NAME for part in Path(path).parts):
        raise ValueError(f"`{printable(path)}` cannot be the name of a file")
    return Path(path)


def _stored(value: Any) -> Any:
    return escaped(value) if isinstance(value, Path) else value  # in a union, the value may be of another type


FilePath = Annotated[Path, Field(strict=False), BeforeValidator(_path), PlainSerializer(_stored)]
"""A path, written as text in YAML: `~`, `$NAME` and `${NAME}` are expanded, `$$` is a `$`.

It is stored as text that gives the same path again.
"""
Positive = Annotated[int, Field(ge=1)]


def _rising(values: list[float]) -> list[float]:
    if not values[0] < values[1]:
        raise ValueError(f"goes from {values[0]:g} to {values[1]:g}, but the first must be smaller")
    return values


Range = Annotated[list[float], Field(min_length=2, max_length=2), AfterValidator(_rising)]
"""A smaller and a larger number."""
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""SHA-256 of a file, as `sha256sum` prints it."""
Share = Annotated[float, Field(ge=0.0, le=1.0)]
"""A number from 0 to 1."""


class ConfigModel(BaseModel):
    """Keys that a user may set; unknown keys and values of a wrong type are errors."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        defer_build=True,
        protected_namespaces=(),
    )

    other_keys: ClassVar[dict[str, str]] = {}
    """Keys with other names elsewhere, each with our key, or with advice."""

    @classmethod
    def small(cls) -> Self:
        """Choose small settings for a quick test: the defaults, unless a component overrides this method.

        Tests of a whole room build every component with these settings.
        """
        return cls()

    @classmethod
    def long_form(cls, given: Any) -> Any:
        """Expand the short form that users may write for this section; return any other value unchanged."""
        return given

    @classmethod
    def reading(cls, given: Any) -> tuple[str, str] | None:
        """Return a name from elsewhere and its expansion by `named_form`; None for segcli's own names."""
        return None

    @classmethod
    def named_form(cls, given: Any) -> Any:
        """Expand the short form of a mapping from names to such sections; return any other value unchanged."""
        return given


@dataclass(frozen=True)
class Output:
    """Output of a network, declared by a task."""

    name: str
    channels: int
    has_pixels: bool = True
    """True if the output has a value for each pixel, `(B, K, *S)`, False if one per image, `(B, K)`."""
    follows: str | None = None
    """Of an image in tiles, an output without pixels is that of the tile where this one is highest; None: the highest
    value counts."""


@dataclass(frozen=True)
class IOSpec:
    """Input and outputs of a network, known to the program, so that users need not state them."""

    ndim: int
    """Number of spatial axes of one image: 2 or 3."""
    in_channels: int
    outputs: dict[str, int]
    """Number of channels of each output by name, such as `{"mask": 1}`."""
    pixels: str = "mask"
    """Name that the task gives the output with a value for each pixel, which is a key of `outputs` if there is one."""
    size: tuple[int, ...] | None = None
    """Spatial size of all images if they share one size, else None."""
