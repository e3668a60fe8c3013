import json

import cv2
import numpy as np
import pytest
import tifffile
import yaml
import zarr
from factories import blobs
from PIL import Image

from segcli.data.images import read_image, read_labels


@pytest.fixture
def trained(tiny_of):
    """A trained run called `tiny`."""
    tiny_of(2)


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("size", [(48, 48), (37, 61), (1, 50), (200, 33)])
def test_a_mask_has_the_name_and_the_size_of_its_image(run_cli, workplace, size):
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    cv2.imwrite(str(workplace / "photo.one.png"), image)
    result = run_cli("predict", "photo.one.png", "--tile", "64")
    assert result.code == 0, result.err
    mask = read_labels(workplace / "outputs/predictions/tiny/photo.one.png")
    assert mask.shape == size
    assert set(np.unique(mask)) <= {0, 255}


@pytest.mark.usefixtures("trained")
def test_predict_and_eval_give_the_same_masks(run_cli, workplace):
    assert run_cli("eval", "tiny").code == 0
    assert run_cli("predict", "data/test/image").code == 0
    for name in ("00.png", "01.png"):
        np.testing.assert_array_equal(
            read_labels(workplace / "outputs/predictions/tiny" / name),
            read_labels(workplace / "outputs/tests/tiny/predictions" / name),
        )


@pytest.mark.usefixtures("trained")
def test_probabilities_agree_with_the_mask_at_any_threshold(run_cli, workplace):
    result = run_cli(
        "predict",
        "data/test/image/00.png",
        "--probabilities",
        "--overlay",
        "--threshold",
        "0.3",
        "--out",
        "found",
        "--json",
    )
    assert result.code == 0, result.err
    (written,) = json.loads(result.out)["written"]
    probability = read_image(workplace / written["probability"])[:, :, 0]
    assert probability.dtype == np.uint16
    mask = read_labels(workplace / written["mask"])
    np.testing.assert_array_equal(mask > 0, probability >= 0.3 * 65535 - 0.5)
    assert written["share"] == pytest.approx((mask > 0).mean())
    assert read_image(workplace / written["overlay"]).shape == (48, 48, 3)


@pytest.mark.usefixtures("trained")
def test_a_bare_folder_is_predicted_by_the_newest_run_which_is_named(run_cli):
    result = run_cli("predict", "data/test/image", "--overlay")
    assert result.code == 0
    assert "run: tiny (the newest)" in result.err
    assert "wrote 2 masks to outputs/predictions/tiny" in result.out
    assert "beside the masks: NAME_overlay.png" in result.out


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    "run", ["tiny", "outputs/experiments/tiny", "outputs/experiments/tiny/checkpoints/last.safetensors"]
)
def test_a_run_may_be_named_by_name_folder_or_checkpoint(run_cli, run):
    assert run_cli("predict", "data/test/image/00.png", "--run", run).code == 0


@pytest.mark.usefixtures("trained")
def test_globs_and_several_formats_are_taken_each_file_once(run_cli, workplace):
    image = blobs(5)[0]
    cv2.imwrite(str(workplace / "a.jpg"), image)
    tifffile.imwrite(workplace / "b.tif", image, photometric="rgb", compression="lzw")
    result = run_cli("predict", "*.jpg", "a.jpg", "b.tif", "--json")
    assert [entry["image"] for entry in json.loads(result.out)["written"]] == ["a.jpg", "b.tif"]


@pytest.mark.usefixtures("trained")
def test_a_file_that_cannot_be_read_is_passed_over_and_told_at_the_end(run_cli, workplace):
    (workplace / "data/test/image/02.png").write_text("junk")
    result = run_cli("predict", "data/test/image")
    assert result.code == 3
    assert "cannot read image `data/test/image/02.png`" in result.err
    assert "replace the file, or remove it from the data set" in " ".join(result.err.split())
    assert "wrote 2 masks" in result.out
    assert "1 image failed" in result.out


@pytest.mark.usefixtures("trained")
def test_what_is_there_is_not_overwritten_unless_asked(run_cli, workplace):
    assert run_cli("predict", "data/test/image").code == 0
    mask = workplace / "outputs/predictions/tiny/01.png"
    mask.write_text("mine")
    result = run_cli("predict", "data/test/image/01.png")
    assert result.code == 2
    assert "01.png` exists" in result.err
    assert mask.read_text() == "mine"
    assert run_cli("predict", "data/test/image/01.png", "--overwrite").code == 0
    assert mask.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("trained")
