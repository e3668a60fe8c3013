"""Many classes from the first command to the last, on sequences with masks painted in colours."""

import csv
import io

import cv2
import numpy as np
import pytest
import yaml
from factories import STREET, scenes_experiment, write_experiment, write_sequences
from sklearn.metrics import confusion_matrix, jaccard_score

from segcli.data.images import read_image, read_labels
from segcli.engine.checkpoint import read_checkpoint
from segcli.engine.export.portable import open_portable

COLORS = {"sky": STREET["sky"], "road": STREET["road"], "car": STREET["car"], "tram": (10, 20, 30)}
NAMES = list(COLORS)


@pytest.fixture
def scenes(workplace):
    """Makes a tiny data set of sequences and an experiment file on it."""

    def make(**changes):
        dataset = workplace / "data"
        if not dataset.exists():
            write_sequences(dataset, {"Video_000": 6, "Video_001": 2, "Video_002": 2})
        return write_experiment(workplace / "scenes.yaml", scenes_experiment(dataset, **changes))

    return make


@pytest.fixture
def trained(run_cli, scenes, workplace):
    """A run of three epochs; returns its folder."""
    result = run_cli("train", scenes(training__epochs=3, logging__visualization_interval=2))
    assert result.code == 0, result.err
    return workplace / "outputs/experiments/tiny"


def index_of(rgb):
    """Class indices from colours, pixel by pixel; -1 for void."""
    found = np.full(rgb.shape[:2], -1)
    for index, name in enumerate(NAMES):
        found[(rgb == COLORS[name]).all(axis=2)] = index
    return found


def pixels(workplace, results):
    """True and found class of every pixel that counts, from the PNGs alone."""
    truth, found = [], []
    for path in sorted((workplace / "data/Labels/Video_002").glob("*.png")):
        label, answer = index_of(read_image(path)), index_of(read_image(results / "predictions/Video_002" / path.name))
        assert (answer >= 0).all()
        truth.append(label[label >= 0])
        found.append(answer[label >= 0])
    return np.concatenate(truth), np.concatenate(found)


def test_iou_of_each_class_is_that_of_the_saved_pngs(trained, run_cli, workplace):
    result = run_cli("eval")
    assert result.code == 0, result.err
    results = workplace / "outputs/tests/tiny"
    summary = yaml.safe_load((results / "test_metrics.yaml").read_text())
    truth, found = pixels(workplace, results)
    expected = jaccard_score(truth, found, labels=[0, 1, 2], average=None, zero_division=0)
    ious = [summary["per_class"][name]["iou"] for name in NAMES]
    assert ious[:3] == pytest.approx(expected.tolist(), abs=1e-9)
    assert summary["average_metrics"]["mean_iou"] == pytest.approx(expected.mean(), abs=1e-9)
    assert summary["average_metrics"]["pixel_accuracy"] == pytest.approx((truth == found).mean(), abs=1e-9)
    assert np.isnan(ious[3])  # no frame shows a tram
    assert summary["per_class"]["tram"]["true_pixels"] == 0
    assert summary["threshold"] is None
    table = [line for line in result.out.splitlines() if "tram" in line]
    assert any("absent" in line for line in table)


def test_the_confusion_matrix_is_written_as_table_and_picture(trained, run_cli, workplace):
    assert run_cli("eval").code == 0
    results = workplace / "outputs/tests/tiny"
    rows = list(csv.reader(io.StringIO((results / "confusion_matrix.csv").read_text())))
    expected = confusion_matrix(*pixels(workplace, results), labels=range(4))
    assert np.array_equal(np.array([row[1:] for row in rows[1:]], int), expected)
    assert cv2.imread(str(results / "confusion_matrix.png")) is not None


def test_each_validation_tells_every_class(trained, run_cli, scenes):
    history = yaml.safe_load((trained / "metrics_history.yaml").read_text())
    assert list(history[0]["val_per_class"]["mean_iou"]) == NAMES
    values = [value for value in history[-1]["val_per_class"]["mean_iou"].values() if not np.isnan(value)]
    assert np.mean(values) == pytest.approx(history[-1]["val"]["val_mean_iou"])
    shown = run_cli("train", scenes(training__epochs=1), "--overwrite").err
    assert "sky" in shown
    assert "absent" in shown


