"""What an exported network says of itself, and how far it is from the original."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from segcli.core.errors import CheckpointError

__all__ = ["FORMATS", "KEY", "SCALES", "Description", "Difference", "Format"]

Format = Literal["onnx", "torchscript", "pt2"]
FORMATS: dict[str, Format] = {".onnx": "onnx", ".torchscript": "torchscript", ".pt2": "pt2"}
"""What is in a file, by the end of its name."""
KEY = "segcli"
"""Name of our description among a file's metadata."""
VERSION = 2
SCALES = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
"""Stored value that becomes 1."""


@dataclass(frozen=True)
class Description:
    """What a file says of the network in it; JSON under the key `segcli` of its metadata."""

    run: str
    model: str
    task: str
    epoch: int
    ndim: int
    in_channels: int
    classes: list[dict[str, Any]]
    """Name of each channel of the mask, with its colour where it has one."""
    input_name: str
    input_dtype: str
    input_axes: str
    """Axes in order, such as `BCHW`."""
    outputs: list[str]
    precision: str
    """Number format of the weights: `float32`, `float16` or `int8`."""
    baked: bool
    """Whether the file normalises the image and gives probabilities as well."""
    stride: int
    """Each spatial size must be a multiple of this."""
    multiple: int
    """Each spatial size is padded to a multiple of this, which is one of `stride`."""
    normalize: bool | str
    mean: list[float] | None
    std: list[float] | None
    threshold: float
    tile: list[int] | None
    overlap: float
    tta: bool | str
    """Test-time augmentation, as `inference.tta`."""
    scales: list[float]
    """Sizes at which an image is seen, as `inference.scales`."""
    postprocess: dict[str, Any]
    """What is done to masks; the section `inference.postprocess`."""
    dataset: dict[str, Any]
    """How images are read: the data-set file without its paths."""
    preprocessing: dict[str, Any]
    """How they are prepared: `image_size` and `preprocessing` of the section `data`."""
    segcli: str
    """Version that wrote the file."""
    class_offsets: list[float] = field(default_factory=list)
    """Subtracted from the logit of each class before it becomes a probability; nothing when empty."""
    size: list[int] | None = None
    """The one spatial size that the network is made for; None where sizes are free."""
    format: int = VERSION

    def as_json(self) -> str:
        """As a file holds it."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, path: Path) -> "Description":
        """As it was written.

        Raises:
            CheckpointError: It is not ours, or of another version.
        """
        try:
            values = json.loads(text)
            version = values["format"]
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"`{path}` has a damaged segcli description", hint="export the run again") from error
        if version != VERSION:
            raise CheckpointError(
                f"`{path}` has description format {version}, this segcli reads {VERSION}",
                hint="use the segcli version that wrote it",
            )
        return cls(**values)


@dataclass(frozen=True)
class Difference:
    """How far the exported network is from the original on one input."""

    input: str
    shape: list[int]
    logits: float
    """Largest difference of the raw outputs."""
    largest_logit: float
    """Largest raw output of the original, for comparison."""
    probabilities: float
    """Largest difference of the probabilities."""

    def exceeds(self, tolerance: float) -> bool:
        """Whether a probability, or a raw output in proportion to the largest, differs by more; so does a NaN."""
        within = self.probabilities <= tolerance and self.logits <= tolerance * max(1.0, self.largest_logit)
        return not within
