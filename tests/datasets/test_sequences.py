import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import yaml
from factories import STREET, experiment, street, street_classes, write_experiment, write_sequences
from PIL import Image

from segcli.config.load import load_dataset, load_run, run_from_values
from segcli.core.errors import ConfigError, DataError
from segcli.data.images import read_header
from segcli.data.masks import BLURRED
from segcli.data.samples import Case

CSV = "id,name,r,g,b\n" + "".join(
    f"{number},{name},{r},{g},{b}\n" for number, (name, (r, g, b)) in enumerate(STREET.items())
)


@pytest.fixture
def clips(workplace):
    """Four sequences of three frames under `data`."""
    return write_sequences(workplace / "data")


@pytest.fixture
def config(workplace):
    """Writes a data-set file on `data`; keyword arguments are its keys, None takes one away."""

    def make(**keys):
        values = {
            "name": "mine",
            "format": "sequences",
            "paths": {"root": "data"},
            "classes": street_classes(),
            "ignore": ["void"],
            "mean": [0.4] * 3,
            "std": [0.2] * 3,
            **keys,
        }
        path = workplace / "set.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
        return path

    return make


@pytest.fixture
def layout(config):
    return lambda *overrides, **keys: load_dataset(config(**keys), overrides, whole_run=False).build()


@pytest.fixture
def check(run_cli, config):
    """`data check --json`; returns exit code and findings by code."""

    def call(**keys):
        result = run_cli("data", "check", config(**keys), "--json")
        findings = {}
        for finding in json.loads(result.out)["findings"]:
            findings.setdefault(finding["code"], []).append(finding)
        return result.code, findings

    return call


def told(call, *arguments, kind=DataError):
    with pytest.raises(kind) as caught:
        call(*arguments)
    return str(caught.value)


def first(made):
    return made.cases("train")[0]


def paint(path, spot, color):
    """Paint a part of a mask; returns how many pixels that are."""
    mask = cv2.imread(str(path))
    mask[spot] = color[::-1]
    cv2.imwrite(str(path), mask)
    return mask[spot][..., 0].size


MASK = "data/Labels/Video_000/0001.png"


# ---- finding frames


