"""Mistakes that people make in YAML again and again are told with what to write instead."""

import pytest
from factories import experiment, nuclei_experiment, street_classes, write_experiment, write_nuclei, write_sequences

from segcli.config.load import load_dataset, load_run
from segcli.core.errors import ConfigError


def refused(path, *overrides):
    """Message of the refusal."""
    with pytest.raises(ConfigError) as caught:
        load_run(path, overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("training.lr=0.1", "set `training.optimizer.learning_rate`"),
        ("lr=0.1", "it is called `training.optimizer.learning_rate`"),
        ("training.optimizer.lr=0.1", "did you mean `learning_rate`?"),
        ("training.batch_size=2", "set `data.batch_size`"),
        ("batch_size=2", "it belongs in the section `data`: `data.batch_size`"),
        ("epochs=3", "it belongs in the section `training`: `training.epochs`"),
        ("training.depths=[4,8]", "it belongs in the section `model`: `model.depths`"),
        ("training.smooth=1.0", "it belongs in the section `training.loss.dice`: `training.loss.dice.smooth`"),
        ("model.mask_threshold=3", "it belongs in the section `dataset`: `dataset.mask_threshold`"),
        ("model.seed=1", "it belongs at the top: `seed`"),
        ("dataset.split.folds=5", "folds are chosen on the command line: `segcli train CONFIG --folds 5`"),
        ("dataset.split.shuffle=true", "legal keys: by, force_resplit, group, seed, split_file, test, train, val"),
        ("model.image_size=[32,32]", "there are `dataset.image_size` and `data.image_size`"),
    ],
)
def test_a_key_in_the_wrong_section_is_told_with_its_place(tiny, override, hint):
    key = override.partition("=")[0]
    assert f"{override}  {key}: unknown key\n      hint: {hint}" in refused(tiny(), override)


def test_a_key_of_the_experiment_in_a_data_set_file_is_told_with_its_file(workplace):
    (workplace / "mine.yaml").write_text("paths: {root: .}\nbatch_size: 4\n")
    with pytest.raises(ConfigError) as caught:
        load_dataset(workplace / "mine.yaml", whole_run=False)
    assert "it belongs in the section `data` of the experiment file: `data.batch_size`" in str(caught.value)


def test_tabs_and_backslashes_in_double_quotes_are_told_with_the_mend(workplace):
    path = workplace / "bad.yaml"
    for line, message, hint in (
        ("name: a\ndata:\n\tbatch_size: 2\n", "bad.yaml:3: not valid YAML: a tab stands", "replace the tabs by spaces"),
        ('name: "C:\\Users\\me"\n', "bad.yaml:1: not valid YAML: a backslash in double quotes", "single quotes"),
        ('name: "D:\\data"\n', "a backslash in double quotes begins an escape", "with slashes, C:/data"),
    ):
        path.write_text(line)
        told = refused(path)
        assert message in told
        assert hint in told
    values = experiment("SOMEWHERE")
    text = write_experiment(path, values).read_text()
    path.write_text(text.replace("SOMEWHERE", '"C:\\new\\train"'))
    assert r"`C:\new\train` was read with control characters" in refused(path)


def test_a_folder_in_the_place_of_a_file_is_told_with_the_files_in_it(workplace):
    folder = workplace / "photos"
    folder.mkdir()
    experiment_file = workplace / "exp.yaml"
    experiment_file.write_text("name: a\ndataset: photos\nmodel: unet\n")
    told = refused(experiment_file)
    assert "exp.yaml:2: data set `photos` is a folder, not a data-set file" in told
    assert f"write one with the line `paths: {{root: {folder}}}`" in told
    (folder / "mine.yaml").write_text("paths: {root: .}\n")
    assert f"name a file: `{folder / 'mine.yaml'}`" in refused(experiment_file)
    told = refused(folder)
    assert f"`{folder}` is a folder, not a config file" in told
    assert f"name a file: `{folder / 'mine.yaml'}`" in told


def test_numbers_in_a_list_of_names_are_told_to_be_quoted(tiny):
    told = refused(tiny(), "dataset.split={by: lists, val: [a], test: [101, 102]}")
    assert "dataset.split.test: `101` is not text: write names in quotes, such as ['101']" in told


def test_the_type_of_a_sum_of_losses_is_told_with_both_ways_out(tiny):
    told = refused(tiny(), "training.loss.type=focal")
    assert "training.loss.type=focal  training.loss.type: the loss is the sum of `bce` and `dice`" in told
    replaced, added = "training.loss=focal", "training.loss.focal=1.0"
    assert f"write `{replaced}` for this loss alone, or `{added}` to add it to the sum" in told
    assert list(load_run(tiny(), [replaced]).training.loss) == ["focal"]
    assert list(load_run(tiny(), [added]).training.loss) == ["bce", "dice", "focal"]


@pytest.mark.parametrize("typed", ["~/tables/mine.csv", "$TABLES/mine.csv"])
def test_the_table_of_classes_is_expanded_as_other_paths_are(run_cli, workplace, monkeypatch, typed):
    monkeypatch.setenv("HOME", str(workplace))
    monkeypatch.setenv("TABLES", str(workplace / "tables"))
    root = write_nuclei(workplace / "data")
    (workplace / "tables").mkdir()
    (root / "classes.csv").rename(workplace / "tables/mine.csv")
    config = write_experiment(workplace / "tiny.yaml", nuclei_experiment(root))
    stored = load_run(config, [f"dataset.classes_csv={typed}"])
    assert [entry.name for entry in stored.dataset.classes] == ["large", "small"]
    assert run_cli("data", "check", config, f"dataset.classes_csv={typed}").code == 0
    unset = run_cli("data", "check", config, "dataset.classes_csv=$NOWHERE/mine.csv")
    assert unset.code == 2
    assert "the variable `$NOWHERE` is not set" in unset.err


def test_a_class_without_a_colour_is_a_mistake_in_the_config(run_cli, workplace):
    dataset = {"format": "sequences", "paths": {"root": str(write_sequences(workplace / "data"))}}
    dataset |= {"classes": [*street_classes()[:3], "void"], "mean": [0.4] * 3, "std": [0.2] * 3}
    config = write_experiment(
        workplace / "tiny.yaml", {**experiment(workplace, training__loss="cross_entropy"), "dataset": dataset}
    )
    for command in (["data", "check"], ["data", "stats"], ["train"]):
        result = run_cli(*command, config)
        assert result.code == 2
        assert "class `void` of data set `dataset` has no colour" in result.err


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ("[1, 2]", "must be a name, got `1`; write it in quotes, `'1'`, if that is the name"),
        ("[null, cell]", "must be a name, got `null`; write it in quotes"),
        ("['', cell]", "must be a name, got an empty one"),
        ("[{name: ' '}, cell]", "must be a name, got an empty one"),
        ("[cell, cell]", "names `cell` twice"),
    ],
)
@pytest.mark.parametrize("form", ["image_folders", "nifti_volumes", "hdf5_volumes"])
def test_a_class_without_a_name_of_its_own_is_told_in_every_layout(run_cli, workplace, form, classes, words):
    (workplace / "set.yaml").write_text(f"format: {form}\npaths: {{root: .}}\nclasses: {classes}\n")
    result = run_cli("data", "check", "set.yaml")
    assert result.code == 2
    assert words in " ".join(result.err.split())
