"""Masks whose files state more than their pixels: few bits, losses, alpha, greys; and advice, followed to its end."""

import json
import re

import numpy as np
import pytest
import tifffile
from factories import experiment, write_experiment, write_folders
from PIL import Image

GREY = {"mask_format": "rgb", "classes": [{"name": "back", "color": [0, 0, 0]}, {"name": "cell", "color": [255] * 3}]}
TWO = {"num_classes": 2}
FOUR = {"num_channels": 4, "mean": [0.4] * 4, "std": [0.2] * 4}


def made(workplace, write, **keys):
    """Write a data set whose masks `write(path, mask of 0 and 1, number)` writes; return experiment and share."""
    write_folders(workplace / "data", {"train": 4, "val": 2})
    shares = []
    for number, path in enumerate(sorted(workplace.glob("data/*/label/*.png"))):
        mask = (np.asarray(Image.open(path)) > 0).astype(np.uint8)
        path.unlink()
        write(path, mask, number)
        shares += [float(mask.mean())] if "train" in path.parts else []
    return again(workplace, **keys), float(np.mean(shares))


def again(workplace, **keys):
    many = "classes" in keys or keys.get("num_classes", 1) > 1
    document = experiment(workplace / "data", **({"training__loss": "cross_entropy"} if many else {}))
    document["dataset"] |= keys
    return write_experiment(workplace / "tiny.yaml", document)


def checked(run_cli, file):
    result = run_cli("data", "check", file, "--json")
    assert result.code in (0, 1), result.err
    return json.loads(result.out)


def told(document, code):
    return [entry for entry in document["findings"] if entry["code"] == code]


def foreground(document):
    split = document["splits"][0]
    return split["foreground_share"] if not split["class_shares"] else list(split["class_shares"].values())[1]


def pgm(path, mask, largest):
    head = f"P5\n{mask.shape[1]} {mask.shape[0]}\n{largest}\n".encode()
    path.with_suffix(".pgm").write_bytes(head + (mask * np.uint8(largest)).tobytes())


@pytest.mark.parametrize("keys", [{}, {"mask_threshold": 127}])
@pytest.mark.parametrize("largest", [3, 15])
def test_a_binary_mask_in_few_bits_has_its_largest_number_as_foreground(workplace, run_cli, largest, keys):
    extensions = {"extensions": ["png", "pgm"]}
    file, share = made(workplace, lambda path, mask, number: pgm(path, mask, largest), **extensions, **keys)
    document = checked(run_cli, file)
    assert [entry for entry in document["findings"] if entry["severity"] != "info"] == []
    assert foreground(document) == pytest.approx(share)


def jpeg(factor, **keys):
    return lambda path, mask, number: Image.fromarray(mask * np.uint8(factor)).save(path.with_suffix(".jpg"), **keys)


def jpeg_in_tiff(path, mask, number):
    tifffile.imwrite(path.with_suffix(".tif"), mask * np.uint8(3), compression="jpeg")


@pytest.mark.parametrize(
    ("write", "keys", "code", "hint"),
    [
        (jpeg(1, quality=75), {}, "unexpected_values", "export it again, as PNG with 0 for background"),
        (jpeg(255, quality=75), {}, "unexpected_values", "set `mask_threshold: 127`"),
        (jpeg(3, quality=95), {"num_classes": 6}, "unreadable_label", "export it again, as PNG"),
        (jpeg_in_tiff, {"num_classes": 6}, "unreadable_label", "export it again, as PNG"),
    ],
)
def test_a_mask_whose_compression_changes_numbers_is_refused_alike_by_check_and_training(
    workplace, run_cli, write, keys, code, hint
):
    file, _ = made(workplace, write, **keys)
    document = checked(run_cli, file)
    first = told(document, code)[0]
    assert "is stored as JPEG, which changes " in first["message"]
    assert hint in first["hint"]
    result = run_cli("train", file, "--dry-run")
    assert result.code == 3
    assert first["message"] in result.err


def test_a_mask_of_exactly_0_and_255_may_be_jpeg(workplace, run_cli):
    def write(path, mask, number):
        mask[:] = 0
        mask[8:24, 16:40] = 255  # whole blocks of JPEG
        Image.fromarray(mask).save(path.with_suffix(".jpg"), quality=100)

    document = checked(run_cli, made(workplace, write)[0])
    assert [entry for entry in document["findings"] if entry["severity"] == "error"] == []


def test_colours_that_are_all_grey_may_be_saved_as_a_grey_file(workplace, run_cli):
    def write(path, mask, number):
        if number == 0:
            Image.fromarray(mask > 0).save(path)
        elif number == 1:
            Image.fromarray(mask * 255).save(path)
        elif number == 2:
            Image.fromarray(np.repeat(mask[..., None] * 255, 3, axis=2)).quantize(2).save(path.with_suffix(".gif"))
        else:
            Image.fromarray(np.repeat(mask[..., None] * 255, 3, axis=2)).save(path)

    file, share = made(workplace, write, **GREY)
    assert foreground(checked(run_cli, file)) == pytest.approx(share)