@pytest.mark.usefixtures("clips")
def test_frames_and_masks_are_paired_by_sequence_and_stem(layout):
    made = layout()
    assert [case.id for case in made.cases("train")] == [f"Video_00{n}/000{f}" for n in range(4) for f in (1, 2, 3)]
    for number, case in enumerate(made.cases("train")):
        image, truth = street(1000 * (number // 3) + number % 3)
        sample = made.read(case)
        np.testing.assert_array_equal(sample.image, image)
        np.testing.assert_array_equal(sample.maps["mask"], np.where(truth == 3, 0, truth))
        np.testing.assert_array_equal(sample.maps["valid"], truth < 3)
        assert {name: each.dtype.name for name, each in sample.maps.items()} == {"mask": "uint8", "valid": "uint8"}


@pytest.mark.usefixtures("workplace")
def test_sequences_and_frames_stand_in_natural_order(layout, workplace):
    write_sequences(workplace / "data", {"Video_10_000": 1, "Video_9_000": 1})
    for folder in ("Images", "Labels"):
        path = workplace / "data" / folder / "Video_9_000"
        shutil.copy(path / "0001.png", path / "2.png")
        shutil.copy(path / "0001.png", path / "10.png")
    ids = [case.id for case in layout().cases("train")]
    assert ids == ["Video_9_000/0001", "Video_9_000/2", "Video_9_000/10", "Video_10_000/0001"]


@pytest.mark.usefixtures("clips")
def test_include_and_exclude_choose_sequences_by_name_and_pattern(layout):
    assert layout(include=["Video_000"]).names == ["Video_000"]
    assert layout(include=["Video_00[12]"]).names == ["Video_001", "Video_002"]
    assert layout(exclude=["*_003", "Video_000"]).names == ["Video_001", "Video_002"]
    assert {case.id[:9] for case in layout(include=["Video_002"]).cases("train")} == {"Video_002"}


@pytest.mark.usefixtures("clips")
def test_a_sequence_that_is_not_there_is_told(layout):
    text = told(layout(include=["Video_00O"]).cases, "train")
    assert "`include` names `Video_00O`, and there is no such sequence in `data/Images`" in text
    assert "there are Video_000, Video_001, Video_002, Video_003" in text
    assert "`exclude` names `Clip*`" in told(layout(exclude=["Clip*"]).cases, "train")
    assert "together leave no sequence" in told(layout(exclude=["Video_*"]).cases, "train")


def test_masks_may_lie_in_another_folder(layout, clips):
    (clips / "Labels").rename(clips / "Fine")
    assert "sequence `Video_000` has no folder `data/Labels/Video_000` with its masks" in told(layout().cases, "train")
    assert len(layout(labels="Fine").cases("train")) == 12


def test_hidden_files_and_other_files_do_not_count(layout, clips):
    folder = clips / "Images/Video_000"
    (folder / "._0001.png").write_bytes(b"junk")
    (folder / "times.csv").write_text("junk")
    (clips / "Images/.cache").mkdir()
    (clips / "Images/readme.txt").write_text("junk")
    (folder / "0001.png").rename(folder / "0001.PNG")
    assert len(layout().cases("train")) == 12


def test_folders_that_are_missing_or_empty_are_told_with_the_way_out(layout, workplace):
    assert "no folder `data/Images` with the images" in told(layout().cases, "train")
    assert "`segcli data sample scenes data`" in told(layout(sample="scenes").cases, "train")
    (workplace / "data/Images").mkdir(parents=True)
    assert "no sequences in `data/Images`" in told(layout().cases, "train")
    (workplace / "data/Images/Video_000").mkdir()
    assert "sequence `data/Images/Video_000` has no images" in told(layout().cases, "train")


def test_a_folder_of_one_split_is_no_key_of_this_format(layout):
    text = told(lambda: layout(paths={"root": "data", "test": "data/test"}))
    assert "`paths.test` is no key of format `sequences`" in text
    assert "name the sequences in `split.test`" in text


@pytest.mark.usefixtures("clips")
def test_an_image_for_prediction_is_read_as_those_of_the_data_set(layout, workplace):
    made = layout(color="grey", num_channels=1, mean=[0.4], std=[0.2])
    image = made.read_input(workplace / "data/Images/Video_000/0001.png").image
    assert image.shape == (24, 32, 1)
    np.testing.assert_array_equal(image, made.read(first(made)).image)


# ---- classes


@pytest.mark.usefixtures("clips")
def test_classes_of_a_csv_are_those_of_the_yaml(layout, workplace):
    (workplace / "data/classes.csv").write_text(CSV)
    one, other = layout(), layout(classes=None, classes_file="classes.csv")
    assert other.spec.num_classes == one.spec.num_classes == 3
    assert other.spec.classes == one.spec.classes
    for case in one.cases("train"):
        for name, each in one.read(case).maps.items():
            np.testing.assert_array_equal(other.read(case).maps[name], each)


@pytest.mark.usefixtures("clips")
def test_the_classes_of_a_csv_stand_in_the_resolved_config_so_that_the_file_is_not_needed_again(workplace, config):
    (workplace / "data/classes.csv").write_text(CSV)
    section = load_dataset(config(classes=None, classes_file="classes.csv"), whole_run=False)
    resolved = yaml.safe_load(yaml.safe_dump(section.model_dump(mode="json")))
    assert resolved["classes_file"] is None
    assert [entry["name"] for entry in resolved["classes"]] == ["sky", "road", "car"]
    (workplace / "data/classes.csv").unlink()
    again = workplace / "again.yaml"
    again.write_text(yaml.safe_dump({key: value for key, value in resolved.items() if value is not None}))
    assert load_dataset(again, whole_run=False) == section


@pytest.mark.usefixtures("clips")
def test_the_csv_is_found_beside_the_data_set_file_before_that_of_the_root(layout, workplace):
    (workplace / "data/classes.csv").write_text(CSV)
    (workplace / "classes.csv").write_text(CSV.replace("sky", "heaven"))
    made = layout(classes=None, classes_file="classes.csv")
    assert made.spec.classes[0].name == "heaven"
    moved = layout(f"dataset.classes_file={workplace / 'data/classes.csv'}", classes=None)
    assert moved.spec.classes[0].name == "sky"


def test_the_csv_is_looked_up_in_a_root_that_was_overridden(layout, workplace):
    write_sequences(workplace / "elsewhere")
    (workplace / "elsewhere/classes.csv").write_text(CSV)
    made = layout("paths.root=elsewhere", classes=None, classes_file="classes.csv")
    assert len(made.cases("train")) == 12


def test_classes_follow_overrides_of_an_experiment_as_well(workplace, config):
    write_sequences(workplace / "elsewhere")
    (workplace / "elsewhere/classes.csv").write_text(CSV)
    (workplace / "other.csv").write_text(CSV.replace("sky", "heaven"))
    config(classes=None, classes_file="classes.csv", task="binary")
    values = {**experiment(workplace), "dataset": "set.yaml"}
    path = write_experiment(workplace / "run.yaml", values)

    def names(*overrides):
        run = load_run(path, ["dataset.paths.root=elsewhere", *overrides])
        again = run_from_values(run.resolved(), source="config.yaml")
        assert again == run
        assert (run.dataset.num_classes, len(run.dataset.build().cases("train"))) == (len(run.dataset.classes), 12)
        return [entry.name for entry in run.dataset.classes]

    assert names() == ["sky", "road", "car"]
    assert names("dataset.ignore=[sky, void]") == ["road", "car"]
    assert names("dataset.classes_file=other.csv") == ["heaven", "road", "car"]
    text = told(names, "dataset.ignore=[viod]", kind=ConfigError)
    assert "dataset.ignore=[viod]  dataset.ignore: names `viod`, which is no class" in text
    assert "dataset.num_classes=7  dataset.num_classes: is 7" in told(names, "dataset.num_classes=7", kind=ConfigError)


@pytest.mark.usefixtures("clips")
def test_several_classes_may_be_ignored_wherever_they_stand(layout):
    made = layout(ignore=["sky", "void"])
    truth = street(0)[1]
    sample = made.read(first(made))
    assert [entry.name for entry in made.spec.classes] == ["road", "car"]
    np.testing.assert_array_equal(sample.maps["mask"], np.select([truth == 2], [1], 0))
    np.testing.assert_array_equal(sample.maps["valid"], (truth == 1) | (truth == 2))


@pytest.mark.usefixtures("clips")
def test_an_ignored_class_may_be_described_in_its_own_place(layout):
    made = layout(classes=street_classes()[:3], ignore=[{"name": "void", "color": [0, 0, 0]}])
    np.testing.assert_array_equal(made.read(first(made)).maps["valid"], street(0)[1] < 3)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"ignore": ["viod"]}, "dataset.ignore: names `viod`, which is no class\n      hint: did you mean `void`?"),
        ({"num_classes": 4}, "dataset.num_classes: is 4, and there are 3 classes that count"),
        ({"classes": ["sky", "road", "sky"], "ignore": []}, "dataset.classes: names `sky` twice"),
        ({"numbers": [1, 2]}, "dataset.numbers: has 2 numbers for 4 classes"),
        ({"classes_file": "classes.csv"}, "dataset.classes_file: stands beside `classes`"),
        ({"classes": None, "classes_file": "classes.csv", "numbers": [1]}, "stands beside `classes_file`"),
        ({"classes": None, "classes_file": "none.csv"}, "dataset.classes_file: no file `none.csv`"),
        ({"classes": [{"name": "sky", "color": [0, 0, 300]}, "road"], "ignore": []}, "got 300"),
    ],
)
def test_lists_of_classes_that_contradict_themselves_are_mistakes_of_the_file(config, workplace, keys, text):
    (workplace / "data").mkdir()
    (workplace / "data/classes.csv").write_text(CSV)
    assert text in told(lambda: load_dataset(config(**keys), whole_run=False), kind=ConfigError)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "holds no classes"),
        ("id;name;r;g;b\n0;sky;1;2;3\n", "classes.csv:2` is no class with `id`, `name`, `r`, `g`, `b`"),
        ("id,name,r,g,b\n0,sky,1,2\n", "classes.csv:2` is no class"),
        ("id,name,r,g,b\n0,sky,1,2,3\n1,road,1,2,256\n", "classes.csv:3`: colours go from 0 to 255"),
        ("id,name,r,g,b\n70000,sky,1,2,3\n", "ids from 0 to 65535"),
        ("id,name,r,g,b\n0,sky,1,2,3\n0,road,1,2,4\n", "has the id `0` twice"),
        ("id,name,r,g,b\n0,sky,1,2,3\n1,sky,1,2,4\n", "has the name `sky` twice"),
        (b"\xff\xfe\x00", "cannot read"),
    ],
)
def test_a_csv_that_cannot_be_used_is_blamed_by_line(config, workplace, content, text):
    (workplace / "data").mkdir()
    (workplace / "data/classes.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    keys = {"classes": None, "classes_file": "classes.csv", "ignore": None}
    assert text in told(lambda: load_dataset(config(**keys), whole_run=False), kind=ConfigError)


def test_a_csv_without_ids_numbers_its_lines_and_one_with_ids_is_sorted_by_them(layout, workplace):
    (workplace / "data").mkdir()
    keys = {"classes": None, "classes_file": "classes.csv", "ignore": None, "mask_format": "index"}
    (workplace / "data/classes.csv").write_text("\ufeffname, r, g, b\nroad, 1, 2, 3\nsky, 4, 5, 6\n")
    made = layout(**keys)
    assert [(entry.name, entry.color) for entry in made.spec.classes] == [("road", [1, 2, 3]), ("sky", [4, 5, 6])]
    (workplace / "data/classes.csv").write_text("id,name,r,g,b\n9,road,1,2,3\n4,sky,4,5,6\n")
    assert (layout(**keys).spec.classes[0].name, layout(**keys).config.numbers) == ("sky", [4, 9])


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"classes": None, "ignore": None}, "has no classes"),
        ({"ignore": ["sky", "car", "void"]}, "has one class that counts, `road`"),
        ({"classes": [*street_classes()[:3], "void"]}, "class `void` of data set `mine` has no colour"),
        (
            {"classes": [*street_classes(), {"name": "tar", "color": [128, 64, 128]}]},
            "the classes `road` and `tar` of data set `mine` share the colour (128, 64, 128)",
        ),
        (
            {"mask_format": "index", "classes": ["sky", "road"], "ignore": [{"name": "void"}]},
            "class `void` of data set `mine` has no number",
        ),
        (
            {"mask_format": "index", "classes": ["sky", "road"], "ignore": [{"name": "void", "number": 1}]},
            "the classes `road` and `void` of data set `mine` share the number 1",
        ),
        ({"classes": [f"c{n}" for n in range(256)], "ignore": [], "mask_format": "index"}, "255 are possible"),
    ],
)
def test_classes_that_cannot_be_told_apart_are_refused(layout, keys, text):
    assert text in told(lambda: layout(**keys))


