"""Keys of the data-set file and of `data:` in the experiment file."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from segcli.core.types import ConfigModel, FilePath, Positive, Share

__all__ = ["VOLUME_KEYS", "Augmentation", "DataSettings", "DatasetSpec", "Fold", "Paths", "Preprocessing"]

Size = Annotated[list[Positive], Field(min_length=2, max_length=3)]
"""Height and width, or depth, height and width, in pixels."""


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
"""Keys of augmentation that volumes have and 2D images have not."""
PositiveNumber = Annotated[float, Field(gt=0.0)]


class Paths(ConfigModel):
    """Where the images are. A relative path is looked up beside the data-set file, then from the working folder."""

    root: FilePath | None = None
    """Folder of the whole data set; the folder of the data-set file when left out."""
    train: FilePath | None = None
    """Folder of the training images; `root/train` when left out."""
    val: FilePath | None = None
    """Folder of the validation images; `root/val` when left out."""
    test: FilePath | None = None
    """Folder of the test images; `root/test` when left out."""


class ClassSpec(ConfigModel):
    """One class of a mask."""

    name: str
    """Name in tables, legends and reports."""
    color: Annotated[list[Annotated[int, Field(ge=0, le=255)]], Field(min_length=3, max_length=3)] | None = None
    """Colour in RGB, each from 0 to 255."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given


class Fold(ConfigModel):
    """One fold of a cross-validation."""

    index: Annotated[int, Field(ge=0)]
    """Which of them is for validation, from 0 on."""
    of: Annotated[int, Field(ge=2)]
    """How many there are."""
    seed: int = 0
    """Draws them."""


class DatasetSpec(ConfigModel):
    """What every data set states, whatever its format. The keys of the format itself stand beside these."""

    name: str = "dataset"
    """Name in tables and reports."""
    format: str = "image_folders"
    """Layout on disk; the name of a file in `segcli/datasets`."""
    task: str | None = None
    """What is predicted; follows from `num_classes` when left out: `binary` for 1."""
    paths: Paths = Paths()
    """Folders."""
    fold: Fold | None = None
    """Share out training and validation cases anew, for one fold of `segcli train --folds`, which sets it."""
    sample: str | None = None
    """Kind of `segcli data sample` that makes this data set, named where its folder is missing."""
    image_size: Size | None = None
    """Size that every image is resized to before it reaches the network; left out, images keep their size."""
    num_channels: Annotated[int, Field(ge=1, le=64)] = 3
    """Channels of an image: 1 for grey, 3 for RGB."""
    num_classes: Positive = 1
    """1 for one mask (foreground and background)."""
    classes: list[ClassSpec] = []
    """Names of the classes, or `{name, color}`, in the order of their indices."""
    mean: list[float] | None = None
    """Mean of each channel on the scale 0 to 1 (`segcli data stats` prints it)."""
    std: list[Annotated[float, Field(gt=0.0)]] | None = None
    """Standard deviation of each channel on the scale 0 to 1."""

    @model_validator(mode="after")
    def _one_number_per_channel(self) -> "DatasetSpec":
        for key, numbers in (("mean", self.mean), ("std", self.std)):
            if numbers is not None and len(numbers) != self.num_channels:
                raise ValueError(f"`{key}` has {len(numbers)} numbers for {self.num_channels} channels")
        if (self.mean is None) != (self.std is None):
            raise ValueError("`mean` and `std` go together: one of them is missing")
        return self


