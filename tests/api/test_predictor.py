"""Arrays give what `segcli predict` writes for files of the same pixels; files are read by other packages."""

import csv
import gc
import re
import shutil
import subprocess
import sys
import threading
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import tifffile
import torch
from factories import (
    OBLIQUE,
    SMALL,
    nuclei_experiment,
    scenes_experiment,
    volumes_experiment,
    write_experiment,
    write_hdf5,
    write_nifti,
    write_nuclei,
    write_sequences,
)
from PIL import Image

import segcli
from segcli.engine.inference import checkpoint_predictor

NIFTI = {"dataset__format": "nifti_volumes", "dataset__classes": ["ball", "box"]}
OPTIONS = ("--probabilities", "--uncertainty", "--out", "out", "--overwrite")


def png(path):
    return np.asarray(Image.open(path))


def in_16_bits(values):
    return np.rint(values * 65535).astype(np.uint16)


@pytest.fixture
def predicted(run_cli):
    """Writes what the command finds into `out`."""

    def call(*words):
        result = run_cli("predict", *words, *OPTIONS)
        assert result.code == 0, result.err

    return call


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, ()),
        ({"threshold": 0.31, "tta": True}, ("--threshold", "0.31", "--tta")),
        ({"tile": 32}, ("--tile", "32")),
        ({"checkpoint": 1}, ("--checkpoint", "1")),
    ],
)
@pytest.mark.usefixtures("tiny_run")
def test_a_single_mask_has_the_bits_of_the_png(predicted, given, words):
    predicted("data/test/image/00.png", "--run", "tiny", *words)
    image = png("data/test/image/00.png")
    before = image.copy()
    found = segcli.Predictor("tiny", **given).predict(image)
    assert found.mask.dtype == np.uint8
    np.testing.assert_array_equal(found.mask, png("out/00.png"))
    np.testing.assert_array_equal(in_16_bits(found.probabilities[0]), png("out/00_probability.png"))
    np.testing.assert_array_equal(in_16_bits(found.uncertainty), png("out/00_uncertainty.png"))
    np.testing.assert_array_equal(image, before)
    assert (found.index, found.structures, found.presence, found.label, found.fov) == (None,) * 5
    assert found.classes == ("foreground",)


