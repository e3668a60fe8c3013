"""`segcli resume`: data that moved or changed, an edited config, fewer epochs, a missing checkpoint."""

import json
import shutil

import numpy as np
import pytest
import yaml
from factories import nuclei_experiment, write_experiment, write_nuclei
from PIL import Image

from segcli.engine.checkpoint import read_checkpoint, read_header, write_checkpoint

RUN = "outputs/experiments/tiny"


def weights(folder):
    return read_checkpoint(folder / "checkpoints/last.safetensors").tensors


def inverted(path):
    """Exchange foreground and background of a mask; the file has the same size and name."""
    size = path.stat().st_size
    mask = np.array(Image.open(path))
    path.unlink()
    for level in range(10):
        Image.fromarray(255 - mask).save(path, compress_level=level)
        if path.stat().st_size <= size:
            break
    path.write_bytes(path.read_bytes() + bytes(size - path.stat().st_size))


def test_a_run_whose_data_moved_goes_on_with_the_same_bits(run_cli, tiny_run, workplace):
    assert run_cli("resume", "tiny", "training.epochs=3").code == 0
    whole = weights(tiny_run)
    shutil.copy(tiny_run / "checkpoints/epoch_0002.safetensors", tiny_run / "checkpoints/last.safetensors")
    (workplace / "data").rename(workplace / "moved")
    lost = run_cli("resume", "tiny", "training.epochs=3")
    assert lost.code == 3
    assert "set `dataset.paths.root`" in lost.err
    found = run_cli("resume", "tiny", "training.epochs=3", "dataset.paths.root=moved")
    assert found.code == 0, found.err
    again = weights(tiny_run)
    assert all((again[name] == whole[name]).all() for name in whole)
    assert yaml.safe_load((tiny_run / "config.yaml").read_text())["dataset"]["paths"]["root"] == str(
        workplace / "moved"
    )
    assert run_cli("eval", "tiny", "--split", "val").code == 0
    assert run_cli("resume", "tiny", "training.epochs=4").code == 0


def test_folders_of_single_splits_may_move(run_cli, tiny_run, workplace):
    for split in ("train", "val"):
        (workplace / "data" / split).rename(workplace / f"my_{split}")
    places = [f"dataset.paths.{split}=my_{split}" for split in ("train", "val")]
    result = run_cli("resume", "tiny", "training.epochs=3", *places)
    assert result.code == 0, result.err


@pytest.mark.parametrize("split", ["train", "val"])
def test_other_content_at_the_new_place_is_refused_and_named(run_cli, tiny_run, workplace, split):
    shutil.copytree(workplace / "data", workplace / "moved")
    inverted(workplace / "moved" / split / "label" / "01.png")
    result = run_cli("resume", "tiny", "training.epochs=3", "dataset.paths.root=moved")
    assert result.code == 3
    kind, count = {"train": ("training", 6), "val": ("validation", 2)}[split]
    wanted = f"the {kind} images changed since the run began ({count} then, {count} now: the mask of `01` has other"
    assert wanted in result.err
    assert read_header(tiny_run / "checkpoints/last.safetensors")["progress"]["epoch"] == 2


def test_validation_masks_corrected_in_place_are_a_warning(run_cli, tiny_run, workplace):
    inverted(workplace / "data/val/label/01.png")
    result = run_cli("resume", "tiny", "training.epochs=3")
    assert result.code == 0
    assert "warning: the validation images changed since the run began (2 then, 2 now: the mask of `01`" in result.err


def test_keys_that_change_how_images_are_read_are_still_refused(run_cli, tiny_run):
    result = run_cli("resume", "tiny", "training.epochs=3", "dataset.color=rgb")
    assert result.code == 2
    assert "a resumed run cannot change `dataset.color`" in result.err


