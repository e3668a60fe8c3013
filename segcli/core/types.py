"""Words that all rooms share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from segcli.core.addresses import is_address

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Array", "Batch", "ConfigModel", "FilePath", "IOSpec", "Mask", "Output", "Outputs", "Positive", "Share"]

Array: TypeAlias = npt.NDArray[Any]
Mask: TypeAlias = npt.NDArray[np.bool_]
Outputs: TypeAlias = "dict[str, Tensor]"
"""Raw logits of a network by name, each `(B, K, *S)` or `(B, K)`."""
Batch: TypeAlias = "dict[str, Tensor]"
"""What the loader gives: `image` `(B, C, *S)`, the targets of the task by name, and `valid` `(B, 1, *S)`."""


def _no_address(path: Any) -> Any:
    if isinstance(path, str) and is_address(path):
        raise ValueError(f"`{path}` is an address, and segcli opens no connection")
    return path


FilePath = Annotated[Path, Field(strict=False), BeforeValidator(_no_address)]
"""A path, written as text in YAML."""
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
"""A number from 0 to 1."""


class ConfigModel(BaseModel):
    """Keys that a user may set: unknown keys and values of another type are mistakes."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, protected_namespaces=()
    )

    @classmethod
    def small(cls) -> Self:
        """Choose the keys for a quick trial: the defaults, unless a component has none or theirs are too large.

        Tests of a whole room take every component with these keys.
        """
        return cls()

    @classmethod
    def long_form(cls, given: Any) -> Any:
        """Write out what users may write shorter in this section's place; anything else stays as it is."""
        return given

    @classmethod
    def named_form(cls, given: Any) -> Any:
        """Write out what users may write shorter in the place of a mapping from names to such sections."""
        return given


@dataclass(frozen=True)
class Output:
    """One output of a network, as a task declares it."""

    name: str
    channels: int
    has_pixels: bool = True
    """Whether it has a value for each pixel, `(B, K, *S)`, and not one for the whole image, `(B, K)`."""


@dataclass(frozen=True)
class IOSpec:
    """What the program knows of a network's input and outputs, so that nobody types it twice."""

    ndim: int
    """Spatial axes of one image: 2 or 3."""
    in_channels: int
    outputs: dict[str, int]
    """Channels of each output by name, such as `{"mask": 1}`."""
    size: tuple[int, ...] | None = None
    """Spatial size of every image, where they have one in common."""