# ---- masks


@pytest.mark.usefixtures("clips")
def test_a_color_that_is_no_class_is_told_with_file_count_and_nearest_class(layout):
    paint(MASK, np.s_[:2, :3], (127, 64, 128))
    made = layout()
    text = told(made.read, first(made))
    assert (
        f"mask `{MASK}` holds the colour (127, 64, 128) (6 pixels, nearest `road` (128, 64, 128)), which is no class"
    ) in text
    assert "add the class to `classes`, mend the mask, or set `unknown_colors: ignore` or `nearest`" in text


@pytest.mark.usefixtures("clips")
def test_several_colors_that_are_no_class_are_told_the_most_frequent_first(layout):
    for column in range(5):
        paint(MASK, np.s_[: column + 1, column], (250, column, 0))
    made = layout()
    text = told(made.read, first(made))
    assert "holds 5 colours that are no class: (250, 4, 0) (5 pixels, nearest `road`" in text
    assert "(250, 3, 0) (4 pixels" in text
    assert "(250, 2, 0) (3 pixels" in text
    assert "(250, 1, 0)" not in text
    assert " and 2 more" in text


@pytest.mark.usefixtures("clips")
def test_colors_that_are_no_class_are_left_out_or_the_nearest_class_when_asked(layout):
    paint(MASK, np.s_[:2, :3], (127, 64, 128))
    truth = street(0)[1]
    ignored = layout(unknown_colors="ignore")
    valid = truth < 3
    valid[:2, :3] = False
    np.testing.assert_array_equal(ignored.read(first(ignored)).maps["valid"], valid)
    nearest = layout(unknown_colors="nearest")
    sample = nearest.read(first(nearest))
    assert (sample.maps["mask"][:2, :3] == 1).all()
    np.testing.assert_array_equal(sample.maps["valid"], truth < 3)


