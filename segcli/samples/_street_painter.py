"""Draws image and mask of a frame of a generated street scene."""

from collections.abc import Sequence

import cv2
import numpy as np

from segcli.core.types import Array
from segcli.samples._street import EYE_M, FAR_M, KERB_M, KINDS, NEAR_M, Colour, World

__all__ = ["CLASSES", "OVERSAMPLING", "Painter", "label_of", "photographed"]

CLASSES = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "lane_marking": (128, 0, 192),
    "sidewalk": (0, 0, 192),
    "tree": (128, 128, 0),
    "sign_symbol": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
    "void": (0, 0, 0),
}
"""Class colours of CamVid, with lane markings as a separate class."""
INDEX = {name: index for index, name in enumerate(CLASSES)}
METRES_PER_FRAME = 1.1
OVERSAMPLING = 2
SHIFT = 4
"""Fractional bits of OpenCV's sub-pixel coordinates."""


class Painter:
    """Paints image and mask of one frame.

    Args:
        world: Objects of the clip.
        height: Height of the canvas in pixels.
        width: Width of the canvas in pixels.
        number: Number of the frame in the clip.
    """

    def __init__(self, world: World, height: int, width: int, number: int) -> None:
        self.world = world
        self.number = number
        self.size = (height, width)
        self.focal = 0.95 * width
        self.image = np.zeros((height, width, 3), np.float32)
        self.label = np.full((height, width), INDEX["void"], np.uint8)
        self.x = 1.2 + 0.25 * np.sin(0.25 * number)
        """Position of the camera: on the right lane, with a slow swing."""
        self.z = METRES_PER_FRAME * number
        self.horizon = height * (0.44 + 0.004 * np.sin(1.3 * number))
        self.middle = width * (0.5 + 0.01 * np.sin(0.2 * number))

    def paint(self) -> None:
        """Paint everything, from far to near."""
        self._sky_and_ground()
        for house in sorted(self.world.houses, key=lambda house: -house["z"]):
            self._house(house)
        placed = [(thing["z"] + thing["speed"] * self.number - self.z, thing) for thing in self.world.things]
        paints = (self._tree, self._lamp, self._sign, self._fence, self._car, self._walker, self._rider)
        for distance, thing in sorted(placed, key=lambda entry: -entry[0]):
            if NEAR_M < distance < FAR_M * 0.75 or (KINDS[int(thing["kind"])] in ("fence", "car") and distance > -8):
                paints[int(thing["kind"])](thing, distance)
        self._bonnet()

    def _at(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Project a point to pixel coordinates; `z` is measured from the camera."""
        z = max(z, NEAR_M)
        return self.middle + self.focal * (x - self.x) / z, self.horizon + self.focal * (EYE_M - y) / z

    def _shape(self, points: Sequence[tuple[float, float]], name: str, colour: Colour | Array, z: float) -> None:
        """Fill a polygon in image and mask; distant objects fade into the haze."""
        fixed = np.rint(np.clip(np.array(points), -1e4, 1e4) * 2**SHIFT).astype(np.int32).reshape(-1, 1, 2)
        fade = 1.0 - np.exp(-max(z, 0.0) / 90.0)
        mixed = (1 - fade) * np.array(colour) * self.world.light + fade * self.world.haze * self.world.light
        cv2.fillPoly(self.image, [fixed], tuple(float(value) for value in mixed), cv2.LINE_8, SHIFT)
        cv2.fillPoly(self.label, [fixed], INDEX[name], cv2.LINE_8, SHIFT)

    def _oval(
        self, u: float, v: float, across: float, down: float, name: str, colour: Colour | Array, z: float
    ) -> None:
        angles = np.linspace(0, 2 * np.pi, 25)[:-1]
        self._shape([(u + across * np.cos(a), v + down * np.sin(a)) for a in angles], name, colour, z)

    def _upright(
        self, x: float, y: float, z: float, wide: float, high: float, name: str, colour: Colour | Array
    ) -> None:
        """Paint a rectangle that faces the camera, with the middle of its lower edge at `x`, `y`."""
        (left, low), (right, top) = self._at(x - wide / 2, y, z), self._at(x + wide / 2, y + high, z)
        self._shape([(left, low), (right, low), (right, top), (left, top)], name, colour, z)

    def _wall(
        self, x: float, near: float, far: float, low: float, high: float, name: str, colour: Colour | Array
    ) -> None:
        """Paint a rectangle parallel to the road."""
        if far > NEAR_M:
            corners = [(near, low), (far, low), (far, high), (near, high)]
            self._shape([self._at(x, y, z) for z, y in corners], name, colour, (max(near, 0.0) + far) / 2)

    def _sky_and_ground(self) -> None:
        rows, columns = np.mgrid[: self.size[0], : self.size[1]].astype(np.float32)
        up = np.clip(1.0 - rows / self.horizon, 0.0, 1.0)[:, :, None]
        top, low = self.world.sky
        drift = self.world.tile[:64, :64] * 2.0
        clouds = cv2.resize(cv2.GaussianBlur(drift, (0, 0), 3.0), self.size[::-1], interpolation=cv2.INTER_CUBIC)
        self.image[:] = (low + (top - low) * up**0.8 + 0.35 * np.clip(clouds, 0, 1)[:, :, None] * up) * self.world.light
        self.label[rows < self.horizon] = INDEX["sky"]
        below = rows > self.horizon + 1.0
        z = self.focal * EYE_M / np.maximum(rows - self.horizon, 0.3)
        x = (columns - self.middle) * z / self.focal + self.x
        along = z + self.z
        grain = self.world.tile[(x * 9).astype(int) % 256, (along * 9).astype(int) % 256][:, :, None]
        road = np.array([0.33, 0.33, 0.35]) + 0.035 * grain
        slabs = 0.04 * ((np.floor(x * 1.1) + np.floor(along * 1.1)) % 2)[:, :, None]
        pavement = np.array([0.56, 0.54, 0.52]) + 0.03 * grain + slabs
        kerb = (np.abs(x) > KERB_M) & (np.abs(x) < KERB_M + 0.25)
        dashes = (np.abs(x) < 0.09) & (along % 6.0 < 3.2)
        edges = np.abs(np.abs(x) - (KERB_M - 0.5)) < 0.07
        marks = (dashes | edges) & (z < 45.0)
        colour = np.where((np.abs(x) > KERB_M)[:, :, None], pavement, road)
        colour = np.where(kerb[:, :, None], 0.72, np.where(marks[:, :, None], 0.86, colour))
        fade = (1.0 - np.exp(-z / 90.0))[:, :, None]
        seen = below & (z < FAR_M)
        ground = ((1 - fade) * colour + fade * self.world.haze) * self.world.light
        self.image[below] = ground[below]
        self.label[seen] = INDEX["road"]
        self.label[seen & (np.abs(x) > KERB_M)] = INDEX["sidewalk"]
        self.label[seen & marks] = INDEX["lane_marking"]

    def _house(self, house: dict[str, float]) -> None:
        near, far = house["z"] - self.z, house["z"] + house["long"] - self.z
        if far < NEAR_M or near > FAR_M:
            return
        paint = np.array(self.world.paints[int(house["paint"])])
        x, high = house["x"], house["height"]
        if near > NEAR_M:
            self._upright(x + np.sign(x) * 6.0, 0.0, near, 12.0, high, "building", paint * 0.72)
        self._wall(x, near, far, 0.0, high, "building", paint)
        glass = np.array([0.20, 0.24, 0.30])
        for storey in range(int((high - 0.8) // 2.8)):
            for pane in np.arange(near + 0.9, far - 1.4, 2.4):
                if NEAR_M < pane < 55.0:
                    self._wall(x, pane, pane + 1.2, 2.8 * storey + 1.0, 2.8 * storey + 2.4, "building", glass)

    def _tree(self, tree: dict[str, float], z: float) -> None:
        x, high, wide = tree["x"], tree["height"], tree["width"]
        self._upright(x, 0.0, z, 0.28, high * 0.55, "tree", (0.26, 0.20, 0.15))
        green = np.array(self.world.paints[int(tree["paint"])])
        puffs = np.random.default_rng(int(tree["phase"] * 1e6))
        for _ in range(11):
            dx, dy, light = puffs.normal(0, 0.45) * wide, puffs.normal(0, 0.16) * high, puffs.uniform(0.75, 1.2)
            u, v = self._at(x + dx, high * 0.72 + dy, z)
            radius = self.focal * wide * puffs.uniform(0.38, 0.62) / z
            self._oval(u, v, radius, radius * puffs.uniform(0.75, 1.0), "tree", green * light, z)

    def _lamp(self, lamp: dict[str, float], z: float) -> None:
        paint, x, high = self.world.paints[int(lamp["paint"])], lamp["x"], lamp["height"]
        self._upright(x, 0.0, z, 2 * lamp["width"], high, "pole", paint)
        self._upright(x - np.sign(x) * 0.5, high - 0.1, z, 1.1, 0.13, "pole", paint)

    def _sign(self, sign: dict[str, float], z: float) -> None:
        x, high, wide = sign["x"], sign["height"], sign["width"]
        paint = self.world.paints[int(sign["paint"])]
        self._upright(x, 0.0, z, 0.09, high, "pole", (0.55, 0.56, 0.58))
        u, v = self._at(x, high, z)
        radius = self.focal * wide / z
        if sign["phase"] < 0.5:
            self._oval(u, v, radius, radius, "sign_symbol", paint, z)
            self._oval(u, v, 0.62 * radius, 0.62 * radius, "sign_symbol", (0.92, 0.92, 0.92), z)
        else:
            self._upright(x, high - wide, z, 2 * wide, 1.6 * wide, "sign_symbol", paint)
            self._upright(x, high - 0.6 * wide, z, 1.4 * wide, 0.5 * wide, "sign_symbol", (0.92, 0.92, 0.92))

    def _fence(self, fence: dict[str, float], z: float) -> None:
        paint = np.array(self.world.paints[int(fence["paint"])])
        x, far, high = fence["x"], z + fence["width"], fence["height"]
        self._wall(x, z, far, 0.0, high, "fence", paint)
        for post in np.arange(z, far, 0.5):
            if NEAR_M < post < 40.0:
                self._wall(x, post, post + 0.2, 0.0, high + 0.06, "fence", paint * 0.72)

    def _car(self, car: dict[str, float], z: float) -> None:
        """Paint the two visible faces of a car: rear (or front), and the side towards the middle of the image."""
        paint = np.array(self.world.paints[int(car["paint"])])
        x, wide, high, long = car["x"], 2 * car["width"], car["height"], 4.1
        glass, rubber = np.array([0.16, 0.19, 0.23]), np.array([0.05, 0.05, 0.06])
        side = x - np.sign(x - self.x) * wide / 2
        self._shape_on_ground(x, z, wide, long)
        self._wall(side, z, z + long, 0.22, 0.58 * high, "car", paint * 0.8)
        self._wall(side * 0.98 + x * 0.02, z + 0.5, z + 0.75 * long, 0.55 * high, high, "car", glass)
        for axle in (z + 0.4, z + long - 1.1):
            if axle > NEAR_M:
                self._wall(side, axle, axle + 0.66, 0.0, 0.5, "car", rubber)
        if z > NEAR_M:
            self._upright(x, 0.40 * high, z + 0.5, 0.84 * wide, 0.60 * high, "car", glass)
            self._upright(x, 0.95 * high, z + 0.6, 0.84 * wide, 0.07 * high, "car", paint)
            self._upright(x, 0.22, z, wide, 0.42 * high, "car", paint)
            lamp = np.array([0.85, 0.08, 0.06]) if car["speed"] >= 0 else np.array([0.95, 0.93, 0.80])
            for at in (-0.40, 0.40):
                self._upright(x + at * wide, 0.48 * high, z, 0.16 * wide, 0.10 * high, "car", lamp)
                self._upright(x + at * wide, 0.0, z, 0.13 * wide, 0.26, "car", rubber)

    def _shape_on_ground(self, x: float, z: float, wide: float, long: float) -> None:
        """Paint the shadow below a car: dark in the image, road in the mask."""
        label = self.label.copy()
        corners = [(x - wide / 2, z), (x + wide / 2, z), (x + wide / 2, z + long), (x - wide / 2, z + long)]
        self._shape([self._at(a, 0.0, b) for a, b in corners], "road", (0.10, 0.10, 0.11), z)
        self.label = label

    def _walker(self, walker: dict[str, float], z: float) -> None:
        paint = np.array(self.world.paints[int(walker["paint"])])
        x, high, wide = walker["x"], walker["height"], walker["width"]
        swing = 0.18 * np.sin(2 * np.pi * (walker["phase"] + 0.3 * self.number))
        for foot in (swing, -swing):
            (u0, v0), (u1, v1) = self._at(x + foot, 0.0, z), self._at(x, 0.5 * high, z)
            half = self.focal * 0.09 / z
            self._shape(
                [(u0 - half, v0), (u0 + half, v0), (u1 + half, v1), (u1 - half, v1)], "pedestrian", paint * 0.5, z
            )
        self._person(x, 0.44 * high, z, wide, 0.42 * high, "pedestrian", paint)

    def _person(self, x: float, y: float, z: float, wide: float, high: float, name: str, paint: Array) -> None:
        """Paint trunk and head."""
        u, v = self._at(x, y + high / 2, z)
        scale = self.focal / z
        self._oval(u, v, scale * wide, scale * high * 0.6, name, paint, z)
        self._oval(u, v - scale * (high / 2 + 0.16), scale * 0.11, scale * 0.14, name, (0.66, 0.50, 0.41), z)

    def _rider(self, rider: dict[str, float], z: float) -> None:
        paint = np.array(self.world.paints[int(rider["paint"])])
        x, scale = rider["x"], self.focal / z
        u, v = self._at(x, 0.36, z)
        self._oval(u, v, scale * 0.07, scale * 0.36, "bicyclist", (0.07, 0.07, 0.08), z)
        self._upright(x, 0.95, z, 0.55, 0.06, "bicyclist", (0.3, 0.3, 0.32))
        for leg in (-0.13, 0.13):
            pedal = 0.3 + 0.12 * np.sin(2 * np.pi * (rider["phase"] + 0.4 * self.number) + np.sign(leg) * 1.57)
            self._upright(x + leg, pedal, z, 0.15, 0.75 - pedal + 0.25, "bicyclist", paint * 0.45)
        self._person(x, 0.85, z, rider["width"], 0.6, "bicyclist", paint)

    def _bonnet(self) -> None:
        """Paint the bonnet of the camera's own car at the lower edge; its class is void."""
        height, width = self.size
        self._oval(self.middle, height * 1.06, width * 0.42, height * 0.13, "void", (0.10, 0.11, 0.13), 0.0)
        label = self.label.copy()
        self._oval(
            self.middle - width * 0.06, height * 1.07, width * 0.30, height * 0.115, "void", (0.17, 0.18, 0.21), 0.0
        )
        self.label = label


def label_of(label: Array) -> Array:
    """Downsample a mask by nearest neighbour, because class indices cannot be averaged."""
    return np.ascontiguousarray(label[OVERSAMPLING // 2 :: OVERSAMPLING, OVERSAMPLING // 2 :: OVERSAMPLING])


def photographed(rng: np.random.Generator, painter: Painter, size: tuple[int, int]) -> Array:
    """Simulate the camera: area sampling, lens blur, noise, 8 bits."""
    light = cv2.GaussianBlur(painter.image, (0, 0), 0.7)
    small = cv2.resize(light, size[::-1], interpolation=cv2.INTER_AREA)
    rows, columns = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    small = small * (1.0 - 0.10 * (rows**2 + columns**2))[:, :, None]
    small = small + rng.normal(0, 0.012, small.shape) + 0.006 * rng.normal(size=(*size, 1))
    return np.asarray(np.rint(np.clip(small, 0, 1) * 255), dtype=np.uint8)
