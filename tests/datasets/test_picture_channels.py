"""2D images whose channels are files of their own: stacked in the stated order, checked, trained on and predicted."""

import json
from functools import partial

import numpy as np
import pytest
import tifffile
from factories import blobs, experiment, write_experiment
from layouts import built, findings_of
from PIL import Image

from segcli import files
from segcli.core.errors import ConfigError, DataError
from segcli.data.fingerprint import fingerprint

KEYS = {"image_folder": "images", "label_folder": "masks", "channel_suffixes": ["_GFP", "_DAPI"]}


def channels(seed, size=(48, 48)):
    """Make two grey channels and their mask."""
    image, mask = blobs(seed, size)
    return {"_DAPI": image[:, :, 0], "_GFP": 255 - image[:, :, 1]}, mask


def write(root, count=4, image="images/{}{}.tif", mask="masks/{}.png"):
    """Write `images/p0_DAPI.tif` and `_GFP` with different pixels, and `masks/p0.png`."""
    for index in range(count):
        planes, truth = channels(index)
        for end, pixels in planes.items():
            path = root / image.format(f"p{index}", end)
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, pixels)
        path = root / mask.format(f"p{index}")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(truth).save(path)
    return root


@pytest.fixture
def layout(workplace):
    """Make the layout of the images anew."""
    write(workplace / "data")
    return partial(built, workplace, **KEYS, split={"by": "fraction", "val": 0.25})


def test_channels_are_stacked_in_the_stated_order(layout, workplace, monkeypatch):
    made = layout()
    case = made.cases("train")[0]
    paths = [workplace / f"data/images/{case.id}{end}.tif" for end in KEYS["channel_suffixes"]]
    expected = np.stack([tifffile.imread(path) for path in paths], axis=-1)
    assert (made.spec.num_channels, case.image.name, made.shown(case)) == (2, paths[0].name, case.id)
    np.testing.assert_array_equal(made.read(case).image, expected)
    np.testing.assert_array_equal(made.examine(case)[0].image, expected)
    mask = np.asarray(Image.open(workplace / f"data/masks/{case.id}.png"))
    np.testing.assert_array_equal(made.read(case).maps["mask"], mask > 0)
    monkeypatch.setattr(files, "LARGE", 1)
    with made.opened(paths[1]) as picture:  # whichever of them is named
        assert picture.is_large
        picture.prepare(workplace)
        np.testing.assert_array_equal(picture.read((slice(5, 40), slice(3, 9))), expected[5:40, 3:9])


def test_channels_with_different_endings_are_predicted_as_they_are_trained(layout, workplace):
    made, folder = layout(), workplace / "data/images"
    case = made.cases("train")[0]
    first, second = (folder / f"{case.id}{end}.tif" for end in KEYS["channel_suffixes"])
    expected = np.stack([tifffile.imread(first), tifffile.imread(second)], axis=-1)
    Image.fromarray(expected[:, :, 1]).save(other := second.with_suffix(".PNG"), "PNG")
    second.unlink()
    assert made.leading([first, other]) == [first]
    for path in (first, other):
        with made.opened(path) as picture:
            np.testing.assert_array_equal(picture.read(), expected)
    Image.fromarray(expected[:, :, 1]).save(second.with_suffix(".bmp"))  # which of the two is not known
    with pytest.raises(DataError, match="has no file"):
        made.opened(first)


def test_a_channel_that_is_named_twice_is_refused(layout):
    with pytest.raises(ConfigError, match=r"channel_suffixes.*names `_GFP` twice"):
        layout(channel_suffixes=["_GFP", "_GFP"])


def test_a_single_suffix_reads_that_channel_alone(layout, workplace):
    made = layout(channel_suffixes=["_DAPI"])
    case = made.cases("train")[0]
    expected = tifffile.imread(workplace / f"data/images/{case.id}_DAPI.tif")[..., None]
    assert (made.spec.num_channels, case.others) == (1, ())
    np.testing.assert_array_equal(made.read(case).image, expected)


def test_the_only_case_of_a_split_without_a_channel_is_one_finding(layout, workplace):
    (validated,) = layout().cases("val")
    validated.others[0].unlink()
    assert [finding.code for finding in findings_of(layout())] == ["missing_channel"]