def test_two_images_of_one_stem_and_a_mask_over_its_image_are_refused(run_cli, workplace):
    result = run_cli("predict", "data/test/image/00.png", "data/val/image/00.png")
    assert result.code == 2
    assert "would both be written to" in result.err
    result = run_cli("predict", "data/test/image/00.png", "--out", "data/test/image", "--overwrite")
    assert result.code == 2
    assert "would replace the image" in result.err


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    ("words", "kind"), [("--overlay", "overlay"), ("--probabilities", "probability"), ("--uncertainty", "uncertainty")]
)
def test_a_side_file_and_the_mask_of_another_image_are_refused_before_anything_is_written(
    run_cli, workplace, words, kind
):
    (workplace / "in").mkdir()
    for index, name in enumerate(("a.png", f"a_{kind}.png")):
        cv2.imwrite(str(workplace / "in" / name), blobs(index)[0])
    result = run_cli("predict", "in", "--out", "out", words)
    assert result.code == 2
    both = f"`in/a_{kind}.png` and `in/a.png` would both be written to `out/a_{kind}.png`"
    assert both in result.err
    assert not (workplace / "out").exists()
    assert run_cli("predict", "in", "--out", "out").code == 0


@pytest.mark.usefixtures("trained")
def test_no_result_replaces_an_input_of_the_same_call(run_cli, workplace):
    (workplace / "out").mkdir()
    cv2.imwrite("a.png", blobs(0)[0])
    cv2.imwrite("out/a_overlay.png", blobs(1)[0])
    before = (workplace / "out/a_overlay.png").read_bytes()
    result = run_cli("predict", "a.png", "out/a_overlay.png", "--out", "out", "--overlay", "--overwrite")
    assert result.code == 2
    assert "would replace the image" in result.err
    (workplace / "out/a_overlay.png").rename("out/a.png")
    result = run_cli("predict", "a.png", "out/a.png", "--out", "./out/../out", "--overwrite")
    assert result.code == 2
    assert "the mask of `a.png` would replace the image `out/a.png`" in result.err
    assert (workplace / "out/a.png").read_bytes() == before


@pytest.mark.usefixtures("trained")
def test_what_decides_is_the_image_and_not_the_format_that_the_network_was_trained_on(run_cli, workplace):
    image = blobs(3)[0][:, :, ::-1]  # OpenCV writes the other way round
    cv2.imwrite("a.png", image[:, :, ::-1])
    np.save("b.npy", image)
    np.save("c.npy", np.moveaxis(image, -1, 0))
    tifffile.imwrite("d.tiff", image, photometric="rgb", compression="zlib")
    array = zarr.create_array(zarr.storage.LocalStore(workplace / "e.zarr"), shape=image.shape, dtype="uint8")
    array[:] = image
    result = run_cli("predict", "a.png", "b.npy", "c.npy", "d.tiff", "e.zarr", "--out", "out", "--probabilities")
    assert result.code == 0, result.err
    expected = read_labels(workplace / "out/a_probability.png").astype(int)
    assert len(np.unique(expected)) > 100
    for name in ("b_probability.png", "c_probability.png", "d_probability.png", "e_probability.tif"):
        found = read_labels(workplace / "out" / name).astype(int)
        np.testing.assert_allclose(found, expected, atol=1 if name.startswith("e") else 0)
    np.save("grey.npy", image[:, :, 0])
    result = run_cli("predict", "grey.npy", "--out", "out")
    assert result.code == 3
    assert "`grey.npy` has 1 channel" in result.err


def test_a_folder_of_images_is_predicted_whose_ends_of_names_the_data_set_states(run_cli, tiny, workplace):
    values = yaml.safe_load(tiny(training__epochs=1).read_text())
    values["dataset"]["extensions"] = ["webp", "png"]
    (workplace / "webp.yaml").write_text(yaml.safe_dump(values))
    assert run_cli("train", "webp.yaml").code == 0
    assert run_cli("export", "tiny").code == 0
    (workplace / "in").mkdir()
    Image.fromarray(blobs(0)[0]).save("in/a.webp", lossless=True)
    for words in (("--run", "tiny"), ("--model", "outputs/exports/tiny/tiny.onnx")):
        result = run_cli("predict", "in", "--out", words[0][2:], *words)
        assert result.code == 0, result.err
        assert (workplace / words[0][2:] / "a.png").is_file()


@pytest.mark.usefixtures("trained")
def test_an_image_with_other_channels_is_told(run_cli, workplace):
    cv2.imwrite(str(workplace / "grey.png"), blobs(0, channels=1)[0])
    result = run_cli("predict", "grey.png")
    assert result.code == 3
    assert "`grey.png` has 1 channel" in result.err


def test_images_are_resized_for_the_network_and_masks_back(run_cli, tiny, workplace):
    assert run_cli("train", tiny(training__epochs=1, data__image_size=[32, 32])).code == 0
    assert run_cli("predict", "data/test/image/00.png").code == 0
    assert read_labels(workplace / "outputs/predictions/tiny/00.png").shape == (48, 48)
