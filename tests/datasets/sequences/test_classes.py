"""Classes of sequences, in YAML and in a table."""

import numpy as np
import pytest
import yaml
from factories import experiment, street, street_classes, write_experiment, write_sequences
from scenes import CSV, first, told

from segcli.config.load import load_dataset, load_run, run_from_values
from segcli.core.errors import ConfigError


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
    assert "dataset.ignore=[viod]  dataset.ignore: names `viod`, which is not a class" in text
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
        ({"ignore": ["viod"]}, "dataset.ignore: names `viod`, which is not a class\n      hint: did you mean `void`?"),
        ({"num_classes": 4}, "dataset.num_classes: is 4, but 3 classes count"),
        ({"classes": ["sky", "road", "sky"], "ignore": []}, "dataset.classes: names `sky` twice"),
        ({"numbers": [1, 2]}, "dataset.numbers: has 2 numbers for 4 classes"),
        ({"classes_file": "classes.csv"}, "dataset.classes_file: cannot be combined with `classes`"),
        ({"classes": None, "classes_file": "classes.csv", "numbers": [1]}, "cannot be combined with `classes_file`"),
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
        ("id,name,r,g,b\n0,sky,1,two,3\n", "classes.csv:2` is not a class with `id`, `name`, `r`, `g`, `b`"),
        ("id|name|r|g|b\n0|sky|1|2|3\n", "classes.csv` has no column `name`; it has id|name|r|g|b"),
        (
            "id,name,r,g,b\n\n0,sky,1,2,3,4\n",
            "classes.csv:3` has 6 cells, but the table has 5 columns: id, name, r, g, b",
        ),
        ('id,name,r,g,b\n0,"sky,1,2,3\n', "classes.csv:2` is not a row of a table"),
        (b"id,name,r,g,b\n0,ciel d'\xe9t\xe9,1,2,3\n", "classes.csv:2` is not UTF-8 text (byte 0xe9)"),
        ("id,name,r,g,b\n0,sky,1,2\n", "classes.csv:2` is not a class"),
        ("id,name,r,g,b\n0,sky,1,2,3\n1,road,1,2,256\n", "classes.csv:3`: colours must be from 0 to 255"),
        ("id,name,r,g,b\n70000,sky,1,2,3\n", "ids from 0 to 65535"),
        ("id,name,r,g,b\n0,sky,1,2,3\n0,road,1,2,4\n", "has the id `0` twice"),
        ("id,name,r,g,b\n0,sky,1,2,3\n1,sky,1,2,4\n", "has the name `sky` twice"),
        (b"\xff\xfe\x00", "is not UTF-16 text"),
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
        ({"ignore": ["sky", "car", "void"]}, "has only one class that counts, `road`"),
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
    assert text in told(lambda: layout(**keys), kind=ConfigError)
