"""Example commands of the five earlier pipelines, translated and trained; and what `segcli config translate` tells."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from conftest import made_once

from segcli.commands.data import make_sample
from segcli.config.load import load_run
from segcli.core.types import IOSpec
from segcli.engine.events import Silent
from segcli.models.vgg3d import VGG3D
from segcli.samples.scenes import CLIPS


def vessels(folder: Path) -> list[str]:
    """Two levels of YAML: `python train.py --config configs/experiments/exp001.yaml`."""
    (folder / "configs/datasets").mkdir(parents=True)
    (folder / "configs/experiments").mkdir()
    (folder / "configs/datasets/fundus.yaml").write_text(
        "name: fundus\npaths: {root: data, train: data/train, val: data/val}\nimage_size: [64, 64]\n"
        "num_channels: 3\nnum_classes: 1\nmean: [0.581, 0.285, 0.134]\nstd: [0.111, 0.069, 0.045]\n"
    )
    (folder / "configs/experiments/exp001.yaml").write_text(
        """\
experiment_name: exp001
dataset: configs/datasets/fundus.yaml
data: {batch_size: 4, num_workers: 0, preprocessing: {normalize: true, pad_to_multiple: 16}}
model: {name: UNet, in_channels: 3, out_channels: 1, depths: [4, 8], final_activation: sigmoid}
training:
  num_epochs: 1
  image_size: 48
  loss_weights: {bce: 0.5, dice: 1.0, focal: 0}
  metrics: [dice_score, jaccard]
  early_stopping_patience: 5
optimizer: {type: Adam, lr: 1e-4, weight_decay: 1e-4, lr_scheduler: CosineAnnealingLR}
scheduler: {T_max: 1, eta_min: 1e-6}
checkpoint: {save_dir: runs/exp001/checkpoints, save_frequency: 5}
"""
    )
    return ["configs/experiments/exp001.yaml"]


def scenes(folder: Path) -> list[str]:
    """Paths of Windows, colours, class weights: `python train.py --config configs\\street.yaml`."""
    (folder / "configs").mkdir()
    rows = [line.split(",") for line in (folder / "data/classes.csv").read_text().splitlines()[1:]]
    classes = {name: [int(part) for part in colour] for _, name, *colour in rows}
    values = {
        "data": {
            "images_dir": r"data\Images",
            "labels_dir": r"data\Labels",
            "train_videos": list(CLIPS["train"]),
            "val_videos": list(CLIPS["val"]),
            "color_map": classes,
            "num_classes": len(classes),
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "img_height": 32,
            "img_width": 40,
            "num_workers": 0,
            "shuffle": True,
        },
        "model": {"name": "DeepLabV3Plus", "backbone": "resnet18", "output_stride": 16, "pretrained": False},
        "loss": {
            "type": "CrossEntropyLoss",
            "class_weights": [1.0] * (len(classes) - 1),
            "ignore_index": len(classes) - 1,
        },
        "train": {"epochs": 50, "batch_size": 4, "lr": 0.01, "momentum": 0.9, "optimizer": "SGD", "scheduler": "poly"},
        "device": "cuda:0",
    }
    (folder / "configs/street.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    (folder / "train.bat").write_text(
        "@echo off\r\npython train.py --config configs\\street.yaml ^\r\n  --epochs 1\r\n"
    )
    return ["train.bat"]


def organs(folder: Path) -> list[str]:
    """Sacred: `python train.py with model.features=8 training.lr=1e-4`."""
    values = {
        "seed": 7,
        "data": {"hdf5_path": "data", "batch_size": 2, "num_workers": 0},
        "model": {"name": "SADAAN", "features": 256, "in_channels": 1, "num_structures": 5, "presence_threshold": 0.5},
        "loss_weights": {"segmentation": 1.0, "dice": 2.0, "focal": 1.0, "presence": 1.0, "attention": 0.5},
        "training": {
            "epochs": 1,
            "lr": 1e-3,
            "optimizer": "AdamW",
            "betas": {"py/tuple": [0.9, 0.99]},
            "gradient_clip_norm": 1.0,
            "accumulation_steps": 1,
        },
        "augmentation": {"noise_std": 0.02, "intensity_scale_range": [0.9, 1.1]},
    }
    (folder / "config.json").write_text(json.dumps(values))
    return ["config.json", "with", "model.features=8", "training.lr=1e-4", "model.depths=[4, 8]"]


def nuclei(folder: Path) -> list[str]:
    """Fine-tuning: `python finetune.py --config nuclei.yaml --pretrained_path weights/vgg3d.pth --freeze_features`."""
    network = VGG3D(
        VGG3D.Config(depths=[4, 8], convolutions=1, classifier_size=8),
        io=IOSpec(3, 1, {"class": 2}, "mask", (16, 32, 32)),
    )
    (folder / "weights").mkdir()
    state = {f"module.{key}": value for key, value in network.state_dict().items() if key.startswith("features")}
    torch.save({"model_state_dict": state}, folder / "weights/vgg3d.pth")
    (folder / "nuclei.yaml").write_text(
        """\