@pytest.mark.usefixtures("clips")
@pytest.mark.parametrize(("choice", "severity"), [("error", "error"), ("ignore", "warning"), ("nearest", "warning")])
def test_data_check_tells_them_even_where_they_are_allowed(check, choice, severity):
    paint(MASK, np.s_[:2, :3], (127, 64, 128))
    code, findings = check(unknown_colors=choice)
    (finding,) = findings["unknown_colors"]
    assert (code, finding["severity"], finding["file"]) == (int(severity == "error"), severity, MASK)
    assert "(127, 64, 128) (6 pixels, nearest `road` (128, 64, 128))" in finding["message"]


def save_blurred(how):
    """Replace a mask by what JPEG makes of it."""
    with Image.open(MASK) as picture:
        mask = picture.convert("RGB")
    if how == "jpg":
        mask.save(MASK.replace(".png", ".jpg"), quality=90)
        Path(MASK).unlink()
    else:  # once a JPEG, and a PNG again
        mask.save("once.jpg", quality=60, subsampling=2)
        with Image.open("once.jpg") as blurred:
            blurred.save(MASK)


@pytest.mark.parametrize(("how", "said"), [("jpg", "saved as JPEG and"), ("png", "saved as JPEG once, or scaled or")])
def test_a_mask_saved_as_jpeg_is_found_and_explained_and_not_trained_on(layout, check, workplace, how, said):
    write_sequences(workplace / "data", {"Video_000": 2}, size=(96, 128))
    save_blurred(how)
    made = layout()
    text = told(made.read, first(made))
    assert said in text
    assert "colours that are no class (" in text
    assert "its classes are blurred" in text
    assert "export the mask as PNG without smoothing" in text
    code, findings = check()
    (finding,) = findings["blurred_mask"]
    assert (code, finding["severity"]) == (1, "error")
    assert finding["message"] in text
    code, findings = check(unknown_colors="nearest")
    assert (code, findings["blurred_mask"][0]["severity"]) == (0, "warning")