@pytest.mark.parametrize("kind", ["plain", "baked"])
@pytest.mark.usefixtures("tiny_run")
def test_an_exported_file_has_the_bits_of_the_png_and_needs_no_pytorch(predicted, tiny_exports, workplace, kind):
    name = {"plain": "tiny.onnx", "baked": "tiny_baked.onnx"}[kind]
    shutil.copy(tiny_exports.folder / "outputs/exports/tiny" / name, workplace / name)
    predicted("data/test/image/00.png", "--model", name)
    program = (
        "import sys, numpy, PIL.Image, segcli\n"
        f"found = segcli.Predictor('{name}').predict(numpy.asarray(PIL.Image.open('data/test/image/00.png')))\n"
        "numpy.save('mask.npy', found.mask), numpy.save('probabilities.npy', found.probabilities)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=workplace)
    np.testing.assert_array_equal(np.load("mask.npy"), png("out/00.png"))
    np.testing.assert_array_equal(in_16_bits(np.load("probabilities.npy")[0]), png("out/00_probability.png"))


@pytest.mark.usefixtures("tiny_run")
def test_several_networks_are_averaged_as_the_command_does(predicted):
    checkpoints = [f"outputs/experiments/tiny/checkpoints/epoch_000{number}.safetensors" for number in (1, 2)]
    predicted("data/test/image/00.png", "--run", checkpoints[0], "--run", checkpoints[1])
    found = segcli.Predictor(checkpoints).predict(png("data/test/image/00.png"))
    np.testing.assert_array_equal(found.mask, png("out/00.png"))
    np.testing.assert_array_equal(in_16_bits(found.probabilities[0]), png("out/00_probability.png"))
    np.testing.assert_array_equal(in_16_bits(found.uncertainty), png("out/00_uncertainty.png"))


def test_nothing_is_found_outside_the_field_of_view(run_cli, predicted, tiny, workplace):
    config = tiny(training__epochs=1, inference={"fov": "auto", "threshold": 0.0})
    assert run_cli("train", config).code == 0
    rows, columns = np.ogrid[:48, :48]
    disc = (rows - 24) ** 2 + (columns - 24) ** 2 <= 20**2
    noise = np.random.default_rng(0).normal(0, 4, (48, 48, 3))
    image = (np.where(disc[..., None], (190, 90, 50), (6, 5, 4)) + noise).clip(0, 255).astype(np.uint8)
    mask = (rows - 24) ** 2 + (columns - 20) ** 2 <= 12**2
    Image.fromarray(image).save(workplace / "photo.png")
    (workplace / "fov").mkdir()
    Image.fromarray(mask.astype(np.uint8) * 255).save(workplace / "fov/photo.png")
    predictor = segcli.Predictor("tiny")
    for words, given in (((), {}), (("--fov", "fov"), {"fov": mask}), (("--fov", "fov"), {"fov": mask * 255})):
        predicted("photo.png", *words)
        found = predictor.predict(image, **given)
        np.testing.assert_array_equal(found.mask, png("out/photo.png"))
        np.testing.assert_array_equal(in_16_bits(found.confidence), png("out/photo_probability.png"))
        np.testing.assert_array_equal(found.fov, found.mask > 0)
        assert 0.05 < found.fov.mean() < 0.7
    assert segcli.Predictor("tiny", fov="none").predict(image).mask.all()
    with pytest.raises(segcli.DataError, match="`<fov>` is 3x4 pixels, its image `<array>` is 48x48"):
        predictor.predict(image, fov=np.ones((3, 4), bool))
    with pytest.raises(segcli.DataError, match="marks no pixel as inside"):
        predictor.predict(image, fov=np.zeros((48, 48), bool))
    with pytest.raises(segcli.DataError, match=r"is float64 of shape \(48, 48\)"):
        predictor.predict(image, fov=np.ones((48, 48)))


@pytest.mark.parametrize("index", [False, True])
def test_classes_have_the_bits_of_the_png_as_colours_and_as_numbers(run_cli, predicted, workplace, index):
    write_sequences(workplace / "data", index=index)
    values = scenes_experiment(workplace / "data", training__epochs=1)
    if index:
        values["dataset"]["mask_format"] = "index"
    assert run_cli("train", write_experiment(workplace / "scenes.yaml", values)).code == 0
    image = next(Path("data/Images/Video_002").iterdir())
    predicted(str(image))
    found = segcli.Predictor().predict(png(image))
    np.testing.assert_array_equal(found.mask, png(f"out/{image.name}"))
    np.testing.assert_array_equal(in_16_bits(found.confidence), png(f"out/{image.stem}_probability.png"))
    np.testing.assert_array_equal(found.index, found.probabilities.argmax(axis=0))
    if not index:
        np.testing.assert_array_equal(found.index, png(f"out/{image.stem}_index.png"))
    assert found.probabilities.shape == (len(found.classes), *found.index.shape)


def test_structures_have_the_voxels_and_the_presence_of_the_files(run_cli, predicted, workplace):
    write_hdf5(workplace / "data")
    model = {"type": "sadaan", **SMALL["sadaan"], "presence_threshold": 0.0, "absence_bias": 0.0}
    values = volumes_experiment(workplace / "data", model=model, training__epochs=1)
    assert run_cli("train", write_experiment(workplace / "tiny.yaml", values)).code == 0
    predictor = segcli.Predictor("tiny")
    predicted("data/test.h5")
    with h5py.File("data/test.h5") as truth, h5py.File("out/test.h5") as file:
        image, masks, flags = truth["images"][0], file["masks"][0], file["presence_labels"][0]
    found = predictor.predict(image)
    np.testing.assert_array_equal(found.structures, masks > 0)
    np.testing.assert_array_equal([*found.presence.values()], flags > 0)
    np.testing.assert_array_equal(found.probabilities, np.load("out/test_0000_probabilities.npy"))
    tifffile.imwrite(workplace / "stack.tif", image)
    predicted("stack.tif")
    np.testing.assert_array_equal(found.mask, tifffile.imread("out/stack.tif"))
    table = csv.DictReader(Path("out/presence.csv").read_text().splitlines())
    rows = {row["structure"]: row for row in table if row["file"] == "stack.tif"}
    assert {key: row["present"] == "1" for key, row in rows.items()} == found.presence
    for key, row in rows.items():
        assert f"{found.certainty[key]['probability']:.4f}" == row["probability"]


def test_the_voxels_of_nifti_are_those_of_the_file_in_canonical_order(run_cli, predicted, workplace):
    write_nifti(workplace / "data", affine=OBLIQUE)
    values = volumes_experiment(workplace / "data", **NIFTI, training__epochs=1)
    values["model"], values["inference"] = {"type": "unet", "depths": [2, 4]}, {"threshold": 0.45}
    assert run_cli("train", write_experiment(workplace / "tiny.yaml", values)).code == 0
    path = "data/imagesTr/case_00.nii.gz"
    predicted(path)
    image = nibabel.as_closest_canonical(nibabel.load(path))
    found = segcli.Predictor("tiny").predict(np.asarray(image.dataobj))
    written = nibabel.as_closest_canonical(nibabel.load("out/case_00.nii.gz"))
    np.testing.assert_array_equal(found.mask, np.asarray(written.dataobj))
    values = nibabel.as_closest_canonical(nibabel.load("out/case_00_probabilities.nii.gz"))
    np.testing.assert_array_equal(np.moveaxis(found.probabilities, 0, -1), np.asarray(values.dataobj))


def test_a_classification_gives_the_row_of_the_table(run_cli, workplace):
    write_nuclei(workplace / "data", size=(8, 16, 32))  # two crops each
    config = write_experiment(workplace / "tiny.yaml", nuclei_experiment(workplace / "data", training__epochs=1))
    assert run_cli("train", config).code == 0
    assert run_cli("predict", "data/0001", "--run", "tiny", "--out", "out").code == 0
    (row,) = csv.DictReader(Path("out/predictions.csv").read_text().splitlines())
    image = np.stack([tifffile.imread(path) for path in sorted(Path("data/0001/raw").iterdir())])
    predictor = segcli.Predictor("tiny")
    found = predictor.predict(image)
    assert found.label == row["class"]
    assert [f"{value:.6f}" for value in found.probabilities] == [row[f"probability_{name}"] for name in found.classes]
    assert (found.mask, found.confidence, found.uncertainty, found.fov) == (None,) * 4
    with pytest.raises(segcli.DataError, match="`<array>` has 3 channels, but a grey volume was expected"):
        predictor.predict(np.stack([image] * 3, axis=-1))
    with pytest.raises(segcli.DataError, match="a field of view is for masks"):
        predictor.predict(image, fov=np.ones((16, 32)))


@pytest.mark.usefixtures("tiny_run")
def test_what_cannot_be_predicted_is_told_in_one_sentence_with_the_exit_code_of_the_command():
    predictor = segcli.Predictor("tiny")
    wrong = {
        "an array of uint8 of shape (48,) is no image": np.zeros(48, np.uint8),
        "an array of complex128 of shape (4, 4, 3) is no image": np.zeros((4, 4, 3), complex),
        "an array of uint8 of shape (0, 4, 3) is no image": np.zeros((0, 4, 3), np.uint8),
        "`<array>` has 1 channel, but": np.zeros((4, 4), np.uint8),
        "holds floating-point values from 0 to 300, outside 0 to 1": np.array([0, 300.0]).reshape(1, 2, 1).repeat(3, 2),
    }
    for message, image in wrong.items():
        with pytest.raises(segcli.DataError, match=re.escape(message)) as caught:
            predictor.predict(image)
        assert caught.value.exit_code == 3
        assert caught.value.hint
    for options, kind, message in [
        (("other",), segcli.CheckpointError, "no run `other`"),
        (("tiny", 0.5), segcli.ConfigError, "`threshold=1.5` is not a number from 0 to 1"),
    ]:
        with pytest.raises(kind, match=re.escape(message)) as caught:
            segcli.Predictor(options[0], threshold=1.5 if len(options) > 1 else None)
        assert caught.value.exit_code in (2, 4)
    for options, message in {
        "tile": (8, "`tile=8` is too small"),
        "fov": ("all", "`fov='all'` is not"),
    }.items():
        with pytest.raises(segcli.ConfigError, match=re.escape(message[1])):
            segcli.Predictor("tiny", **{options: message[0]})
    with pytest.raises(segcli.CheckpointError, match=r"no exported network at `none\.onnx`"):
        segcli.Predictor("none.onnx")
    with pytest.raises(segcli.ConfigError, match="runs cannot be combined with it"):
        segcli.Predictor(["none.onnx", "tiny"])


@pytest.mark.usefixtures("tiny_run")
def test_arrays_of_any_memory_layout_are_taken_and_bool_is_black_and_white():
    predictor, image = segcli.Predictor("tiny"), png("data/test/image/00.png")
    expected = predictor.predict(image).probabilities
    turned = np.asfortranarray(image)
    turned.flags.writeable = False
    np.testing.assert_array_equal(predictor.predict(turned).probabilities, expected)
    np.testing.assert_array_equal(predictor.predict(torch.from_numpy(image.copy())).probabilities, expected)
    black_and_white = image > 100
    np.testing.assert_array_equal(
        predictor.predict(black_and_white).probabilities,
        predictor.predict(black_and_white.astype(np.uint8) * 255).probabilities,
    )


@pytest.mark.usefixtures("tiny_run")
def test_threads_take_turns_and_nothing_stays_in_memory_when_the_predictor_goes(monkeypatch):
    networks, inside, most = [], [], []
    real = checkpoint_predictor._forward

    def counted(parts):
        forward = real(parts)
        networks.append(weakref.ref(parts.network))

        def call(images):
            inside.append(1)
            most.append(len(inside))
            try:
                return forward(images)
            finally:
                inside.pop()

        return call

    monkeypatch.setattr(checkpoint_predictor, "_forward", counted)
    predictor = segcli.Predictor("tiny")
    images = [png(f"data/train/image/{number:02d}.png") for number in range(6)]
    alone = [predictor.predict(image).probabilities for image in images]
    begun = threading.active_count()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(predictor.predict, images * 4))
    for one, other in zip(alone * 4, together, strict=True):
        np.testing.assert_array_equal(one, other.probabilities)
    assert max(most) == 1
    assert threading.active_count() == begun
    kept = weakref.ref(together[0])
    del predictor, together, other
    gc.collect()
    assert kept() is None
    assert [each() for each in networks] == [None]


@pytest.mark.usefixtures("tiny_run")
def test_memory_does_not_grow_with_the_number_of_calls():
    predictor, image = segcli.Predictor("tiny"), png("data/test/image/00.png")
    tracemalloc.start()
    try:
        sizes = []
        for _ in range(3):
            for _ in range(20):
                predictor.predict(image)
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[2] - sizes[1] < image.nbytes  # one kept image of 60 would be more
