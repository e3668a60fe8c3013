"""Codings of masks that `segcli data check` compares: 0 and 1, 0 and 255, one bit, white-is-zero."""

import json
import pickle

import cv2
import h5py
import numpy as np
import pytest
import tifffile
from factories import (
    blobs,
    experiment,
    nuclei_experiment,
    volumes_experiment,
    write_experiment,
    write_folders,
    write_hdf5,
    write_nuclei,
)
from PIL import Image

from segcli.data.classes.coding import Codings

CLASSES = {"classes": [{"name": "background"}, {"name": "cell"}]}


def checked(run_cli, file, *overrides):
    result = run_cli("data", "check", file, "--json", *overrides)
    return json.loads(result.out)


def found(document, code):
    return [entry for entry in document["findings"] if entry["code"] == code]


def labels(root, write):
    """A data set of which `write(path, mask of 0 and 1, number)` writes the masks."""
    write_folders(root, {"train": 4, "val": 2})
    for number, path in enumerate(sorted(root.glob("*/label/*.png"))):
        mask = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) > 0).astype(np.uint8)
        path.unlink()
        write(path, mask, number)
    return root


def binary(workplace, **changes):
    return write_experiment(workplace / "tiny.yaml", experiment(workplace / "data", **changes))


def multiclass(workplace, **keys):
    made = experiment(workplace / "data", training__loss="cross_entropy")
    made["dataset"] |= {**CLASSES, **keys}
    return write_experiment(workplace / "tiny.yaml", made)


def share(document, name="cell"):
    return document["splits"][0]["class_shares"][name]


EXPECTED = float(np.mean([blobs(index)[1] > 0 for index in range(4)]))


def test_a_mask_of_bool_that_tifffile_wrote_keeps_its_foreground_and_is_named(workplace, run_cli):
    labels(workplace / "data", lambda path, mask, _: tifffile.imwrite(path.with_suffix(".tif"), mask.astype(bool)))
    document = checked(run_cli, binary(workplace))
    assert document["splits"][0]["foreground_share"] == pytest.approx(EXPECTED)
    first = found(document, "white_is_zero")[0]
    assert first["severity"] == "warning"
    assert "data/train/label/00.tif" in first["message"]
    assert "data/train/label/03.tif" in first["message"]


def test_a_class_mask_of_one_bit_means_class_0_and_1(workplace, run_cli):
    def write(path, mask, number):
        if number % 2 == 0:
            Image.fromarray(mask.astype(bool)).save(path)
            return
        mask[:3] = 255
        Image.fromarray(mask).save(path)

    labels(workplace / "data", write)
    document = checked(run_cli, multiclass(workplace, ignore=[{"name": "void", "number": 255}]))
    masks = [np.where(np.arange(48)[:, None] < 3 * (index % 2), 255, blobs(index)[1] > 0) for index in range(4)]
    valid = np.stack(masks) != 255
    assert share(document) == pytest.approx(float((np.stack(masks)[valid] == 1).mean()))
    assert found(document, "mixed_mask_coding") == []


@pytest.mark.parametrize("kind", ["label", "fov"])
def test_masks_of_0_and_1_beside_one_of_0_and_255_are_told_with_their_names(workplace, run_cli, kind):
    root = labels(workplace / "data", lambda path, mask, _: Image.fromarray(mask).save(path))
    if kind == "fov":
        for path in sorted(root.glob("*/label/*.png")):
            (path.parent.parent / "fov").mkdir(exist_ok=True)
            Image.fromarray(np.pad(np.ones((40, 40), np.uint8), 4)).save(path.parent.parent / "fov" / path.name)
    odd = root / "train" / kind / "01.png"
    Image.fromarray(np.pad(np.full((40, 40), 255, np.uint8), 4)).save(odd)
    keys = {"dataset__fov_folder": "fov"} if kind == "fov" else {}
    document = checked(run_cli, binary(workplace, **keys))
    (finding,) = found(document, "mixed_mask_coding")
    word = "mask" if kind == "label" else "field-of-view mask"
    assert f"1 {word} (`{odd.relative_to(workplace)}`) with 0 and 255" in finding["message"]
    assert f"5 {word}s (`" in finding["message"]
    assert finding["severity"] == "warning"


def test_masks_of_one_bit_beside_masks_of_0_and_255_are_no_second_coding(workplace, run_cli):
    def write(path, mask, number):
        Image.fromarray(mask.astype(bool) if number % 2 else mask * np.uint8(255)).save(path)

    labels(workplace / "data", write)
    document = checked(run_cli, binary(workplace))
    assert found(document, "mixed_mask_coding") == []
    assert document["splits"][0]["foreground_share"] == pytest.approx(EXPECTED)


def test_a_threshold_does_not_apply_to_one_bit(workplace, run_cli):
    labels(workplace / "data", lambda path, mask, _: Image.fromarray(mask.astype(bool)).save(path))
    document = checked(run_cli, binary(workplace, dataset__mask_threshold=127))
    assert document["splits"][0]["foreground_share"] == pytest.approx(EXPECTED)


