"""What TensorBoard shows of a training, read back from its event files."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from event_files import EVERYTHING, approximately, events, history, next_second, panels, picture, scalars
from factories import STREET, scenes_experiment, write_experiment, write_folders, write_sequences
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from segcli.config.load import run_from_values
from segcli.data.images import read_image, read_labels
from segcli.engine.assembly import assemble, load_weights
from segcli.engine.checkpoint import read_checkpoint
from segcli.trackers.tensorboard import TensorBoard


@pytest.fixture
def folder(workplace):
    """Run folder of the tiny experiment."""
    return workplace / "outputs/experiments/tiny"


# ---- figures


def test_every_figure_of_the_history_has_its_tag_and_its_value(run_cli, tiny, folder):
    assert run_cli("train", tiny(logging__tensorboard=True, training__epochs=3)).code == 0
    found, entries = scalars(folder / "tensorboard"), history(folder)
    for name in ("loss", "loss_bce", "loss_dice", "dice", "iou"):
        assert found[f"train/{name}"] == approximately([(e["epoch"], e["train"][name]) for e in entries])
        assert found[f"val/{name}"] == approximately([(e["epoch"], e["val"][f"val_{name}"]) for e in entries])
    assert found["learning_rate"] == approximately([(e["epoch"], e["learning_rate"]) for e in entries])


def test_training_and_validation_share_a_chart_as_lines_of_one_tag(run_cli, tiny, folder):
    assert run_cli("train", tiny(logging__tensorboard=True, training__epochs=3, training__val_interval=2)).code == 0
    validated = [entry for entry in history(folder) if entry["val"]]
    assert [entry["epoch"] for entry in validated] == [2, 3]
    train, val = (scalars(folder / "tensorboard" / line) for line in ("train", "val"))
    assert set(train) == set(val) == {f"comparison/{n}" for n in ("loss", "loss_bce", "loss_dice", "dice", "iou")}
    for name in ("dice", "iou", "loss"):
        assert train[f"comparison/{name}"] == approximately([(e["epoch"], e["train"][name]) for e in validated])
        assert val[f"comparison/{name}"] == approximately([(e["epoch"], e["val"][f"val_{name}"]) for e in validated])


def test_a_resumed_run_has_every_step_once_in_every_chart(run_cli, tiny, folder):
    config = tiny(logging=EVERYTHING, training__epochs=4, checkpoint={"save_every": 1, "max_checkpoints": 9})
    assert run_cli("train", config).code == 0
    images = {tag: [event.step for event in events(folder / "tensorboard").Images(tag)] for tag in ("images/00",)}
    next_second()
    assert run_cli("resume", folder / "checkpoints/epoch_0001.safetensors").code == 0
    for line in ("", "train", "val"):
        for tag, values in scalars(folder / "tensorboard" / line).items():
            steps = [4] if tag.startswith(("final/", "best/")) else [2, 4] if "activations" in tag else [1, 2, 3, 4]
            assert [step for step, _ in values] == steps, (line, tag)
    found = events(folder / "tensorboard")
    assert [event.step for event in found.Histograms("activations/head")] == [2, 4]
    assert {tag: [event.step for event in found.Images(tag)] for tag in images} == images
    assert scalars(folder / "tensorboard")["val/dice"] == approximately(
        [(e["epoch"], e["val"]["val_dice"]) for e in history(folder)]
    )


def test_the_network_is_drawn_once_in_the_life_of_a_run(run_cli, tiny, folder, monkeypatch):
    drawn, draw = [], SummaryWriter.add_graph

    def counted(self, *args, **options):
        drawn.append(1)
        draw(self, *args, **options)

    monkeypatch.setattr(SummaryWriter, "add_graph", counted)
    config = tiny(logging__tensorboard=True, training__epochs=1)
    assert run_cli("train", config).code == 0
    names = {node.name for node in events(folder / "tensorboard").Graph().node}
    assert any(name.startswith("UNet/Conv2d[head]") for name in names)
    assert run_cli("resume", "tiny", "training.epochs=2").code == 0
    assert len(drawn) == 1
    assert run_cli("train", config, "--overwrite").code == 0
    assert len(drawn) == 2


# ---- pictures


def test_a_picture_shows_the_photograph_the_truth_and_what_was_found(run_cli, tiny, folder, workplace):
    config = tiny(logging={**EVERYTHING, "image_log_frequency": 1}, training__epochs=3)
    assert run_cli("train", config).code == 0
    assert run_cli("eval", "tiny", "--split", "val").code == 0
    best = yaml.safe_load((workplace / "outputs/tests/tiny_val/test_metrics.yaml").read_text())["epoch"]
    found = events(folder / "tensorboard")
    assert found.Tags()["images"] == ["images/00", "images/01"]
    for name in ("00", "01"):
        shown = found.Images(f"images/{name}")
        assert [event.step for event in shown] == [1, 2, 3]
        assert (shown[0].width, shown[0].height) == (3 * 48 + 8, 48)
        photo, truth, prediction = panels(shown[best - 1])
        assert np.array_equal(photo, read_image(workplace / f"data/val/image/{name}.png"))
        assert np.array_equal(truth, np.repeat(read_labels(workplace / f"data/val/label/{name}.png")[..., None], 3, 2))
        written = read_labels(workplace / f"outputs/tests/tiny_val/predictions/{name}.png")
        assert np.array_equal(prediction, np.repeat(written[..., None], 3, 2))
        assert (picture(shown[0])[:, 48:52] == 128).all()


def test_pictures_come_at_their_frequency_and_at_a_new_best(run_cli, tiny, folder):
    logging = {**EVERYTHING, "image_log_frequency": 4}
    assert run_cli("train", tiny(logging=logging, training__epochs=6, training__optimizer="sgd")).code == 0
    best, expected = -1.0, []
    for entry in history(folder):
        value = entry["val"]["val_dice"]
        if value > best or entry["epoch"] % 4 == 0:
            expected.append(entry["epoch"])
        best = max(best, value)
    found = events(folder / "tensorboard")
    assert [event.step for event in found.Images("images/00")] == expected
    assert expected != [4]


def test_a_picture_that_is_due_between_two_validations_comes_with_the_next(run_cli, tiny, folder):
    frozen = {"type": "sgd", "learning_rate": 1e-30}  # the first validation stays the best
    config = tiny(
        logging={**EVERYTHING, "image_log_frequency": 4},
        training__epochs=9,
        training__val_interval=3,
        training__optimizer=frozen,
        training__early_stopping={"min_delta": 0.9, "monitor": "val_loss"},
    )
    assert run_cli("train", config).code == 0
    assert [event.step for event in events(folder / "tensorboard").Images("images/00")] == [3, 6, 9]


def test_grey_images_are_shown_grey_and_four_are_enough(run_cli, tiny, folder, workplace):
    write_folders(workplace / "data", {"train": 4, "val": 7, "test": 1}, channels=1)
    config = tiny(dataset__num_channels=1, dataset__mean=[0.4], dataset__std=[0.2], logging=EVERYTHING)
    assert run_cli("train", config).code == 0
    found = events(folder / "tensorboard")
    assert found.Tags()["images"] == ["images/00", "images/02", "images/04", "images/06"]
    photo = panels(found.Images("images/02")[0])[0]
    assert np.array_equal(photo, np.repeat(read_image(workplace / "data/val/image/02.png"), 3, 2))


def test_each_class_has_a_chart_of_its_own_and_its_colour_in_the_pictures(run_cli, folder, workplace):
    dataset = write_sequences(workplace / "frames", {"Video_000": 4, "Video_001": 1, "Video_002": 1})
    values = scenes_experiment(dataset, logging=EVERYTHING, training__epochs=2)
    assert run_cli("train", write_experiment(workplace / "scenes.yaml", values)).code == 0
    shown = scalars(folder / "tensorboard")
    for name in ("sky", "road", "car", "tram"):
        told = [entry["val_per_class"]["mean_iou"][name] for entry in history(folder)]
        found = shown[f"val_per_class/mean_iou/{name}"]
        assert [step for step, _ in found] == [1, 2]
        np.testing.assert_allclose([value for _, value in found], told, rtol=1e-6)
    (tag,) = events(folder / "tensorboard").Tags()["images"]
    truth = picture(events(folder / "tensorboard").Images(tag)[-1])[:, 32 + 4 : 32 + 4 + 32]
    colours = {tuple(colour) for colour in truth.reshape(-1, 3).tolist()}
    assert colours == {STREET["sky"], STREET["road"], STREET["car"], (64, 64, 64)}  # void does not count


def test_what_lies_outside_the_field_of_view_is_dark_in_every_panel(run_cli, tiny, folder, workplace):
    config = tiny(dataset__fov_folder="fov", logging=EVERYTHING)
    for split in ("train", "val", "test"):
        for path in (workplace / "data" / split / "image").iterdir():
            field = np.zeros((48, 48), np.uint8)
            field[:, :24] = 255
            (workplace / "data" / split / "fov").mkdir(exist_ok=True)
            Image.fromarray(field).save(workplace / "data" / split / "fov" / path.name)
    assert run_cli("train", config).code == 0
    photo, truth, prediction = panels(events(folder / "tensorboard").Images("images/00")[0])
    stored = read_image(workplace / "data/val/image/00.png")
    assert np.array_equal(photo[:, :24], stored[:, :24])
    assert np.array_equal(photo[:, 24:], stored[:, 24:] // 3)
    assert (truth[:, 24:] == 64).all()
    assert (prediction[:, 24:] == 64).all()
    assert set(np.unique(truth[:, :24])) <= {0, 255}


# ---- layers


def test_figures_of_a_layer_are_those_of_its_output_for_the_validation_images(run_cli, tiny, folder, workplace):
    assert run_cli("train", tiny(logging=EVERYTHING)).code == 0
    checkpoint = read_checkpoint(folder / "checkpoints/last.safetensors")
    parts = assemble(run_from_values(checkpoint.header["config"], source="test"))
    load_weights(parts.network, checkpoint, folder)
    images = np.stack([read_image(workplace / f"data/val/image/{name}.png") for name in ("00", "01")])
    batch = torch.from_numpy(((images / 255 - 0.4) / 0.2).astype(np.float32)).permute(0, 3, 1, 2)
    with torch.no_grad():
        first = parts.network.eval().down[0](batch)
        head = parts.network(batch)["mask"]
    found, figures = events(folder / "tensorboard"), scalars(folder / "tensorboard")
    assert found.Tags()["histograms"] == [f"activations/{name}" for name in ("down.0", "down.1", "up.0", "head")]
    for name, values in (("down.0", first), ("head", head)):
        expected = {"mean": values.mean(), "std": values.std(correction=0), "min": values.min(), "max": values.max()}
        for figure, value in expected.items():
            assert figures[f"activations/{name}/{figure}"] == [(2, pytest.approx(float(value), rel=1e-4, abs=1e-5))]
        histogram = found.Histograms(f"activations/{name}")[0].histogram_value
        assert histogram.num == values.numel()
        assert histogram.sum == pytest.approx(float(values.double().sum()), rel=1e-4)


def test_layers_can_be_chosen_by_name(run_cli, tiny, folder):
    logging = {**EVERYTHING, "activation_layers": ["down.1.2", "head"]}
    assert run_cli("train", tiny(logging=logging)).code == 0
    found = events(folder / "tensorboard")
    assert found.Tags()["histograms"] == ["activations/down.1.2", "activations/head"]
    assert scalars(folder / "tensorboard")["activations/down.1.2/min"][0][1] >= 0  # a ReLU
    result = run_cli("train", tiny(logging={**EVERYTHING, "activation_layers": None}), "--overwrite")
    assert result.code == 0
    assert "`logging.activation_layers` names no layer; `all` takes every layer" in " ".join(result.err.split())
    assert events(folder / "tensorboard").Tags()["histograms"] == []
    assert run_cli("train", tiny(logging={**EVERYTHING, "activation_layers": "all"}), "--overwrite").code == 0
    tags = events(folder / "tensorboard").Tags()["histograms"]
    assert {"activations/down.1.0", "activations/down.1.2", "activations/head"} < set(tags)
    assert "activations/down.1" not in tags  # a block, whose layers are there


@pytest.mark.parametrize(("name", "near"), [("down.l", "down.1"), ("haed", "head"), ("down", "down.1")])
@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_an_unknown_layer_is_told_before_training(run_cli, tiny, folder, name, near, options):
    result = run_cli("train", tiny(logging={**EVERYTHING, "activation_layers": [name]}), *options)
    assert result.code == 2
    assert f"model `unet` has no layer `{name}` (`logging.activation_layers`)" in result.err
    assert f"did you mean `{near}`?" in result.err
    assert not folder.exists()


# ---- a watched run is the same run


WILD = {
    "training__epochs": 3,
    "training__ema": {"decay": 0.9},
    "model__dropout": 0.3,
    "data__augmentation": "heavy",
    "data__patch_size": [32, 32],
    "checkpoint": {"save_every": 1},
}


def test_looking_changes_no_bit_of_a_training(run_cli, tiny, workplace):
    every_epoch = {**EVERYTHING, "image_log_frequency": 1, "activation_log_frequency": 1}
    assert run_cli("train", tiny(**WILD), "name=unseen").code == 0
    config = tiny(**WILD, logging=every_epoch)
    assert run_cli("train", config, "name=seen").code == 0
    assert run_cli("train", config, "name=resumed").code == 0
    runs = workplace / "outputs/experiments"
    assert run_cli("resume", runs / "resumed/checkpoints/epoch_0002.safetensors").code == 0
    unseen, *others = (
        read_checkpoint(runs / name / "checkpoints/last.safetensors") for name in ("unseen", "seen", "resumed")
    )
    for other in others:
        assert other.tensors.keys() == unseen.tensors.keys()
        assert [name for name in unseen.tensors if not torch.equal(unseen.tensors[name], other.tensors[name])] == []
        assert other.header["history"] == unseen.header["history"]


# ---- what fails, and what has nothing to show


@pytest.mark.parametrize("method", ["scalars", "comparisons", "images", "histograms", "hyperparameters", "close"])
def test_a_tracker_that_fails_is_off_after_one_warning(run_cli, tiny, folder, monkeypatch, method):
    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(TensorBoard, method, fail)
    result = run_cli("train", tiny(logging=EVERYTHING, training__epochs=4))
    assert result.code == 0
    assert result.err.count("tracker `tensorboard` failed and is switched off: the disk is full") == 1
    assert len(history(folder)) == 4


def test_a_network_that_cannot_be_drawn_costs_nothing_but_the_drawing(run_cli, tiny, folder, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("not traceable")

    monkeypatch.setattr("torch.jit.trace", fail)
    result = run_cli("train", tiny(logging__tensorboard=True), "--json")
    assert json.loads(result.out)["epochs"] == 2
    result = run_cli("train", tiny(logging__tensorboard=True), "--overwrite")
    assert result.err.count("tracker `tensorboard` cannot record the network graph: not traceable") == 1
    assert [step for step, _ in scalars(folder / "tensorboard")["val/dice"]] == [1, 2]


@pytest.mark.parametrize(
    ("key", "where"),
    [
        ("logging.log_images", "segcli.engine.training.panels.Panels.drawn"),
        ("logging.log_images", "segcli.engine.training.panels.Panels.hear"),
        ("logging.log_activations", "segcli.engine.training.watching.observed"),
    ],
)
def test_a_look_that_fails_stops_neither_training_nor_tracker(run_cli, tiny, folder, monkeypatch, key, where):
    def fail(*_):
        raise ValueError("too odd to be looked at")

    monkeypatch.setattr(where, fail)
    result = run_cli("train", tiny(logging=EVERYTHING, training__epochs=4))
    assert result.code == 0
    assert result.err.count(f"`{key}` failed and is switched off: too odd to be looked at") == 1
    assert [step for step, _ in scalars(folder / "tensorboard")["val/dice"]] == [1, 2, 3, 4]


def test_keys_without_effect_are_told(run_cli, tiny, workplace):
    without = run_cli("train", tiny(logging={**EVERYTHING, "tensorboard": False}))
    assert without.code == 0
    assert "`logging.log_images` has no effect: no tracker is on" in without.err
    shutil.rmtree(workplace / "data")
    write_folders(workplace / "data", {"train": 3})
    blind = run_cli("train", tiny(logging=EVERYTHING), "--overwrite")
    assert blind.code == 0
    assert "`logging.log_activations` has no effect: there are no validation images" in blind.err
