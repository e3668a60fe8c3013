"""Facts about a folder of images: what was recognised, and what its pixels say. Plans are made of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["Classes", "Measures", "ObjectSizes", "Option", "Plan", "Question", "Recognised", "Spread", "Sure"]

Sure = Literal["certain", "likely", "guess"]
"""`certain`: the files say so, or only one reading fits. `likely`: names or a sample of pixels say so. `guess`: the
opposite is possible; a person is asked."""


@dataclass(frozen=True)
class Option:
    """Describes one answer to a question."""

    words: str
    """Answer in words, such as `masks of the folder 1stHO`."""
    given: tuple[str, ...]
    """Overrides that give this answer on the command line, such as `label_folder=1stHO`."""


@dataclass(frozen=True)
class Question:
    """Asks for what the files do not say. The first option is the proposal."""

    key: str
    """Key of the data-set file that depends on the answer."""
    text: str
    """Question in words, such as `Which of two folders of masks is the truth?`."""
    options: tuple[Option, ...]
    is_open: bool = False
    """True if no option is likelier than another: without an answer nothing is written."""


@dataclass
class Recognised:
    """Describes a data set as its data-set file will."""

    root: Path
    name: str
    about: str
    """Data set in one sentence, such as `20 RGB images with one mask each`."""
    keys: dict[str, Any]
    """Keys of the data-set file in the order in which they are written, without `name`; values are plain YAML values.
    `paths.root` is absolute."""
    task: str
    """Task that the data set will have: `binary`, `multiclass`, `structures` or `classification`."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Reason of each key in one or two sentences, a comment in the file; dotted for keys in sections: `split.group`."""
    sure: dict[str, Sure] = field(default_factory=dict)
    """Certainty of each key; keys that are not in it are `certain`."""
    questions: list[Question] = field(default_factory=list)
    """What is open; the keys hold the proposals."""
    notes: list[str] = field(default_factory=list)
    """Sentences about what was found and is not used, such as a folder of instances."""

    def state(self, key: str, value: Any, reason: str | None = None, sure: Sure = "certain") -> None:
        """Set a key, which may be dotted, with its reason and its certainty."""
        place, (*sections, last) = self.keys, key.split(".")
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
        if reason is not None:
            self.reasons[key] = reason
        if sure != "certain":
            self.sure[key] = sure

    def state_parts(self, word: str, parts: Mapping[str, str]) -> None:
        """Set prefix and suffix of the files of a kind, such as `label_suffix`."""
        for part, text in parts.items():
            self.state(f"{word}_{part}", text)


@dataclass
class Classes:
    """Holds the keys of the data-set file that describe the classes."""

    task: str
    keys: dict[str, Any]
    reasons: dict[str, str] = field(default_factory=dict)
    sure: dict[str, Sure] = field(default_factory=dict)
    questions: list[Question] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def state_in(self, found: Recognised) -> None:
        """State the keys, and add questions and notes."""
        for key, value in self.keys.items():
            found.state(key, value, self.reasons.get(key), self.sure.get(key, "certain"))
        found.questions += self.questions
        found.notes += self.notes


@dataclass(frozen=True)
class Spread:
    """Holds the smallest, the median and the largest value; for sizes one number per axis."""

    low: tuple[float, ...]
    median: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def is_single(self) -> bool:
        """Tell whether all values are equal."""
        return self.low == self.high


@dataclass(frozen=True)
class ObjectSizes:
    """Describes connected parts of the foreground; of several classes, of each class on its own.

    Lengths are in pixels, or in voxels along the finest axis. Only the pixels of `Measures.seen` samples count.
    """

    per_sample: float
    """Median number of objects in a sample."""
    median_diameter: float
    """Diameter of a disk (or ball) of the median area (or volume) of an object."""
    small_diameter: float
    """Diameter that 95 % of the objects exceed."""
    width: float
    """Median local width of the foreground, twice the distance from its ridges to the background: of vessels a few
    pixels, although a vessel tree is one large object."""
    by_class: dict[str, float] = field(default_factory=dict)
    """Median diameter of each class with objects."""


@dataclass(frozen=True)
class Measures:
    """Describes the pixels of a data set: headers of all samples, and the pixels of some."""

    counts: dict[str, int]
    """Samples in each split: `train`, and `val` and `test` where there are such."""
    ndim: int
    """Spatial axes: 2 or 3."""
    sizes: Spread
    """Size along each axis in array order: rows and columns, or as the layout reads volumes."""
    channels: int
    """Channels that the network sees."""
    bits: int
    """Bits of a stored value: 1, 8, 16, 32 or 64."""
    is_float: bool
    values: tuple[float, float]
    """Smallest and largest stored value in the samples that were read."""
    percentiles: tuple[float, float]
    """Stored values that 0.5 % and 99.5 % of the pixels do not exceed."""
    mean: tuple[float, ...]
    """Mean of each channel as `data stats` measures it: integers on the scale 0 to 1, inside the field of view."""
    std: tuple[float, ...]
    normalize: Literal[True, False, "per_image", "min_max"]
    """`data.preprocessing.normalize` that fits: `per_image` where intensities differ between samples, else true."""
    normalize_reason: str
    brightness_ratio: float
    """Brightest sample by darkest sample, each by its 99.5th percentile; 1 if all are alike."""
    class_shares: dict[str, float]
    """Share of each class in the valid pixels; with a single mask only `foreground`. For `classification` the share of
    the samples."""
    presence: dict[str, float]
    """Share of the samples that hold each class."""
    foreground: float
    """Share of the valid pixels that belong to any class except the background; NaN for `classification`."""
    background: str | None
    """Class that means background in exclusive classes, such as `background`; None if there is none."""
    objects: ObjectSizes | None
    """None for `classification` and for scenes, whose classes fill the image."""
    is_scene: bool
    """True for images with a fixed top and bottom, such as streets: only left and right may be exchanged."""
    flips: tuple[int, ...]
    """Axes that may be flipped, of the spatial axes in array order: all for microscopy, none for organs."""
    turns: bool
    """True if quarter turns in the plane of the last two axes may be used."""
    spacing: tuple[float, ...] | None = None
    """Median millimetres between voxels along each axis."""
    spacing_spread: Spread | None = None
    anisotropy: float = 1.0
    """Largest by smallest spacing; 1 if the spacing is unknown or equal."""
    has_field: bool = False
    """True if a field of view limits the valid pixels."""
    valid: float = 1.0
    """Share of the pixels that count: inside the field of view and of no ignored class."""
    groups: int | None = None
    """Number of groups that `split.group` keeps together; None without it."""
    seen: int = 0
    """Samples whose pixels were read."""
    elapsed_s: float = 0.0
    """Processor seconds of recognition and measurement."""


@dataclass
class Plan:
    """Describes an experiment file."""

    keys: dict[str, Any]
    """Nested keys in the order in which they are written, without `name` and `dataset`; plain YAML values."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Reason of each key that needs one, by its dotted name such as `data.batch_size`."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the user, such as how many epochs fit into the minutes and how that was measured."""
    num_widths: int = 1
    """Number of widths that the network may have."""
    patch_multiple: list[int] | None = None
    """Pixels along each axis of which a side of a patch is a multiple; None if the network sees whole images."""
