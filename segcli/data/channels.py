"""Choice of channels: which channels of a file the network sees, in which order."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from segcli.core.errors import DataError, repeated
from segcli.core.types import Array

__all__ = ["ChosenChannels", "chosen_count", "chosen_of", "more_channels_hint"]


def _each_once(channels: list[int]) -> list[int]:
    twice = repeated(channels)
    if twice is not None:
        raise ValueError(f"`channels` names channel {twice} twice")
    return channels


ChosenChannels = Annotated[
    list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=64), AfterValidator(_each_once)
]
"""Numbers of channels, counted from 0, each once."""


def chosen_count(stored: int, chosen: Sequence[int] | None, what: str) -> int:
    """Count the chosen channels of a file.

    Args:
        stored: Channels of the file.
        chosen: Numbers of channels; None for all.
        what: Words for the file, such as its kind and its path.

    Raises:
        DataError: The file lacks one of them.
    """
    if chosen is None:
        return stored
    missing = [channel for channel in chosen if channel >= stored]
    if missing:
        count = f"{stored} channel{'s' * (stored != 1)}"
        raise DataError(
            f"{what} has {count}, but `data.channels: {list(chosen)}` needs channel {missing[0]}, counted from 0",
            hint=f"choose from {', '.join(map(str, range(min(stored, 8))))}{' ...' * (stored > 8)}",
        )
    return len(chosen)


def chosen_of(pixels: Array, chosen: Sequence[int] | None, what: str) -> Array:
    """Take the chosen channels of pixels `(*S, C)`, in their order.

    Raises:
        DataError: The pixels lack one of them.
    """
    chosen_count(pixels.shape[-1], chosen, what)
    return pixels if chosen is None else pixels[..., list(chosen)]


def more_channels_hint(stored: int, stated: int) -> str:
    """Tell the keys that help where a file has another number of channels than the data set states."""
    hint = f"set `num_channels: {stored}` in the data-set file"
    return f"{hint}, or choose with `data.channels: {list(range(stated))}`" if stored > stated else hint
