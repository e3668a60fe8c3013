"""Images with a fixed top or left: their classes keep their places, so a plan does not exchange them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segcli.core.types import Array
from segcli.planning.clock import Clock
from segcli.planning.learning import augmentation, inference
from segcli.planning.measures import measured
from segcli.planning.recognise import recognise

LEFT = (slice(16, 48), slice(4, 20))
RIGHT = (slice(16, 48), slice(44, 60))
TOP = (slice(8, 18), slice(4, 60))
BELOW = (slice(24, 34), slice(4, 60))


def write(folder: Path, *places: tuple[slice, slice], swapped: int = 0) -> None:
    """Write 12 images with an object of each of two classes; in the last `swapped` ones they have changed places."""
    for number in range(12):
        rng = np.random.default_rng(number)
        mask: Array = np.zeros((64, 64), np.uint8)
        order = places[::-1] if number >= 12 - swapped else places
        for label, place in enumerate(order, start=1):
            mask[place] = label
        mask = np.roll(mask, rng.integers(-3, 4, 2), (0, 1))
        image = rng.normal(80 + 60 * mask, 12).clip(0, 255).astype(np.uint8)
        for name, pixels in (("images", image), ("masks", mask)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")


@pytest.mark.parametrize(
    ("places", "swapped", "flips", "turns", "types", "views"),
    [
        ((LEFT, RIGHT), 0, (), False, set(), {}),
        ((TOP, BELOW), 0, (1,), False, {"HorizontalFlip"}, {"horizontal"}),
        ((LEFT, RIGHT), 6, (0, 1), True, {"HorizontalFlip", "VerticalFlip", "RandomRotate90"}, {True}),
    ],
    ids=["lungs", "layers", "anywhere"],
)
def test_classes_that_keep_their_order_are_not_exchanged_by_flips_and_turns(
    tmp_path, places, swapped, flips, turns, types, views
):
    write(tmp_path / "d", *places, swapped=swapped)
    facts = measured(recognise(tmp_path / "d", "d", {}), Clock(20.0))
    assert not facts.is_scene
    assert (facts.flips, facts.turns) == (flips, turns)
    choice, reason = augmentation(facts, "multiclass", (64, 64))
    moved = {each["type"]: each for each in choice["transforms"]}
    assert moved.keys() & {"HorizontalFlip", "VerticalFlip", "RandomRotate90"} == types
    assert moved["Affine"]["rotate"] == ([-45, 45] if turns else [-10, 10])
    assert ("fixed sides" in reason) is (flips == ())
    assert {value for key, (value, _) in inference(facts, "multiclass").items() if key == "tta"} == set(views)