@pytest.mark.parametrize("unknown", ["error", "ignore", "nearest"])
def test_numbers_of_classes_are_not_taken_for_greys_whatever_is_done_with_unknown_colours(workplace, run_cli, unknown):
    file, _ = made(
        workplace, lambda path, mask, number: Image.fromarray(mask).save(path), **GREY, unknown_colors=unknown
    )
    result = run_cli("train", file, "--dry-run")
    assert result.code == 3
    assert "has 1 channel of 8 bits; a colour mask has 3 channels" in result.err


def test_a_mask_in_the_alpha_channel_is_told(workplace, run_cli):
    def write(path, mask, number):
        Image.fromarray(np.dstack([np.full((*mask.shape, 3), 255, np.uint8), mask * 255])).save(path)

    found = told(checked(run_cli, made(workplace, write)[0]), "full_mask")
    assert "its alpha channel is not read" in found[0]["hint"]


# ---- advice, followed


def number(value):
    dtype = np.uint8 if value < 256 else np.uint16
    return lambda path, mask, _: Image.fromarray(mask.astype(dtype) * dtype(value)).save(path)


@pytest.mark.parametrize("value", [2, 100, 128, 254, 40000])
def test_the_advised_threshold_finds_the_foreground(workplace, run_cli, value):
    file, share = made(workplace, number(value))
    finding = told(checked(run_cli, file), "unexpected_values")[0]
    assert finding["message"].endswith("but a binary mask holds 0 and 1, or 0 and 255")
    advised = int(re.search(r"`mask_threshold: (\d+)`", finding["hint"])[1])
    assert foreground(checked(run_cli, again(workplace, mask_threshold=advised))) == pytest.approx(share)


@pytest.mark.parametrize("value", [2, 128, 255, 65535])
def test_advice_about_two_classes_and_one_number_keeps_the_foreground(workplace, run_cli, value):
    file, share = made(workplace, number(value), **TWO)
    hint = told(checked(run_cli, file), "unknown_classes")[0]["hint"]
    assert "unknown_colors: ignore" not in hint
    assert f"`classes: [class 0, class 1]` with `numbers: [0, {value}]`" in hint
    two = again(workplace, classes=[{"name": "class 0"}, {"name": "class 1"}], numbers=[0, value])
    assert foreground(checked(run_cli, two)) == pytest.approx(share)
    threshold = re.search(r"`mask_threshold: (\d+)`", hint)
    one = again(workplace, num_classes=1, **({} if threshold is None else {"mask_threshold": int(threshold[1])}))
    assert foreground(checked(run_cli, one)) == pytest.approx(share)


def test_frames_of_sequences_are_not_advised_to_have_one_class(workplace, run_cli):
    for name in ("a", "b"):
        for folder in ("Images", "Labels"):
            (workplace / "data" / folder / name).mkdir(parents=True)
            values = np.where(np.arange(48)[:, None] < 9, 255, 0) * np.ones((1, 48), int)
            Image.fromarray(values.astype(np.uint8)).save(workplace / "data" / folder / name / "1.png")
    document = experiment(workplace / "data", training__loss="cross_entropy")
    document["dataset"] = {
        "name": "d",
        "format": "sequences",
        "paths": {"root": "data"},
        "num_channels": 1,
        "mean": [0.5],
        "std": [0.2],
        **TWO,
    }
    document["dataset"] |= {"mask_format": "index", "split": {"val": ["b"]}}
    found = told(checked(run_cli, write_experiment(workplace / "tiny.yaml", document)), "unknown_classes")
    assert found[0]["hint"].startswith("if 255 is the foreground, set `classes: [class 0, class 1]` with")


# ---- all files of a data set, told once


def test_what_is_true_of_files_of_all_splits_is_told_once_by_check_and_training(workplace, run_cli):
    def write(path, mask, number):
        tifffile.imwrite(path.with_suffix(".tif"), mask > 0)

    file, share = made(workplace, write)
    (finding,) = told(document := checked(run_cli, file), "white_is_zero")
    assert finding["message"].startswith("6 masks (")
    assert foreground(document) == pytest.approx(share)
    assert run_cli("train", file, "--dry-run").err.count("declare that 0 is white") == 1


# ---- images


def test_an_alpha_channel_that_is_missed_is_named_by_check_training_and_prediction(workplace, run_cli):
    file, _ = made(workplace, lambda path, mask, number: Image.fromarray(mask * 255).save(path), **FOUR)
    for path in workplace.glob("data/*/image/*.png"):
        pixels = np.asarray(Image.open(path).convert("RGBA"))
        path.unlink()
        tifffile.imwrite(path.with_suffix(".tif"), pixels)  # it declares the fourth sample as alpha
    first = told(checked(run_cli, file), "wrong_channels")[0]
    assert "without its alpha channel has 3 channels, but the data set states `num_channels: 4`" in first["message"]
    assert "extrasamples=['unspecified']" in first["hint"]
    assert first["message"] in run_cli("train", file, "--dry-run").err
    for path in workplace.glob("data/*/image/*.tif"):
        tifffile.imwrite(path, tifffile.imread(path), photometric="rgb", extrasamples=["unspecified"])
    assert run_cli("train", file, "--dry-run").code == 0