def test_a_fold_whose_data_moved_goes_on(run_cli, workplace):
    root = write_nuclei(workplace / "data", 6)
    config = write_experiment(workplace / "n.yaml", nuclei_experiment(root, training__epochs=1))
    assert run_cli("train", config, "--folds", 2).code == 0
    root.rename(workplace / "moved")
    fold = workplace / RUN / "fold_2"
    before = read_header(fold / "checkpoints/last.safetensors")["dataset"]
    result = run_cli("resume", fold, "training.epochs=2", "dataset.paths.root=moved")
    assert result.code == 0, result.err
    assert read_header(fold / "checkpoints/last.safetensors")["dataset"] == before
    table = workplace / "moved/classes.csv"
    table.write_text(table.read_text().replace("0003,large", "0003,small"))
    refused = run_cli("resume", workplace / RUN / "fold_1", "training.epochs=2", "dataset.paths.root=moved")
    assert refused.code == 3
    notes = []
    for number in (1, 2):  # the sample is for validation in one of them
        told = run_cli(
            "eval", workplace / RUN / f"fold_{number}", "dataset.paths.root=moved", "--split", "val", "--json"
        )
        notes += json.loads(told.out)["notes"]
    assert len(notes) == 1
    assert "(3 then, 3 now: the class of `0003` has other content)" in notes[0]


def test_a_fold_is_the_same_when_the_folders_of_both_splits_move_apart(run_cli, tiny_run, workplace):
    assert run_cli("train", "tiny.yaml", "name=cv", "training.epochs=1", "--folds", 3).code == 0
    for split, name in (("train", "z"), ("val", "a")):  # in the other order of their names
        (workplace / "data" / split).rename(workplace / name)
    fold = "outputs/experiments/cv/fold_2"
    words = ["dataset.paths.root=.", "dataset.paths.train=z", "dataset.paths.val=a"]
    result = run_cli("resume", fold, "training.epochs=2", *words)
    assert result.code == 0, result.err
    (workplace / "elsewhere").mkdir()
    for name in "za":
        (workplace / name).rename(workplace / "elsewhere" / name)
    words = ["dataset.paths.root=data", "dataset.paths.train=elsewhere/z", "dataset.paths.val=elsewhere/a"]
    result = run_cli("resume", fold, "training.epochs=3", *words)
    assert result.code == 0, result.err
    assert "are not those" not in run_cli("eval", fold, "--split", "val").err


def test_a_fingerprint_of_an_older_version_is_accepted_by_its_own_rule(run_cli, tiny_run, workplace):
    import hashlib

    last = tiny_run / "checkpoints/last.safetensors"
    checkpoint = read_checkpoint(last)
    for split in ("train", "val"):
        images = sorted((workplace / "data" / split / "image").iterdir())
        sizes = [
            (path.stem, path.stat().st_size, (path.parents[1] / "label" / path.name).stat().st_size) for path in images
        ]
        text = "".join(f"{name}|{image}|{label}\n" for name, image, label in sizes)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        checkpoint.header["dataset"][split] = {"num_images": len(images), "digest": digest}
    write_checkpoint(last, checkpoint)
    assert run_cli("eval", last, "--split", "val").err.count("are not those") == 0
    result = run_cli("resume", "tiny", "training.epochs=3")
    assert result.code == 0, result.err
    assert read_header(last)["dataset"]["train"]["version"] == 2
    checkpoint.header["dataset"]["train"]["digest"] = "0" * 16
    write_checkpoint(last, checkpoint)
    result = run_cli("resume", "tiny", "training.epochs=3")
    assert result.code == 3
    assert "(6 then, 6 now, or files of another name or size)" in result.err


def test_the_environment_holds_the_digest_and_not_the_names_of_all_files(tiny_run):
    data = yaml.safe_load((tiny_run / "environment.yaml").read_text())["data"]
    header = read_header(tiny_run / "checkpoints/last.safetensors")["dataset"]
    assert data["train"]["digest"] == header["train"]["digest"]
    assert "cases" not in data["train"]
    assert set(header["train"]["cases"]) == {f"{index:02d}" for index in range(6)}


