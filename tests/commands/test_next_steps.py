"""Each command ends with the command that comes next, which runs as it is printed."""

import json
import shlex
import shutil
from dataclasses import replace

import pytest
import yaml
from factories import experiment, nuclei_experiment, write_experiment, write_folders, write_nuclei

from segcli.commands import next_steps
from segcli.data.samples import Case, example_of
from segcli.report.results import Trained


def following(result):
    """Words of the next command, which stands in one piece in the last line; None if there is none."""
    assert result.code == 0, result.err
    assert "next: " not in result.out
    lines = [line for line in result.err.splitlines() if line.startswith("next: ")]
    assert lines == result.err.splitlines()[-1:] or not lines
    if not lines:
        return None
    name, *words = shlex.split(lines[0].removeprefix("next: "))
    assert name == "segcli"
    return words


@pytest.fixture
def named_with_spaces(workplace):
    """An experiment and a data-set file with spaces in their names."""
    keys = experiment(write_folders(workplace / "my data"), training__epochs=1)
    (workplace / "my files").mkdir()
    write_experiment(workplace / "my files/my data.yaml", keys.pop("dataset"))
    return write_experiment(workplace / "my files/my exp.yaml", {**keys, "dataset": "my data.yaml"})


def test_the_commands_lead_from_a_data_set_to_the_export(run_cli, named_with_spaces):
    words = ["data", "check", "my files/my data.yaml"]
    steps = []
    while words[0] != "export":
        steps.append(words)
        words = following(run_cli(*words))
    assert steps == [
        ["data", "check", "my files/my data.yaml"],
        ["data", "stats", "my files/my data.yaml"],
        ["train", "my files/my exp.yaml"],
        ["eval", "tiny"],
        ["predict", "my data/test/image", "--run", "tiny"],
    ]
    assert words == ["export", "tiny"]
    train = steps[2]
    again = following(run_cli("data", "check", *train[1:]))
    assert again == [*train, "name=tiny_2"]
    assert following(run_cli(*again, "--dry-run")) == again
    assert following(run_cli(*again)) == ["eval", "tiny_2"]
    words = following(run_cli("eval", "tiny", "--split", "val"))
    assert words == ["predict", "my data/val/image", "--run", "tiny", "--out", "outputs/predictions/tiny_2"]
    assert following(run_cli(*words)) == ["export", "tiny"]
    last = "outputs/experiments/tiny/checkpoints/last.safetensors"
    words = following(run_cli("predict", "my data/test/image", "--run", last, "--out", "there"))
    assert words == ["export", last]
    for option in ("--json", "--quiet"):
        assert "next:" not in run_cli("data", "check", *train[1:], option).err


def test_an_exported_network_is_tried_on_an_image_of_the_data_set(run_cli, workplace, tiny_exports, monkeypatch):
    shutil.copytree(tiny_exports.folder, workplace, dirs_exist_ok=True)
    network = ["--model", "outputs/exports/tiny/tiny.onnx"]
    words = following(run_cli("predict", "data/test/image", "--run", "tiny"))
    assert words == ["predict", "data/test/image", *network, "--out", "outputs/predictions/tiny_2"]
    assert following(run_cli(*words)) is None
    assert len(list((workplace / "outputs/predictions/tiny_2").glob("*.png"))) == 2
    told = []
    with monkeypatch.context() as patch:
        patch.setattr(next_steps, "after_export", told.append)
        assert run_cli("export", "tiny", "--format", "torchscript", "dataset.paths.root=data").code == 0
    (done,) = told
    assert "example" not in done.as_dict()
    assert next_steps.after_export(done) is None  # segcli reads only ONNX
    as_onnx = replace(done, format="onnx", file=workplace / network[1])
    words = shlex.split(next_steps.after_export(as_onnx))[1:]
    assert words == ["predict", "data/val/image", *network, "--out", "outputs/predictions/tiny_3"]
    assert run_cli(*words).code == 0


def test_what_init_prints_and_writes_above_its_files_runs_as_it_stands(run_cli, workplace):
    write_folders(workplace / "my data")
    words = following(run_cli("init", "my data", "my run"))
    assert words == ["train", "configs/experiments/my run.yaml", "--dry-run"]
    for kind, command in (("datasets", ["data", "check"]), ("experiments", ["train"])):
        file = f"configs/{kind}/my run.yaml"
        first = (workplace / file).read_text().splitlines()[0]
        assert shlex.split(first) == ["#", "segcli", *command, file]


