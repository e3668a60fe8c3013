"""Nothing is predicted outside the field of view; masks are compared as Pillow and tifffile read them."""

import contextlib
import io
import json
import shutil
import weakref

import numpy as np
import pytest
import tifffile
from conftest import made_once
from factories import experiment, write_experiment
from PIL import Image

from segcli import files
from segcli.cli.main import run
from segcli.data.postprocess import Postprocess
from segcli.data.settings import DatasetSpec
from segcli.engine.inference.fields import Fields
from segcli.tasks.binary import Binary

SIZE = (64, 80)


def disc(radius=28, centre=(32, 40)):
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def photograph(seed, field):
    """A noisy bright field on a black border."""
    noise = np.random.default_rng(seed).normal(0, 4, (*SIZE, 3))
    return (np.where(field[:, :, None], (190, 90, 50), (6, 5, 4)) + noise).clip(0, 255).astype(np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels if pixels.dtype != bool else pixels.astype(np.uint8) * 255).save(path)


def pixels(path):
    return np.asarray(Image.open(path))


def write_photographs(root):
    """Photographs with a vessel each, and masks of their field that are smaller than the bright disc."""
    for number, (split, count) in enumerate({"train": 2, "val": 1, "test": 2}.items()):
        for index in range(count):
            vessel = disc() & (np.arange(SIZE[1]) // 4 % 5 == index)
            save(root / f"{split}/image/{index:02d}.png", photograph(10 * number + index, disc()))
            save(root / f"{split}/label/{index:02d}.png", vessel)
            save(root / f"{split}/fov/{index:02d}_fov.png", disc(20))
    return root


KEYS = {"dataset__fov_folder": "fov", "dataset__fov_suffix": "_fov", "training__epochs": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with data, a run trained with a field of view, one without, and the ONNX file of the first."""

    def make(folder):
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
            patch.chdir(folder)
            data = write_photographs(folder / "data")
            for name, keys in (("eye", KEYS), ("plain", {"training__epochs": 1})):
                config = write_experiment(folder / f"{name}.yaml", experiment(data, **keys, name=name))
                assert run(["train", str(config)]) == 0
            assert run(["export", "eye"]) == 0

    return made_once(tmp_path_factory, "eyes", make)


@pytest.fixture
def eyes(made, workplace):
    """The folder of the test with a copy of the above."""
    shutil.copytree(made, workplace, dirs_exist_ok=True)
    for path in workplace.glob("outputs/experiments/*/config.yaml"):
        path.write_text(path.read_text().replace(str(made), str(workplace)))
    return workplace


ALL = ("--threshold", "0", "--json")
"""Every pixel that is not left out is foreground."""


def elsewhere(folder, **fields):
    """Write photographs outside of the data set."""
    for seed, (name, field) in enumerate(fields.items()):
        save(folder / f"photos/{name}.png", photograph(seed, field))


def written(result):
    assert result.code == 0, result.err
    return json.loads(result.out)["written"]


def test_an_image_of_the_data_set_has_the_field_of_its_mask(run_cli, eyes):
    result = run_cli("predict", "data/test/image", "--run", "eye", *ALL[:2])
    assert result.code == 0, result.err
    mask = pixels(eyes / "outputs/predictions/eye/00.png")
    np.testing.assert_array_equal(mask > 0, disc(20))
    assert "field of view: 2 from `data/test/fov`; masks are empty outside" in result.err.replace(f"{eyes}/", "")


def test_another_photograph_has_the_field_that_it_shows(run_cli, eyes):
    elsewhere(eyes, one=disc(), two=disc(30, (40, 20)))
    result = run_cli("predict", "photos", "--run", "eye", "--out", "out", "--probabilities", "--uncertainty", *ALL)
    assert [entry["fov"] for entry in written(result)] == ["estimated from the photograph"] * 2
    for name, field in (("one", disc()), ("two", disc(30, (40, 20)))):
        mask = pixels(eyes / f"out/{name}.png") > 0
        assert (mask & field).sum() / (mask | field).sum() > 0.9
        for kind in ("probability", "uncertainty"):
            values = pixels(eyes / f"out/{name}_{kind}.png")
            assert not values[~mask].any()
            assert values[mask].all()


def test_the_line_on_stderr_counts_what_was_estimated_and_names_what_was_not_found(run_cli, eyes):
    elsewhere(eyes, one=disc(), full=np.ones(SIZE, bool))
    result = run_cli("predict", "photos", "--run", "eye", "--out", "out", *ALL[:2])
    assert "field of view: 1 estimated from the photograph, 1 not found (whole image)" in result.err
    assert "`photos/full.png`: no round field of view on a dark border was found, so nothing is left out" in result.err
    assert (pixels(eyes / "out/full.png") > 0).all()


def test_a_prediction_of_many_photographs_does_not_keep_their_fields(run_cli, eyes, monkeypatch):
    found, alive, find = [], [], Fields._found

    def watched(self, *arguments):
        field, source = find(self, *arguments)
        found.append(weakref.ref(field))
        alive.append(sum(each() is not None for each in found))
        return field, source

    monkeypatch.setattr(Fields, "_found", watched)
    for index in range(12):
        save(eyes / f"many/{index}.png", photograph(index, disc()))
    result = run_cli("predict", "many", "--run", "eye", "--out", "found")
    assert result.code == 0, result.err
    assert len(found) == 12
    assert max(alive) <= 6  # images are read ahead


def test_masks_of_a_folder_come_first_with_the_suffix_of_the_data_set_or_without(run_cli, eyes):
    for name in ("00_fov.png", "01.tif"):
        save(eyes / "mine" / name, disc(10))
    result = run_cli("predict", "data/test/image", "--run", "eye", "--fov", "mine", "--out", "out", *ALL)
    assert [entry["fov"] for entry in written(result)] == ["`mine`"] * 2
    for name in ("00.png", "01.png"):
        np.testing.assert_array_equal(pixels(eyes / "out" / name) > 0, disc(10))


def test_a_run_without_a_field_of_view_predicts_the_whole_image_unless_told(run_cli, eyes):
    elsewhere(eyes, one=disc())
    result = run_cli("predict", "photos", "--run", "plain", "--out", "out", *ALL[:2])
    assert "field of view" not in result.err
    assert (pixels(eyes / "out/one.png") > 0).all()
    save(eyes / "mine/one.png", disc(10))
    result = run_cli("predict", "photos", "--run", "plain", "--out", "out", "--fov", "mine", "--overwrite", *ALL)
    assert "fov" in written(result)[0]
    np.testing.assert_array_equal(pixels(eyes / "out/one.png") > 0, disc(10))


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (None, "image `photos/two.png` has no field-of-view mask (looked for `mine/two_fov.*` or `mine/two.*`)"),
        (np.ones((9, 9), bool), "`mine/two.png` is 9x9 pixels, its image `photos/two.png` is 64x80"),
        (np.zeros(SIZE, bool), "field-of-view mask `mine/two.png` is empty: it marks no pixel as inside"),
    ],
)
def test_a_mask_that_is_missing_of_another_size_or_empty_fails_its_image_alone(run_cli, eyes, mask, text):
    elsewhere(eyes, one=disc(), two=disc())
    save(eyes / "mine/one.png", disc(10))
    if mask is not None:
        save(eyes / "mine/two.png", mask)
    result = run_cli("predict", "photos", "--run", "eye", "--fov", "mine", "--out", "out")
    assert result.code == 3
    assert text in result.err
    assert "wrote 1 mask" in result.out
    assert not (eyes / "out/two.png").exists()


def test_a_folder_of_masks_that_is_missing_empty_or_would_be_written_over_is_refused(run_cli, eyes):
    elsewhere(eyes, one=disc())
    (eyes / "none").mkdir()
    for folder, text in (("nowhere", "no folder `nowhere`"), ("none", "no masks in `none`")):
        result = run_cli("predict", "photos", "--run", "eye", "--fov", folder)
        assert result.code == 3
        assert text in result.err
    save(eyes / "mine/one.png", disc(10))
    result = run_cli("predict", "photos", "--run", "eye", "--fov", "mine", "--out", "mine", "--overwrite")
    assert result.code == 2
    assert "would replace the image `mine/one.png`" in result.err
    np.testing.assert_array_equal(pixels(eyes / "mine/one.png") > 0, disc(10))


def test_an_exported_file_leaves_out_what_its_run_leaves_out(run_cli, eyes):
    elsewhere(eyes, one=disc())
    words = ("predict", "photos", "data/test/image/00.png", *ALL[:2], "--out")
    assert run_cli(*words, "a", "--run", "eye").code == 0
    assert run_cli(*words, "b", "--model", "outputs/exports/eye/eye.onnx").code == 0
    for name in ("one.png", "00.png"):
        found = pixels(eyes / "b" / name)
        np.testing.assert_array_equal(pixels(eyes / "a" / name), found)
        assert 0.2 < (found > 0).mean() < 0.6


def test_one_network_with_a_field_of_view_is_enough_in_an_ensemble_of_any_order(run_cli, eyes):
    elsewhere(eyes, one=disc())
    fields = []
    for names in (("plain", "eye"), ("eye", "plain")):
        runs = [word for name in names for word in ("--run", name)]
        result = run_cli("predict", "photos", *runs, "--out", names[0], *ALL)
        assert [entry["fov"] for entry in written(result)] == ["estimated from the photograph"]
        fields.append(pixels(eyes / names[0] / "one.png") > 0)
    np.testing.assert_array_equal(*fields)
    assert not fields[0][~disc(30)].any()


def test_data_without_masks_of_the_field_are_scored_as_the_message_says(run_cli, eyes):
    shutil.copytree(eyes / "data/test", eyes / "other")
    shutil.rmtree(eyes / "other/fov")
    result = run_cli("eval", "eye", "--data", "other")
    assert result.code == 3
    assert "no folder `other/fov` with the field-of-view masks" in result.err
    assert "`dataset.fov_folder=null` if there are none" in result.err
    assert run_cli("eval", "eye", "--data", "other", "dataset.fov_folder=null", "--quiet").code == 0


def test_a_large_image_in_bands_has_the_field_of_the_whole(run_cli, eyes, monkeypatch):
    tifffile.imwrite(eyes / "slide.tif", photograph(1, disc()), photometric="rgb", tile=(16, 16))
    tifffile.imwrite(eyes / "mine.tif", disc(10).astype(np.uint8), tile=(16, 16))
    (eyes / "mine").mkdir()
    shutil.copy(eyes / "mine.tif", eyes / "mine/slide.tif")
    words = ("predict", "slide.tif", "--run", "eye", "--tile", "32", "--probabilities", "--uncertainty", *ALL[:2])
    assert run_cli(*words, "--out", "whole").code == 0
    monkeypatch.setattr(files, "LARGE", 1)
    assert run_cli(*words, "--out", "bands").code == 0
    assert run_cli(*words, "--out", "masked", "--fov", "mine").code == 0
    mask = tifffile.imread(eyes / "bands/slide.tif")
    np.testing.assert_array_equal(mask, pixels(eyes / "whole/slide.png"))
    assert 0.3 < (mask > 0).mean() < 0.6
    for kind in ("probability", "uncertainty"):
        assert not tifffile.imread(eyes / f"bands/slide_{kind}.tif")[mask == 0].any()
    np.testing.assert_array_equal(tifffile.imread(eyes / "masked/slide.tif") > 0, disc(10))


def test_the_masks_of_eval_are_empty_outside_and_its_figures_are_those_inside(run_cli, eyes):
    result = run_cli("eval", "eye", *ALL)
    assert result.code == 0, result.err
    scores = json.loads(result.out)
    assert any("field of view: 2 from" in note for note in scores["notes"])
    for name in ("00.png", "01.png"):
        np.testing.assert_array_equal(pixels(eyes / "outputs/tests/eye/predictions" / name) > 0, disc(20))
    truth = np.concatenate([(pixels(eyes / f"data/test/label/{name}") > 0)[disc(20)] for name in ("00.png", "01.png")])
    assert scores["over_all_pixels"]["precision"] == pytest.approx(truth.mean())


def test_without_its_masks_the_whole_image_is_scored_with_the_estimated_field(run_cli, eyes):
    result = run_cli("eval", "eye", "dataset.fov_folder=null", *ALL)
    assert result.code == 0, result.err
    scores = json.loads(result.out)
    assert any("field of view: 2 estimated from the photograph" in note for note in scores["notes"])
    found = [pixels(eyes / f"outputs/tests/eye/predictions/{name}.png") > 0 for name in ("00", "01")]
    truth = [pixels(eyes / f"data/test/label/{name}.png") > 0 for name in ("00", "01")]
    assert 0.3 < np.mean(found) < 0.6
    # at threshold 0 the figures count every pixel as found, so the curve is compared: pixels left out are certain
    plain = json.loads(run_cli("eval", "eye", "dataset.fov_folder=null", "inference.fov=none", "--json").out)
    assert scores["average_metrics"]["auc"] > plain["average_metrics"]["auc"]
    assert np.mean(truth) < np.mean(found)


def test_a_mask_of_classes_holds_the_first_class_outside(run_cli, eyes):
    classes = {"dataset__num_classes": 2, "dataset__classes": ["ground", "vessel"], "dataset__numbers": [3, 7]}
    for path in eyes.glob("data/*/label/*.png"):
        save(path, np.where(pixels(path) > 0, 7, 3).astype(np.uint8))
    values = experiment(eyes / "data", **KEYS, **classes, name="many", training__loss={"cross_entropy": 1.0})
    assert run_cli("train", write_experiment(eyes / "many.yaml", values)).code == 0
    result = run_cli("predict", "data/test/image/00.png", "--run", "many", "--probabilities", "--out", "out")
    assert result.code == 0, result.err
    mask, probability = pixels(eyes / "out/00.png"), pixels(eyes / "out/00_probability.png")
    assert (mask[~disc(20)] == 3).all()
    assert not probability[~disc(20)].any()
    assert (probability[disc(20)] >= 32767).all()


def test_components_are_chosen_by_what_lies_inside():
    probs, inside = np.zeros((1, 20, 20), np.float32), np.zeros((20, 20), bool)
    inside[:, :10] = True
    probs[0, 2:5, 2:5] = probs[0, 1:19, 9:20] = 0.9
    probs[0, 5:15, 9] = 0.0
    cleaned = Binary(DatasetSpec()).cleaned(probs, Postprocess(largest_component=True), 0.5, inside)
    assert [tuple(place) for place in np.argwhere(cleaned[0])] == [(y, x) for y in range(2, 5) for x in range(2, 5)]


def test_a_photograph_is_not_its_own_mask(run_cli, eyes):
    elsewhere(eyes, one=disc())
    result = run_cli("predict", "photos/one.png", "--run", "plain", "--fov", "photos", "--out", "out")
    assert result.code == 3
    assert "image `photos/one.png` has no field-of-view mask" in result.err


def test_volumes_have_no_field_of_view(run_cli, workplace):
    from factories import volumes_experiment, write_hdf5

    write_hdf5(workplace / "data")
    config = write_experiment(workplace / "v.yaml", volumes_experiment(workplace / "data", inference={"fov": "auto"}))
    result = run_cli("train", config)
    assert result.code == 2
    assert "inference.fov: is for masks of 2D images, not for format `hdf5_volumes`" in result.err