def test_class_masks_of_which_some_hold_only_an_ignored_255_are_told(workplace, run_cli):
    labels(
        workplace / "data",
        lambda path, mask, number: Image.fromarray(mask * np.uint8(255 if number == 1 else 1)).save(path),
    )
    document = checked(run_cli, multiclass(workplace, ignore=[{"name": "void", "number": 255}]))
    (finding,) = found(document, "mixed_mask_coding")
    assert "1 mask (`" in finding["message"]
    assert "train/label/01.png`) with 0 and 255" in finding["message"]


def test_advice_about_255_leads_to_a_training_of_the_foreground(workplace, run_cli):
    labels(workplace / "data", lambda path, mask, _: Image.fromarray(mask * np.uint8(255)).save(path))
    made = experiment(workplace / "data", training__loss="cross_entropy", dataset__num_classes=2)
    document = checked(run_cli, write_experiment(workplace / "tiny.yaml", made))
    hint = found(document, "unknown_classes")[0]["hint"]
    assert hint.startswith("if 255 is the foreground, set `num_classes: 1` without `classes`, or ")
    assert "unknown_colors" not in hint
    assert "`numbers: [0, 255]`" in hint
    right = checked(run_cli, multiclass(workplace, numbers=[0, 255]))
    assert share(right) == pytest.approx(EXPECTED)
    assert checked(run_cli, binary(workplace))["splits"][0]["foreground_share"] == pytest.approx(EXPECTED)


def test_one_bit_means_the_second_of_two_classes_whatever_its_number(workplace, run_cli):
    labels(workplace / "data", lambda path, mask, _: Image.fromarray(mask.astype(bool)).save(path))
    assert share(checked(run_cli, multiclass(workplace, numbers=[0, 255]))) == pytest.approx(EXPECTED)


def test_ignoring_the_only_foreground_is_told(workplace, run_cli):
    labels(workplace / "data", lambda path, mask, _: Image.fromarray(mask * np.uint8(255)).save(path))
    document = checked(run_cli, multiclass(workplace, ignore=[{"name": "void", "number": 255}]))
    (finding,) = found(document, "ignored_foreground")
    assert finding["message"].startswith("no mask holds class 1, and 6 masks (`")
    assert "set `num_classes: 1`" in finding["hint"]


def test_slices_of_a_mask_are_compared_and_read_as_stored(workplace, run_cli):
    root = write_nuclei(workplace / "data", count=8)
    for path in sorted(root.glob("*/mask/*.tif")):
        mask = tifffile.imread(path) > 0
        if path.stem == "z3":
            tifffile.imwrite(path, mask.astype(np.uint8), photometric="minisblack")
        elif path.stem == "z4":
            tifffile.imwrite(path, mask)
    file = write_experiment(workplace / "tiny.yaml", nuclei_experiment(root, dataset__apply_mask=True))
    (finding,) = found(checked(run_cli, file), "mixed_mask_coding")
    assert "z3.tif`" in finding["message"]
    from segcli.config.load import load_run

    layout = load_run(file).dataset.build()
    case = layout.cases("train")[0]
    image = layout.read(case).image[4, ..., 0]
    bits = tifffile.imread(case.label / "z4.tif")
    np.testing.assert_array_equal(image, tifffile.imread(case.image / "z4.tif") * bits)


def test_slices_of_white_is_zero_are_shown_as_viewers_do_and_their_masks_are_not(workplace, run_cli):
    root = write_nuclei(workplace / "data", count=8)
    for path in sorted(root.glob("0001/*/*.tif")):
        tifffile.imwrite(path, tifffile.imread(path), photometric="miniswhite")
    file = write_experiment(workplace / "tiny.yaml", nuclei_experiment(root, dataset__apply_mask=True))
    told = found(checked(run_cli, file), "white_is_zero")
    assert sorted(entry["severity"] for entry in told) == ["info", "warning"]
    from segcli.config.load import load_run

    layout = load_run(file).dataset.build()
    case = next(case for split in ("train", "val") for case in layout.cases(split) if case.id == "0001")
    raw, mask = (tifffile.imread(folder / "z4.tif") for folder in (case.image, case.label))
    np.testing.assert_array_equal(layout.read(case).image[4, ..., 0], (65535 - raw) * (mask > 0))


def test_masks_in_hdf5_that_differ_in_their_coding_are_told(workplace, run_cli):
    write_hdf5(workplace / "data")
    with h5py.File(workplace / "data" / "train.h5", "r+") as file:
        file["masks"][2] = file["masks"][2] * np.uint8(255)
    file = write_experiment(workplace / "tiny.yaml", volumes_experiment(workplace / "data"))
    (finding,) = found(checked(run_cli, file), "mixed_mask_coding")
    assert "train.h5[2]`) with 0 and 255" in finding["message"]


def test_labels_to_convert_that_differ_in_their_coding_are_refused(workplace, run_cli):
    labels(
        workplace / "data",
        lambda path, mask, number: Image.fromarray(mask * np.uint8(255 if number == 1 else 1)).save(path),
    )
    result = run_cli(
        "data", "convert", workplace / "data" / "train", workplace / "out", "--images", "image", "--labels", "label"
    )
    assert result.code == 3
    assert "labels are coded in two ways" in result.err
    assert "01.png` holds 255" in result.err


def test_codings_survive_a_loader_worker():
    codings = Codings("slice")
    codings.note("a", 1)
    assert pickle.loads(pickle.dumps(codings)).word == "slice"
