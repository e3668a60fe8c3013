"""What commands say about data that are not where they were: the folder is blamed, and the advice leads on."""

import shutil

import numpy as np
import pytest
from factories import (
    nuclei_experiment,
    scenes_experiment,
    volumes_experiment,
    write_experiment,
    write_folders,
    write_hdf5,
    write_nuclei,
    write_sequences,
)
from PIL import Image

GONE = "no folder `data` with data set `dataset`"


@pytest.mark.parametrize(
    "words",
    [
        ["eval", "tiny"],
        ["eval", "tiny", "--split", "val"],
        ["eval", "tiny", "--threshold", "best-on-val"],
        ["eval", "tiny", "--data", "moved/test", "--threshold", "best-on-val"],
        ["export", "tiny", "--int8"],
    ],
    ids=" ".join,
)
def test_a_data_set_that_moved_is_not_one_without_a_split(run_cli, tiny_run, workplace, words):
    (workplace / "data").rename(workplace / "moved")
    result = run_cli(*words)
    assert result.code == 3
    assert GONE in result.err
    assert "hint: set `dataset.paths.root`" in result.err
    if words[0] == "eval":
        assert run_cli(*words, "dataset.paths.root=moved", "--quiet").code == 0


def test_a_split_that_the_data_set_never_had_is_still_a_mistake_of_the_command(run_cli, tiny_run, workplace):
    shutil.rmtree(workplace / "data/test")
    result = run_cli("eval", "tiny", "--split", "test")
    assert result.code == 2
    assert "data set `dataset` has no split `test`" in result.err


def test_one_key_leads_a_resumed_run_to_all_image_folders_and_the_message_names_it(run_cli, tiny_run, workplace):
    (workplace / "data").rename(workplace / "moved")
    result = run_cli("resume", "tiny", "training.epochs=3")
    assert result.code == 3
    assert "no folder `data/train/image` with the images of split `train`" in result.err
    assert "hint: set `dataset.paths.root`, or" in result.err
    (workplace / "moved/train/image").rename(workplace / "moved/train/pictures")
    result = run_cli("resume", "tiny", "training.epochs=3", "dataset.paths.root=moved")
    assert "hint: set `dataset.paths.train`, or the folder's name with `dataset.image_folder`" in result.err


def test_a_missing_hdf5_file_is_named_with_the_keys_that_find_it(run_cli, workplace):
    write_hdf5(workplace / "data")
    write_experiment(workplace / "tiny.yaml", volumes_experiment(workplace / "data", training__epochs=1))
    assert run_cli("train", "tiny.yaml").code == 0
    (workplace / "data").rename(workplace / "moved")
    result = run_cli("resume", "tiny", "training.epochs=2")
    assert result.code == 3
    assert "no file `data/train.h5`" in result.err
    assert "hint: set `dataset.paths.root`, or the file with `dataset.paths.train`" in result.err
    (workplace / "empty").mkdir()
    result = run_cli("eval", "tiny", "--data", "empty")
    assert result.code == 3
    assert "`empty` has no HDF5 file\n  hint: name an HDF5 file" in result.err


def test_advice_on_other_data_names_no_key_of_the_own_data(run_cli, workplace):
    write_sequences(workplace / "data")
    write_experiment(workplace / "tiny.yaml", scenes_experiment(workplace / "data", training__epochs=1))
    assert run_cli("train", "tiny.yaml").code == 0
    result = run_cli("eval", "tiny", "--data", "data/Images")
    assert result.code == 3
    assert "no folder `data/Images/Images` with the images" in result.err
    assert "hint: name another folder with `--data`, or set the folder's name with `dataset.images`" in result.err


def test_other_data_with_classes_that_the_run_did_not_learn_are_refused(run_cli, workplace):
    write_nuclei(workplace / "data", 8)
    write_experiment(workplace / "tiny.yaml", nuclei_experiment(workplace / "data", training__epochs=1))
    assert run_cli("train", "tiny.yaml").code == 0
    write_nuclei(workplace / "other", 2)
    (workplace / "other/classes.csv").write_text("sample_id,class\n0001,large\n0002,tiny\n")
    result = run_cli("eval", "tiny", "--data", "other")
    assert result.code == 3
    assert "`other/classes.csv` has the class tiny, but the run learned large, small" in result.err
    result = run_cli("eval", "tiny", "--data", "other", "dataset.class_filter=[large]")
    assert result.code == 0
    (table,) = workplace.glob("outputs/tests/*/predictions.csv")
    assert {line.split("/")[0].split(",")[0] for line in table.read_text().splitlines()[1:]} == {"0001"}


def test_results_of_other_images_are_not_replaced_without_a_word(run_cli, tiny_run, workplace):
    def warned(*words):
        result = run_cli("eval", "tiny", "--quiet", *words)
        assert result.code == 0
        return "warning: the test images differ from those of the earlier results in `outputs/tests/tiny`" in result.err

    assert not warned()
    assert not warned()
    mask = workplace / "data/test/label/00.png"
    Image.fromarray(255 - np.asarray(Image.open(mask))).save(mask)
    assert warned()
    assert not warned()
    write_folders(workplace / "other", {"test": 3})
    assert warned("dataset.paths.root=other")
    (workplace / "outputs/tests/tiny/test_metrics.yaml").write_text("- no scores: [")
    assert not warned()