@pytest.mark.usefixtures("clips")
def test_a_jpeg_mask_is_told_as_one_even_where_few_pixels_are_blurred(layout):
    with Image.open(MASK) as picture:
        picture.save(MASK.replace(".png", ".jpg"), quality=100, subsampling=0)
    Path(MASK).unlink()
    made = layout()
    text = told(made.read, first(made))
    assert int(re.search(r"holds (\d+) colours", text)[1]) < BLURRED
    assert "it was saved as JPEG and its classes are blurred" in text


@pytest.mark.parametrize("mode", ["L", "P", "tiff"])
def test_masks_may_hold_the_number_of_the_class(layout, workplace, mode):
    write_sequences(workplace / "data", {"Video_000": 1}, index=True)
    truth = street(0)[1]
    if mode == "P":
        picture = Image.new("P", truth.shape[::-1])
        picture.putpalette([level for color in STREET.values() for level in color])
        picture.putdata(truth.ravel().tolist())
        picture.save(MASK)
    if mode == "tiff":
        tifffile.imwrite(MASK.replace(".png", ".tif"), truth.astype(np.int32))
        Path(MASK).unlink()
    made = layout(mask_format="index", classes=list(STREET))
    sample = made.read(first(made))
    np.testing.assert_array_equal(sample.maps["mask"], np.where(truth == 3, 0, truth))
    np.testing.assert_array_equal(sample.maps["valid"], truth < 3)


def test_numbers_of_index_masks_may_be_any(layout, workplace):
    write_sequences(workplace / "data", {"Video_000": 1}, index=True)
    truth = street(0)[1]
    cv2.imwrite(MASK, np.array([7, 300, 26, 65535], np.uint16)[truth])
    ignored = [{"name": "void", "number": 65535}]
    made = layout(mask_format="index", classes=["sky", "road", "car"], numbers=[7, 300, 26], ignore=ignored)
    np.testing.assert_array_equal(made.read(first(made)).maps["mask"], np.where(truth == 3, 0, truth))
    np.testing.assert_array_equal(made.read(first(made)).maps["valid"], truth < 3)
    made = layout(mask_format="index", classes=list(STREET), numbers=[7, 300, 26, 65535])
    np.testing.assert_array_equal(made.read(first(made)).maps["mask"], np.where(truth == 3, 0, truth))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
def test_a_number_that_is_no_class_is_told_or_left_out(layout, check, workplace, dtype):
    write_sequences(workplace / "data", {"Video_000": 1}, index=True)
    truth = street(0)[1].astype(dtype)
    strange = {np.uint8: 200, np.int16: -1, np.int32: 1 - (1 << 16)}[dtype]
    truth[0, :4] = strange
    (workplace / MASK).unlink()
    tifffile.imwrite(workplace / MASK.replace(".png", ".tif"), truth)
    keys = {"mask_format": "index", "classes": list(STREET)}
    made = layout(**keys)
    text = told(made.read, first(made))
    assert f"0001.tif` holds {strange} (4 pixels), the number of no class" in text
    assert "there are the numbers 0, 1, 2, 3" in text
    code, findings = check(**keys)
    assert (code, len(findings["unknown_classes"])) == (1, 1)
    made = layout(unknown_colors="ignore", **keys)
    assert not made.read(first(made)).maps["valid"][0, :4].any()
    assert "the number of no class" in told(layout(unknown_colors="nearest", **keys).read, first(made))


@pytest.mark.usefixtures("clips")
def test_a_mask_of_the_other_format_is_told_with_the_key_to_set(layout, workplace):
    made = layout(mask_format="index")
    text = told(made.read, first(made))
    assert f"mask `{MASK}` is a colour image, `mask_format: index` expects one number for each pixel" in text
    write_sequences(workplace / "data", {"Video_000": 1}, index=True)
    text = told(layout().read, first(layout()))
    assert f"mask `{MASK}` has 1 channel of 8 bits, a mask painted in colours has 3 of 8 bits" in text
    assert "set `mask_format: index`" in text


def test_a_palette_mask_may_be_read_by_its_colors(layout, workplace):
    write_sequences(workplace / "data", {"Video_000": 1})
    with Image.open(MASK) as painted:
        palette = painted.quantize(colors=8)
    palette.save(MASK)
    assert read_header(Path(MASK)).channels == 3
    assert palette.mode == "P"
    np.testing.assert_array_equal(layout().read(first(layout())).maps["valid"], street(0)[1] < 3)


# ---- faults