@pytest.mark.parametrize("end", ["_GFP", "_DAPI"])
def test_a_missing_channel_is_one_finding_and_stops_training_in_the_same_words(layout, workplace, end):
    other = {"_GFP": "_DAPI", "_DAPI": "_GFP"}[end]
    (workplace / f"data/images/p1{end}.tif").unlink()
    (finding,) = findings_of(layout())
    assert (finding.code, finding.severity, finding.file.name) == ("missing_channel", "error", f"p1{other}.tif")
    position = KEYS["channel_suffixes"].index(end) + 1
    assert finding.message.endswith(f"has no file `p1{end}.tif` (channel {position} of 2)")
    with pytest.raises(DataError, match=r"has no file `p1_") as raised:
        [layout().cases(split) for split in ("train", "val")]
    assert raised.value.message == finding.message


def test_a_file_of_no_channel_is_one_finding_unless_it_is_excluded(layout, workplace):
    tifffile.imwrite(workplace / "data/images/p1_RFP.tif", channels(7)[0]["_GFP"])
    (finding,) = findings_of(layout())
    assert (finding.code, finding.severity) == ("unread_files", "warning")
    assert "holds 1 files without the suffix `_GFP` or `_DAPI`, such as `p1_RFP.tif`" in finding.message
    assert "`channel_suffixes`" in finding.hint
    assert findings_of(layout(exclude=["*_RFP"])) == []


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (lambda pixels: pixels[:-8], "size_mismatch", "has 40x48 pixels, but the first channel `"),
        (lambda pixels: pixels.astype(np.uint16), "depth_mismatch", "has 16 bits, but the first channel `"),
    ],
)
def test_a_channel_of_another_size_or_bit_depth_is_one_error(layout, workplace, run_cli, change, code, message):
    path = workplace / "data/images/p0_DAPI.tif"
    tifffile.imwrite(path, change(tifffile.imread(path)))
    made = layout()
    (finding,) = findings_of(made)
    assert (finding.code, finding.severity, finding.file.name) == (code, "error", path.name)
    assert message in finding.message
    case = next(case for split in ("train", "val") for case in made.all_cases(split) if case.id == "p0")
    with pytest.raises(DataError) as raised:
        made.read(case)
    assert raised.value.message == finding.message
    checked = run_cli("data", "check", "set.yaml", "--json")
    told = json.loads(checked.out)["findings"]
    assert [each["code"] for each in told if each["severity"] == "error"] == [code]
    assert "mixed_bits" not in {each["code"] for each in told}


def test_channels_of_equal_bits_and_other_types_are_not_mixed(layout, workplace):
    planes = channels(0)[0]
    tifffile.imwrite(workplace / "data/images/p0_GFP.tif", planes["_GFP"].astype(np.uint16))
    tifffile.imwrite(workplace / "data/images/p0_DAPI.tif", (planes["_DAPI"] / 255).astype(np.float16))
    made = layout()
    case = next(case for split in ("train", "val") for case in made.all_cases(split) if case.id == "p0")
    with pytest.raises(DataError, match=r"p0_DAPI\.tif` has float16 values, but the first channel `.*` has uint16"):
        made.read(case)


def test_the_fingerprint_of_the_data_depends_on_every_channel(layout, workplace):
    before = fingerprint(layout().cases("train"))["digest"]
    for path in (workplace / "data/images").glob("*_DAPI.tif"):
        tifffile.imwrite(path, 255 - tifffile.imread(path))
    assert fingerprint(layout().cases("train"))["digest"] != before


