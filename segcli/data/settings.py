"""Keys of the data-set file and of `data:` in the experiment file."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from segcli.core.errors import repeated
from segcli.core.types import ConfigModel, FilePath, Positive, Share
from segcli.data.channels import ChosenChannels

__all__ = [
    "VOLUME_KEYS",
    "Augmentation",
    "DataSettings",
    "DatasetSpec",
    "Fold",
    "Paths",
    "Preprocessing",
    "Preset",
    "numbers_fault",
]

Size = Annotated[list[Positive], Field(min_length=2, max_length=3)]
"""Height and width, or depth, height and width, in pixels."""
Preset = Literal["light", "medium", "heavy", "street", "nuclei"]


VOLUME_KEYS = (
    "noise_std",
    "noise_up_to",
    "noise_share",
    "intensity_scale_range",
    "gamma_range",
    "contrast_range",
    "rotation_degrees",
    "quarter_turns",
    "flip_axes",
)
"""Augmentation keys for volumes only."""
PositiveNumber = Annotated[float, Field(gt=0.0)]


class Paths(ConfigModel):
    """Sets the folders of the images. Relative paths start at the data-set file, or else at the working folder."""

    root: FilePath | None = None
    """Folder of the whole data set; default: the folder of the data-set file."""
    train: FilePath | None = None
    """Folder of the training images; default: `root/train`."""
    val: FilePath | None = None
    """Folder of the validation images; default: `root/val`."""
    test: FilePath | None = None
    """Folder of the test images; default: `root/test`."""


class ClassSpec(ConfigModel):
    """Describes one class of a mask."""

    name: str
    """Name in tables, legends and reports."""
    color: Annotated[list[Annotated[int, Field(ge=0, le=255)]], Field(min_length=3, max_length=3)] | None = None
    """Colour in RGB, each from 0 to 255."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, given: Any) -> Any:
        if given is None or isinstance(given, int | float):
            shown = "null" if given is None else str(given).lower()
            raise ValueError(f"must be a name, got `{shown}`; write it in quotes, `'{shown}'`, if that is the name")
        name = given.get("name") if isinstance(given, dict) else given
        if isinstance(name, str) and not name.strip():
            raise ValueError("must be a name, got an empty one")
        return {"name": given} if isinstance(given, str) else given


class Fold(ConfigModel):
    """Selects one fold of a cross-validation."""

    index: Annotated[int, Field(ge=0)]
    """Number of the fold used for validation, counted from 0."""
    of: Annotated[int, Field(ge=2)]
    """Number of folds."""
    seed: int = 0
    """Seed that draws the folds."""


def numbers_fault(mean: list[float] | None, std: list[float] | None, channels: int) -> str | None:
    """Say why `mean` and `std` do not fit each other or the channels; None if they do."""
    for key, numbers in (("mean", mean), ("std", std)):
        if numbers is not None and len(numbers) != channels:
            return f"`{key}` has {len(numbers)} numbers for {channels} channels"
    if (mean is None) != (std is None):
        return "`mean` and `std` must be set together: one of them is missing"
    return None


class DatasetSpec(ConfigModel):
    """Holds the keys that every data set has. Each `format` adds its own keys beside them."""

    name: str = "dataset"
    """Name in tables and reports."""
    format: str = "image_folders"
    """Layout on disk; the name of a file in `segcli/datasets`."""
    task: str | None = None
    """Kind of prediction; default: from `num_classes`, such as `binary` for 1."""
    paths: Paths = Paths()
    """Folders of the images."""
    fold: Fold | None = None
    """Fold of a cross-validation, set by `segcli train --folds`: it replaces the split into training and validation."""
    follow_links: bool = False
    """Read files that symbolic links take from outside the folders of the data set; without it, they are refused."""
    sample: str | None = None
    """Kind of `segcli data sample` that makes this data set; shown as a hint if its folder is missing."""
    image_size: Size | None = None
    """Size to which every image is resized before it reaches the network; default: images keep their size."""
    num_channels: Annotated[int, Field(ge=1, le=64)] = 3
    """Channels that the network sees: 1 for grey, 3 for RGB; with `channels`, as many as it chooses."""
    channels: ChosenChannels | None = None
    """Channels of the files to use, counted from 0, in this order; default: all. `mean` and `std` belong to these."""
    num_classes: Positive = 1
    """Number of classes; 1 for a single mask of foreground and background."""
    classes: list[ClassSpec] = []
    """Names of the classes, or `{name, color}`, in the order of their indices."""
    mean: list[float] | None = None
    """Mean of each channel on the scale 0 to 1; default: measured on the training images by the first training."""
    std: list[Annotated[float, Field(gt=0.0)]] | None = None
    """Standard deviation of each channel on the scale 0 to 1."""

    @field_validator("classes")
    @classmethod
    def _each_class_once(cls, given: list[ClassSpec]) -> list[ClassSpec]:
        twice = repeated([each.name for each in given])
        if twice is not None:
            raise ValueError(f"names `{twice}` twice; give each class a name of its own")
        return given

    @model_validator(mode="after")
    def _one_number_per_channel(self) -> "DatasetSpec":
        fault = numbers_fault(self.mean, self.std, self.num_channels)
        if fault is not None:
            raise ValueError(fault)
        return self