data_dir: data
csv_path: data/classes.csv
crop_size: [16, 32, 32]
val_ratio: 0.2
apply_mask: true
model: VGG3D
model_params: {depths: [4, 8], convs_per_block: 1, classifier_size: 8, dropout: 0.5}
batch_size: 4
num_workers: 0
epochs: 1
lr: 0.001
optimizer: adam
scheduler: ReduceLROnPlateau
lr_patience: 3
loss: cross_entropy
label_smoothing: 0.1
unfreeze_epoch: 5
metrics: [accuracy, f1_score]
"""
    )
    return ["nuclei.yaml", "--", "python", "finetune.py", "--pretrained_path", "weights/vgg3d.pth", "--freeze_features"]


def cells(folder: Path) -> list[str]:
    """Options of a program, with albumentations: `python train.py --model sa_unet --loss bce_dice ...`."""
    (folder / "train.sh").write_text(
        """\
#!/bin/sh
export CUDA_VISIBLE_DEVICES=0
python train.py --model SA-UNet --train_images data/train/image --train_masks data/train/label \\
    --val_images data/val/image --val_masks data/val/label --img_size 64 64 --batch_size 4 --workers 0 \\
    --loss bce_dice --bce_weight 0.5 --dice_weight 0.5 --lr 1e-3 --epochs 1 --factor 0.5 --patience 4 \\
    --scheduler ReduceLROnPlateau --hflip_p 0.5 --vflip_p 0.25 --keep_prob 0.9 --mean 0.485 0.456 0.406 \\
    --std 0.229 0.224 0.225 --base_channels 4 --depth 2 --amp
