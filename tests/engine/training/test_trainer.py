import json
import math

import cv2
import numpy as np
import pytest
import torch
import yaml
from factories import scenes_experiment, write_experiment, write_folders, write_sequences

from segcli.config.load import load_run
from segcli.core.registry import LOSSES
from segcli.engine.checkpoint import read_checkpoint
from segcli.engine.events import Silent
from segcli.engine.runfolder import RunFolder
from segcli.engine.stopping import StopSignal
from segcli.engine.training.session import open_session


def history(workplace, name="tiny"):
    return yaml.safe_load((workplace / f"outputs/experiments/{name}/metrics_history.yaml").read_text())


def checkpoints(workplace, name="tiny"):
    return sorted(path.name for path in (workplace / f"outputs/experiments/{name}/checkpoints").iterdir())


def test_a_small_network_learns_what_is_easy(run_cli, tiny, workplace):
    config = tiny(training__epochs=25, model__depths=[8, 16], training__scheduler="one_cycle")
    write_folders(workplace / "data", {"train": 12})
    assert run_cli("train", config).code == 0
    assert history(workplace)[-1]["val"]["val_dice"] > 0.8


def test_a_run_folder_holds_what_the_contract_says(run_cli, tiny, workplace):
    assert run_cli("train", tiny()).code == 0
    folder = workplace / "outputs/experiments/tiny"
    environment = yaml.safe_load((folder / "environment.yaml").read_text())
    assert {"segcli", "python", "packages", "device", "command_line", "git", "seed", "data", "threads"} <= set(
        environment
    )
    assert environment["data"]["train"]["num_images"] == 6
    header = read_checkpoint(folder / "checkpoints/best.safetensors").header
    assert {
        "format",
        "config",
        "classes",
        "preprocessing",
        "progress",
        "scheduler",
        "history",
        "early_stopping",
    } <= set(header)
    entry = history(workplace)[0]
    assert entry["epoch"] == 1
    assert set(entry["train"]) == {"loss", "loss_bce", "loss_dice", "dice", "iou"}
    assert list(folder.rglob("*.part")) == []


def test_the_resolved_config_alone_repeats_the_run(run_cli, tiny, workplace):
    assert run_cli("train", tiny()).code == 0
    config = workplace / "outputs/experiments/tiny/config.yaml"
    assert run_cli("train", config, "name=again", "output.dir=null").code == 0
    assert history(workplace, "again") == history(workplace)


def test_early_stopping_counts_down_and_stops(run_cli, tiny, workplace):
    result = run_cli(
        "train",
        tiny(
            training__epochs=30,
            training__optimizer={"type": "sgd", "learning_rate": 1e-12},
            training__early_stopping={"enabled": True, "patience": 2, "min_delta": 0.5, "monitor": "val_loss"},
        ),
    )
    assert result.code == 0
    assert len(history(workplace)) == 3
    assert "stops after 1 more validation without improvement" in result.err
    assert "stops now: too many validations without improvement" in result.err
    assert "trained tiny for 3 epochs (early stopping)" in result.out


def test_periodic_checkpoints_rotate_and_best_and_last_stay(run_cli, tiny, workplace):
    assert run_cli("train", tiny(training__epochs=6, checkpoint={"save_every": 1, "max_checkpoints": 2})).code == 0
    kept = ["epoch_0005.safetensors", "epoch_0006.safetensors"]
    assert checkpoints(workplace) == ["best.safetensors", *kept, "last.safetensors"]
    assert run_cli("train", tiny(name="lean", checkpoint={"save_every": 1, "keep_best_only": True})).code == 0
    assert checkpoints(workplace, "lean") == ["best.safetensors", "last.safetensors"]


def test_the_best_checkpoint_is_that_of_the_best_epoch(run_cli, tiny, workplace):
    assert run_cli("train", tiny(training__epochs=5)).code == 0
    values = [entry["val"]["val_dice"] for entry in history(workplace)]
    best = read_checkpoint(workplace / "outputs/experiments/tiny/checkpoints/best.safetensors")
    assert best.header["progress"]["epoch"] == int(np.argmax(values)) + 1
    assert best.header["early_stopping"]["best"] == max(values)


