"""Keys in the header of a checkpoint: a file from a stranger is checked before a value is used."""

from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segcli.core.errors import CheckpointError
from segcli.core.names import printable

__all__ = ["Header", "refuse_odd"]

Count = Annotated[int, Field(ge=0, le=2**53)]


class Header(dict[str, Any]):
    """Header of the checkpoint at `path`; a key that it lacks is an error in words.

    Args:
        path: The checkpoint.
        values: The keys.
    """

    def __init__(self, path: Path, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.path = path

    def __missing__(self, key: str) -> NoReturn:
        raise _odd(self.path, f"`{key}` is missing")


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Progress(_Strict):
    model_config = ConfigDict(strict=True, extra="forbid")

    epoch: Count
    batch: Count
    step: Count
    skipped: Count = 0
    elapsed_s: float
    finished: bool


class _Epoch(_Strict):
    epoch: Count
    train: dict[str, float]
    val: dict[str, float] = {}
    learning_rate: float = 0.0
    val_per_class: dict[str, dict[str, float]] = {}


class _Stopping(_Strict):
    monitor: str | None
    lower_is_better: bool = True
    best: float | None
    best_epoch: Count | None
    waited: Count


class _Best(_Strict):
    ranked_by: str
    cases: list[str]
    confusion: list[list[float]] | None


class _Known(_Strict):
    """Keys that a run writes; any of them may be missing."""

    config: dict[str, Any] = {}
    progress: _Progress | None = None
    scaler: dict[str, float | int] = {}
    scheduler: dict[str, float | int | None] = {}
    early_stopping: _Stopping | None = None
    history: list[_Epoch] = []
    best_validation: Annotated[dict[str, Any], Field(max_length=0)] | _Best = {}
    dataset: dict[str, Any] = {}


def refuse_odd(header: Header) -> None:
    """Refuse a header in which a value has an impossible type.

    Raises:
        CheckpointError: A value is impossible; the message names its key.
    """
    try:
        _Known.model_validate(header)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        message = first["msg"].replace("Input should be", "must be")
        raise _odd(header.path, f"`{printable(key)}` {message}, got `{printable(str(first['input']))}`") from error


def _odd(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"checkpoint `{path}` has an impossible header: {what}",
        hint="use another checkpoint of the run, or train again",
    )