"""
    )
    return ["train.sh"]


KINDS: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "vessels": (vessels, "vessels"),
    "scenes": (scenes, "scenes"),
    "organs": (organs, "organs"),
    "nuclei": (nuclei, "nuclei"),
    "cells": (cells, "vessels"),
}
EXPECTED = {
    "vessels": {
        "data.image_size": [48, 48],
        "training.loss": {"bce": 0.5, "dice": 1.0},
        "training.scheduler.min_lr": 1e-6,
        "training.early_stopping.patience": 5,
        "checkpoint.save_every": 5,
        "model.depths": [4, 8],
    },
    "scenes": {
        "data.image_size": [32, 40],
        "dataset.ignore": ["void"],
        "dataset.split.val": ["Video_003"],
        "model.backbone": "resnet18",
        "training.optimizer.momentum": 0.9,
        "training.scheduler.type": "poly",
        "training.epochs": 1,
    },
    "organs": {
        "seed": 7,
        "model.features": 8,
        "training.optimizer.learning_rate": 1e-4,
        "training.optimizer.betas": [0.9, 0.99],
        "training.loss.sadaan.focal_seg": 1.0,
        "training.loss.sadaan.attention_supervision": 0.5,
        "data.augmentation.noise_std": 0.02,
    },
    "nuclei": {
        "model.freeze_features": True,
        "model.unfreeze_every": 5,
        "dataset.split.val": 0.2,
        "dataset.apply_mask": True,
        "training.scheduler.patience": 3,
        "training.loss.cross_entropy.label_smoothing": 0.1,
    },
    "cells": {
        "model.keep_prob": 0.9,
        "model.depths": [4, 8],
        "training.scheduler.factor": 0.5,
        "training.scheduler.patience": 4,
        "training.amp": "auto",
        "data.augmentation.transforms": [{"type": "HorizontalFlip", "p": 0.5}, {"type": "VerticalFlip", "p": 0.25}],
    },
}
ASKED = {
    "vessels": [],
    "scenes": ["name"],
    "organs": ["name"],
    "nuclei": ["name"],
    "cells": ["name", "training.optimizer.type", "patience"],
}
"""Keys that each example leaves to the user."""


def at(values: object, key: str) -> object:
    """Value of a dotted key of a run."""
    for name in key.split("."):
        values = values[name]
    return values


@pytest.fixture
def sample(tmp_path_factory: pytest.TempPathFactory, workplace: Path) -> Callable[[str], None]:
    """Copies a generated data set into the folder `data`."""

    def copy(kind: str) -> None:
        def make(folder: Path) -> None:
            make_sample(kind, folder, seed=42, size=64 if kind == "vessels" else 32, overwrite=False, listener=Silent())

        shutil.copytree(
            made_once(tmp_path_factory, "vessels" if kind == "vessels" else f"old_{kind}", make), workplace / "data"
        )

    return copy


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_command_of_each_pipeline_is_translated_and_trains(kind, sample, workplace, run_cli):
    write, data = KINDS[kind]
    sample(data)
    words = write(workplace)
    cut = words.index("--") if "--" in words else len(words)
    options = ["--out", "new.yaml", "--json"]
    answer = run_cli("config", "translate", *words[:cut], *options, *words[cut:])
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert told["pipeline"] == kind
    assert [entry["key"] for entry in told["to_decide"]] == ASKED[kind]
    assert told["files"] == ["new.yaml", "new_dataset.yaml"]
    resolved = load_run(workplace / "new.yaml").resolved()
    assert {key: at(told["config"], key) for key in EXPECTED[kind]} == EXPECTED[kind]
    folder = resolved["output"]["dir"] or workplace / "outputs/experiments" / resolved["name"]
    trained = run_cli("train", "new.yaml", "data.limit_batches=1", "device=cpu", "logging.tensorboard=false", "--quiet")
    assert trained.code == 0, trained.err
    (epoch,) = yaml.safe_load((workplace / folder / "metrics_history.yaml").read_text())
    assert 0.0 < epoch["train"]["loss"] < 100.0


def translated(run_cli, workplace, old, *options, name="old.yaml"):
    """Answer of `config translate --json` on an old config."""
    (workplace / name).write_text(old)
    answer = run_cli("config", "translate", name, "--json", *options)
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def questions(told, key):
    """What is asked about a key."""
    return [entry["question"] for entry in told["to_decide"] if entry["key"] == key]


def test_the_printed_file_is_an_experiment_and_no_value_leaves_its_comment(run_cli, workplace):
    (workplace / "old.yaml").write_text('model: roinet\nlr: 0.1\nshuffle: "yes\\nevil: true"\ndata_dir: "da\\nta: 1"\n')
    answer = run_cli("config", "translate", "old.yaml")
    assert answer.code == 0, answer.err
    values = yaml.safe_load(answer.out)
    assert values["model"] == {"type": "roinet"}
    assert values["training"]["optimizer"] == {"type": "adam", "learning_rate": 0.1}
    assert "evil" not in values
    assert "# - shuffle = yes\\nevil: true: training images are always shuffled" in answer.out
    assert "holds a control character" in answer.out
    assert "read as vessels" in answer.err
    assert sorted(path.name for path in workplace.iterdir()) == ["old.yaml"]


def test_nothing_is_overwritten_unasked(run_cli, workplace):
    (workplace / "old.yaml").write_text("model: roinet\nlr: 0.1\n")
    (workplace / "new_dataset.yaml").write_text("mine")
    refused = run_cli("config", "translate", "old.yaml", "--out", "new.yaml")
    assert refused.code == 2
    assert "`new_dataset.yaml` exists" in refused.err
    assert "--overwrite" in refused.err
    assert not (workplace / "new.yaml").exists()
    assert (workplace / "new_dataset.yaml").read_text() == "mine"
    assert run_cli("config", "translate", "old.yaml", "--out", "new.yaml", "--overwrite").code == 0
    assert (workplace / "new_dataset.yaml").read_text().startswith("# segcli data check new_dataset.yaml")


@pytest.mark.parametrize(
    ("old", "options", "message"),
    [
        (None, [], "no config file `old.yaml`"),
        ("lr: 0.1\nepochs: 3\n", [], "none of its keys tells which pipeline it belongs to"),
        (
            "model: vgg3d\npresence_threshold: 0.5\n",
            [],
            "fit `organs` (`presence_threshold`) as well as `nuclei` (`vgg3d`)",
        ),
        ("lr: 0.1\n", ["--from", "hearts"], "there is no pipeline `hearts`"),
        ('model: deeplab\ndata_dir: "D:\\data"\n', [], "write a path of Windows in single quotes"),
        ("model: roinet\nlr: 0.1\nlr: 0.2\n", [], "duplicated key"),
        ("model: roinet\n", ["--out", "new.txt"], "`new.txt` does not end in `.yaml`"),
        ("model: roinet\ndataset: gone.yaml\n", [], "`dataset` names the file `gone.yaml`, which is not there"),
    ],
)
def test_what_cannot_be_translated_is_refused_in_words(old, options, message, run_cli, workplace):
    if old is not None:
        (workplace / "old.yaml").write_text(old)
    refused = run_cli("config", "translate", "old.yaml", *options)
    assert refused.code == 2
    assert message in refused.err
    assert "Traceback" not in refused.err


def test_the_words_of_sacred_replace_values_of_its_config(run_cli, workplace):
    old = '{"model": {"name": "SADAAN", "prior_size": 16}, "training": {"lr": 0.1, "T": null}}'
    words = ["--with", "training.lr=1e-4 model.prior_size=(4,4,2)", "--with", "seed=7"]
    told = translated(
        run_cli, workplace, old, *words, "with", "small_model", "training.optimizer='AdamW'", name="config.json"
    )
    assert told["config"]["training"]["optimizer"] == {"type": "adamw", "learning_rate": 1e-4}
    assert told["config"]["model"]["prior_size"] == [4, 4, 2]
    assert told["config"]["seed"] == 7
    assert questions(told, "small_model") == ["not understood: neither a key nor a file"]
    assert questions(told, "training.lr") == []


def test_paths_of_windows_keep_their_drive_and_are_asked_for_where_they_do_not_exist(run_cli, workplace):
    old = "model: deeplabv3plus\nimages_dir: 'D:\\data\\CamVid\\Images'\nlabels_dir: D:\\data\\CamVid\\Masks\\png\n"
    told = translated(run_cli, workplace, old + "class_dict: tables\\class_dict.csv\n")
    dataset = told["config"]["dataset"]
    assert dataset["paths"] == {"root": "D:/data/CamVid"}
    assert (dataset["images"], dataset["labels"]) == ("Images", "Masks/png")
    assert dataset["classes_file"] == "tables/class_dict.csv"
    assert questions(told, "dataset.paths.root")[0].startswith("`D:/data/CamVid` is not there")


def test_what_a_value_leaves_open_is_asked_and_not_guessed(run_cli, workplace):
    old = (
        "model: sa_unet\nloss: bce_dice\nnum_classes: 2\nlr: 0.1\nmomentum: 0.9\noptimizer: adam\nscheduler: CyclicLR\n"
        "step_size: 3\naugmentation: true\nmonitor: val_dice\nT_max: 20\nepochs: 10\nbrightness: 0.2\nsome_key: 3\n"
    )
    told = translated(run_cli, workplace, old)
    asked = {entry["key"]: entry["question"] for entry in told["to_decide"]}
    assert asked["training.loss"] == "the weights of `bce` and `dice` are not stated; each is 1"
    assert "`dataset.num_classes: 1`" in asked["num_classes"]
    assert "restarts, which is not here" in asked["scheduler"]
    assert asked["data.augmentation.preset"].startswith("the old file does not say which")
    assert asked["T_max"].startswith("`cosine` ends with the last step, after 10 epochs, not after 20")
    assert asked["training.metrics"].startswith("`dice` was added")
    left = {entry["key"]: entry["reason"] for entry in told["left_out"]}
    assert left["momentum"] == "optimizer `adam` has no key `momentum`"
    assert left["step_size"] == "no schedule is named"
    assert left["some_key"] == "unknown key"
    assert "num_classes" not in told["config"]["dataset"]
    assert "scheduler" not in told["config"]["training"]


def test_a_value_in_the_place_of_a_section_is_asked(run_cli, workplace):
    old = (
        "model: sa_unet\ntraining.loss.dice: [1]\ntraining.loss.bce: 2.0\ntraining: 5\n"
        "dataset.paths.train: [a]\ndataset.paths.val: {b: c}\n"
    )
    told = translated(run_cli, workplace, old)
    asked = {entry["key"]: entry["question"] for entry in told["to_decide"]}
    assert asked["training.loss.dice"] == "it must be a weight, or a section with keys"
    assert asked["training"] == "it is a section with keys here"
    assert told["config"]["training"]["loss"] == {"bce": 2.0}


def test_two_old_keys_that_are_one_here_are_told_when_they_differ(run_cli, workplace):
    told = translated(run_cli, workplace, "model: roinet\nlr: 0.1\noptimizer: {type: sgd, lr: 0.2}\nin_channels: 3\n")
    (question,) = questions(told, "optimizer.lr")
    assert question == "`lr` and `optimizer.lr` are one key here, with different values; `optimizer.lr` was taken"
    assert told["config"]["training"]["optimizer"]["learning_rate"] == 0.2


def test_weights_in_a_list_belong_to_the_losses_in_their_order(run_cli, workplace):
    old = "model: roinet\ntraining: {loss: [focal, dice], loss_weights: [0.25, 0.75], focal_gamma: 3, smooth: 1e-6}\n"
    loss = translated(run_cli, workplace, old)["config"]["training"]["loss"]
    assert loss == {"focal": {"weight": 0.25, "gamma": 3.0}, "dice": {"weight": 0.75, "smooth": 1e-6}}