def test_validation_runs_at_its_interval_and_at_the_end(run_cli, tiny, workplace):
    assert run_cli("train", tiny(training__epochs=5, training__val_interval=3)).code == 0
    assert [bool(entry["val"]) for entry in history(workplace)] == [False, False, True, False, True]


def test_a_data_set_without_validation_trains_with_one_notice(run_cli, tiny, workplace):
    write_folders(workplace / "data", {"train": 3})
    result = run_cli("train", tiny())
    assert result.code == 0
    assert result.err.count("no validation images") == 1
    assert checkpoints(workplace) == ["last.safetensors"]
    assert run_cli("eval", "--split", "train").code == 0


EXPLODING = {"type": "sgd", "learning_rate": 1e38}


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch(run_cli, tiny, workplace):
    result = run_cli("train", tiny(training__optimizer=EXPLODING, training__epochs=3, training__scheduler="constant"))
    assert result.code == 3
    assert "the loss is not finite in epoch 1, batch" in result.err
    assert "data/train/image/0" in result.err
    assert "`debug.on_nan=skip`" in result.err
    last = read_checkpoint(workplace / "outputs/experiments/tiny/checkpoints/last.safetensors")
    assert all(value.isfinite().all() for value in last.below("model").values())


def test_batches_whose_loss_is_not_finite_can_be_skipped_and_are_counted(run_cli, tiny):
    config = tiny(
        training__optimizer=EXPLODING, training__epochs=1, training__scheduler="constant", debug={"on_nan": "skip"}
    )
    result = run_cli("train", config)
    assert result.code == 0, result.err
    assert "2 batches skipped: loss not finite" in result.err  # the first step spoils the weights for the other two


def test_an_epoch_without_any_finite_loss_ends_the_run(run_cli, tiny):
    config = tiny(
        training__optimizer=EXPLODING, training__epochs=2, training__scheduler="constant", debug={"on_nan": "skip"}
    )
    result = run_cli("train", config)
    assert result.code == 3
    assert "no batch of epoch 2 had a finite loss" in result.err


def test_an_undefined_validation_reaches_neither_schedule_nor_monitor(run_cli, tiny, workplace, monkeypatch):
    from segcli.engine.training import trainer

    values = iter([math.nan, 0.5, 0.4, 0.3])
    averages = trainer.Evaluation.averages
    monkeypatch.setattr(trainer.Evaluation, "averages", lambda self: {**averages(self), "val_dice": next(values)})
    scheduler = {"type": "plateau", "patience": 1, "factor": 0.5}
    result = run_cli("train", tiny(training__epochs=4, training__scheduler=scheduler, training__metrics=["dice"]))
    assert result.code == 0, result.err
    assert result.err.count("`val_dice` is not defined on this validation split") == 1
    header = read_checkpoint(workplace / "outputs/experiments/tiny/checkpoints/last.safetensors").header
    assert header["scheduler"] == {"scale": 0.5, "best": -0.5, "waited": 0}  # after the drop to 0.4 and 0.3
    assert (header["early_stopping"]["best"], header["early_stopping"]["waited"]) == (0.5, 2)


@pytest.mark.parametrize(
    "keys", [{"training__compile": False, "training__channels_last": False}, {"training__amp": "bf16"}]
)
def test_other_ways_to_compute_train_too(run_cli, tiny, workplace, keys):
    assert run_cli("train", tiny(training__epochs=1, **keys)).code == 0
    assert math.isfinite(history(workplace)[0]["train"]["loss"])


@pytest.mark.parametrize("target", ["masks", "classes"])
def test_every_loss_may_be_part_of_a_sum_and_each_part_is_recorded(target, run_cli, tiny, workplace):
    kinds = {name: LOSSES.load(name) for name in LOSSES.names()}
    names = [name for name, kind in kinds.items() if target in kind.can_target and kind.needs == ("mask",)]
    weights = {name: 0.1 * (index + 1) for index, name in enumerate(names)}
    weights["boundary"] = 0.01
    if target == "masks":
        config = tiny(training__loss=weights)
    else:
        dataset = write_sequences(workplace / "frames", {"Video_000": 4, "Video_001": 2, "Video_002": 1})
        config = write_experiment(workplace / "scenes.yaml", scenes_experiment(dataset, training__loss=weights))
    assert run_cli("train", config).code == 0
    for entry in history(workplace):
        for split, prefix in (("train", ""), ("val", "val_")):
            values = entry[split]
            parts = {name: values[f"{prefix}loss_{name}"] for name in weights}
            assert all(math.isfinite(value) for value in parts.values())
            total = sum(weights[name] * value for name, value in parts.items())
            assert values[f"{prefix}loss"] == pytest.approx(total, rel=1e-5)


