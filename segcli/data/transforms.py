"""Augmentation of 2D images: albumentations transforms by name and by preset, with a seed for every sample."""

import os
import warnings
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from segcli.core.errors import ConfigError, nearest
from segcli.core.types import Array
from segcli.data.rows import QUICK, split_channels
from segcli.data.samples import Sample, as_unit
from segcli.data.settings import VOLUME_KEYS, Augmentation

_stated = os.environ.get("NO_ALBUMENTATIONS_UPDATE")
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # albumentations contacts its server when it is imported

import albumentations as A  # noqa: E402 - below the switch

if _stated is None:
    del os.environ["NO_ALBUMENTATIONS_UPDATE"]
else:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = _stated

__all__ = ["Augmenter"]

COLOUR = ({"type": "HueSaturationValue", "hue_shift_limit": 10, "sat_shift_limit": 20, "p": 0.3},)
LIGHT = (
    {"type": "HorizontalFlip", "p": 0.5},
    {"type": "RandomBrightnessContrast", "brightness_limit": 0.15, "contrast_limit": 0.15, "p": 0.5},
)
MEDIUM = (
    *LIGHT,
    {"type": "VerticalFlip", "p": 0.5},
    {
        "type": "Affine",
        "scale": [0.9, 1.1],
        "translate_percent": [-0.05, 0.05],
        "rotate": [-20, 20],
        "border_mode": cv2.BORDER_REFLECT_101,
        "p": 0.5,
    },
)
HEAVY = (
    *MEDIUM,
    {"type": "ElasticTransform", "alpha": 40, "sigma": 8, "border_mode": cv2.BORDER_REFLECT_101, "p": 0.3},
    {"type": "RandomGamma", "gamma_limit": [70, 140], "p": 0.3},
    {"type": "GaussianBlur", "blur_limit": [3, 5], "p": 0.2},
    {"type": "GaussNoise", "std_range": [0.01, 0.05], "p": 0.3},
)
STREET = (
    {"type": "HorizontalFlip", "p": 0.5},
    {
        "type": "Affine",
        "scale": [0.75, 1.5],
        "translate_percent": [-0.1, 0.1],
        "rotate": [-5, 5],
        "border_mode": cv2.BORDER_REFLECT_101,
        "p": 0.9,
    },
    {"type": "RandomBrightnessContrast", "brightness_limit": 0.25, "contrast_limit": 0.25, "p": 0.7},
    {"type": "RandomGamma", "gamma_limit": [70, 140], "p": 0.3},
    {"type": "GaussianBlur", "blur_limit": [3, 5], "p": 0.15},
)
PRESETS: dict[str, tuple[dict[str, Any], ...]] = {
    "light": LIGHT,
    "medium": MEDIUM,
    "heavy": HEAVY,
    "street": STREET,
}
TURNING, COLOURED = ("medium", "heavy"), ("heavy", "street")
"""Presets with quarter turns, and presets with changes of colour."""
KEEPING = (A.ImageOnlyTransform, A.HorizontalFlip, A.VerticalFlip, A.Transpose, A.RandomRotate90, A.D4)
"""Transforms that move whole pixels of a map, or none."""
TURNED, TURNS = (A.RandomRotate90, A.D4), 8
"""Transforms that draw whether they exchange rows and columns, and the draws after which one of them has done so."""
QUARTER_TURN = {"type": "RandomRotate90", "p": 0.5}


class Augmenter:
    """Applies the transforms of a run to one sample.

    Args:
        settings: The `data.augmentation` section.
        channels: Channels of an image; presets change colours only if there are 3.
        square: Whether all samples are square, so that quarter turns keep their size.

    Raises:
        ConfigError: A transform is unknown, has a wrong parameter, or does not work on these images.
    """

    def __init__(self, settings: Augmentation, *, channels: int, square: bool) -> None:
        for key in VOLUME_KEYS:
            if getattr(settings, key) is not None:
                raise ConfigError(
                    f"`data.augmentation.{key}` is for volumes", hint="use `preset` and `transforms` for 2D images"
                )
        entries = [*_preset(settings, channels=channels, square=square), *settings.transforms]
        transforms = [_build(position, dict(entry)) for position, entry in enumerate(entries)]
        for transform in transforms:
            _try_out(transform, channels)
        self.compose = A.Compose(transforms)
        self.channels = channels
        stated = transforms[len(transforms) - len(settings.transforms) :]  # presets keep the size
        self.moving = [transform for transform in stated if not isinstance(transform, A.ImageOnlyTransform)]
        """Transforms that may change the size."""
        self.keeps_pixels = all(isinstance(transform, KEEPING) for transform in transforms)
        """True if each pixel of a map is one of the map before."""

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """Augment the sample; the same seed gives the same pixels."""
        # flips and changes of colour leave a map of one value as it is, such as `valid` of most images
        varied = [name for name, values in sample.maps.items() if any(values.strides) or not self.keeps_pixels]
        names = varied or list(sample.maps)
        # albumentations cannot handle 16 bits; other images are copied, because a transform may change them in place,
        # and a cache holds them for the next epoch
        image = as_unit(sample.image) if sample.image.dtype == np.uint16 else sample.image.copy()
        self.compose.set_random_seed(seed % 2**32)
        # One stack for all maps: a transform may draw different random numbers for separate masks.
        changed = self.compose(image=image, mask=_joined([sample.maps[name] for name in names]))
        pixels, planes = changed["image"], split_channels(changed["mask"])
        if pixels.shape[:2] != sample.size:
            raise _changed_size(sample.size, pixels.shape[:2])
        maps = sample.maps | {  # the stack has one type, wide enough for all
            name: np.ascontiguousarray(plane, dtype=sample.maps[name].dtype)
            for name, plane in zip(names, planes, strict=True)
        }
        return Sample(image=pixels.reshape(*sample.size, -1), maps=maps)

    def refuse_changed_size(self, size: tuple[int, int]) -> None:
        """Try the transforms that may change the size on an image of this size.

        Raises:
            ConfigError: A transform changes the size, or does not work on it.
        """
        image = np.zeros((*size, self.channels), np.uint8)
        for transform in self.moving:
            draws = TURNS if size[0] != size[1] and isinstance(transform, TURNED) else 1
            for seed in range(draws):
                words = f"images of {size[0]}x{size[1]} pixels"
                changed = _tried(transform, image, words, seed).shape[:2]
                if changed != size:
                    raise _changed_size(size, changed)


