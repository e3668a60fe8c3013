"""Augmentation of 2D images: a probability per change becomes an albumentations transform."""

from typing import Any

from segcli.config.earlier.row import Asked, LeftOut, Row, Sets, Undecided
from segcli.config.earlier.values import largest, probability

__all__ = ["FLIPS", "TRANSFORMS"]

TRANSFORMS = {
    "HorizontalFlip": "hflip horizontal_flip flip_h h_flip random_hflip flip_lr hflip_p hflip_prob horizontal_flip_p "
    "horizontal_flip_prob flip_horizontal horizontal_flip_probability",
    "VerticalFlip": "vflip vertical_flip flip_v v_flip random_vflip flip_ud vflip_p vflip_prob vertical_flip_p "
    "vertical_flip_prob flip_vertical vertical_flip_probability",
    "RandomRotate90": "rotate90 random_rotate90 rotate90_p rot90 rot90_p rotate90_prob rotate_90 "
    "rotation90_probability",
    "RandomBrightnessContrast": "brightness_contrast brightness_contrast_p random_brightness_contrast",
    "ElasticTransform": "elastic elastic_p elastic_transform elastic_deformation",
    "GaussianBlur": "blur gaussian_blur blur_p blur_prob",
    "GaussNoise": "gauss_noise gaussian_noise noise_p gauss_noise_p",
    "RandomGamma": "random_gamma gamma_p",
    "HueSaturationValue": "hue_saturation hsv hsv_p hue_saturation_value",
    "CLAHE": "clahe clahe_p",
}
"""Transform of albumentations, and keys that held its probability, alone or in the section `augmentation`."""


def _transform(kind: str) -> Any:
    def read(value: Any, asked: Asked) -> Any:
        share = probability(value, asked)
        if share == 0.0:
            raise LeftOut("a probability of 0 is none")
        return Sets({f"~transform.{kind}": {"type": kind, "p": share}})

    return read


def _flip(value: Any, asked: Asked) -> Any:
    share = probability(value, asked)
    if share == 0.0:
        raise LeftOut("a probability of 0 is none")
    both = ("HorizontalFlip", "VerticalFlip")
    return Sets({f"~transform.{kind}": {"type": kind, "p": share} for kind in both}, "of both flips")


def _rotation(value: Any, asked: Asked) -> Any:
    degrees = largest(value, asked)
    if degrees == 0:
        raise LeftOut("no rotation")
    affine = {"type": "Affine", "rotate": [-degrees, degrees], "border_mode": 4, "p": 0.5}
    return Sets({"~transform.Affine": affine}, "with probability 0.5; the border is mirrored")


def _limits(value: Any, asked: Asked) -> Any:
    raise Undecided(
        "a limit without its transform: write `{type: RandomBrightnessContrast, brightness_limit: .., "
        "contrast_limit: .., "
        "p: 0.5}` into `data.augmentation.transforms`"
    )


def _everywhere(names: str) -> str:
    return " ".join([*names.split(), *(f"augmentation.{name}" for name in names.split())])


FLIPS = (
    *(
        Row(
            _everywhere(names),
            f"~transform.{kind}",
            "the probability, or true for 0.5",
            _transform(kind),
            keys=f"data.augmentation.transforms: [{{type: {kind}, p: ..}}]",
        )
        for kind, names in TRANSFORMS.items()
    ),
    Row(
        _everywhere("flip flip_prob flip_p flip_probability random_flip p_flip"),
        "~transform.HorizontalFlip",
        "of both flips",
        _flip,
        keys="data.augmentation.transforms: [{type: HorizontalFlip, p: ..}, {type: VerticalFlip, p: ..}]",
    ),
    Row(
        _everywhere("rotation rotate rotation_limit rotate_limit rotation_degrees rotation_range max_rotation"),
        "~transform.Affine",
        "in degrees, with probability 0.5",
        _rotation,
        keys="data.augmentation.transforms: [{type: Affine, rotate: [..]}]",
    ),
    Row(
        _everywhere("brightness contrast brightness_limit contrast_limit color_jitter"),
        "",
        "write the transform `RandomBrightnessContrast` with its limits",
        _limits,
    ),
)
"""Rows of every pipeline for 2D images."""