class Augmentation(ConfigModel):
    """Random changes of training images; image and masks move together."""

    enabled: bool = True
    """Off with `false`, whatever else is set."""
    preset: Literal["light", "medium", "heavy", "street", "nuclei"] | None = None
    """`light`: horizontal flip, brightness. `medium`: also vertical flip, quarter turns, shift, scale and turn.
    `heavy`: also elastic deformation, gamma, blur, noise and, for colour images, hue and saturation.
    `street`, for scenes that have an above and a below: horizontal flip, scale 0.75 to 1.5, shift, a little turn,
    light, blur and, for colour images, hue and saturation. Of volumes, `light` is noise of 0.02 and values times 0.9 to
    1.1, `medium` 0.05, 0.8 to 1.2 and turns of 10 degrees, `heavy` 0.1, 0.7 to 1.4 and 20 degrees; keys below change
    single figures. `nuclei`, for volumes without an above and a below: flips of every axis, quarter turns in the plane,
    gamma and contrast of 0.8 to 1.2, noise of up to 5 % in three of ten."""
    transforms: list[dict[str, Any]] = []
    """Albumentations transforms by name after those of the preset, such as `{type: GaussianBlur, p: 0.3}`; for 2D."""
    noise_std: Annotated[float, Field(ge=0.0)] | None = None
    """Volumes: deviation of Gaussian noise, in deviations of the volume's own values."""
    intensity_scale_range: Annotated[list[PositiveNumber], Field(min_length=2, max_length=2)] | None = None
    """Volumes: all values are multiplied by a number between these two."""
    noise_up_to: Share | None = None
    """Volumes: deviation of Gaussian noise as a share of the span from smallest to largest value, drawn for each from 0
    to this."""
    noise_share: Share | None = None
    """Volumes: share of them that get noise; all when left out."""
    gamma_range: Annotated[list[PositiveNumber], Field(min_length=2, max_length=2)] | None = None
    """Volumes: values on the scale from smallest to largest are raised to a power between these two."""
    contrast_range: Annotated[list[PositiveNumber], Field(min_length=2, max_length=2)] | None = None
    """Volumes: distances from the mean are multiplied by a number between these two."""
    quarter_turns: bool | None = None
    """Volumes: turned in the plane of the last two axes by a multiple of 90 degrees, of 180 where these differ."""
    rotation_degrees: Annotated[float, Field(ge=0.0, le=180.0)] | None = None
    """Volumes: turned about each axis by up to so many degrees either way."""
    flip_axes: list[Annotated[int, Field(ge=0, le=2)]] | None = None
    """Volumes: axes that are each reversed half of the time; none by default, for left and right may differ."""

    @classmethod
    def long_form(cls, given: Any) -> Any:
        """Write out `heavy` and `true`."""
        if isinstance(given, str):
            return {"preset": given}
        return {"enabled": given} if isinstance(given, bool) else given

    @field_validator("transforms")
    @classmethod
    def _each_has_a_type(cls, transforms: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for position, transform in enumerate(transforms):
            if not isinstance(transform.get("type"), str):
                raise ValueError(f"transform {position} has no `type`, such as `HorizontalFlip`")
        return transforms


class Preprocessing(ConfigModel):
    """What happens to every image, in training and prediction alike."""

    normalize: Literal[True, False, "per_image", "min_max"] = True
    """`true`: subtract the data set's `mean` and divide by its `std`. `per_image`: each image by its own.
    `min_max`: each image from 0 to 1 by its smallest and largest value. `false`: scale the type's range to 0 to 1."""
    pad_to_multiple: Positive | None = None
    """Pad each size up to a multiple of this; the network's own stride when left out."""

    @property
    def by_image(self) -> bool:
        """Whether normalising takes values that only the whole of an image has."""
        return isinstance(self.normalize, str)


class DataSettings(ConfigModel):
    """How images are cut into batches."""

    batch_size: Positive = 4
    """Images per training step and per forward pass of validation; `auto` takes the largest that fits the GPU."""
    fit_batch_size: bool = False
    """Set by `batch_size: auto`; training writes the number that it chose into the run's config."""
    max_batch_size: Positive = 64
    """Largest batch that `batch_size: auto` takes."""
    num_workers: Annotated[int, Field(ge=0)] = 2
    """Loader processes; 0 reads in the training process. Results do not depend on it."""
    pin_memory: bool = True
    """Page-locked buffers for faster copies to a GPU; without effect on the CPU."""
    image_size: Size | None = None
    """Resize to this instead of the data set's `image_size`."""
    patch_size: Size | None = None
    """Train on random crops of this size; validation sees whole images."""
    limit_batches: Positive | None = None
    """Batches of an epoch at most, drawn anew in each; all when left out."""
    patches_per_image: Positive = 1
    """Crops that each image gives in an epoch."""
    foreground_share: Share = 0.5
    """Share of the crops that are centred on a foreground pixel; of many classes, on a pixel of one that is drawn
    among those in the image, so that rare ones are seen."""
    cache: Literal["none", "memory", "disk"] = "none"
    """Keep decoded images: in memory shared by all workers, or in files under `cache_dir`."""
    cache_dir: FilePath | None = None
    """Folder of the disk cache; `outputs/cache` when left out."""
    augmentation: Augmentation = Augmentation(enabled=False)
    """Random changes of training images."""
    preprocessing: Preprocessing = Preprocessing()
    """Normalisation and padding."""

    @classmethod
    def long_form(cls, given: Any) -> Any:
        """Write out `batch_size: auto`; a number turns it off, so that the later of the two counts."""
        if not isinstance(given, dict) or "batch_size" not in given:
            return given
        if given["batch_size"] == "auto":
            return {**given, "batch_size": 1, "fit_batch_size": True}
        return {"fit_batch_size": False, **given}