def _changed_size(before: tuple[int, ...], after: tuple[int, ...]) -> ConfigError:
    return ConfigError(
        f"`data.augmentation` changed the size of an image from {before} to {after}",
        hint="use transforms that keep the size, or a square `data.patch_size`",
    )


def _joined(maps: Sequence[Array]) -> Array:
    """Put maps `(H, W)` side by side as `(H, W, N)`, of one type that is wide enough for all."""
    if len({values.dtype for values in maps}) > 1 or maps[0].dtype.name not in QUICK or len(maps) == 1:
        return np.stack(maps, axis=-1)
    joined: Array = cv2.merge([np.ascontiguousarray(values) for values in maps])
    return joined


def _preset(settings: Augmentation, *, channels: int, square: bool) -> tuple[dict[str, Any], ...]:
    name = settings.preset or (None if settings.transforms else "medium")
    if name is None:
        return ()
    turns = (QUARTER_TURN,) if square and name in TURNING else ()
    entries = (*PRESETS[name], *turns, *(COLOUR if name in COLOURED and channels == 3 else ()))
    shares = {
        "HorizontalFlip": settings.flip_probability,
        "VerticalFlip": settings.flip_probability,
        "RandomRotate90": settings.turn_probability,
    }
    stated = {name: share for name, share in shares.items() if share is not None}
    return tuple({**entry, "p": stated.get(entry["type"], entry["p"])} for entry in entries)


def _build(position: int, options: dict[str, Any]) -> A.BasicTransform:
    name = options.pop("type")
    kind = getattr(A, name, None)
    if not (isinstance(kind, type) and issubclass(kind, A.BasicTransform)):
        known = [word for word in dir(A) if isinstance(getattr(A, word), type)]
        close = nearest(name, known)
        raise ConfigError(
            f"`data.augmentation.transforms`: albumentations has no transform `{name}`",
            hint=f"did you mean `{close}`?" if close else "use the names of albumentations, such as `GaussianBlur`",
        )
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            transform: A.BasicTransform = kind(**options)
    except (ValueError, TypeError, Warning) as error:
        detail = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"`data.augmentation`: transform `{name}` does not accept its options ({detail})",
            hint=f"correct the options of `{name}`, which albumentations describes",
        ) from error
    return transform


def _try_out(transform: A.BasicTransform, channels: int) -> None:
    """Run the transform once on a small image, so that errors occur before the training starts."""
    probe = np.random.default_rng(0).integers(0, 255, (64, 64, channels), dtype=np.uint8)
    changed = _tried(transform, probe, f"images with {channels} channels")
    name, count = type(transform).__name__, changed.shape[2] if changed.ndim == 3 else 1
    if count != channels:
        raise ConfigError(
            f"`data.augmentation`: transform `{name}` makes {count} channels of {channels}, and the network has one "
            "number of channels",
            hint=f"use transforms that keep {channels} channels",
        )


def _tried(transform: A.BasicTransform, image: Array, words: str, seed: int = 0) -> Array:
    """Run the transform on an image and a mask, whatever its probability; return the image.

    Args:
        transform: The transform.
        image: The image, `(H, W, C)`.
        words: Words for such images in the message.
        seed: Seed of the draws.

    Raises:
        ConfigError: It fails, or returns no pixels.
    """
    name = type(transform).__name__
    share, transform.p = transform.p, 1.0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            changed = A.Compose([transform], seed=seed)(image=image, mask=image[..., :1])["image"]
    except Exception as error:
        detail = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"`data.augmentation`: transform `{name}` does not work on {words} ({detail})",
            hint=f"leave out `{name}`, or change its options",
        ) from error
    finally:
        transform.p = share
    if not isinstance(changed, np.ndarray):
        raise ConfigError(
            f"`data.augmentation`: transform `{name}` makes a tensor of an image",
            hint=f"leave out `{name}`: images become tensors after the augmentation",
        )
    return changed
