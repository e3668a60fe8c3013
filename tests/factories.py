"""Tiny data sets made of real files, and experiments on them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import h5py
import numpy as np
import tifffile
import yaml

from segcli.core.registry import MODELS


class _Small(Mapping[str, dict[str, object]]):
    """Keys that make each network small, as the network itself states them."""

    def __getitem__(self, name: str) -> dict[str, object]:
        if name not in MODELS.names():
            raise KeyError(name)  # a network of a test's own
        return MODELS.load(name).Config.small().model_dump(exclude_unset=True)

    def __iter__(self) -> Iterator[str]:
        return iter(MODELS.names())

    def __len__(self) -> int:
        return len(MODELS.names())


OBLIQUE = np.array([[0.0, -1.5, 0.0, 10.0], [-2.0, 0.0, 0.0, -20.0], [0.0, 0.0, 3.0, 5.0], [0.0, 0.0, 0.0, 1.0]])
"""Axes that are exchanged and reversed."""
SMALL = _Small()


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


def lesions(seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Make an image, and masks of 0 and 255 of two classes that do not overlap."""
    image, first = blobs(seed)
    return image, [first, np.where((np.roll(first, 20, axis=1) > 0) & (first == 0), 255, 0).astype(np.uint8)]


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


STREET: dict[str, tuple[int, int, int]] = {
    "sky": (128, 128, 128),
    "road": (128, 64, 128),
    "car": (64, 0, 128),
    "void": (0, 0, 0),
}
"""Classes of `street`, by the order of their indices, with their colours."""


def street(seed: int, size: tuple[int, int] = (24, 32)) -> tuple[np.ndarray, np.ndarray]:
    """An RGB frame of sky, road, a car and a void corner, and the index of the class of each pixel."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(size, np.uint8)
    truth[size[0] // 2 :] = 1
    left = int(rng.integers(0, size[1] - 10))
    truth[size[0] // 2 - 3 : size[0] // 2 + 5, left : left + 9] = 2
    truth[-4:, -6:] = 3
    levels = np.array([[150, 180, 220], [90, 90, 95], [180, 30, 30], [10, 10, 10]])
    return (levels[truth] + rng.normal(0, 8, (*size, 3))).clip(0, 255).astype(np.uint8), truth


def write_sequences(
    root: Path,
    counts: dict[str, int] | None = None,
    *,
    size: tuple[int, int] = (24, 32),
    index: bool = False,
    labels: str = "Labels",
) -> Path:
    """`Images/<sequence>` and `Labels/<sequence>` with `counts` frames each; returns `root`."""
    palette = np.array(list(STREET.values()), np.uint8)
    for sequence, count in (counts or {f"Video_{number:03d}": 3 for number in range(4)}).items():
        for number in range(count):
            image, truth = street(1000 * int(sequence[-3:]) + number, size)
            mask = truth if index else palette[truth][:, :, ::-1]
            for folder, pixels in (("Images", image[:, :, ::-1]), (labels, mask)):
                path = root / folder / sequence / f"{number + 1:04d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), pixels)
    return root


def street_classes() -> list[dict[str, object]]:
    """`classes` of a data-set file on `write_sequences`."""
    return [{"name": name, "color": list(color)} for name, color in STREET.items()]


def scenes_experiment(dataset: Path, **changes: object) -> dict[str, object]:
    """Keys of a tiny experiment on `write_sequences`: `Video_000` to train, 001 to validate, 002 to test.

    No frame shows the class `tram`.
    """
    values = experiment(dataset)
    tram = {"name": "tram", "color": [10, 20, 30]}
    *shown, void = street_classes()
    values["dataset"] = {
        **values["dataset"],  # type: ignore[dict-item]
        "format": "sequences",
        "classes": [*shown, tram, void],
        "ignore": ["void"],
        "split": {"train": ["Video_000"], "val": ["Video_001"], "test": ["Video_002"]},
    }
    training = {**values["training"], "loss": {"cross_entropy": 1.0, "dice": 0.5}}  # type: ignore[dict-item]
    return changed({**values, "training": training}, changes)


STRUCTURES = ["ball", "box"]


def bodies(seed: int, size: tuple[int, int, int] = (16, 16, 8)) -> tuple[np.ndarray, np.ndarray, str]:
    """A noisy volume from 0 to 1 with a bright ball and a dark box, one of which may be missing; masks and scenario."""
    rng = np.random.default_rng(seed)
    scenario = ("both", "ball_only", "box_only", "both")[seed % 4]
    place = np.indices(size).astype(float)
    ball = sum(((place[axis] - length * 0.3) / (length * 0.2)) ** 2 for axis, length in enumerate(size)) < 1
    box = np.all([abs(place[axis] - length * 0.7) < length * 0.15 for axis, length in enumerate(size)], axis=0)
    masks = np.stack([ball & (scenario != "box_only"), box & (scenario != "ball_only")]).astype(np.uint8)
    image = 0.5 + 0.3 * masks[0] - 0.3 * masks[1] + rng.normal(0, 0.05, size)
    return image.clip(0, 1).astype(np.float32), masks, scenario


def write_hdf5(
    root: Path,
    counts: dict[str, int] | None = None,
    *,
    size: tuple[int, int, int] = (16, 16, 8),
    channels: int | None = None,
    **metadata: object,
) -> Path:
    """`train.h5`, `val.h5` and so on with `metadata.json`; returns `root`."""
    root.mkdir(parents=True, exist_ok=True)
    about = {
        "structure_names": STRUCTURES,
        "image_size": list(size),
        "num_structures": 2,
        "spacing_mm": [2.0, 1.0, 3.0],
    }
    (root / "metadata.json").write_text(json.dumps({**about, **metadata}))
    for number, (split, count) in enumerate((counts or {"train": 6, "val": 4, "test": 2}).items()):
        cases = [bodies(1000 * number + index, size) for index in range(count)]
        images = np.stack([image for image, _, __ in cases])
        with h5py.File(root / f"{split}.h5", "w") as file:
            file["images"] = images if channels is None else np.stack([images] * channels, axis=1)
            file["masks"] = np.stack([masks for _, masks, __ in cases])
            file["presence_labels"] = file["masks"][:].reshape(count, 2, -1).any(2).astype(np.uint8)
            file["scenarios"] = [scenario for _, _, scenario in cases]
    return root


def write_nifti(root: Path, count: int = 6, *, affine: np.ndarray | None = None, vary: bool = False) -> Path:
    """`imagesTr/case_00.nii.gz` with `labelsTr`, numbers 1 and 2; sizes differ with `vary`."""
    import nibabel

    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image, masks, _ = bodies(index, (16 + 2 * (index % 3) * vary, 16, 8))
        for folder, voxels in (("imagesTr", image), ("labelsTr", (masks[0] + 2 * masks[1]).astype(np.uint8))):
            made = nibabel.Nifti1Image(voxels, np.diag([2.0, 1.0, 3.0, 1.0]) if affine is None else affine)
            nibabel.save(made, root / folder / f"case_{index:02d}.nii.gz")
    return root


def write_dicom(folder: Path, planes: np.ndarray, spacing: tuple[float, float, float] = (3.0, 2.0, 1.0)) -> Path:
    """A series `0.dcm`, `1.dcm` and so on of slices `(d, rows, columns)`, stored with an offset of 1024."""
    import pydicom

    folder.mkdir()
    for number, plane in enumerate(planes):
        data = pydicom.dataset.FileDataset(None, {}, preamble=b"\0" * 128)
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        data.SeriesInstanceUID = "1.2.3"
        data.Rows, data.Columns = plane.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [0, 0, number * spacing[0]]
        data.PixelSpacing = list(spacing[1:])
        data.RescaleSlope, data.RescaleIntercept = 1, -1024
        data.PixelData = (plane + 1024).astype(np.uint16).tobytes()
        data.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


def volumes_experiment(folder: Path, **changes: object) -> dict[str, object]:
    """Keys of a tiny experiment on the volumes of `write_hdf5`."""
    own = {key: changes.pop(key) for key in list(changes) if key.startswith("dataset__")}
    values = experiment(folder, **{"training__loss": {"bce": 0.5, "dice": 0.5}, **changes})
    values["dataset"] = {"format": "hdf5_volumes", "paths": {"root": str(folder)}}
    values["dataset"] |= {key.removeprefix("dataset__"): value for key, value in own.items()}  # type: ignore[operator]
    return values


NUCLEI = ("large", "small")
"""Classes of `nucleus`, by their indices."""


def nucleus(seed: int, size: tuple[int, int, int] = (8, 16, 16)) -> tuple[np.ndarray, np.ndarray]:
    """A noisy 16-bit volume with a bright ball, large for even seeds and small for odd ones, and the ball's mask."""
    rng = np.random.default_rng(seed)
    middle = [(length - 1) / 2 + rng.uniform(-0.5, 0.5) for length in size]
    radius = min(size) * (0.25 if seed % 2 else 0.45)
    away = sum((axis - at) ** 2 for axis, at in zip(np.indices(size), middle, strict=True))
    mask = np.asarray(away < radius**2)
    volume = rng.normal(120, 8, size) + mask * 150
    return volume.clip(0, 4095).astype(np.uint16), mask.astype(np.uint8) * 255


