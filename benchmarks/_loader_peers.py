"""Loaders that users write in place of segcli's: torch, OpenCV and albumentations, or MONAI with its cache."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import h5py
import nibabel
import numpy as np
import tifffile
import torch
from torch.utils.data import DataLoader, Dataset

from segcli.data.transforms import A

__all__ = ["cached", "usual"]

Item = dict[str, Any]


class _Usual(Dataset[Item]):
    """Reads an item by a function, and changes it by another."""

    def __init__(self, count: int, read: Callable[[int], Item], change: Callable[[Item], Item]) -> None:
        self.count, self.read, self.change = count, read, change

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Item:
        return self.change(self.read(index))


# ---- pictures


def _pictures(root: Path) -> tuple[int, Callable[[int], Item]]:
    images = sorted((root / "train" / "image").iterdir())
    labels = sorted((root / "train" / "label").iterdir())

    def read(index: int) -> Item:
        image = cv2.imread(str(images[index]), cv2.IMREAD_UNCHANGED)
        if image.ndim == 3:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        mask = cv2.imread(str(labels[index]), cv2.IMREAD_GRAYSCALE)
        return {"image": image, "mask": (mask > 127).astype(np.uint8)}

    return len(images), read


def _with_albumentations(kind: Any) -> Callable[[Item], Item]:
    spec = kind.dataset
    top = 65535.0 if "16-bit" in kind.title else 255.0
    steps = [A.HorizontalFlip(p=0.5), A.Normalize(spec["mean"], spec["std"], top)]
    if "patch_size" in kind.data:
        steps.insert(0, A.RandomCrop(*kind.data["patch_size"]))
    compose = A.Compose([*steps, A.ToTensorV2()])

    def change(item: Item) -> Item:
        image = item["image"] if item["image"].ndim == 3 else item["image"][..., None]
        return compose(image=image, mask=item["mask"])

    return change


# ---- volumes


def _hdf5(root: Path) -> tuple[int, Callable[[int], Item]]:
    path = root / "train.h5"
    with h5py.File(path) as file:
        count = len(file["images"])

    def read(index: int) -> Item:
        with h5py.File(path) as file:
            return {"image": file["images"][index], "mask": file["masks"][index]}

    return count, read


def _nifti(root: Path) -> tuple[int, Callable[[int], Item]]:
    images, labels = sorted((root / "imagesTr").iterdir()), sorted((root / "labelsTr").iterdir())

    def read(index: int) -> Item:
        voxels = [np.asarray(nibabel.load(each[index]).dataobj) for each in (images, labels)]
        return {"image": voxels[0], "mask": voxels[1][None]}

    return len(images), read


def _slices(root: Path) -> tuple[int, Callable[[int], Item]]:
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    files = [sorted((folder / "raw").iterdir()) for folder in folders]

    def read(index: int) -> Item:
        return {"image": np.stack([tifffile.imread(path) for path in files[index]]), "class": index % 2}

    return len(files), read


def _with_numpy(kind: Any) -> Callable[[Item], Item]:
    mean, std = kind.dataset["mean"][0], kind.dataset["std"][0]

    def change(item: Item) -> Item:
        size = item["image"].shape
        start = [random.randint(0, have - want) for have, want in zip(size, kind.patch, strict=True)]
        window = tuple(slice(begin, begin + want) for begin, want in zip(start, kind.patch, strict=True))
        axes = tuple(axis for axis in range(3) if random.random() < 0.5)
        image = np.flip(item["image"][window], axes).astype(np.float32) / 65535
        found: Item = {"image": torch.from_numpy((image - mean) / std)[None].float()}
        if "mask" in item:
            mask = np.flip(item["mask"][(slice(None), *window)], tuple(axis + 1 for axis in axes))
            found["mask"] = torch.from_numpy(mask.copy())
        return found | ({"class": item["class"]} if "class" in item else {})

    return change


READERS = {"png": _pictures, "jpeg": _pictures, "tiff16": _pictures}
READERS |= {"hdf5": _hdf5, "nifti": _nifti, "slices": _slices}


def usual(name: str, kind: Any, root: Path) -> Callable[[], Iterator[Any]]:
    """Make the usual loader of a kind of data; each call reads an epoch."""
    count, read = READERS[name](root)
    is_picture = READERS[name] is _pictures
    change = _with_albumentations(kind) if is_picture else _with_numpy(kind)
    loader = DataLoader(_Usual(count, read, change), batch_size=4, shuffle=True, num_workers=0)
    return lambda: iter(loader)


def cached(name: str, kind: Any, root: Path) -> Callable[[], Iterator[Any]]:
    """Make MONAI's loader with all items in memory: normalised before they are cached, cropped and flipped after."""
    from monai import transforms as T
    from monai.data import CacheDataset

    count, read = READERS[name](root)
    spec = kind.dataset
    top = 255.0 if name in ("png", "jpeg") else 65535.0

    class Load(T.Transform):  # MONAI caches nothing from the first plain function on
        def __call__(self, index: int) -> Item:
            item = read(index)
            image = item["image"]
            item["image"] = image[None] if image.ndim == len(kind.patch) else np.moveaxis(image, -1, 0)
            if "mask" in item and item["mask"].ndim == len(kind.patch):
                item["mask"] = item["mask"][None]
            return item

    keys = ["image"] if name == "slices" else ["image", "mask"]
    subtract, divide = [top * value for value in spec["mean"]], [top * value for value in spec["std"]]
    steps: list[Any] = [
        Load(),
        T.EnsureTyped(keys, dtype=[torch.float32, torch.uint8][: len(keys)], track_meta=False),
        T.NormalizeIntensityd(["image"], subtrahend=subtract, divisor=divide, channel_wise=True),
    ]
    if "patch_size" in kind.data:
        steps.append(T.RandSpatialCropd(keys, kind.patch, random_size=False))
    steps += [T.RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in ([1] if len(kind.patch) == 2 else [0, 1, 2])]
    dataset = CacheDataset(list(range(count)), T.Compose(steps), progress=False, num_workers=1, copy_cache=False)
    loader = DataLoader(dataset, batch_size=4, shuffle=True, num_workers=0)
    return lambda: iter(loader)
