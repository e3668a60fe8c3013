"""Clean data sets of every layout, and the list of the faults that can be planted in them, one at a time."""

import copy
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
from factories import write_nuclei

COUNTS = {"train": 8, "val": 3, "test": 3}
SIZE = (96, 96)


def cells(seed: int, size: tuple[int, int] = SIZE, count: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """A noisy grey image with several bright ellipses, and their mask of 0 and 255."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, np.uint8)
    for _ in range(count):
        centre = tuple(int(value) for value in rng.integers(8, min(size) - 8, 2))
        axes = (int(rng.integers(5, 9)), int(rng.integers(5, 9)))
        cv2.ellipse(mask, centre, axes, int(rng.integers(180)), 0, 360, 255, -1)
    image = cv2.GaussianBlur(rng.normal(80, 40, size), (0, 0), 1.2) + (mask > 0) * 70
    return image.clip(0, 250).astype(np.uint8), mask


@dataclass
class Set:
    """A clean data set on disk, and its keys."""

    root: Path
    keys: dict[str, Any]
    places: dict[str, list[tuple[Path, Path]]]
    """Image and mask of each case by split."""

    def write(self, split: str, index: int, *, image: np.ndarray | None = None, mask: np.ndarray | None = None) -> None:
        for path, pixels in zip(self.places[split][index], (image, mask), strict=True):
            if pixels is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path), pixels)

    def read(self, split: str, index: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in self.places[split][index])
        return image, mask


def folders(root: Path) -> Set:
    places = {
        split: [
            (root / split / "image" / f"{split}{i:02d}.png", root / split / "label" / f"{split}{i:02d}.png")
            for i in range(count)
        ]
        for split, count in COUNTS.items()
    }
    return _pictures(Set(root, {"paths": {"root": str(root)}, "num_channels": 1, "num_classes": 1}, places))


def sequences(root: Path) -> Set:
    places = {
        split: [
            (root / "Images" / f"Video_{split}" / f"{i:04d}.png", root / "Labels" / f"Video_{split}" / f"{i:04d}.png")
            for i in range(count)
        ]
        for split, count in COUNTS.items()
    }
    keys = {
        "format": "sequences",
        "paths": {"root": str(root)},
        "num_channels": 1,
        "classes": [{"name": "background", "color": [0, 0, 0]}, {"name": "cell", "color": [255, 255, 255]}],
        "split": {split: [f"Video_{split}"] for split in COUNTS},
    }
    return _pictures(Set(root, keys, places))


def _pictures(made: Set) -> Set:
    seed = 0
    for split, members in made.places.items():
        for index in range(len(members)):
            image, mask = cells(seed)
            made.write(split, index, image=image, mask=mask)
            seed += 1
    return made


def body(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy volume of 8 x 64 x 64 voxels with bright ellipses, and their mask of 0 and 1."""
    planes = [cells(1000 + seed, (64, 64)) for _ in range(8)]
    rng = np.random.default_rng(seed)
    mask = np.stack([plane[1] > 0 for plane in planes])
    mask[0] = mask[-1] = False
    image = 0.3 + 0.3 * mask + rng.normal(0, 0.06, mask.shape)
    return image.clip(0, 1).astype(np.float32), mask.astype(np.uint8)


def nifti(root: Path) -> Set:
    places, seed = {}, 0
    for split, count in COUNTS.items():
        places[split] = []
        for i in range(count):
            pair = tuple(root / folder / f"{split}_{i:02d}.nii.gz" for folder in ("imagesTr", "labelsTr"))
            for path, voxels in zip(pair, body(seed), strict=True):
                save_nifti(path, voxels)
            places[split].append(pair)
            seed += 1
    names = {split: [f"{split}_{i:02d}" for i in range(count)] for split, count in COUNTS.items()}
    keys = {"format": "nifti_volumes", "paths": {"root": str(root)}, "classes": ["cell"]}
    return Set(root, {**keys, "split": {"val": names["val"], "test": names["test"]}}, places)


def save_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray | None = None) -> None:
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([3.0, 1, 1, 1]) if affine is None else affine), path)


def hdf5(root: Path) -> Set:
    import json

    root.mkdir(parents=True, exist_ok=True)
    about = {"structure_names": ["cell"], "num_structures": 1, "image_size": [8, 64, 64], "spacing_mm": [3.0, 1, 1]}
    (root / "metadata.json").write_text(json.dumps(about))
    seed = 0
    for split, count in COUNTS.items():
        cases = [body(seed + i) for i in range(count)]
        seed += count
        with h5py.File(root / f"{split}.h5", "w") as file:
            file["images"] = np.stack([image for image, _ in cases])
            file["masks"] = np.stack([mask[None] for _, mask in cases])
            file["presence_labels"] = np.ones((count, 1), np.uint8)
    return Set(root, {"format": "hdf5_volumes", "paths": {"root": str(root)}}, {})


def stacks(root: Path) -> Set:
    write_nuclei(root, 14)
    names = [f"{number + 1:04d}" for number in range(14)]
    keys = {"format": "tiff_volumes", "paths": {"root": str(root)}, "crop_size": [8, 16, 16]}
    return Set(root, {**keys, "split": {"val": names[8:11], "test": names[11:]}}, {})


SETS: dict[str, Callable[[Path], Set]] = {
    "folders": folders,
    "sequences": sequences,
    "nifti": nifti,
    "hdf5": hdf5,
    "stacks": stacks,
}
CLEAN: dict[str, tuple[Path, Set]] = {}
"""Layouts that were made before, where they are kept."""


def clean(layout: str, root: Path, keep: Path) -> Set:
    """Make a clean data set of a layout; later ones are copies of the first, which is kept below another folder."""
    if layout not in CLEAN:
        CLEAN[layout] = keep / f"clean_{layout}", SETS[layout](keep / f"clean_{layout}")
    kept, made = CLEAN[layout]
    shutil.copytree(kept, root)
    places = {
        split: [(root / image.relative_to(kept), root / mask.relative_to(kept)) for image, mask in members]
        for split, members in made.places.items()
    }
    return Set(root, {**copy.deepcopy(made.keys), "paths": {"root": str(root)}}, places)


FAULTS: dict[str, tuple[str, str, Callable[[Set], None]]] = {}
"""Codes, layouts and function of each fault by its name."""


def fault(code: str, layouts: str) -> Callable[[Callable[[Set], None]], Callable[[Set], None]]:
    def kept(plant: Callable[[Set], None]) -> Callable[[Set], None]:
        FAULTS[plant.__name__] = (code, layouts, plant)
        return plant

    return kept


PICTURES = "folders sequences"
