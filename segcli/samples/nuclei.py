"""Generated confocal volumes of cell nuclei: a folder of slices for each nucleus, with mask and class.

A nucleus is an ellipsoid with textured chromatin in a dark, noisy volume, brighter in the middle slices. Round and long
nuclei differ in shape; spotted nuclei have bright foci.
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile

from segcli.core.files import replacing, typed, write_text
from segcli.core.types import Array
from segcli.samples import SampleSet

__all__ = ["Nuclei"]

CLASSES = ("round", "long", "spotted")
RANGE = 4095
"""Largest grey value of the camera (12 bits)."""


class Nuclei(SampleSet):
    """Single nuclei of three kinds: round, long and spotted."""

    default_size = 32
    default_counts = {"train": 24, "val": 9, "test": 9}

    def shape(self, size: int) -> tuple[int, ...]:
        """Return the volume shape: half as many slices as rows and columns."""
        return size // 2, size, size

    def write(self, folder: Path, seed: int, size: int) -> Iterator[None]:
        """Write the slices of one nucleus after the other, then the table of classes."""
        lines, number = ["sample_id,class"], 0
        for split, count in self.default_counts.items():
            for index in range(count):
                number += 1
                kind = CLASSES[index % len(CLASSES)]
                lines.append(f"{number:04d},{kind}")
                stream = np.random.SeedSequence([seed, *split.encode(), index])
                raw, mask = self.draw(np.random.default_rng(stream), self.shape(size), kind)
                for name, stack in (("raw", raw), ("mask", mask)):
                    for z, plane in enumerate(stack):
                        file = folder / f"{number:04d}" / name / f"{z:04d}.tif"
                        with replacing(file, synced=False) as temporary, temporary.open("wb") as written:
                            tifffile.imwrite(written, plane, compression="zlib", metadata=None)
                yield
        write_text(folder / "classes.csv", "\n".join(lines) + "\n")

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> tuple[Array, Array]:
        """Draw image `(D, H, W)` uint16 and mask `(D, H, W)` uint8 of one nucleus."""
        radius = 0.5 * shape[1] * rng.uniform(0.55, 0.68)
        long = kind == "long"
        radii = np.array([0.45, 0.55 if long else 1.0, 1.15 if long else 1.0]) * radius * (1.0 if long else 0.85)
        radii *= rng.uniform(0.93, 1.07, 3)
        centre = (np.array(shape) - 1) / 2 + rng.uniform(-1.0, 1.0, 3)
        z, y, x = (axis - middle for axis, middle in zip(np.indices(shape), centre, strict=True))
        angle = rng.uniform(0, np.pi)
        turned = (z, np.cos(angle) * y - np.sin(angle) * x, np.sin(angle) * y + np.cos(angle) * x)
        mask = sum((axis / length) ** 2 for axis, length in zip(turned, radii, strict=True)) < 1
        light = 0.35 + 0.06 * _blurred(rng.normal(size=shape), 1.5)
        if kind == "spotted":
            places = np.argwhere(mask)
            spots = np.zeros(shape)
            chosen = places[rng.choice(len(places), 6, replace=len(places) < 6)]
            spots[tuple(chosen.T)] = 1.0
            soft = _blurred(spots, 0.035 * shape[1])
            light = light + 0.45 * soft / soft.max()
        volume = _blurred(np.where(mask, light, 0.04), 0.6) * rng.uniform(0.8, 1.2)
        noisy = volume + rng.normal(0, 0.02, shape) * (0.3 + np.sqrt(volume.clip(min=0)))
        return np.rint(noisy.clip(0, 1) * RANGE).astype(np.uint16), mask.astype(np.uint8) * 255

    def dataset_yaml(self, folder: Path, size: int) -> str:
        """Return the text of the data-set YAML beside the folders."""
        names, number = {}, 0
        for split, count in self.default_counts.items():
            names[split] = [f"{number + index + 1:04d}" for index in range(count)]
            number += count
        listed = {split: ", ".join(f'"{name}"' for name in names[split]) for split in ("val", "test")}
        crop = ", ".join(map(str, self.shape(size)))
        return (
            f"# segcli data check {typed(folder / 'dataset.yaml')}\n"
            "# Generated nuclei of three kinds, made by `segcli data sample nuclei`.\n"
            "name: nuclei_sample\n"
            "format: tiff_volumes\n"
            "paths: {root: .}\n"
            "sample: nuclei\n"
            f"crop_size: [{crop}]\n"
            f"intensity_range: [0, {RANGE}]\n"
            "split:\n"
            f"  val: [{listed['val']}]\n"
            f"  test: [{listed['test']}]\n"
            "mean: [0.063]\n"
            "std: [0.077]\n"
        )


def _blurred(volume: Array, width: float) -> Array:
    """Blur along all three axes; noise with standard deviation 1 roughly keeps it."""
    planes = np.stack([cv2.GaussianBlur(plane, (0, 0), width) for plane in volume.astype(np.float32)])
    kernel = cv2.getGaussianKernel(2 * int(3 * width) + 1, width)
    flat = cv2.sepFilter2D(planes.reshape(len(planes), -1), -1, np.ones(1), kernel)
    return np.asarray(flat.reshape(volume.shape))
