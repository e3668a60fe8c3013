"""Generated grey images of cells under a fluorescence microscope, with masks.

Cells are ellipses with a bent border, a texture of their own and a soft edge. They are of several sizes and may touch;
the background is uneven, and the camera adds noise.
"""

from pathlib import Path

import cv2
import numpy as np

from segcli.core.files import typed
from segcli.core.types import Array
from segcli.samples import Example, SampleMaker

__all__ = ["Cells"]

OVERSAMPLING = 2
BENDS = 3
"""Waves along the border of a cell."""


class Cells(SampleMaker):
    """Grey microscopy: bright cells of several sizes on a dark, uneven background; the mask has 255 inside cells."""

    default_size = 128
    default_counts = {"train": 24, "val": 6, "test": 8}

    def draw(self, rng: np.random.Generator, size: int) -> Example:
        """Draw one grey image `(H, W)` with the mask of its cells."""
        side = size * OVERSAMPLING
        light = _background(rng, side)
        mask: Array = np.zeros((side, side), np.uint8)
        for _ in range(int(rng.integers(8, 18))):
            border = _border(rng, side)
            cell = cv2.fillPoly(np.zeros_like(mask), [border], 255)
            soft = cv2.GaussianBlur(cell, (0, 0), 0.006 * side).astype(np.float32) / 255.0
            light = np.maximum(light, soft * (rng.uniform(0.35, 0.8) + 0.08 * _texture(rng, side, 0.02)))
            mask = np.maximum(mask, cell)
        small = cv2.resize(light, (size, size), interpolation=cv2.INTER_AREA)
        photons = rng.poisson(np.clip(small, 0.0, 1.0) * 220.0) + rng.normal(0.0, 2.0, small.shape)
        label = cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA) > 127
        return Example(np.clip(photons, 0, 255).astype(np.uint8), np.where(label, 255, 0).astype(np.uint8))

    def dataset_yaml(self, folder: Path, size: int) -> str:
        """Return the text of the data-set YAML beside the images."""
        return (
            f"# segcli data check {typed(folder / 'dataset.yaml')}\n"
            f"# Generated grey images of cells of {size}x{size} pixels, made by `segcli data sample cells`.\n"
            "name: cells_sample\n"
            "paths: {root: .}\n"
            "num_channels: 1\n"
            "num_classes: 1\n"
            "mean: [0.146]\n"
            "std: [0.149]\n"
        )


def _texture(rng: np.random.Generator, side: int, grain: float) -> Array:
    """Make smooth noise of mean 0 and standard deviation 1; `grain` is its scale as a share of the side."""
    noise = cv2.GaussianBlur(rng.standard_normal((side, side)).astype(np.float32), (0, 0), grain * side)
    texture: Array = (noise - noise.mean()) / max(float(noise.std()), 1e-6)
    return texture


def _background(rng: np.random.Generator, side: int) -> Array:
    background: Array = np.clip(rng.uniform(0.06, 0.14) + 0.02 * _texture(rng, side, 0.2), 0.0, 1.0)
    return background


def _border(rng: np.random.Generator, side: int) -> Array:
    """Draw the border of a cell: an ellipse whose radius varies by some waves."""
    angle = np.linspace(0.0, 2.0 * np.pi, 72, endpoint=False)
    radius = np.ones_like(angle)
    for wave in range(2, 2 + BENDS):
        radius += rng.normal(0.0, 0.05) * np.cos(wave * angle + rng.uniform(0.0, 2.0 * np.pi))
    long = side * rng.uniform(0.04, 0.10)
    wide = long * rng.uniform(0.6, 1.0)
    turn = rng.uniform(0.0, np.pi)
    x, y = long * radius * np.cos(angle), wide * radius * np.sin(angle)
    centre = rng.uniform(0.0, side, 2)
    turned = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=1)
    border: Array = np.rint(centre + turned).astype(np.int32)
    return border