def damage(name, root):
    image, mask = root / "Images/Video_000/0002.png", root / "Labels/Video_000/0002.png"
    match name:
        case "missing_label":
            mask.unlink()
        case "extra_label":
            image.unlink()
        case "missing_labels":
            shutil.rmtree(mask.parent)
        case "empty_sequence":
            shutil.rmtree(image.parent)
            image.parent.mkdir()
        case "size_mismatch":
            cv2.imwrite(str(mask), cv2.imread(str(mask))[:-1])
        case "same_stem":
            shutil.copy(mask, mask.with_suffix(".bmp"))
        case "unreadable_image":
            image.write_bytes(image.read_bytes()[:200])
        case "unreadable_label":
            mask.write_text("junk")
        case "wrong_channels":
            cv2.imwrite(str(image), cv2.imread(str(image), 0))
        case "empty_mask":
            cv2.imwrite(str(mask), np.zeros((24, 32, 3), np.uint8))
        case "same_image_twice":
            shutil.copy(image, root / "Images/Video_003/0001.png")


@pytest.mark.parametrize(
    ("name", "severity", "text"),
    [
        (
            "missing_label",
            "error",
            "image `data/Images/Video_000/0002.png` has no mask (looked for `data/Labels/Video_",
        ),
        ("extra_label", "warning", "mask `data/Labels/Video_000/0002.png` belongs to no image in `data/Images/Video_0"),
        ("missing_labels", "error", "sequence `Video_000` has no folder `data/Labels/Video_000` with its masks"),
        ("empty_sequence", "error", "sequence `data/Images/Video_000` has no images"),
        ("size_mismatch", "error", "`data/Labels/Video_000/0002.png` is 23x32 pixels, its image `data/Images/Video_00"),
        ("same_stem", "error", "two masks with one stem in `data/Labels/Video_000`: `0002.bmp` and `0002.png`"),
        ("unreadable_image", "error", "cannot read image `data/Images/Video_000/0002.png`"),
        ("unreadable_label", "error", "data/Labels/Video_000/0002.png"),
        ("wrong_channels", "error", "0002.png` has 1 channel, the data set states `num_channels: 3`"),
        ("empty_mask", "warning", "mask `data/Labels/Video_000/0002.png` is ignored throughout"),
        ("same_image_twice", "warning", "has the pixels of `data/Images/Video_000/0002.png`"),
    ],
)
def test_each_fault_is_found_by_itself_and_named(check, clips, name, severity, text):
    assert set(check()[1]) == {"no_split"}
    damage(name, clips)
    code, findings = check()
    assert findings[name][0]["severity"] == severity
    assert text in findings[name][0]["message"]
    assert findings[name][0]["mend"]
    assert code == (1 if severity == "error" else 0)
    assert {other for other in findings if findings[other][0]["severity"] == "error"} - {name} == set()


def test_training_does_not_start_on_frames_without_masks_or_of_other_size(layout, clips):
    damage("size_mismatch", clips)
    made = layout()
    assert "is 23x32 pixels, its image" in told(made.read, made.cases("train")[1])
    damage("missing_label", clips)
    assert "has no mask" in told(layout().cases, "train")


def test_a_fault_of_one_split_does_not_spoil_the_others(layout, clips):
    damage("missing_label", clips)
    made = layout(split={"train": ["Video_001"], "test": ["Video_000"]})
    assert len(made.cases("train")) == 3
    assert "has no mask" in told(made.cases, "test")


def test_an_image_without_a_mask_is_read_alone(layout, clips):
    made = layout()
    sample = made.read(Case("x", clips / "Images/Video_000/0001.png"))
    assert sample.maps == {}


@pytest.mark.usefixtures("clips")
def test_a_class_that_occurs_nowhere_is_told(check):
    classes = [*street_classes(), {"name": "bicyclist", "color": [0, 128, 192]}]
    code, findings = check(classes=classes, split={"train": ["Video_000"], "test": ["Video_001"]})
    assert code == 0
    assert [(entry["severity"], entry["message"]) for entry in findings["absent_class"]] == [
        ("warning", "class `bicyclist` does not occur in the masks of `train`"),
        ("info", "class `bicyclist` does not occur in the masks of `test`"),
    ]


# ---- figures


