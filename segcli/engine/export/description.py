"""Metadata of an exported network, and its numerical difference from the original."""

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator

from segcli.core.errors import CheckpointError
from segcli.core.names import printable
from segcli.core.types import ConfigModel, Positive, Share
from segcli.data.channels import ChosenChannels

__all__ = ["KEY", "SCALES", "Description", "Difference", "told_of_file"]

KEY = "segcli"
"""Key of segcli's description in the metadata of a file."""
VERSION = 4
READABLE = (2, 3, 4)
"""Versions that can be read; version 2 has no `fov`, and files of versions before 4 hold no checksum."""
SCALES = {"uint8": 255.0, "uint16": 65535.0, "int16": 1.0, "float32": 1.0}
"""Divisor of stored values by data type: the largest value of unsigned integers, none for others."""


LONGEST = 2**22
"""Longest description in characters; the classes take most of it."""
MOST_PIXELS = 2**30
"""Largest input in pixels that a description may require."""
MOST_SHOWN = 5
"""Largest number of errors in a description that one message lists."""
Text = Annotated[str, Field(min_length=1, max_length=1000)]
Numbers = Annotated[list[float], Field(min_length=1, max_length=4096)]
Deviations = Annotated[list[Annotated[float, Field(gt=0.0)]], Field(min_length=1, max_length=4096)]
Length = Annotated[int, Field(ge=1, le=65536)]
Sizes = Annotated[list[Length], Field(min_length=2, max_length=3)]
Level = Annotated[int, Field(ge=0, le=255)]
Step = Annotated[int, Field(ge=1, le=4096)]


def _one_of(*words: str) -> Any:
    return Field(pattern=f"^({'|'.join(words)})$")


class _Channel(ConfigModel):
    """Channel of the mask."""

    name: Annotated[str, Field(max_length=1000)]
    color: Annotated[list[Level], Field(min_length=3, max_length=3)] | None = None


def _channel(entry: dict[str, Any]) -> dict[str, Any]:
    try:
        _Channel.model_validate(entry)
    except ValidationError as error:
        raise ValueError(_message(error.errors()[0], "classes")) from None
    return entry