@pytest.mark.parametrize(
    ("image", "mask", "keys"),
    [
        ("all/{}{}.tif", "all/{}_mask.png", {"label_suffix": "_mask"}),
        ("all/{}{}.tif", "all/{}.png", {}),
        ("all/{}/x{}.tif", "all/{}/mask.png", {"image_prefix": "x", "label_prefix": "mask"}),
    ],
)
def test_channels_lie_beside_masks_and_in_folders_of_cases(workplace, layout, image, mask, keys):
    write(workplace / "other", image=image, mask=mask)
    folder = "all/*" if "/x" in image else "all"
    made = layout(paths={"root": "other"}, image_folder=folder, label_folder=folder, **keys)
    cases = [case for split in ("train", "val") for case in made.cases(split)]
    assert sorted(case.id for case in cases) == ["p0", "p1", "p2", "p3"]
    assert findings_of(made) == []
    for case in cases:
        paths = [workplace / "other" / image.format(case.id, end) for end in KEYS["channel_suffixes"]]
        expected = np.stack([tifffile.imread(path) for path in paths], axis=-1)
        np.testing.assert_array_equal(made.read(case).image, expected)
        assert [case.id for case in made.inputs(paths[0])] == [case.id]
    if "*" in folder:
        case.others[0].unlink()
        (finding,) = findings_of(layout(paths={"root": "other"}, image_folder=folder, label_folder=folder, **keys))
        assert finding.message.endswith("has no file `x_DAPI.tif` (channel 2 of 2)")
    there = sorted(path for path in (workplace / "other").rglob("*") if path.is_file())
    firsts = sorted(case.image.name for case in cases)
    if "*" not in folder:
        assert sorted(path.name for path in made.leading(there)) == firsts


def test_channels_beside_masks_without_a_suffix_are_no_masks_without_an_image(layout, workplace):
    write(workplace / "sides/train", image="{}{}.tif", mask="{}.png")
    made = layout(paths={"root": "sides"}, image_folder=".", label_folder=".", split={"by": "folders", "val": 0.25})
    assert findings_of(made) == []
    assert len(made.cases("train")) == 3


def test_a_suffix_for_images_of_one_file_does_not_go_with_channels(layout):
    with pytest.raises(ConfigError, match="is for images of one file, and `channel_suffixes` names several"):
        layout(image_suffix="_x")


def test_training_evaluation_and_prediction_read_the_channels_of_a_case_together(run_cli, workplace, monkeypatch):
    write(workplace / "data")
    values = experiment(workplace / "data", training__epochs=1)
    values["dataset"] = {**KEYS, "paths": {"root": "data"}, "split": {"by": "fraction", "val": 0.5}}
    trained = run_cli("train", write_experiment(workplace / "tiny.yaml", values))
    assert trained.code == 0, trained.err
    scored = run_cli("eval", "tiny", "--split", "val", "--json")
    assert scored.code == 0, scored.err
    planes, _ = channels(9)
    (workplace / "new").mkdir()
    for end, pixels in planes.items():
        tifffile.imwrite(workplace / f"new/q{end}.tif", pixels)
    whole = np.stack([planes["_GFP"], planes["_DAPI"]], axis=-1)
    tifffile.imwrite(workplace / "whole.tif", whole, photometric="minisblack", planarconfig="contig")
    for inputs in (["new"], ["new/q_GFP.tif", "new/q_DAPI.tif"], ["new/q_DAPI.tif"]):
        made = run_cli(
            "predict", *inputs, "--run", "tiny", "--out", "found", "--json", "--probabilities", "--overwrite"
        )
        assert made.code == 0, made.err
        (row,) = json.loads(made.out)["written"]
        assert row["mask"] == "found/q.png"
    assert run_cli("predict", "whole.tif", "--run", "tiny", "--out", "found", "--probabilities").code == 0
    one, other = (np.asarray(Image.open(workplace / f"found/{name}_probability.png")) for name in ("q", "whole"))
    np.testing.assert_array_equal(one, other)
    assert len(np.unique(one)) > 1
    monkeypatch.setattr(files, "LARGE", 1)
    made = run_cli("predict", "new", "--run", "tiny", "--out", "large")
    assert made.code == 0, made.err
    mask = np.asarray(Image.open(workplace / "found/q.png"))
    np.testing.assert_array_equal(tifffile.imread(workplace / "large/q.tif"), mask)
    (workplace / "new/q_GFP.tif").unlink()
    lacking = run_cli("predict", "new", "--run", "tiny", "--out", "more")
    assert lacking.code == 3
    assert "has no file `q_GFP.tif` (channel 1 of 2)" in lacking.err
