"""Classes of volumes from training to prediction, through the real entry point."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import yaml
from conftest import made_once
from factories import NUCLEI, nuclei_experiment, nucleus, write_experiment, write_nuclei
from sklearn.metrics import accuracy_score, precision_recall_fscore_support, roc_auc_score

from segcli.cli.main import run
from segcli.commands.evaluate import evaluate_run
from segcli.commands.locate import locate_run
from segcli.engine.checkpoint import read_checkpoint
from segcli.engine.events import Silent

RUN = "outputs/experiments/tiny"


@pytest.fixture
def nuclei(workplace):
    """Makes an experiment on twelve nuclei of two crops each."""
    root = write_nuclei(workplace / "data", 12, size=(8, 16, 32))

    def make(**changes):
        return write_experiment(workplace / "nuclei.yaml", nuclei_experiment(root, **changes))

    return make


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def history(workplace, run=RUN):
    return yaml.safe_load((workplace / run / "metrics_history.yaml").read_text())


def weights(workplace, name, run=RUN):
    return read_checkpoint(workplace / run / f"checkpoints/{name}.safetensors").below("model")


def test_both_levels_are_scored_and_answers_are_the_mean_over_crops(nuclei, run_cli, workplace):
    config = nuclei(training__loss={"type": "cross_entropy", "class_weights": "inverse", "label_smoothing": 0.1})
    result = run_cli("train", config)
    assert result.code == 0, result.err
    entry = history(workplace)[-1]
    assert {"val_loss", "val_accuracy", "val_f1", "val_sample_accuracy", "val_sample_f1"} == set(entry["val"])
    assert "class weights (inverse" in result.err
    assert "data: 20 training crops of 10 samples, 4 validation crops of 2 samples" in result.err
    assert "accuracy against the rest" in result.err
    result = run_cli("eval", "tiny", "--split", "train", "--json")
    assert result.code == 0, result.err
    told = json.loads(result.out)
    folder = workplace / "outputs/tests/tiny_train"
    samples, crops = rows_of(folder / "predictions.csv"), rows_of(folder / "crops/predictions.csv")
    assert (len(samples), len(crops)) == (10, 20)
    for sample in samples:
        own = [row for row in crops if row["crop"].startswith(sample["sample"] + "/")]
        assert len(own) == int(sample["crops"]) == 2
        mean = sum(float(row["probability_small"]) for row in own) / 2
        assert float(sample["probability_small"]) == pytest.approx(mean, abs=2e-6)
        assert sample["true_class"] == ("small" if int(sample["sample"]) % 2 == 0 else "large")
    for rows, values in ((crops, told["average_metrics"]), (samples, told["per_sample"]["average_metrics"])):
        truth, found = [row["true_class"] for row in rows], [row["class"] for row in rows]
        precision, recall, f1, _ = precision_recall_fscore_support(truth, found, average="macro", zero_division=0)
        assert values["accuracy"] == pytest.approx(accuracy_score(truth, found))
        assert [values[name] for name in ("precision", "recall", "f1")] == pytest.approx([precision, recall, f1])
        probs = np.array([float(row["probability_small"]) for row in rows])
        binned = np.floor((np.log(probs / (1 - probs)) + 17) * 28672 / 34)  # scores of one bin count as equal
        assert values["auc"] == pytest.approx(roc_auc_score([each == "small" for each in truth], binned), abs=0.011)
        assert "top2" not in values  # of two classes it is always 1
    matrix = rows_of(folder / "confusion_matrix.csv")
    assert sum(int(row["large"]) + int(row["small"]) for row in matrix) == 10
    for row, name in zip(matrix, NUCLEI, strict=True):
        figures = told["per_sample"]["per_class"][name]
        assert figures["true_samples"] == sum(int(row[other]) for other in NUCLEI) == 5
        assert figures["found_samples"] == sum(int(each[name]) for each in matrix)
        assert told["per_class"][name]["true_crops"] == 10
    shares = rows_of(folder / "confusion_matrix_normalised.csv")
    assert all(float(row["large"]) + float(row["small"]) == pytest.approx(1) for row in shares)
    for name in ("confusion_matrix.png", "confusion_matrix_counts.png", "curves.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    wrong = any(row["right"] == "0" for row in samples)
    assert (folder / "mistakes.png").exists() == wrong


def test_many_warnings_of_one_kind_are_counted_and_each_is_told_once(nuclei, run_cli, workplace):
    with (workplace / "data/classes.csv").open("a") as table:
        table.write("".join(f"09{number},large\n" for number in range(10, 16)))
    told = run_cli("train", nuclei(), "--dry-run").err
    assert told.count("there is no sample `091") == 4
    counted = "warning: 2 more like these (`segcli data check --json` lists all `missing_sample`)"
    assert " ".join(told.split()).count(counted) == 1
    assert run_cli("data", "check", nuclei(), "--json").out.count("there is no sample `091") == 6


def test_shares_of_the_classes_of_a_check_are_shares_of_the_images(nuclei, run_cli):
    told = run_cli("data", "check", nuclei()).out
    assert "Share of the images by" in told
    assert "pixels by class" not in " ".join(told.split())


def test_an_evaluation_has_all_that_a_report_shows(nuclei, run_cli, workplace):
    assert run_cli("train", nuclei(dataset__crop_size=[4, 16, 16], dataset__cache_volumes=0)).code == 0
    options = {"split": "train", "overrides": ["dataset.class_filter=[large,small]"], "listener": Silent()}
    done = evaluate_run(locate_run("tiny"), **options)
    rows = rows_of(workplace / "outputs/tests/tiny_train/predictions.csv")
    assert [answer.name for answer in done.answers] == [row["sample"] for row in rows]
    assert {answer.parts for answer in done.answers} == {4}
    assert [answer.truth for answer in done.answers] == [(int(answer.name) - 1) % 2 for answer in done.answers]
    matrix = np.zeros((2, 2), int)
    for answer in done.answers:
        matrix[answer.truth, answer.found] += 1
    np.testing.assert_array_equal(done.whole.confusion, matrix)
    wrong = [answer for answer in done.answers if answer.truth != answer.found]
    shown = [answer for answer, _ in done.mistakes]
    assert len(wrong) == len(shown) > 0  # two epochs are too few
    assert [max(answer.probs) for answer in shown] == sorted((max(answer.probs) for answer in wrong), reverse=True)
    crops = rows_of(workplace / "outputs/tests/tiny_train/crops/predictions.csv")
    for answer, picture in done.mistakes:
        probs = [float(row[f"probability_{NUCLEI[answer.found]}"]) for row in crops if answer.name in row["crop"]]
        z, x = divmod(int(np.argmax(probs)), 2)  # the crop that is to blame, and its middle slice
        volume = nucleus(int(answer.name) - 1, (8, 16, 32))[0]
        np.testing.assert_array_equal(picture, volume[4 * z + 2, :, 16 * x : 16 * x + 16])


def test_predict_writes_a_table_with_probabilities_and_names_what_it_cannot_read(nuclei, run_cli, workplace):
    assert run_cli("train", nuclei()).code == 0
    (workplace / "data/0003/raw/z2.tif").write_bytes(b"broken")
    result = run_cli("predict", "data", "--run", "tiny", "--out", "out")
    assert result.code == 3
    assert "cannot read slice `data/0003/raw/z2.tif`" in result.err
    rows = rows_of(workplace / "out/predictions.csv")
    assert [row["sample"] for row in rows] == [f"{number:04d}" for number in range(1, 13) if number != 3]
    for row in rows:
        shares = {name: float(row[f"probability_{name}"]) for name in ("large", "small")}
        assert math.isclose(sum(shares.values()), 1.0, abs_tol=1e-5)
        assert row["class"] == max(shares, key=shares.get)
        assert row["crops"] == "2"
    result = run_cli("predict", "data", "--run", "tiny", "--out", "out")
    assert result.code == 2
    assert "predictions.csv` exists" in result.err
    result = run_cli("predict", "data/0001", "data/0002/raw", "--run", "tiny", "--out", "two", "--json")
    assert [entry["class"] in ("large", "small") for entry in json.loads(result.out)["written"]] == [True, True]
    result = run_cli("predict", "outputs", "--run", "tiny", "--out", "none")
    assert result.code == 3
    assert "no samples in `outputs`" in result.err


def test_predict_gives_what_eval_gives_and_of_several_runs_the_mean(nuclei, run_cli, workplace):
    columns = [f"probability_{name}" for name in NUCLEI]

    def table(folder):
        return {row["sample"]: [float(row[name]) for name in columns] for row in rows_of(folder / "predictions.csv")}

    for name, method in (("one", "min_max"), ("two", "per_image")):
        config = nuclei(name=name, data__preprocessing={"normalize": method}, seed=len(method))
        assert run_cli("train", config).code == 0
        assert run_cli("eval", name, "--split", "val").code == 0
        assert run_cli("predict", "data", "--run", name, "--out", name).code == 0
        found = table(workplace / name)
        for sample, probs in table(workplace / f"outputs/tests/{name}_val").items():
            assert found[sample] == pytest.approx(probs, abs=2e-6)
    result = run_cli("predict", "data", "--run", "one", "--run", "two", "--out", "both")
    assert result.code == 0, result.err
    one, two, both = (table(workplace / name) for name in ("one", "two", "both"))
    assert max(abs(one[name][0] - two[name][0]) for name in both) > 1e-3
    for name, probs in both.items():
        assert probs == pytest.approx(np.mean([one[name], two[name]], axis=0), abs=2e-6)


def test_the_class_of_a_volume_does_not_depend_on_the_format_of_its_file(nuclei, run_cli):
    nibabel = pytest.importorskip("nibabel")
    assert run_cli("train", nuclei(training__epochs=1)).code == 0
    image = np.stack([tifffile.imread(path) for path in sorted(Path("data/0001/raw").iterdir())])
    tifffile.imwrite("a.tif", image)
    np.save("b.npy", image)
    nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), "c.nii.gz")
    np.save("d.npy", np.stack([image] * 3))
    result = run_cli("predict", "a.tif", "b.npy", "c.nii.gz", "d.npy", "--out", "out")
    assert result.code == 3
    assert "`d.npy` has 3 channels, but a grey volume was expected" in " ".join(result.err.split())
    a, b, c = rows_of(Path("out/predictions.csv"))
    assert [row["sample"] for row in (a, b, c)] == ["a", "b", "c"]
    assert {**b, "sample": "a"} == {**c, "sample": "a"} == a


def test_a_sample_that_only_one_of_two_runs_finds_is_named(nuclei, run_cli, workplace):
    assert run_cli("train", nuclei(name="one", training__epochs=1)).code == 0
    for folder in (workplace / "data").glob("0*"):
        (folder / "scan").symlink_to("raw")
    assert run_cli("train", nuclei(name="two", dataset__raw_folder="scan", training__epochs=1)).code == 0
    result = run_cli("predict", "data", "--run", "one", "--run", "two", "--out", "out")
    assert result.code == 3
    assert "finds no sample `0001`" in " ".join(result.err.split())


@pytest.mark.parametrize("option", ["--overlay", "--uncertainty", "--skip-existing", "--threshold=0.3", "--tile=64"])
def test_options_of_masks_are_refused_where_there_are_none(option, run_cli, workplace, tmp_path_factory, monkeypatch):
    def train(folder):
        with monkeypatch.context() as patch:
            patch.chdir(folder)
            keys = nuclei_experiment(write_nuclei(folder / "data"), training__epochs=1)
            assert run(["train", str(write_experiment(folder / "nuclei.yaml", keys)), "--quiet"]) == 0

    monkeypatch.chdir(made_once(tmp_path_factory, "nuclei_run", train))  # a refused command writes nothing there
    result = run_cli("predict", "data", option, "--out", workplace / "out")
    assert result.code == 2
    assert f"`{option.split('=')[0]}` is for masks" in result.err
    assert not (workplace / "out").exists()


def test_runs_that_tell_other_classes_apart_are_not_averaged(nuclei, run_cli, workplace):
    assert run_cli("train", nuclei(name="one", training__epochs=1)).code == 0
    table = workplace / "data/classes.csv"
    table.write_text(table.read_text().replace("small", "tiny"))
    assert run_cli("train", nuclei(name="two", training__epochs=1)).code == 0
    result = run_cli("predict", "data", "--run", "one", "--run", "two", "--out", "out")
    assert result.code == 2
    assert "differ in the classes (large, small and large, tiny)" in " ".join(result.err.split())


def test_class_weights_follow_the_table_when_it_changes(nuclei, run_cli, workplace):
    keys = {"training__loss": {"type": "cross_entropy", "class_weights": "inverse"}, "training__epochs": 1}
    config = nuclei(dataset__split={"val": ["0001", "0002"]}, **keys)
    result = run_cli("train", config)
    assert "(inverse, from 20 training images): large 1, small 1" in " ".join(result.err.split())
    table = workplace / "data/classes.csv"
    table.write_text(table.read_text().replace("0003,large", "0003,small"))
    result = run_cli("train", config, "--overwrite")
    assert "(inverse, from 20 training images): large 1.25, small 0.833" in " ".join(result.err.split())


def test_features_of_an_earlier_run_are_frozen_then_unfrozen(nuclei, run_cli, workplace):
    assert run_cli("train", nuclei(name="first")).code == 0
    weights_of_first = workplace / "outputs/experiments/first/checkpoints/last.safetensors"
    config = nuclei(
        model__weights=str(weights_of_first),
        model__freeze_features=True,
        model__unfreeze_every=2,
        model__classifier_size=6,
        training__epochs=4,
        checkpoint={"save_every": 1, "max_checkpoints": 9},
    )
    result = run_cli("train", config)
    assert result.code == 0, result.err
    told = " ".join(result.err.split())
    assert "12 (features.0.weight" in told
    assert "epoch 1: `features.0` to `features.5` frozen" in told
    assert "epoch 3: `features.4` to `features.5` unfrozen" in told
    first = weights(workplace, "last", "outputs/experiments/first")
    states = [weights(workplace, f"epoch_000{epoch}") for epoch in (1, 2, 3, 4)]
    for name, value in first.items():
        if name.startswith("features."):
            assert all(torch.equal(value, state[name]) for state in states[:2]), name
            learnt = not torch.equal(value, states[3][name])
            assert learnt == (int(name.split(".")[1]) >= 4), name
    assert states[0]["classifier.0.weight"].shape[0] == 6


def test_a_run_resumed_across_an_unfreezing_has_the_same_bits(nuclei, run_cli, workplace):
    options = {"model__freeze_features": True, "model__unfreeze_every": 1, "training__epochs": 3}
    config = nuclei(checkpoint={"save_every": 1}, **options)
    assert run_cli("train", config).code == 0
    whole = weights(workplace, "last")
    for epoch in (1, 2):
        again = f"again_{epoch}"
        source = workplace / RUN / f"checkpoints/epoch_000{epoch}.safetensors"
        (workplace / again / "checkpoints").mkdir(parents=True)
        (workplace / again / "checkpoints/last.safetensors").write_bytes(source.read_bytes())
        (workplace / again / "config.yaml").write_bytes((workplace / RUN / "config.yaml").read_bytes())
        result = run_cli("resume", workplace / again)
        assert result.code == 0, result.err
        resumed = weights(workplace, "last", again)
        assert [name for name, value in whole.items() if not torch.equal(value, resumed[name])] == []


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy", "val_f1", "val_sample_accuracy"])
def test_the_best_checkpoint_is_by_loss_accuracy_or_f1(monitor, nuclei, run_cli, workplace):
    result = run_cli("train", nuclei(training__early_stopping={"monitor": monitor}, training__epochs=3), "--json")
    assert result.code == 0, result.err
    values = [entry["val"][monitor] for entry in history(workplace)]
    best = min(values) if monitor == "val_loss" else max(values)
    assert json.loads(result.out)["best_epoch"] == values.index(best) + 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training__loss": "dice"}, "`dice` needs the outputs `mask`"),
        ({"training__metrics": ["hd95"]}, "`hd95` is a metric of pixels"),
        ({"dataset__task": "binary"}, "learns from a `mask` that format `tiff_volumes` does not have"),
        ({"model": {"type": "unet", "depths": [4, 8]}}, "model `UNet` has no `class` output"),
        (
            {"inference__tile": [8, 8, 8]},
            "inference.tile: cuts images into tiles, and task `classification` finds one class",
        ),
        ({"data__patch_size": [8, 8, 8]}, "`data.patch_size` crops them"),
        ({"dataset__crop_size": [2, 16, 16]}, "images of 2x16x16 voxels are too small"),
        ({"dataset__class_filter": ["small"]}, "dataset.num_classes: is 1, and task `classification` tells classes"),
    ],
)
def test_what_cannot_classify_is_told_before_anything_begins(changes, message, nuclei, run_cli):
    result = run_cli("train", nuclei(**changes))
    assert result.code == 2
    assert message in result.err


def test_batches_of_an_epoch_can_be_limited(nuclei, run_cli, workplace):
    result = run_cli("train", nuclei(data__limit_batches=2), "--json")
    assert result.code == 0, result.err
    assert read_checkpoint(workplace / RUN / "checkpoints/last.safetensors").header["progress"]["step"] == 4
