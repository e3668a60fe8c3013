"""How sequences are split, and training on them."""

import json
import shutil

import pytest
import yaml
from factories import experiment, street_classes, write_experiment, write_sequences
from scenes import MASK, save_blurred, told


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
    assert "have similar frames in the splits `train` and `val`" in finding["message"]
    assert finding["hint"] == "set `split.by: sequence`"
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
    assert "drawn with `seed: 0`, but the data-set file says `seed: 5`" in told(
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
    assert finding["hint"] == "no validation: no best checkpoint, no pictures, no early stopping"


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
    assert "have similar frames in the splits `train` and `val`" in result.err


def test_training_on_a_mask_saved_as_jpeg_stops_with_its_name(train):
    save_blurred("jpg")
    result = train("blurred")
    assert result.code == 3
    assert f"mask `{MASK.replace('.png', '.jpg')}` holds" in result.err
    assert "it was saved as JPEG and its classes are blurred" in result.err


@pytest.mark.usefixtures("clips")
@pytest.mark.parametrize("by", ["sequence", "frame"])
def test_include_and_exclude_take_from_a_drawn_split_and_other_runs_keep_it(layout, run_cli, config, workplace, by):
    keys = {"split": {"by": by, "val": 0.25, "test": 0.25}}
    assert run_cli("data", "split", config(**keys)).code == 0
    file = workplace / "data/split.yaml"
    written, drawn = file.read_bytes(), ids(layout(**keys))
    for choice in ({"exclude": ["Video_001"]}, {"include": ["Video_00[023]"]}):
        fewer = layout(**keys, **choice)
        left = {split: [key for key in keys_of if "Video_001" not in key] for split, keys_of in drawn.items()}
        assert {split: [case.id for case in fewer.all_cases(split)] for split in drawn} == left
        assert fewer.division().warnings == []
    assert file.read_bytes() == written
    assert ids(layout(**keys)) == drawn


@pytest.mark.usefixtures("clips")
def test_a_split_that_include_empties_names_what_was_drawn_for_it(layout, run_cli, config, workplace):
    keys = {"split": {"val": 0.25, "test": 0.25}}
    run_cli("data", "split", config(**keys))
    (val,) = yaml.safe_load((workplace / "data/split.yaml").read_text())["val"]
    text = told(layout(**keys, exclude=[val]).cases, "val")
    assert "split `val` is empty" in text
    assert f"let `include` and `exclude` leave one of {val}" in text
    assert "draw" not in text  # a new draw would change the split of all other runs
    shutil.rmtree(workplace / "data/Images" / val)
    assert f"names sequence `{val}`, which is missing in the data set" in told(layout(**keys).cases, "train")
