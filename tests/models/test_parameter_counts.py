"""Parameter counts, against the contract or a count by hand."""

import pytest

from segcli.core.registry import MODELS
from segcli.core.types import IOSpec


def count(name):
    kind = MODELS.load(name)
    return sum(parameter.numel() for parameter in kind(kind.Config(), io=IOSpec(2, 3, {"mask": 1})).parameters())


def conv(come, go, width, *, bias=False, norm=False):
    """Weights of a convolution, its bias, and scale and shift of a batch norm behind it."""
    return come * go * width**2 + go * bias + 2 * go * norm


def residual(come, go):
    projection = conv(come, go, 1, norm=True) if come != go else 0
    return conv(come, go, 9, norm=True) + conv(go, go, 9, norm=True) + projection


ROINET = (
    residual(3, 32)
    + (residual(32, 64) + conv(64, 128, 1, bias=True))
    + (residual(128, 128) + conv(128, 256, 1, bias=True))
    + (residual(256, 256) + residual(256, 256) + conv(512, 256, 3, norm=True))
    + (residual(256, 128) + conv(128, 64, 2, bias=True) + conv(64 + 128, 64, 3, norm=True))
    + (residual(64, 64) + conv(64, 32, 2, bias=True) + conv(32 + 32, 32, 3, norm=True))
    + (residual(32, 32) + conv(32, 1, 1, bias=True))
)
TRANSFORMER = 2 * (2 * 2 * 256 + (3 * 256 + 256 + 4 * 256 + 256) + 256 * 256 * (3 + 1 + 4 + 4))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("unet", 7_763_041), ("utrans", 100_300_993), ("roinet", ROINET), ("transroinet", ROINET + TRANSFORMER)],
)
def test_a_network_has_the_parameters_of_its_description(name, expected):
    assert count(name) == expected


def test_sa_unet_has_the_parameters_of_its_authors_code():
    # Their Keras model reports 538,707; 2 x 704 of these are running statistics, which PyTorch counts as buffers.
    assert count("sa_unet") == 538_707 - 2 * (2 * (16 + 32 + 64) + 2 * 128 + 2 * (64 + 32 + 16))


def test_the_docstrings_state_the_counts():
    for name in ("roinet", "transroinet", "utrans", "sa_unet"):
        text = __import__(f"segcli.models.{name}", fromlist=["__doc__"]).__doc__
        assert f"{count(name):,} parameters" in " ".join(text.split())