def write_nuclei(root: Path, count: int = 12, *, size: tuple[int, int, int] = (8, 16, 16), stack: bool = False) -> Path:
    """`0001/raw/*.tif`, `0001/mask/*.tif` and `classes.csv`, large and small in turn; returns `root`."""
    lines = ["sample_id,class"]
    for number in range(count):
        folder = root / f"{number + 1:04d}"
        lines.append(f"{folder.name},{NUCLEI[number % 2]}")
        for kind, voxels in zip(("raw", "mask"), nucleus(number, size), strict=True):
            (folder / kind).mkdir(parents=True)
            planes = {"stack.tif": voxels} if stack else {f"z{z}.tif": plane for z, plane in enumerate(voxels)}
            for name, plane in planes.items():
                tifffile.imwrite(folder / kind / name, plane, photometric="minisblack")
    (root / "classes.csv").write_text("\n".join(lines) + "\n")
    return root


def nuclei_experiment(dataset: Path, **changes: object) -> dict[str, object]:
    """Keys of a tiny experiment on `write_nuclei`."""
    values: dict[str, object] = {
        "name": "tiny",
        "dataset": {"format": "tiff_volumes", "paths": {"root": str(dataset)}, "crop_size": [8, 16, 16]},
        "data": {"batch_size": 4, "num_workers": 0},
        "model": {"type": "vgg3d", "depths": [4, 8], "convolutions": 1, "classifier_size": 8, "dropout": 0.5},
        "training": {"epochs": 2, "optimizer": {"type": "adam", "learning_rate": 0.01}},
        "logging": {"tensorboard": False},
        "device": "cpu",
    }
    return changed(values, changes)