class Augmentation(ConfigModel):
    """Sets the random augmentation of training images; masks are changed with their image."""

    enabled: bool = True
    """`false` turns augmentation off, whatever else the file sets; an override of another key turns it on."""
    preset: Preset | None = None
    """`light`: horizontal flip, brightness. `medium`: also vertical flip, quarter turns, shift, scale and turn.
    `heavy`: also elastic deformation, gamma, blur, noise and, for colour images, hue and saturation.
    `street`, for scenes with a fixed top and bottom: horizontal flip, scale 0.75 to 1.5, shift, small rotation,
    brightness, blur and, for colour images, hue and saturation. For volumes, `light` is noise of 0.02 and intensity
    scale 0.9 to 1.1; `medium` is 0.05, 0.8 to 1.2 and rotation up to 10 degrees; `heavy` is 0.1, 0.7 to 1.4 and 20
    degrees; the keys below change single values. `nuclei`, for volumes without a fixed top and bottom: flips of every
    axis, quarter turns in the plane, gamma and contrast of 0.8 to 1.2, noise of up to 5 % in 30 % of the volumes."""
    flip_probability: Share | None = None
    """Probability of each flip of the preset, or of each axis in `flip_axes`; default: 0.5."""
    turn_probability: Share | None = None
    """Probability of the preset's quarter turns; default: 0.5. Volumes: probability of `quarter_turns`, and of a
    rotation by `rotation_degrees`, each drawn by itself; default: 1."""
    transforms: list[dict[str, Any]] = []
    """2D images: albumentations transforms after those of the preset, such as `{type: GaussianBlur, p: 0.3}`."""
    noise_std: Annotated[float, Field(ge=0.0)] | None = None
    """Volumes: standard deviation of Gaussian noise, as a share of the standard deviation of the volume, not in units
    of intensity; 0.02 is weak, 0.1 strong."""
    intensity_scale_range: Annotated[list[PositiveNumber], Field(min_length=2, max_length=2)] | None = None
    """Volumes: multiply all values by a random number between these two."""
    noise_up_to: Share | None = None
    """Volumes: largest standard deviation of Gaussian noise, as a share of the range of values; each volume draws its
    own, from 0 to this."""
    noise_share: Share | None = None
    """Volumes: share of the volumes that get noise; default: all."""
    gamma_range: Annotated[list[PositiveNumber], Field(min_length=2, max_length=2)] | None = None
    """Volumes: raise the values, scaled to 0 to 1, to a random power between these two."""
    contrast_range: Annotated[list[PositiveNumber], Field(min_length=2, max_length=2)] | None = None
    """Volumes: multiply the differences from the mean by a random number between these two."""
    quarter_turns: bool | None = None
    """Volumes: rotate in the plane of the last two axes by multiples of 90 degrees; of 180 if their sizes differ."""
    rotation_degrees: Annotated[float, Field(ge=0.0, le=180.0)] | None = None
    """Volumes: largest rotation about each axis, in degrees, in both directions."""
    flip_axes: list[Annotated[int, Field(ge=0, le=2)]] | None = None
    """Volumes: axes to flip, each with probability 0.5; default: none, because left and right may differ."""

    @classmethod
    def long_form(cls, given: Any) -> Any:
        """Expand short forms such as `heavy`, `none` and `true`; presets match without regard to case."""
        if isinstance(given, str):
            given = {"enabled": False} if given.lower() in ("none", "off") else {"preset": given}
        if isinstance(given, dict) and isinstance(given.get("preset"), str):
            return {**given, "preset": given["preset"].lower()}
        return {"enabled": given} if isinstance(given, bool) else given

    @property
    def has_own_keys(self) -> bool:
        """Tell whether keys take the place of the default preset of volumes."""
        return self.preset is None and any(getattr(self, key) is not None for key in VOLUME_KEYS)

    def flips(self, ndim: int) -> bool:
        """Tell whether images are flipped."""
        if ndim == 3:
            return self.preset == "nuclei" if self.flip_axes is None else bool(self.flip_axes)
        return self.preset is not None or not self.transforms

    def turns(self, ndim: int) -> bool:
        """Tell whether images are turned, if they are square."""
        preset = self.preset or (None if self.transforms or self.has_own_keys else "medium")
        if ndim == 2:
            return preset in ("medium", "heavy")
        quarters = preset == "nuclei" if self.quarter_turns is None else self.quarter_turns
        degrees = preset in ("medium", "heavy") if self.rotation_degrees is None else self.rotation_degrees > 0
        return quarters or degrees

    @field_validator("transforms")
    @classmethod
    def _each_has_a_type(cls, transforms: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for position, transform in enumerate(transforms):
            if not isinstance(transform.get("type"), str):
                raise ValueError(f"transform {position} has no `type`, such as `HorizontalFlip`")
        return transforms


class Preprocessing(ConfigModel):
    """Sets the preprocessing of every image, in training and prediction alike."""

    normalize: Literal[True, False, "per_image", "min_max"] = True
    """`true`: subtract the data set's `mean` and divide by its `std`. `per_image`: use mean and standard deviation of
    each whole image, before crops and augmentation. `min_max`: scale each image from its minimum and maximum to 0 to 1.
    `false`: scale the type's range to 0 to 1."""
    pad_to_multiple: Positive | None = None
    """Pad each size up to a multiple of this; default: the stride of the network."""

    @property
    def by_image(self) -> bool:
        """Tell whether normalisation needs statistics of the whole image."""
        return isinstance(self.normalize, str)


class DataSettings(ConfigModel):
    """Sets how images are loaded and cut into batches."""

    other_keys: ClassVar[dict[str, str]] = {
        "train_batch_size": "batch_size",
        "workers": "num_workers",
        "img_size": "image_size",
        "crop_size": "patch_size",
    }

    batch_size: Positive = 4
    """Images per training step; `auto` takes the largest that fits on the GPU."""
    slot_size: Positive = 1
    """Images that go through the network together with `training.reduce: exact`; another number gives other bits. A
    batch needs as many slots as there are processes."""
    val_batch_size: Positive | None = None
    """Images, or tiles, per forward pass of validation, `eval` and `predict` on a GPU; default: `batch_size`. The CPU
    takes one at a time, or several small ones where this changes no bit. Results do not depend on it."""
    fit_batch_size: bool = False
    """Set by `batch_size: auto`; training writes the chosen batch size into the run's config."""
    max_batch_size: Positive = 64
    """Largest batch size for `batch_size: auto`."""
    num_workers: Annotated[int, Field(ge=0)] = 2
    """Loader processes; 0 reads in the training process. Results do not depend on it."""
    pin_memory: bool = True
    """Use page-locked memory for faster copies to a GPU; no effect on the CPU."""
    channels: ChosenChannels | None = None
    """Use these channels of the files, counted from 0, in this order, instead of the data set's `channels`."""
    image_size: Size | None = None
    """Resize to this instead of the data set's `image_size`."""
    patch_size: Size | None = None
    """Train on random crops of this size; validation uses whole images."""
    limit_batches: Positive | None = None
    """Largest number of batches per epoch, a new random selection in each; default: all."""
    drop_last: bool = False
    """Leave out the last batch of an epoch if it is smaller than the others; each epoch leaves out other images."""
    patches_per_image: Positive = 1
    """Crops per image in an epoch."""
    foreground_share: Share = 0.5
    """Share of the crops that are centred on a foreground pixel. With several classes, a class of the image is drawn
    first, so that rare classes are seen."""
    cache: Literal["auto", "none", "memory", "disk"] = "auto"
    """Keep decoded images: in memory shared by all workers, or in files under `cache_dir`. `auto`: in memory if they
    take at most half of what is free and are read more than once; the choice is written into the run's config."""
    cache_dir: FilePath | None = None
    """Folder of the disk cache; default: `outputs/cache`."""
    augmentation: Augmentation = Augmentation(enabled=False)
    """Random augmentation of training images."""
    preprocessing: Preprocessing = Preprocessing()
    """Normalisation and padding."""

    @property
    def evaluated_at_once(self) -> int:
        """Images, or tiles, per forward pass outside of training on a GPU."""
        return self.val_batch_size or self.batch_size

    @classmethod
    def long_form(cls, given: Any) -> Any:
        """Expand `batch_size: auto`; a number turns `auto` off, so that the last setting counts."""
        if not isinstance(given, dict) or "batch_size" not in given:
            return given
        if given["batch_size"] == "auto":
            return {**given, "batch_size": 1, "fit_batch_size": True}
        return {"fit_batch_size": False, **given}