def test_a_dry_run_writes_nothing_and_tells_what_it_saw(run_cli, tiny, workplace):
    config = tiny(logging={"tensorboard": True})
    before = set(workplace.rglob("*"))
    result = run_cli("train", config, "--dry-run", "--json")
    assert result.code == 0, result.err
    told = json.loads(result.out)
    assert told["batches_per_epoch"] == 3
    assert math.isfinite(told["train"]["loss"])
    assert set(workplace.rglob("*")) == before


def test_quiet_is_quiet_and_json_is_one_document(run_cli, tiny):
    result = run_cli("train", tiny(), "--json")
    assert json.loads(result.out)["epochs"] == 2
    assert result.err == ""
    result = run_cli("train", tiny(), "--overwrite", "--quiet")
    assert (result.code, result.out, result.err) == (0, "", "")


def test_progress_goes_to_stderr_with_one_line_an_epoch(run_cli, tiny):
    result = run_cli("train", tiny())
    lines = [line for line in result.err.splitlines() if line.startswith("epoch ")]
    assert [line.split()[1] for line in lines] == ["1/2", "2/2"]
    for word in ("train loss", "dice", "val loss", "lr", "left"):
        assert word in lines[0]
    assert "epoch" not in result.out.splitlines()[0].split()[0]


def test_memory_cache_and_augmentation_by_name_work_together(run_cli, tiny, workplace):
    config = tiny(data__cache="memory", data__augmentation={"transforms": [{"type": "HorizontalFlip", "p": 1.0}]})
    result = run_cli("train", config)
    assert result.code == 0, result.err
    assert "cache: decoded images take" in result.err
    disk = run_cli("train", config, "name=disk", "data.cache=disk", "data.num_workers=2")
    assert disk.code == 0, disk.err
    assert history(workplace, "disk") == history(workplace)
    assert len(list((workplace / "outputs/cache").glob("*.npz"))) == 8


def test_grey_images_train_with_one_channel(run_cli, tiny, workplace):
    write_folders(workplace / "data", channels=1)
    assert cv2.imread(str(workplace / "data/train/image/00.png"), cv2.IMREAD_UNCHANGED).ndim == 2
    config = tiny(dataset__num_channels=1, dataset__mean=[0.4], dataset__std=[0.2], data__augmentation="heavy")
    assert run_cli("train", config).code == 0


def test_the_last_batches_of_an_epoch_weigh_as_much_when_they_are_too_few_to_accumulate(run_cli, tiny, workplace):
    write_folders(workplace / "data", {"train": 2, "val": 1})
    sgd = {"type": "sgd", "learning_rate": 0.1, "momentum": 0.0}
    for steps in (1, 4):
        config = tiny(training__optimizer=sgd, training__epochs=1, training__gradient_accumulation_steps=steps)
        assert run_cli("train", config, f"name=by{steps}").code == 0
    one, four = (
        read_checkpoint(workplace / f"outputs/experiments/by{steps}/checkpoints/last.safetensors") for steps in (1, 4)
    )
    assert torch.equal(one.tensors["model/head.weight"], four.tensors["model/head.weight"])


def test_the_time_left_of_the_first_epoch_counts_the_images_of_an_epoch_with_few_batches(tiny, monkeypatch):
    run = load_run(tiny(), ["data.batch_size=2", "data.limit_batches=1", "training.epochs=5"])
    trainer = open_session(run, RunFolder(run.folder), Silent(), StopSignal())
    told = []
    monkeypatch.setattr(trainer.listener, "step", told.append)
    trainer.telling.epoch_begins()
    trainer._train_epoch()
    trainer.close()
    (event,) = told
    assert len(trainer.train.cases.cases) == 6
    assert event.remaining_s == pytest.approx(4 * 2 / event.images_per_s, rel=0.2)  # 4 epochs of 2 images
