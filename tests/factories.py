"""Tiny data sets made of real files, and experiments on them."""

from pathlib import Path

import cv2
import numpy as np
import yaml

SMALL: dict[str, dict[str, object]] = {
    "unet": {"depths": [4, 8]},
    "utrans": {"depths": [4, 8], "transformer_depth": 1, "transformer_heads": 2},
    "roinet": {"depths": [4, 4, 4, 4, 4, 4], "kernel_size": 3},
    "transroinet": {"depths": [4, 4, 4, 4, 4, 4], "kernel_size": 3, "transformer_depth": 1, "transformer_heads": 2},
    "sa_unet": {"depths": [4, 8]},
    "deeplabv3_plus": {"backbone": "resnet18", "channels": 8},
}
"""Keys that make each model small."""


def blobs(seed: int, size: tuple[int, int] = (48, 48), channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A noisy image with a bright ellipse, and the ellipse's mask of 0 and 255."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, np.uint8)
    centre = tuple(int(value) for value in rng.integers(12, min(size) - 12, 2))
    cv2.ellipse(
        mask, centre, (int(rng.integers(5, 11)), int(rng.integers(5, 11))), int(rng.integers(180)), 0, 360, 255, -1
    )
    image = rng.normal(90, 20, (*size, channels)) + (mask[:, :, None] > 0) * 80
    return image.clip(0, 255).astype(np.uint8), mask


def write_folders(
    root: Path,
    counts: dict[str, int] | None = None,
    *,
    size: tuple[int, int] = (48, 48),
    channels: int = 3,
    extension: str = "png",
) -> Path:
    """`<split>/image` and `<split>/label` with `counts` images each; returns `root`."""
    for number, (split, count) in enumerate((counts or {"train": 6, "val": 2, "test": 2}).items()):
        for kind in ("image", "label"):
            (root / split / kind).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            image, mask = blobs(1000 * number + index, size, channels)
            cv2.imwrite(str(root / split / "image" / f"{index:02d}.{extension}"), image)
            cv2.imwrite(str(root / split / "label" / f"{index:02d}.png"), mask)
    return root


def experiment(dataset: Path, **changes: object) -> dict[str, object]:
    """Keys of a tiny experiment on `dataset`; `changes` are dotted with `__`, as `training__epochs=3`."""
    values: dict[str, object] = {
        "name": "tiny",
        "dataset": {"paths": {"root": str(dataset)}, "num_channels": 3, "mean": [0.4] * 3, "std": [0.2] * 3},
        "data": {"batch_size": 2, "num_workers": 0},
        "model": {"type": "unet", "depths": [4, 8]},
        "training": {
            "epochs": 2,
            "loss": {"bce": 0.5, "dice": 0.5},
            "optimizer": {"type": "adam", "learning_rate": 0.01},
        },
        "logging": {"tensorboard": False},
        "device": "cpu",
    }
    return changed(values, changes)


def changed(values: dict[str, object], changes: dict[str, object]) -> dict[str, object]:
    """The keys with `changes`, dotted with `__`."""
    for dotted, value in changes.items():
        *sections, key = dotted.split("__")
        target = values
        for section in sections:
            target = target.setdefault(section, {})  # type: ignore[assignment]
        target[key] = value
    return values


def write_experiment(path: Path, values: dict[str, object]) -> Path:
    """Write the keys as YAML; returns `path`."""
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


SCENE_CLASSES: dict[str, tuple[int, int, int]] = {
    "sky": (128, 128, 128),
    "road": (128, 64, 128),
    "car": (64, 0, 128),
    "tram": (10, 20, 30),
    "void": (0, 0, 0),
}
"""Colours of the classes of `write_sequences`; no frame shows a tram."""


def scene(seed: int, size: tuple[int, int] = (32, 48)) -> tuple[np.ndarray, np.ndarray]:
    """A noisy frame, and its mask painted in colours: sky above road, a car on it, a void strip below."""
    rng = np.random.default_rng(seed)
    mask = np.full((*size, 3), SCENE_CLASSES["sky"], np.uint8)
    horizon, left = int(rng.integers(10, 16)), int(rng.integers(4, 32))
    mask[horizon:] = SCENE_CLASSES["road"]
    mask[horizon + 4 : horizon + 12, left : left + 10] = SCENE_CLASSES["car"]
    mask[-3:] = SCENE_CLASSES["void"]
    image = mask.astype(float) * 0.8 + rng.normal(30, 12, (*size, 3))
    return image.clip(0, 255).astype(np.uint8), mask


def write_sequences(root: Path, counts: dict[str, int] | None = None, *, size: tuple[int, int] = (32, 48)) -> Path:
    """`Images/<name>` and `Labels/<name>` with `counts` frames each; returns `root`."""
    for number, (name, count) in enumerate((counts or {"a": 6, "b": 2, "c": 2}).items()):
        for kind in ("Images", "Labels"):
            (root / kind / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            image, mask = scene(100 * number + index, size)
            for kind, pixels in (("Images", image), ("Labels", mask)):
                cv2.imwrite(str(root / kind / name / f"{index:03d}.png"), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return root


def scenes_experiment(dataset: Path, **changes: object) -> dict[str, object]:
    """Keys of a tiny experiment on the sequences `a` (train), `b` (val) and `c` (test) of `dataset`."""
    values = experiment(dataset)
    classes = [{"name": name, "color": list(color)} for name, color in SCENE_CLASSES.items()]
    values["dataset"] = {
        **values["dataset"],  # type: ignore[dict-item]
        "format": "sequences",
        "classes": classes,
        "ignore": ["void"],
        "split": {"train": ["a"], "val": ["b"], "test": ["c"]},
    }
    training = dict(values["training"])  # type: ignore[call-overload]
    training["loss"] = {"cross_entropy": 1.0, "dice": 0.5}
    values["training"] = training
    return changed(values, changes)
