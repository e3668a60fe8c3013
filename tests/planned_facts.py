"""Made-up facts of a data set, from which tests of plans derive theirs."""

from segcli.planning.facts import Measures, ObjectSizes, Spread

FLAT = Measures(
    counts={"train": 60, "val": 10},
    ndim=2,
    sizes=Spread((256.0, 256.0), (256.0, 256.0), (256.0, 256.0)),
    channels=1,
    bits=8,
    is_float=False,
    values=(0.0, 255.0),
    percentiles=(3.0, 250.0),
    mean=(0.4,),
    std=(0.2,),
    normalize=True,
    normalize_reason="samples are alike",
    brightness_ratio=1.1,
    class_shares={"foreground": 0.2},
    presence={"foreground": 1.0},
    foreground=0.2,
    background=None,
    objects=ObjectSizes(per_sample=20.0, median_diameter=20.0, small_diameter=8.0, width=12.0),
    is_scene=False,
    flips=(0, 1),
    turns=True,
)
"""Small grey images of round objects."""
