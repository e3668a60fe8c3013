"""Every network in every format; ONNX, which takes seconds each, for those whose parts differ most."""

import numpy as np
import onnx
import pytest
import torch
from factories import SMALL

from segcli.core.errors import CheckpointError
from segcli.core.registry import MODELS, TASKS
from segcli.core.types import IOSpec
from segcli.data.settings import DatasetSpec
from segcli.engine.export.description import Description, Difference
from segcli.engine.export.exporter import Exportable, write_file
from segcli.engine.export.portable import open_portable

CASES = [(name, ndim) for name in MODELS.names() for ndim in (2, 3) if ndim in MODELS.load(name).can_ndim]
ONNX = [pytest.param("transroinet", 2, marks=pytest.mark.slow), ("deeplabv3_plus", 2), ("unet", 3), ("vgg3d", 3)]
SIZE = (16, 18, 20)
"""Of images for networks that are made for one size."""


def describe(network):
    ndim, stride, outputs = network.io.ndim, network.stride, list(network.io.outputs)
    return Description(
        run="tiny",
        model="small",
        task="binary" if "mask" in outputs else "classification",
        epoch=1,
        ndim=ndim,
        in_channels=2,
        classes=[{"name": "foreground"}],
        input_name="image",
        input_dtype="float32",
        input_axes="BC" + "DHW"[-ndim:],
        outputs=outputs,
        precision="float32",
        baked=False,
        stride=stride,
        multiple=stride,
        size=list(SIZE) if network.needs_size else None,
        normalize=False,
        mean=None,
        std=None,
        threshold=0.5,
        tile=None,
        overlap=0.25,
        tta=False,
        scales=[1.0],
        postprocess={},
        dataset={"format": "image_folders", "num_channels": 2},
        preprocessing={},
        segcli="0",
    )


def small(name, ndim, **keys):
    """A small network, ready to be written, and its description."""
    family = MODELS.load(name)
    torch.manual_seed(0)
    outputs = dict.fromkeys(family.can_output, 1 if "mask" in family.can_output else 3)
    task = "binary" if "mask" in outputs else "classification"
    io = IOSpec(ndim, 2, outputs, size=SIZE if family.needs_size else None)
    network = family(family.Config.model_validate({**SMALL[name], **keys}), io=io).eval()
    return Exportable(network, TASKS.load(task)(DatasetSpec(num_classes=io.outputs.get("class", 1)))), describe(network)


def written(path, name, ndim, kind, **keys):
    """A small network as it is and as a file."""
    exportable, description = small(name, ndim, **keys)
    network = exportable.network
    image = np.random.default_rng(0).standard_normal((2, 2, *[2 * network.stride + 16] * ndim), dtype=np.float32)
    image = image[(slice(None), slice(None), *[slice(0, 32 + network.stride * axis) for axis in range(ndim)])]
    if network.needs_size:
        image = np.random.default_rng(0).standard_normal((2, 2, *SIZE), dtype=np.float32)
    write_file(path, kind, exportable, description, np.ascontiguousarray(image))
    return network, open_portable(path, kind)


def check(path, name, ndim, kind, **keys):
    network, file = written(path, name, ndim, kind, **keys)
    rng = np.random.default_rng(1)
    for batch, steps in ((1, 2), (3, 3), (2, 5)):
        size = [network.stride * (max(steps, 16 // network.stride) + axis) for axis in range(ndim)]
        image = rng.standard_normal((batch, 2, *(SIZE if network.needs_size else size)), dtype=np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(image))
        found = file(image)
        assert found.keys() == expected.keys() == set(network.io.outputs)
        for output, values in expected.items():
            np.testing.assert_allclose(found[output], values.numpy(), atol=1e-4, rtol=0, err_msg=output)


def in_format(name, ndim, kind):
    """A network in a format; `pt2`, which takes seconds too, once for each network and for volumes with `unet`."""
    first = next(axes for network, axes in CASES if network == name)
    often = kind == "torchscript" or ndim == first or name == "unet"
    return pytest.param(name, ndim, kind, marks=() if often else pytest.mark.slow)


@pytest.mark.parametrize(
    ("name", "ndim", "kind"), [in_format(*case, kind) for case in CASES for kind in ("torchscript", "pt2")]
)
def test_a_file_gives_what_the_network_gives_for_other_batches_and_sizes(name, ndim, kind, tmp_path):
    check(tmp_path / "network", name, ndim, kind)


@pytest.mark.parametrize(("name", "ndim"), ONNX)
def test_an_onnx_file_gives_what_the_network_gives_for_other_batches_and_sizes(name, ndim, tmp_path):
    check(tmp_path / "network", name, ndim, "onnx")


@pytest.mark.parametrize(("norm", "activation"), [("instance", "leaky_relu"), ("group", "prelu")])
def test_an_onnx_file_has_the_norm_and_the_activation_of_the_network(norm, activation, tmp_path):
    check(tmp_path / "network", "unet", 2, "onnx", norm=norm, activation=activation)


def test_a_difference_counts_in_proportion_and_a_nan_always():
    def row(**changes):
        values = {"logits": 0.0, "largest_logit": 20.0, "probabilities": 0.0}
        return Difference(input="random", shape=[1], **{**values, **changes})

    assert not row(logits=1e-3, probabilities=1e-5).exceeds(1e-4)
    assert row(logits=3e-3).exceeds(1e-4)
    assert row(probabilities=2e-4).exceeds(1e-4)
    assert row(probabilities=float("nan")).exceeds(1e-4)


def test_a_file_that_is_none_of_ours_is_refused(tmp_path):
    for name, text in (
        ("none.onnx", "no exported network at"),
        ("junk.onnx", "cannot be opened"),
        ("junk.torchscript", "cannot be opened"),
        ("junk.pt2", "cannot be opened"),
        ("junk.onx", "did you mean"),
    ):
        if name != "none.onnx":
            (tmp_path / name).write_bytes(b"junk")
        with pytest.raises(CheckpointError, match=text):
            open_portable(tmp_path / name)


def test_a_network_without_our_description_is_refused(tmp_path, tiny_exports):
    model = onnx.load(tiny_exports.folder / "outputs/exports/tiny/tiny.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(CheckpointError, match="no segcli description"):
        open_portable(tmp_path / "foreign.onnx")
