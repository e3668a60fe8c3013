"""Worlds of generated street scenes: what stands and moves beside the road of a clip."""

from dataclasses import dataclass, field

import cv2
import numpy as np

from segcli.core.types import Array

__all__ = ["EYE_M", "FAR_M", "KERB_M", "KINDS", "NEAR_M", "WALL_M", "Colour", "World", "make_world"]

EYE_M, NEAR_M, FAR_M = 1.6, 1.2, 110.0
"""Height of the camera, nearest and farthest visible distance, in metres."""
KERB_M, WALL_M = 4.2, 9.0
"""Distance from the middle of the road to the kerb and to the houses, in metres."""
Colour = tuple[float, float, float]
KINDS = ("tree", "lamp", "sign", "fence", "car", "walker", "rider")
"""Kinds of things beside and on the road."""


@dataclass
class World:
    """Objects of one clip; x points to the right, z along the road, in metres."""

    light: float
    haze: Array
    sky: tuple[Array, Array]
    """Sky colours at the top and at the horizon."""
    houses: list[dict[str, float]] = field(default_factory=list)
    things: list[dict[str, float]] = field(default_factory=list)
    """Objects that are drawn in order of distance, each with its `kind`, position, speed and look."""
    paints: list[Colour] = field(default_factory=list)
    tile: Array = field(default_factory=lambda: np.zeros((256, 256), np.float32))
    """Texture of the ground."""


def make_world(rng: np.random.Generator) -> World:
    dusk = rng.random()
    light = float(0.78 + 0.3 * rng.random())
    top = np.array([0.36, 0.55, 0.85]) * (1 - dusk) + np.array([0.62, 0.66, 0.72]) * dusk
    low = np.array([0.80, 0.87, 0.95]) * (1 - dusk) + np.array([0.88, 0.82, 0.74]) * dusk
    world = World(light, haze=low * 0.92, sky=(top, low))
    world.tile = cv2.GaussianBlur(rng.normal(size=(256, 256)).astype(np.float32), (0, 0), 0.8)
    for side in (-1.0, 1.0):
        _houses(rng, world, side)
        _row(rng, world, "tree", side, (5.4, 6.4), (9.0, 20.0), {"height": (4.5, 8.0), "width": (1.3, 2.3)})
        _row(rng, world, "lamp", side, (4.7, 4.9), (14.0, 24.0), {"height": (4.6, 6.2), "width": (0.07, 0.10)})
        _row(rng, world, "sign", side, (4.6, 5.0), (12.0, 30.0), {"height": (2.2, 2.9), "width": (0.32, 0.48)})
        _row(rng, world, "fence", side, (7.4, 7.8), (16.0, 30.0), {"height": (1.0, 1.6), "width": (6.0, 11.0)})
        _row(rng, world, "walker", side, (4.9, 7.0), (5.0, 13.0), {"height": (1.55, 1.9), "width": (0.20, 0.27)}, 0.14)
        _row(rng, world, "car", side, (3.15, 3.35), (12.0, 32.0), {"height": (1.4, 1.7), "width": (0.82, 0.95)})
    _row(rng, world, "rider", 1.0, (2.2, 2.8), (15.0, 26.0), {"height": (1.65, 1.85), "width": (0.24, 0.30)}, 0.45)
    _row(rng, world, "rider", -1.0, (2.2, 2.8), (18.0, 30.0), {"height": (1.65, 1.85), "width": (0.24, 0.30)}, -0.45)
    _row(rng, world, "car", -1.0, (1.3, 1.6), (26.0, 50.0), {"height": (1.4, 1.8), "width": (0.85, 0.98)}, -0.9)
    _row(rng, world, "car", 1.0, (1.2, 1.5), (34.0, 60.0), {"height": (1.4, 1.8), "width": (0.85, 0.98)}, 0.95)
    return world


def _houses(rng: np.random.Generator, world: World, side: float) -> None:
    z = rng.uniform(-12.0, -4.0)
    while z < FAR_M + 30:
        long = rng.uniform(8.0, 18.0)
        tone = rng.uniform(0.75, 1.1)
        base = np.array([(0.62, 0.42, 0.34), (0.70, 0.64, 0.53), (0.55, 0.53, 0.52), (0.72, 0.68, 0.64)])
        world.paints.append(tuple(base[rng.integers(len(base))] * tone))
        world.houses.append(
            {
                "x": side * (WALL_M + rng.uniform(-0.3, 1.2)),
                "z": z,
                "long": long,
                "height": rng.uniform(5.5, 13.0),
                "paint": len(world.paints) - 1,
            }
        )
        z += long + (rng.uniform(2.0, 8.0) if rng.random() < 0.35 else 0.0)


def _row(
    rng: np.random.Generator,
    world: World,
    kind: str,
    side: float,
    away: tuple[float, float],
    gap: tuple[float, float],
    looks: dict[str, tuple[float, float]],
    speed: float = 0.0,
) -> None:
    """Place objects of one kind along one side of the road; `speed` is in metres per frame."""
    z = rng.uniform(4.0, 4.0 + gap[0])
    while z < FAR_M + 20:
        world.paints.append(tuple(_paint(rng, kind)))
        drawn = {name: float(rng.uniform(*limits)) for name, limits in looks.items()}
        pace = speed * rng.uniform(0.8, 1.2) * (float(rng.choice([-1.0, 1.0])) if kind == "walker" else 1.0)
        place = {"kind": KINDS.index(kind), "x": side * rng.uniform(*away), "z": z, "speed": pace}
        world.things.append({**drawn, **place, "paint": len(world.paints) - 1, "phase": rng.random()})
        z += rng.uniform(*gap)


def _paint(rng: np.random.Generator, kind: str) -> Array:
    """Choose the colour of an object."""
    if kind == "tree":
        return np.array([0.20, 0.34, 0.14]) * rng.uniform(0.75, 1.25) + rng.uniform(0, 0.05, 3)
    if kind == "lamp":
        return np.full(3, rng.uniform(0.25, 0.42))
    if kind == "sign":
        signs = ((0.80, 0.12, 0.12), (0.12, 0.28, 0.70), (0.92, 0.78, 0.15))
        return np.array(signs[rng.integers(3)])
    if kind == "fence":
        return np.array([0.42, 0.34, 0.26]) * rng.uniform(0.7, 1.2)
    if kind == "car":
        cars = ((0.75, 0.76, 0.78), (0.12, 0.13, 0.15), (0.60, 0.10, 0.10), (0.13, 0.22, 0.48))
        return np.array(cars[rng.integers(4)]) * rng.uniform(0.85, 1.15)
    return rng.uniform(0.12, 0.75, 3)