def test_pictures_of_validation_frames_are_written_now_and_then(trained):
    folders = sorted(path.name for path in (trained / "visualizations").iterdir())
    assert folders == ["epoch_002"]
    pictures = sorted((trained / "visualizations/epoch_002").iterdir())
    assert [path.name for path in pictures] == ["Video_001_0001.png", "Video_001_0002.png"]
    picture = read_image(pictures[0])
    assert 32 + 4 + 32 <= picture.shape[1] <= 32 + 4 + 32 + 8  # a legend may be wider than so small a picture
    assert picture.shape[0] > 24 + 20  # the legend


def test_class_weights_are_found_once_told_and_written_into_the_run(run_cli, scenes, workplace):
    config = scenes(training__epochs=1, training__loss={"cross_entropy": {"class_weights": "inverse"}})
    first = run_cli("train", config)
    assert first.code == 0, first.err
    assert "class weights (inverse, from 6 training masks): sky " in first.err
    assert "class `tram` does not occur in the training masks" in first.err
    counts = np.zeros(4)
    for path in (workplace / "data/Labels/Video_000").glob("*.png"):
        label = index_of(read_image(path))
        counts += np.bincount(label[label >= 0], minlength=4)
    expected = [counts.sum() / (3 * count) if count else 0.0 for count in counts]
    written = yaml.safe_load((workplace / "outputs/experiments/tiny/config.yaml").read_text())
    assert written["training"]["loss"]["cross_entropy"]["class_weights"] == pytest.approx(expected)
    (cache,) = (workplace / "outputs/cache").glob("class_pixels_*.json")
    assert run_cli("resume", "tiny", "training.epochs=2").code == 0
    assert run_cli("eval", "tiny", "--split", "val").code == 0
    assert cache.exists()


def frames_of(workplace):
    """Frames of the test split, as the network takes them."""
    images = [read_image(path) for path in sorted((workplace / "data/Images/Video_002").iterdir())]
    return [np.moveaxis((image.astype(np.float32) / 255 - 0.4) / np.float32(0.2), -1, 0)[None] for image in images]


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(axis=0)


def test_half_of_the_class_weights_is_taken_back_everywhere(run_cli, scenes, workplace):
    probs = [0.0, 0.0]
    for name, stated, bakes in (("one", [0.2, 1.0, 8.0, 0.0], [["--bake"]]), ("other", "inverse", [])):
        loss = {"cross_entropy": {"class_weights": stated}}
        config = scenes(name=name, training__epochs=3, training__loss=loss, inference__undo_class_weights=0.5)
        for words in (["train", config], *(["export", name, *bake] for bake in [*bakes, []])):
            result = run_cli(*words)
            assert result.code == 0, result.err
        written = yaml.safe_load((workplace / f"outputs/experiments/{name}/config.yaml").read_text())
        weights = written["training"]["loss"]["cross_entropy"]["class_weights"]
        network = open_portable(workplace / f"outputs/exports/{name}/{name}.onnx")
        logits = [network(frame)["mask"][0] for frame in frames_of(workplace)]
        offsets = 0.5 * np.log([weight or 1.0 for weight in weights])[:, None, None]
        each = [softmax(values - offsets) for values in logits]
        assert any((one.argmax(0) != values.argmax(0)).any() for one, values in zip(each, logits, strict=True))
        probs = [one + other for one, other in zip(probs, each, strict=True)]
        expected = [one.argmax(0) for one in each]

        assert run_cli("eval", name).code == 0
        file = f"outputs/exports/{name}/{name}"
        networks = {"run": f"--run={name}", "file": f"--model={file}.onnx"}
        if bakes:
            networks["baked"] = f"--model={file}_baked.onnx"
        for out, network in networks.items():
            assert run_cli("predict", "data/Images/Video_002", network, "--out", f"{name}_{out}").code == 0
        for index, answer in enumerate(expected, start=1):
            scored = workplace / f"outputs/tests/{name}/predictions/Video_002/000{index}.png"
            assert np.array_equal(index_of(read_image(scored)), answer)
            for out in networks:
                assert np.array_equal(read_labels(workplace / f"{name}_{out}/000{index}_index.png"), answer)
        card = (workplace / f"outputs/exports/{name}/README.md").read_text()
        line = next(line for line in card.splitlines() if line.startswith("mask = "))
        given = {"np": np, "outputs": {"mask": logits[-1][None]}}
        exec(line, given)
        assert np.array_equal(given["mask"], expected[-1])

    assert run_cli("predict", "data/Images/Video_002", "--run", "one", "--run", "other", "--out", "both").code == 0
    for index, mean in enumerate(probs, start=1):
        assert np.array_equal(read_labels(workplace / f"both/000{index}_index.png"), mean.argmax(0))