@pytest.mark.parametrize("epochs", [1])
def test_fewer_epochs_than_the_run_has_are_refused_and_nothing_changes(run_cli, tiny_run, epochs):
    before = {path: path.read_bytes() for path in tiny_run.rglob("*") if path.is_file()}
    result = run_cli("resume", "tiny", f"training.epochs={epochs}")
    assert result.code == 2
    assert "run `tiny` has already trained 2 epochs, more than `training.epochs=1`" in result.err
    assert {path: path.read_bytes() for path in tiny_run.rglob("*") if path.is_file() and path.name != ".lock"} == {
        path: content for path, content in before.items() if path.name != ".lock"
    }


def test_an_edited_config_has_no_effect_and_a_line_says_so(run_cli, tiny_run):
    config = tiny_run / "config.yaml"
    values = yaml.safe_load(config.read_text())
    values["training"]["epochs"] = 9
    values["training"]["optimizer"]["learning_rate"] = 0.5
    config.write_text(yaml.safe_dump(values))
    result = run_cli("resume", "tiny", "training.epochs=3", "--quiet")
    assert result.code == 0
    (line,) = [line for line in result.err.splitlines() if "config.yaml" in line]
    assert "was edited, which has no effect" in line
    assert "`training.optimizer.learning_rate=0.5`" in line
    assert "`training.epochs=9`" in line
    assert "the config in the checkpoint counts" in line
    assert f"segcli resume {RUN} KEY=VALUE" in line
    assert yaml.safe_load(config.read_text())["training"]["epochs"] == 3


def test_an_edit_that_is_also_an_override_is_no_reason_for_a_line(run_cli, tiny_run):
    config = tiny_run / "config.yaml"
    config.write_text(config.read_text().replace("epochs: 2\n", "epochs: 3\n"))
    assert yaml.safe_load(config.read_text())["training"]["epochs"] == 3
    result = run_cli("resume", "tiny", "training.epochs=3", "--quiet")
    assert (result.code, result.err) == (0, "")


def test_a_config_that_is_no_yaml_is_no_reason_to_stop(run_cli, tiny_run):
    (tiny_run / "config.yaml").write_text("name: [")
    result = run_cli("resume", "tiny", "training.epochs=3", "--quiet")
    assert result.code == 0
    assert "config.yaml` cannot be read: the config in the checkpoint counts" in result.err


def test_a_missing_last_checkpoint_falls_back_to_the_newest_epoch_with_a_line(run_cli, tiny_run):
    checkpoints = tiny_run / "checkpoints"
    assert run_cli("resume", "tiny", "training.epochs=3").code == 0
    whole = weights(tiny_run)
    (checkpoints / "last.safetensors").unlink()
    (checkpoints / "epoch_0003.safetensors").unlink()
    (checkpoints / "best.safetensors").unlink()
    (checkpoints / "epoch_0001.safetensors").touch()  # the newest file is not the newest epoch
    result = run_cli("resume", "tiny", "training.epochs=3")
    assert result.code == 0, result.err
    assert "no checkpoint at `outputs/experiments/tiny/checkpoints/last.safetensors`" in result.err
    assert "epoch_0002.safetensors` instead" in result.err
    assert all((weights(tiny_run)[name] == whole[name]).all() for name in whole)


def test_data_that_moved_do_not_stop_a_prediction_and_eval_finds_them_by_the_same_key(run_cli, tiny_run, workplace):
    (workplace / "data").rename(workplace / "moved")
    assert run_cli("predict", "moved/test/image", "--run", "tiny").code == 0
    result = run_cli("eval", "tiny", "--split", "val", "dataset.paths.root=moved", "--json")
    assert result.code == 0
    assert "are not those" not in result.err
    assert [note for note in json.loads(result.out)["notes"] if "not those" in note] == []