@pytest.mark.usefixtures("clips")
def test_shares_of_classes_and_mean_and_std_are_those_of_the_pixels_that_count(run_cli, config):
    frames = [street(1000 * clip + number) for clip in (0, 1, 2) for number in range(3)]
    pixels = np.concatenate([image[truth < 3] for image, truth in frames]) / 255
    counts = np.bincount(np.concatenate([truth[truth < 3] for _, truth in frames]))
    path = config(split={"train": ["Video_00[012]"], "test": ["Video_003"]}, mean=None, std=None)
    found = json.loads(run_cli("data", "stats", path, "--json").out)
    np.testing.assert_allclose(found["mean"], pixels.mean(0))
    np.testing.assert_allclose(found["std"], pixels.std(0))
    expected = dict(zip(("sky", "road", "car"), counts / counts.sum(), strict=True))
    assert found["class_shares"] == pytest.approx(expected)
    inverse = {name: 1 / (len(expected) * share) for name, share in expected.items()}
    assert found["class_weights"]["inverse"] == pytest.approx(inverse)
    assert list(found["class_weights"]) == ["inverse", "median_frequency", "effective_number"]
    assert found["foreground_share"] is None
    splits = json.loads(run_cli("data", "check", path, "--json").out)["splits"]
    assert splits[0]["class_shares"] == pytest.approx(expected)
    assert f"{expected['car']:.2%}" in run_cli("data", "check", path).out


# ---- splits


def ids(made):
    return {split: [case.id for case in made.cases(split)] for split in ("train", "val", "test") if made.has(split)}


@pytest.mark.usefixtures("clips")
def test_named_sequences_are_the_splits_and_no_file_is_written(layout, run_cli, config, workplace):
    split = {"train": ["Video_000", "Video_003"], "test": ["Video_001"]}
    made = layout(split=split)
    assert {name: {key[:9] for key in keys} for name, keys in ids(made).items()} == {
        "train": {"Video_000", "Video_003"},
        "test": {"Video_001"},
    }
    assert not made.has("val")
    result = run_cli("data", "split", config(split=split))
    assert result.code == 2
    assert "draws no split" in result.err
    assert not (workplace / "data/split.yaml").exists()


@pytest.mark.usefixtures("clips")
def test_drawn_splits_keep_sequences_whole_unless_frames_are_asked_for(layout):
    made = ids(layout(split={"val": 0.25, "test": 0.25}))
    sequences = {split: {key[:9] for key in keys} for split, keys in made.items()}
    assert {split: len(names) for split, names in sequences.items()} == {"train": 2, "val": 1, "test": 1}
    assert {split: len(keys) for split, keys in made.items()} == {"train": 6, "val": 3, "test": 3}
    assert len(set.union(*sequences.values())) == 4
    frames = ids(layout(split={"by": "frame", "val": 0.25, "test": 0.25, "seed": 1}))
    assert {split: len(keys) for split, keys in frames.items()} == {"train": 6, "val": 3, "test": 3}
    assert sorted(key for keys in frames.values() for key in keys) == [case.id for case in layout().cases("train")]
    assert len({key[:9] for key in frames["val"]}) > 1


@pytest.mark.usefixtures("clips")
def test_frames_of_one_sequence_on_two_sides_are_a_warning_for_each_pair_of_splits(check):
    assert "sequence_in_two_splits" not in check(split={"val": 0.25, "test": 0.25})[1]
    code, findings = check(split={"by": "frame", "val": 0.4})
    (finding,) = findings["sequence_in_two_splits"]
    assert (code, finding["severity"]) == (0, "warning")
    assert " sequences, such as `Video_00" in finding["message"]
    assert "have frames in the splits `train` and `val`, which look alike" in finding["message"]
    assert finding["mend"] == "set `split.by: sequence`"
    grouped = {"by": "frame", "val": 0.4, "group": r"(Video_\d+)/"}
    assert "sequence_in_two_splits" not in check(split=grouped)[1]


@pytest.mark.usefixtures("clips")
def test_the_split_file_is_written_and_reused_until_it_is_drawn_anew(layout, run_cli, config, workplace):
    keys = {"split": {"val": 0.25, "test": 0.25}}
    drawn = ids(layout(**keys))
    document = json.loads(run_cli("data", "split", config(**keys), "--json").out)
    assert (document["unit"], document["num_images"]) == ("sequence", {"train": 6, "val": 3, "test": 3})
    file = workplace / "data/split.yaml"
    written = yaml.safe_load(file.read_text())
    assert {split: {key[:9] for key in names} for split, names in drawn.items()} == {
        split: set(written[split]) for split in drawn
    }
    write_sequences(workplace / "data", {"Video_004": 2})
    assert ids(layout(**keys)) == drawn
    swapped = {**written, "val": written["test"], "test": written["val"]}
    file.write_text(yaml.safe_dump(swapped))
    assert ids(layout(**keys))["val"] == drawn["test"]
    forced = ids(layout("split.force_resplit=true", **keys))
    assert sum(map(len, forced.values())) == 14
    assert yaml.safe_load(file.read_text()) == swapped  # looking writes nothing
    assert "drawn with `seed: 0`, the data-set file says `seed: 5`" in told(
        layout(split={**keys["split"], "seed": 5}).cases, "train"
    )