def test_a_prediction_has_the_coding_of_the_masks_with_the_indices_beside_it(trained, run_cli, workplace):
    result = run_cli("predict", "data/Images/Video_002", "--overlay", "--probabilities", "--out", "found")
    assert result.code == 0, result.err
    found = workplace / "found"
    assert sorted(path.name for path in found.glob("0001*")) == [
        "0001.png",
        "0001_index.png",
        "0001_overlay.png",
        "0001_probability.png",
    ]
    index = read_labels(found / "0001_index.png")
    assert np.array_equal(index_of(read_image(found / "0001.png")), index)
    assert (read_image(found / "0001_probability.png") > 65535 // 4).all()  # of the most probable of four classes
    overlay = read_image(found / "0001_overlay.png")
    legend = overlay[len(index) :].reshape(-1, 3).tolist()
    for number, color in enumerate(COLORS.values()):
        assert (list(color) in legend) == bool((index == number).any())


def test_a_folder_of_frames_becomes_a_video(trained, run_cli, workplace):
    result = run_cli("predict", "data/Images/Video_000", "--out", "found", "--video", "drive.mp4", "--fps", 5)
    assert "wrote drive.mp4" in result.out
    assert result.code == 0, result.err
    video = cv2.VideoCapture("drive.mp4")
    assert (video.get(cv2.CAP_PROP_FRAME_COUNT), video.get(cv2.CAP_PROP_FPS)) == (6, 5)
    again = run_cli("predict", "data/Images/Video_000", "--out", "other", "--video", "drive.mp4")
    assert again.code == 2
    assert "`drive.mp4` exists" in again.err


def test_classes_have_no_threshold(trained, run_cli):
    for word in ("0.4", "best-on-val"):
        result = run_cli("eval", "--threshold", word)
        assert result.code == 2
        assert "task `multiclass` has no threshold" in result.err


def test_index_masks_are_predicted_with_the_numbers_of_the_data_set(run_cli, scenes, workplace):
    config = scenes(
        training__epochs=1, dataset__mask_format="index", dataset__split={"train": ["Video_000"], "test": ["Video_002"]}
    )
    for path in (workplace / "data/Labels").glob("*/*.png"):
        label = index_of(read_image(path))
        cv2.imwrite(str(path), np.select([label == 0, label == 1, label == 2], [7, 11, 40], 255).astype(np.uint8))
    values = yaml.safe_load(config.read_text())
    values["dataset"] |= {
        "classes": ["sky", "road", "car"],
        "numbers": [7, 11, 40],
        "ignore": [{"name": "void", "number": 255}],
    }
    write_experiment(config, values)
    result = run_cli("train", config)
    assert result.code == 0, result.err
    assert result.err.count("no validation images") == 1
    assert run_cli("eval").code == 0
    written = read_labels(workplace / "outputs/tests/tiny/predictions/Video_002/0001.png")
    assert set(np.unique(written)) <= {7, 11, 40}
    assert run_cli("predict", "data/Images/Video_002", "--out", "found").code == 0
    colours = read_image(workplace / "found/0001_color.png")
    assert np.array_equal(read_labels(workplace / "found/0001.png"), written)
    assert len(np.unique(colours.reshape(-1, 3), axis=0)) == len(np.unique(written))


def test_a_run_of_many_classes_resumes_to_the_same_bits(run_cli, scenes, workplace):
    weights = {"cross_entropy": {"class_weights": "median_frequency"}, "lovasz": 0.5, "focal": {"alpha": None}}
    config = scenes(training__epochs=3, training__loss=weights, training__ema=0.9)
    assert run_cli("train", config, "name=whole").code == 0
    assert run_cli("train", config, "name=cut", "training.epochs=2", "training.scheduler=constant").code == 0
    assert run_cli("train", config, "name=same", "training.scheduler=constant").code == 0
    assert run_cli("resume", "cut", "training.epochs=3").code == 0
    one, two = (
        read_checkpoint(workplace / f"outputs/experiments/{name}/checkpoints/last.safetensors")
        for name in ("same", "cut")
    )
    assert all(value.equal(two.below("model")[key]) for key, value in one.below("model").items())


def test_a_dry_run_writes_neither_a_split_nor_what_it_counted(run_cli, scenes, workplace):
    weights = {"cross_entropy": {"class_weights": "inverse"}}
    config = scenes(training__loss=weights, dataset__split={"val": 0.4, "seed": 1})
    before = {path for path in workplace.rglob("*") if path.is_file()}
    result = run_cli("train", config, "--dry-run")
    assert result.code == 0, result.err
    assert "class weights (inverse" in result.err
    assert {path for path in workplace.rglob("*") if path.is_file()} == before