class Description(ConfigModel):
    """Description of the network in a file; JSON under the key `segcli` of the metadata.

    The file may come from an untrusted source, so every key has a checked range, and an unknown key is an error. If you
    add a key, increase `VERSION`, unless the key is left out where it has no effect.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    run: Text
    model: Text
    task: Text
    epoch: Annotated[int, Field(ge=0)]
    ndim: Annotated[int, Field(ge=2, le=3)]
    in_channels: Step
    classes: Annotated[list[Annotated[dict[str, Any], AfterValidator(_channel)]], Field(min_length=1, max_length=65536)]
    """Name of each channel of the mask, with its colour if it has one."""
    input_name: Text
    input_dtype: Annotated[str, _one_of(*SCALES)]
    input_axes: Annotated[str, _one_of("BCHW", "BHWC", "BCDHW", "BDHWC")]
    """Order of the axes."""
    outputs: Annotated[list[Text], Field(min_length=1, max_length=64)]
    precision: Annotated[str, _one_of("float32", "float16", "int8")]
    """Data type of the weights."""
    baked: bool
    """True if the file normalises the image itself and also returns probabilities."""
    stride: Step
    """Each spatial size must be a multiple of this."""
    multiple: Step
    """Each spatial size is padded to a multiple of this; it is itself a multiple of `stride`."""
    normalize: Literal[True, False, "per_image", "min_max"]
    mean: Numbers | None
    std: Deviations | None
    threshold: Share
    tile: Sizes | None
    overlap: Annotated[float, Field(ge=0.0, lt=1.0)]
    tta: Literal[False, True, "horizontal"]
    """Test-time augmentation, as `inference.tta`."""
    scales: Annotated[list[Annotated[float, Field(ge=0.25, le=4.0)]], Field(min_length=1, max_length=64)]
    """Scales of test-time augmentation, as `inference.scales`."""
    postprocess: dict[str, Any]
    """Post-processing of masks; the section `inference.postprocess`."""
    dataset: dict[str, Any]
    """Settings for reading images: the data-set file without its paths."""
    preprocessing: dict[str, Any]
    """Settings for preparing images: `image_size` and `preprocessing` of the section `data`."""
    segcli: Annotated[str, Field(max_length=100)]
    """Version of segcli that wrote the file."""
    channels: ChosenChannels | None = None
    """Channels of the files to give to the network, counted from 0, in this order; None for all."""
    class_offsets: Annotated[list[float], Field(max_length=65536)] = []
    """Numbers subtracted from the logits of the classes before the softmax; nothing when empty."""
    calibrated: Annotated[list[Text], Field(max_length=64)] = []
    """Outputs that the loss trained to be logits of calibrated probabilities; others mean nothing."""
    fov: Literal["auto", "none"] = "none"
    """Field of view of photographs that have no mask for it, as `inference.fov`."""
    size: Sizes | None = None
    """Fixed spatial size of the input; None if sizes are free."""
    format: Positive = VERSION

    @model_validator(mode="after")
    def _agrees(self) -> "Description":
        for key, mistake in self._disagreements():
            raise ValueError(f"`{key}` {mistake}")
        return self

    def _disagreements(self) -> Iterator[tuple[str, str]]:
        """Find keys that contradict other keys."""
        yield from self._of_channels()
        yield from self._of_sizes()
        for key in ("paths", "split", "sample", "classes_file"):
            if key in self.dataset:
                yield f"dataset.{key}", "names files, which an exported network cannot use"
        for key, name in (("task", self.task), ("dataset.format", self.dataset.get("format", ""))):
            if not isinstance(name, str) or not re.fullmatch(r"[\w+-]+", name):
                yield key, f"must be a name, got `{printable(str(name))}`"
        if self.class_offsets and len(self.class_offsets) != len(self.classes):
            yield "class_offsets", f"has {len(self.class_offsets)} numbers for {len(self.classes)} classes"

    def _of_channels(self) -> Iterator[tuple[str, str]]:
        for key in ("mean", "std"):
            numbers = getattr(self, key)
            if numbers is not None and len(numbers) != self.in_channels:
                yield key, f"has {len(numbers)} numbers for {self.in_channels} channels"
            if self.dataset.get(key) != numbers:
                yield f"dataset.{key}", f"is not `{key}`"
        converts = self.dataset.get("color", "as_stored") != "as_stored"
        if self.channels is not None and len(self.channels) != self.in_channels and not converts:
            yield "channels", f"chooses {len(self.channels)} channels for {self.in_channels}"
        if self.dataset.get("channels") != self.channels:
            yield "dataset.channels", "is not `channels`"
        if self.dataset.get("num_channels") != self.in_channels:
            yield "dataset.num_channels", f"is not `in_channels`, which is {self.in_channels}"

    def _of_sizes(self) -> Iterator[tuple[str, str]]:
        if len(self.input_axes) != self.ndim + 2:
            yield "input_axes", f"is {self.input_axes} of a network with {self.ndim} axes"
        if self.multiple % self.stride:
            yield "multiple", f"is {self.multiple}, no multiple of the stride {self.stride}"
        prepared = self.preprocessing.get("preprocessing")
        padded = prepared.get("pad_to_multiple") if isinstance(prepared, dict) else None
        if padded not in (None, self.multiple):
            yield "preprocessing.preprocessing.pad_to_multiple", f"is not `multiple`, which is {self.multiple}"
        sizes = {"tile": self.tile, "size": self.size, "preprocessing.image_size": self.preprocessing.get("image_size")}
        for key, size in {**sizes, "multiple": [self.multiple] * self.ndim}.items():
            if size is not None and not _is_size(size, self.ndim):
                yield key, f"must be {self.ndim} sizes of together at most {MOST_PIXELS:,} pixels, got {size}"

    def as_json(self) -> str:
        """Convert the description to JSON, without `channels` if all are used, and without an empty `calibrated`."""
        unused = {"channels": self.channels is None, "calibrated": not self.calibrated}
        values = self.model_dump(exclude={key for key, is_unused in unused.items() if is_unused})
        return json.dumps(values, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes, path: Path) -> "Description":
        """Read and check a description from JSON.

        Raises:
            CheckpointError: The text is not a description, is of another version, or has impossible values.
        """
        try:
            values: dict[str, Any] = json.loads(text if len(text) <= LONGEST else "")
            version = values["format"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise CheckpointError(f"`{path}` has a damaged segcli description", hint="export the run again") from error
        if version not in READABLE:
            raise CheckpointError(
                f"`{path}` has description format {printable(str(version))}, this segcli reads "
                f"{READABLE[0]} to {READABLE[-1]}",
                hint="use the segcli version that wrote it",
            )
        with told_of_file(path):
            return cls.model_validate(values)


def _is_size(size: Any, ndim: int) -> bool:
    whole = isinstance(size, list) and len(size) == ndim and all(type(length) is int and length > 0 for length in size)
    return whole and math.prod(size) <= MOST_PIXELS


@contextmanager
def told_of_file(path: Path, section: str = "") -> Iterator[None]:
    """Turn validation errors of a file's description into one `CheckpointError` that names the keys.

    Args:
        path: The file.
        section: Section of the description that is checked.

    Raises:
        CheckpointError: Some keys have impossible values.
    """
    try:
        yield
    except ValidationError as error:
        errors = list(dict.fromkeys(_message(detail, section) for detail in error.errors(include_url=False)))
        more = f"; and {len(errors) - MOST_SHOWN} more" if len(errors) > MOST_SHOWN else ""
        raise CheckpointError(
            f"`{path}` has an impossible description: {'; '.join(errors[:MOST_SHOWN])}{more}",
            hint="use a file that `segcli export` of this version wrote",
        ) from error


def _message(detail: Any, section: str) -> str:
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    key = ".".join(printable(str(step)) for step in (*([section] if section else []), *detail["loc"]))
    if detail["type"] == "extra_forbidden":
        return f"`{key}` is an unknown key"
    if detail["type"] == "missing":
        return f"`{key}` is missing"
    message = detail["msg"].replace("Input should be", "must be").replace(" after validation", "")
    return f"`{key}` {message[:1].lower()}{message[1:]}, got `{printable(str(detail['input']))}`"


@dataclass(frozen=True)
class Difference:
    """Difference between the exported and the original network on one input."""

    input: str
    shape: list[int]
    logits: float
    """Largest absolute difference of the raw outputs."""
    largest_logit: float
    """Largest absolute raw output of the original, as a reference."""
    probabilities: float
    """Largest absolute difference of the probabilities."""

    def exceeds(self, tolerance: float) -> bool:
        """Tell if probabilities, or raw outputs relative to the largest, differ by more than `tolerance` or are NaN."""
        within = self.probabilities <= tolerance and self.logits <= tolerance * max(1.0, self.largest_logit)
        return not within