def test_errors_in_the_data_have_no_next_command(run_cli, tiny, workplace):
    config = tiny()
    (workplace / "data/train/label/01.png").unlink()
    result = run_cli("data", "check", config)
    assert result.code == 1
    assert "next:" not in result.err


def test_overrides_of_the_data_set_are_carried_into_the_next_command(run_cli, tiny, workplace):
    write_folders(workplace / "other")
    moved = f"paths.root={workplace / 'other'}"
    words = following(run_cli("data", "stats", tiny(), moved, "data.channels=[0, 1, 2]"))
    assert words == ["train", str(tiny()), f"dataset.{moved}", "data.channels=[0, 1, 2]"]
    assert following(run_cli(*words, "training.epochs=1")) == ["eval", "tiny"]
    (workplace / "alone.yaml").write_text(yaml.safe_dump({"paths": {"root": "data"}}))
    assert following(run_cli("data", "check", "alone.yaml", "num_channels=3")) == [
        "data",
        "stats",
        "alone.yaml",
        "num_channels=3",
    ]
    assert following(run_cli("data", "stats", "alone.yaml")) is None  # no experiment is there
    (workplace / "configs").mkdir()
    write_experiment(workplace / "configs/exp.yaml", experiment(workplace / "data"))
    words = following(run_cli("data", "stats", "alone.yaml"))
    assert words == ["train", "configs/exp.yaml", "dataset=alone.yaml", "name=alone"]
    assert following(run_cli(*words, "--dry-run")) == words


def test_a_run_whose_name_does_not_find_it_is_named_by_its_folder(run_cli, tiny, workplace):
    there = workplace / "elsewhere/my run"
    assert following(run_cli("train", tiny(output__dir=str(there), training__epochs=1))) == ["eval", "elsewhere/my run"]
    words = following(run_cli("data", "check", tiny(output__dir=str(there))))
    assert words[2:] == ["name=tiny_2", "output.dir=elsewhere/my run_2"]
    (there / "config.yaml").unlink()
    assert next_steps.after_train(Trained("tiny", there, 1, "val_dice", None, None, False)) is None


def test_a_training_without_validation_leads_to_predictions(run_cli, workplace):
    config = write_experiment(workplace / "tiny.yaml", experiment(write_folders(workplace / "data", {"train": 4})))
    words = following(run_cli("train", config, "training.epochs=1"))
    assert words == ["predict", "data/train/image", "--run", "tiny"]
    assert following(run_cli(*words)) == ["export", "tiny"]


def test_one_volume_is_tried(run_cli, workplace):
    config = write_experiment(workplace / "tiny.yaml", nuclei_experiment(write_nuclei(workplace / "data")))
    train = following(run_cli("data", "check", config))
    name = following(run_cli(*train, "training.epochs=1"))
    words = following(run_cli(*name))
    assert words[0] == "predict"
    assert (workplace / words[1]).name == "raw"
    assert following(run_cli(*words)) == ["export", name[1]]


def test_a_folder_that_holds_masks_too_is_not_predicted_as_a_whole(tmp_path):
    image, mask = tmp_path / "01.png", tmp_path / "01_mask.png"
    assert example_of([Case("01", image, mask)]) == image
    assert example_of([Case("01", image, tmp_path / "label/01.png")]) == tmp_path
    of_classes = (tmp_path / "label/01_A.png", tmp_path / "01_B.png")
    assert example_of([Case("01", image, of_classes[0], class_files=of_classes)]) == image
    assert example_of([Case("01", tmp_path / "all.h5", index=0)]) == tmp_path / "all.h5"
    assert example_of([]) is None


def test_the_folds_lead_to_the_scores_of_one(run_cli, tiny, workplace):
    words = following(run_cli("train", tiny(training__epochs=1), "--folds", "2"))
    assert words == ["eval", "outputs/experiments/tiny/fold_1"]
    scored = run_cli(*words, "--json")
    assert "example" not in json.loads(scored.out)