@pytest.mark.usefixtures("clips")
def test_a_sequence_that_came_after_the_split_file_is_told(check, run_cli, config, workplace):
    keys = {"split": {"val": 0.25}}
    run_cli("data", "split", config(**keys))
    write_sequences(workplace / "data", {"Video_004": 2})
    code, findings = check(**keys)
    assert code == 0
    assert findings["not_in_split_file"][0]["message"] == "sequence `Video_004` is in no split of `data/split.yaml`"


@pytest.mark.usefixtures("clips")
def test_without_validation_data_one_notice_says_what_is_skipped(layout, check):
    assert [split for split in ("train", "val", "test") if layout().has(split)] == ["train"]
    code, findings = check(split={"train": ["Video_00[012]"], "test": ["Video_003"]})
    (finding,) = findings["no_split"]
    assert (code, finding["severity"], finding["message"]) == (0, "info", "there is no `val` split")
    assert finding["mend"] == "no validation: no best checkpoint, no pictures, no early stopping"


def test_too_few_sequences_to_draw_from_are_told(layout, workplace):
    write_sequences(workplace / "data", {"Video_000": 3})
    text = told(layout(split={"val": 0.2}).cases, "train")
    assert "1 sequences (or groups) are too few to draw 1 for validation" in text


# ---- training


@pytest.fixture
def train(run_cli, workplace):
    """Trains one epoch on two of the classes; keyword arguments are keys of the data set."""
    write_sequences(workplace / "data")
    classes = street_classes()
    ignored = [*classes[2:]]

    def call(name, **keys):
        values = experiment(workplace / "data", name=name, training__epochs=1)
        values["dataset"] |= {
            "format": "sequences",
            "task": "binary",
            "classes": classes[:2],
            "ignore": ignored,
            **keys,
        }
        return run_cli("train", write_experiment(workplace / "run.yaml", values))

    return call


def test_the_first_training_writes_a_drawn_split_and_the_next_one_reuses_it(train, workplace):
    drawn = {"split": {"val": 0.25}}
    first = train("first", **drawn)
    assert first.code == 0, first.err
    assert "split written to data/split.yaml" in first.err
    assert "9 training and 3 validation images" in first.err
    file = workplace / "data/split.yaml"
    content = file.read_text()
    write_sequences(workplace / "data", {"Video_004": 3})
    second = train("second", **drawn)
    assert second.code == 0
    assert "split written" not in second.err
    assert "9 training and 3 validation images" in second.err
    assert "sequence `Video_004` is in no split of `data/split.yaml`" in second.err
    assert file.read_text() == content
    forced = train("third", split={"val": 0.25, "force_resplit": True})
    assert "split written to data/split.yaml" in forced.err
    assert "12 training and 3 validation images" in forced.err
    assert "Video_004" in file.read_text()


def test_training_on_named_sequences_writes_no_split_file(train, workplace):
    assert train("named", split={"train": ["Video_000"], "val": ["Video_001"]}).code == 0
    assert not (workplace / "data/split.yaml").exists()


def test_training_without_validation_tells_once_what_is_skipped_and_has_no_best_checkpoint(train, workplace):
    result = train("alone")
    assert result.code == 0, result.err
    notice = "no validation images: no validation, no best checkpoint, no pictures, no early stopping"
    assert result.err.count("no validation") == 2 * result.err.count(notice) == 2
    assert [path.name for path in (workplace / "outputs/experiments/alone/checkpoints").iterdir()] == [
        "last.safetensors"
    ]


def test_training_by_frames_warns_of_sequences_on_both_sides(train):
    result = train("frames", split={"by": "frame", "val": 0.4})
    assert result.code == 0
    assert "have frames in the splits `train` and `val`, which look alike" in result.err


def test_training_on_a_mask_saved_as_jpeg_stops_with_its_name(train):
    save_blurred("jpg")
    result = train("blurred")
    assert result.code == 3
    assert f"mask `{MASK.replace('.png', '.jpg')}` holds" in result.err
    assert "it was saved as JPEG and its classes are blurred" in result.err


# ---- documentation


def test_the_example_of_the_readme_works_as_it_stands(workplace, run_cli):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (block,) = re.findall(r"```yaml\n(# my_roads.yaml\n.*?)```", readme, re.DOTALL)
    (workplace / "my_roads.yaml").write_text(block)
    write_sequences(workplace / "data/roads")
    for path in (workplace / "data/roads/Labels").rglob("*.png"):
        paint(path, np.s_[:12], (128, 64, 128))
    result = run_cli("data", "check", "my_roads.yaml", "--json")
    assert result.code == 0, result.out
    assert [entry["num_images"] for entry in json.loads(result.out)["splits"]] == [6, 3, 3]
