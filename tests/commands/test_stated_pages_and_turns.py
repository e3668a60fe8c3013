"""What a file of a 2D image states about its orientation and its pages is followed by every command alike."""

import json
import shutil

import numpy as np
import pytest
import tifffile
import yaml
from factories import blobs, write_folders
from PIL import Image, ImageOps

from segcli import files

UNDO = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How to store an upright picture that states an orientation."""
SIZE = (40, 56)
RUN = "{name: r, dataset: set.yaml, model: unet, device: cpu, data: {preprocessing: {normalize: per_image}}}"


def store(path, upright, orientation):
    """Store pixels so that a viewer shows `upright` because of the orientation that the file states."""
    image = Image.fromarray(upright)
    image = image.transpose(UNDO[orientation]) if orientation in UNDO else image
    exif = Image.Exif()
    exif[274] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, exif=exif)
    if 1 <= orientation <= 8:
        with Image.open(path) as stored:
            np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(stored)), upright)


def pixels(path):
    with Image.open(path) as image:
        assert image.getexif().get(274) is None
        return np.asarray(image)


@pytest.fixture
def trained(tiny_exports, workplace):
    """A trained run called `tiny`, its data, and its ONNX file."""
    shutil.copytree(tiny_exports.folder, workplace, dirs_exist_ok=True)


@pytest.fixture
def check(run_cli, workplace):
    """`data check --json` of `data` with these keys; returns exit code and findings."""

    def call(**keys):
        values = {"name": "mine", "num_channels": 3, "paths": {"root": "data"}, **keys}
        (workplace / "set.yaml").write_text(yaml.safe_dump(values))
        result = run_cli("data", "check", "set.yaml", "--json")
        return result.code, json.loads(result.out)["findings"]

    return call


def only(findings, code):
    (finding,) = (each for each in findings if each["code"] == code)
    return finding


# ---- orientation


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("network", [("--run", "tiny"), ("--model", "outputs/exports/tiny/tiny.onnx")])
def test_a_prediction_has_the_size_and_orientation_that_a_viewer_shows(run_cli, workplace, network):
    upright, _ = blobs(1, SIZE)
    for orientation in range(1, 9):
        store(workplace / f"photos/{orientation}.png", upright, orientation)
    result = run_cli("predict", "photos", *network, "--out", "found", "--overlay", "--probabilities")
    assert result.code == 0, result.err
    for ending in ("", "_overlay", "_probability"):
        expected = pixels(workplace / f"found/1{ending}.png")
        assert expected.shape[:2] == SIZE
        for orientation in range(2, 9):
            np.testing.assert_array_equal(pixels(workplace / f"found/{orientation}{ending}.png"), expected)
    assert len(np.unique(pixels(workplace / "found/1_probability.png"))) > 100


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("orientation", [3, 6, 7])
def test_a_large_picture_is_predicted_upright_in_windows(run_cli, workplace, monkeypatch, orientation):
    stored = np.asarray(Image.fromarray(blobs(2, SIZE)[0]).resize((150, 110)))
    tag = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(
        workplace / "slide.tif", stored, photometric="rgb", tile=(32, 32), compression="deflate", extratags=tag
    )
    with Image.open(workplace / "slide.tif") as image:
        Image.fromarray(np.asarray(ImageOps.exif_transpose(image))).save(workplace / "upright.png")
    words = ("--tile", "64", "--probabilities")
    assert run_cli("predict", "upright.png", "--out", "whole", *words).code == 0
    monkeypatch.setattr(files, "LARGE", 1)
    result = run_cli("predict", "slide.tif", "--out", "parts", *words)
    assert result.code == 0, result.err
    for kind in ("", "_probability"):
        expected = pixels(workplace / f"whole/upright{kind}.png")
        found = tifffile.imread(workplace / f"parts/slide{kind}.tif")
        np.testing.assert_allclose(found.astype(int), expected.astype(int), atol=1 if kind else 0)


@pytest.mark.usefixtures("trained")
def test_eval_and_stats_give_the_same_numbers_for_turned_files(run_cli, workplace):
    (workplace / "set.yaml").write_text("{name: mine, num_channels: 3, paths: {root: data}}")

    def numbers():
        evaluated = run_cli("eval", "tiny", "dataset.paths.root=data")
        assert evaluated.code == 0, evaluated.err
        scores = yaml.safe_load((workplace / "outputs/tests/tiny/per_image_metrics.yaml").read_text())
        stats = json.loads(run_cli("data", "stats", "set.yaml", "--json").out)
        masks = [pixels(path) for path in sorted((workplace / "outputs/tests/tiny/predictions").glob("*.png"))]
        return scores, stats, [mask.tolist() for mask in masks]

    before = numbers()
    for number, path in enumerate(sorted((workplace / "data").glob("*/image/*.png"))):
        store(path, pixels(path), 2 + number % 7)
    for number, path in enumerate(sorted((workplace / "data").glob("*/label/*.png"))):
        store(path, pixels(path), 1 + number % 8)
    assert numbers() == before


def test_check_tells_once_how_many_files_are_turned(check, workplace):
    write_folders(workplace / "data")
    for path in [*(workplace / "data").glob("train/image/*.png"), workplace / "data/val/label/00.png"]:
        store(path, pixels(path), 6)
    code, findings = check()
    assert code == 0
    finding = only(findings, "turned")
    assert finding["severity"] == "info"
    assert finding["message"].startswith("6 images and 1 mask, such as `data/train/image/0")
    assert finding["message"].endswith("state an orientation other than 1 (EXIF or TIFF): they are turned upright")


def test_an_orientation_that_does_not_exist_is_a_warning(check, workplace):
    write_folders(workplace / "data")
    for path, orientation in zip(sorted((workplace / "data/train/image").iterdir()), (0, 9), strict=False):
        store(path, pixels(path), orientation)
    code, findings = check()
    assert code == 0
    finding = only(findings, "unknown_orientation")
    assert finding["severity"] == "warning"
    assert "2 images, such as `data/train/image/00.png`, state an orientation that is damaged" in finding["message"]
    assert not [each for each in findings if each["code"] == "turned"]


@pytest.mark.parametrize(("turned", "other"), [("image", "mask"), ("mask", "image")])
def test_a_size_that_agrees_only_before_turning_is_told_with_the_orientation(check, run_cli, workplace, turned, other):
    write_folders(workplace / "data", {"train": 2, "val": 1}, size=SIZE)
    path = workplace / f"data/train/{'label' if turned == 'mask' else 'image'}/00.png"
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(pixels(path)).save(path, exif=exif)
    code, findings = check()
    assert code == 1
    finding = only(findings, "size_mismatch")
    assert f": the {turned} states orientation 6 and is turned upright, the {other} is not" in finding["message"]
    (workplace / "run.yaml").write_text(RUN)
    refused = run_cli("train", "run.yaml")
    assert refused.code == 3
    assert " ".join(finding["message"].split()) in " ".join(refused.err.split())


# ---- pages


def animate(path, frames):
    first, *others = map(Image.fromarray, frames)
    first.save(path, save_all=True, append_images=others)


def test_check_and_train_refuse_a_file_of_several_pages_in_the_same_words(check, run_cli, workplace):
    write_folders(workplace / "data", {"train": 2, "val": 1})
    mask = workplace / "data/train/label/00.png"
    animate(mask, [pixels(mask), 255 - pixels(mask)])
    code, findings = check()
    assert code == 1
    finding = only(findings, "unreadable_label")
    assert finding["message"] == "`data/train/label/00.png` holds 2 frames, but one 2D image was expected"
    (workplace / "run.yaml").write_text(RUN)
    refused = run_cli("train", "run.yaml")
    assert refused.code == 3
    assert finding["message"] in " ".join(refused.err.split())


@pytest.mark.parametrize("page", [0, 1])
def test_the_stated_page_of_images_masks_and_fields_of_view_is_learned_and_scored(check, run_cli, workplace, page):
    root = write_folders(workplace / "data")
    keys = {"page": page, "fov_folder": "fov", "mean": [0.4] * 3, "std": [0.2] * 3}
    for split in ("train", "val", "test"):
        (root / split / "fov").mkdir()
        for path in sorted((root / split / "image").iterdir()):
            image, label = pixels(path), pixels(root / split / "label" / path.name)
            field = np.full(label.shape, 255, np.uint8)
            field[:9] = 0
            turned = np.array(image[::-1])
            animate(path, [turned, image][:: 1 if page else -1])
            label_file = root / split / "label" / path.name
            label_file.unlink()
            animate(label_file.with_suffix(".gif"), [label[::-1], label][:: 1 if page else -1])
            Image.fromarray(field).save(root / split / "fov" / path.name)  # one page needs no choice
    code, findings = check(**keys)
    assert code == 0, findings
    assert {each["code"] for each in findings} == {"class_share"}
    layout = loaded(workplace)
    for case in layout.cases("train"):
        sample = layout.read(case)
        image, label = blobs(int(case.id))
        np.testing.assert_array_equal(sample.image, image[:, :, ::-1])
        np.testing.assert_array_equal(sample.maps["mask"], label > 0)
        assert sample.maps["valid"].mean() == pytest.approx(1 - 9 / 48)


def loaded(workplace):
    from segcli.config.load import run_from_values

    values = yaml.safe_load((workplace / "set.yaml").read_text())
    return run_from_values({"name": "x", "dataset": values, "model": "unet"}, source="test").dataset.build()


def test_images_of_one_page_among_others_are_a_warning(check, workplace):
    write_folders(workplace / "data")
    for path in sorted((workplace / "data/train/image").iterdir())[1:]:
        animate(path, [pixels(path)[::-1].copy(), pixels(path)])
    finding = only(check(page=1)[1], "single_page")
    assert finding["severity"] == "warning"
    assert "5 images, such as" in finding["message"]
    assert finding["message"].endswith("have one page, which is read; `page: 1` is read of the others")


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("network", [("--run", "tiny"), ("--model", "outputs/exports/tiny/tiny.onnx")])
@pytest.mark.parametrize("large", [False, True])
def test_predict_refuses_several_pages_or_takes_the_one_of_its_option(run_cli, workplace, monkeypatch, network, large):
    frames = [np.asarray(Image.fromarray(blobs(seed, SIZE)[0])) for seed in (1, 2)]
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(workplace / f"{number}.png")
    tifffile.imwrite(workplace / "a.tif", np.stack(frames), photometric="rgb", tile=(16, 16))
    assert run_cli("predict", "0.png", "1.png", *network, "--out", "single", "--probabilities").code == 0
    monkeypatch.setattr(files, "LARGE", 1 if large else files.LARGE)
    refused = run_cli("predict", "a.tif", *network, "--out", "found")
    assert refused.code == 3
    assert "`a.tif` holds 2 pages, but one 2D image was expected" in " ".join(refused.err.split())
    for page in (0, 1):
        out = f"found{page}"
        result = run_cli("predict", "a.tif", *network, "--page", page, "--out", out, "--probabilities", "--json")
        assert result.code == 0, result.err
        (written,) = json.loads(result.out)["written"]
        assert written["mask"].endswith(".tif" if large else ".png")
        read = tifffile.imread if large else pixels
        expected = pixels(workplace / f"single/{page}_probability.png").astype(int)
        np.testing.assert_allclose(read(workplace / written["probability"]).astype(int), expected, atol=1)


def test_predict_follows_the_key_of_the_data_set_in_a_run_and_in_its_exported_file(run_cli, tiny, workplace):
    assert run_cli("train", tiny(dataset__page=1, training__epochs=1)).code == 0
    exported = run_cli("export", "tiny", "--json")
    assert exported.code == 0, exported.err
    frames = [blobs(seed, SIZE)[0] for seed in (1, 2)]
    Image.fromarray(frames[1]).save(workplace / "one.png")
    animate(workplace / "a.png", frames)
    for network in (("--run", "tiny"), ("--model", json.loads(exported.out)["file"])):
        words = (*network, "--out", network[0].strip("-"), "--probabilities")
        result = run_cli("predict", "one.png", "a.png", *words)
        assert result.code == 0, result.err
        one, chosen = (pixels(workplace / words[3] / f"{stem}_probability.png") for stem in ("one", "a"))
        np.testing.assert_array_equal(chosen, one)
