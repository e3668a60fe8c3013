"""Generate the data of the comparison: RGB pictures with one mask in PNG, volumes with two structures in NIfTI."""

from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["pictures", "volumes"]


def _field(rng: np.random.Generator, size: tuple[int, ...], coarse: int) -> np.ndarray:
    """Make smooth noise: coarse random numbers, enlarged."""
    small = rng.random([-(-length // coarse) for length in size])
    for axis in range(len(size)):
        small = small.repeat(coarse, axis)
    return small[tuple(slice(0, length) for length in size)]


def _ball(rng: np.random.Generator, size: tuple[int, ...], least: float, most: float) -> np.ndarray:
    """Draw one ellipsoid of random place and axes, in shares of the side."""
    where = np.meshgrid(*(np.arange(length) for length in size), indexing="ij", sparse=True)
    squares = [
        ((at - rng.uniform(0.2, 0.8) * length) / (rng.uniform(least, most) * length)) ** 2
        for at, length in zip(where, size, strict=True)
    ]
    return np.asarray(sum(squares) <= 1.0)


def pictures(root: Path, side: int, counts: dict[str, int]) -> None:
    """Write bright ellipses on a spotted ground, in folders as `segcli` reads them."""
    for number, (split, count) in enumerate(counts.items()):
        rng = np.random.default_rng(number)
        for folder in ("image", "label"):
            (root / split / folder).mkdir(parents=True)
        for index in range(count):
            size = (side, side)
            mask = np.any([_ball(rng, size, 0.05, 0.15) for _ in range(4)], axis=0)
            ground = 0.2 + 0.25 * _field(rng, size, 16) + rng.normal(0.0, 0.05, size)
            grey = (ground + 0.25 * mask)[..., None] * np.array([1.0, 0.85, 0.8])
            name = f"{split}_{index:03d}.png"
            Image.fromarray((255 * np.clip(grey, 0, 1)).astype(np.uint8)).save(root / split / "image" / name)
            Image.fromarray(mask.astype(np.uint8) * 255).save(root / split / "label" / name)


def volumes(root: Path, side: int, counts: dict[str, int]) -> None:
    """Write a ball and a tube on a spotted ground, of 16 bits, as compressed NIfTI files."""
    import nibabel

    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    for number, (split, count) in enumerate(counts.items()):
        rng = np.random.default_rng(number)
        for index in range(count):
            size = (side,) * 3
            ball = _ball(rng, size, 0.15, 0.25)
            at, radius = rng.uniform(0.25, 0.75, 2) * side, rng.uniform(0.08, 0.12) * side
            y, x = np.ogrid[:side, :side]
            tube = np.broadcast_to((y - at[0]) ** 2 + (x - at[1]) ** 2 <= radius**2, size) & ~ball
            values = 300.0 + 200.0 * _field(rng, size, 8) + rng.normal(0.0, 40.0, size) + 250.0 * ball + 500.0 * tube
            name = f"{split}_{index:03d}.nii.gz"
            labels = (ball + 2 * tube).astype(np.uint8)
            for folder, array in (("imagesTr", values.astype(np.int16)), ("labelsTr", labels)):
                made = nibabel.Nifti1Image(array, np.eye(4))  # type: ignore[no-untyped-call]  # nibabel states no types
                nibabel.save(made, root / folder / name)
