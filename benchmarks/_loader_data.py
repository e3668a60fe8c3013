"""Files and runs for the benchmark of the loader: six kinds of data, each with its keys of a run."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import h5py
import nibabel
import numpy as np
import tifffile

__all__ = ["KINDS", "Kind"]

SEED = 42


def _photo(rng: np.random.Generator, size: tuple[int, int], channels: int) -> np.ndarray:
    """Draw smooth light and shade with the noise of a camera, `(H, W, C)` uint8."""
    coarse = rng.uniform(40, 215, (size[0] // 32, size[1] // 32, channels)).astype(np.float32)
    smooth = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC).reshape(*size, channels)
    return (smooth + rng.normal(0, 4, smooth.shape)).clip(0, 255).astype(np.uint8)


def _mask(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Draw ellipses of 255 on 0."""
    mask = np.zeros(size, np.uint8)
    for _ in range(12):
        centre = (int(rng.integers(size[1])), int(rng.integers(size[0])))
        axes = (int(rng.integers(8, 60)), int(rng.integers(8, 60)))
        cv2.ellipse(mask, centre, axes, int(rng.integers(180)), 0, 360, 255, -1)
    return mask


def _pictures(root: Path, count: int, size: tuple[int, int], ending: str) -> None:
    rng = np.random.default_rng(SEED)
    for folder in ("image", "label"):
        (root / "train" / folder).mkdir(parents=True)
    for index in range(count):
        mask = _mask(rng, size)
        image = root / "train" / "image" / f"{index:03d}.{ending}"
        if ending == "tif":
            deep = _photo(rng, size, 1)[..., 0].astype(np.uint16) * np.uint16(200)
            tifffile.imwrite(image, deep + rng.integers(0, 200, size, dtype=np.uint16))
        else:
            cv2.imwrite(str(image), _photo(rng, size, 3))
        cv2.imwrite(str(root / "train" / "label" / f"{index:03d}.png"), mask)


def _volume(rng: np.random.Generator, size: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Make a noisy volume of 12 bits and its mask of 0 and 1."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, length) for length in size), indexing="ij"))
    centre = rng.uniform(-0.5, 0.5, 3)[:, None, None, None]
    mask = (((grid - centre) ** 2).sum(0) < 0.15).astype(np.uint8)
    return (rng.normal(900, 90, size) + 700.0 * mask).clip(0, 4095).astype(np.uint16), mask


def _hdf5(root: Path, count: int, size: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(SEED)
    volumes = [_volume(rng, size) for _ in range(count)]
    with h5py.File(root / "train.h5", "w") as file:
        file["images"] = np.stack([image for image, _ in volumes])
        file["masks"] = np.stack([mask[None] for _, mask in volumes])
        file["presence_labels"] = np.ones((count, 1), np.uint8)
    about = {"structure_names": ["ball"], "num_structures": 1, "spacing_mm": [1.0] * 3, "image_size": list(size)}
    (root / "metadata.json").write_text(json.dumps(about))


def _nifti(root: Path, count: int, size: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(SEED)
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir()
    for index in range(count):
        for folder, voxels in zip(("imagesTr", "labelsTr"), _volume(rng, size), strict=True):
            image = nibabel.Nifti1Image(voxels, np.diag([1.0, 1.0, 2.0, 1.0]))
            nibabel.save(image, root / folder / f"case_{index:02d}.nii.gz")


def _slices(root: Path, count: int, size: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(SEED)
    lines = ["sample_id,class"]
    for index in range(count):
        folder = root / f"{index:04d}" / "raw"
        folder.mkdir(parents=True)
        for number, plane in enumerate(_volume(rng, size)[0]):
            tifffile.imwrite(folder / f"z{number:03d}.tif", plane)
        lines.append(f"{index:04d},{('even', 'odd')[index % 2]}")
    (root / "classes.csv").write_text("\n".join(lines) + "\n")


@dataclass(frozen=True)
class Kind:
    """Describes a kind of data: how its files are written, and the keys of a run on it."""

    title: str
    count: int
    write: Callable[[Path, int], None]
    dataset: dict[str, Any]
    data: dict[str, Any]
    patch: tuple[int, ...]
    """Size of a sample as the network sees it."""

    def run(self, root: Path, **data: Any) -> dict[str, Any]:
        """Return the keys of a run whose loader reads in the process itself."""
        dataset = {"paths": {"root": str(root)}, **self.dataset}
        given = {"batch_size": 4, "num_workers": 0, "cache": "none", "foreground_share": 0.0, **self.data, **data}
        model: dict[str, Any] = {"type": "unet", "depths": [4, 8]}
        training: dict[str, Any] = {"epochs": 1}
        if self.title == "TIFF slices":
            model = {"type": "vgg3d", "depths": [4, 8], "classifier_size": 8}  # the default takes 256 MiB
            training = {"epochs": 1, "loss": {"cross_entropy": 1.0}}
        return {
            "name": "loader",
            "dataset": dataset,
            "data": given,
            "model": model,
            "training": training,
            "logging": {"tensorboard": False},
            "device": "cpu",
        }


FLIPS = {"transforms": [{"type": "HorizontalFlip", "p": 0.5}]}
RGB = {"num_channels": 3, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
GREY = {"num_channels": 1, "mean": [0.2], "std": [0.1]}
BALL = {"classes": ["ball"], "num_classes": 1, **GREY}
FLIPS_3D = {"flip_axes": [0, 1, 2]}
KINDS = {
    "png": Kind(
        "PNG 512x512 RGB",
        32,
        lambda root, count: _pictures(root, count, (512, 512), "png"),
        {"format": "image_folders", **RGB},
        {"augmentation": FLIPS},
        (512, 512),
    ),
    "jpeg": Kind(
        "JPEG 1200x1680, crops of 512",
        12,
        lambda root, count: _pictures(root, count, (1200, 1680), "jpg"),
        {"format": "image_folders", **RGB},
        {"augmentation": FLIPS, "patch_size": [512, 512]},
        (512, 512),
    ),
    "tiff16": Kind(
        "TIFF 512x512, 16-bit grey",
        32,
        lambda root, count: _pictures(root, count, (512, 512), "tif"),
        {"format": "image_folders", **GREY},
        {"augmentation": FLIPS},
        (512, 512),
    ),
    "hdf5": Kind(
        "HDF5 96x128x128, crops of 64x96x96",
        8,
        lambda root, count: _hdf5(root, count, (96, 128, 128)),
        {"format": "hdf5_volumes", **BALL},
        {"augmentation": FLIPS_3D, "patch_size": [64, 96, 96]},
        (64, 96, 96),
    ),
    "nifti": Kind(
        "NIfTI 96x128x128 (.nii.gz), crops of 64x96x96",
        8,
        lambda root, count: _nifti(root, count, (96, 128, 128)),
        {"format": "nifti_volumes", "split": {"val": [], "test": []}, **BALL},
        {"augmentation": FLIPS_3D, "patch_size": [64, 96, 96]},
        (64, 96, 96),
    ),
    "slices": Kind(
        "TIFF slices",
        12,
        lambda root, count: _slices(root, count, (24, 64, 64)),
        {
            "format": "tiff_volumes",
            "crop_size": [24, 64, 64],
            "cache_volumes": 1,
            "split": {"val": 0.0, "test": 0.0},
            **GREY,
        },
        {"augmentation": FLIPS_3D},
        (24, 64, 64),
    ),
}
