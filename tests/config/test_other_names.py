"""Names of components and keys that are not ours: read as ours and told, or answered with advice."""

from pathlib import Path

import pytest
from factories import experiment, write_experiment

from segcli.config.load import load_run, run_from_values
from segcli.core import registry
from segcli.core.errors import ConfigError
from segcli.core.other_names import stated_names
from segcli.core.registry import LOSSES, METRICS, MODELS, OPTIMIZERS, SCHEDULERS, Registry, same_name

ROOMS = [value for value in vars(registry).values() if isinstance(value, Registry)]


def loaded(tmp_path, *overrides, **changes):
    return load_run(write_experiment(tmp_path / "run.yaml", experiment(tmp_path, **changes)), overrides)


def refused(tmp_path, **changes):
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, **changes)
    return str(error.value)


MEANT = [
    (SCHEDULERS, "cosine_annealing", "cosine"),
    (SCHEDULERS, "CosineAnnealingLR", "cosine"),
    (SCHEDULERS, "torch.optim.lr_scheduler.ReduceLROnPlateau", "plateau"),
    (SCHEDULERS, "reduce_on_plateau", "plateau"),
    (SCHEDULERS, "step_lr", "step"),
    (SCHEDULERS, "OneCycleLR", "one_cycle"),
    (OPTIMIZERS, "torch.optim.AdamW", "adamw"),
    (OPTIMIZERS, "optim.RMSprop", "rmsprop"),
    (LOSSES, "nn.BCEWithLogitsLoss", "bce"),
    (LOSSES, "CrossEntropyLoss", "cross_entropy"),
    (LOSSES, "DiceLoss", "dice"),
    (METRICS, "jaccard", "iou"),
    (METRICS, "mIoU", "mean_iou"),
    (MODELS, "UNet3D", "unet"),
]


@pytest.mark.parametrize(("room", "name", "ours"), MEANT)
def test_a_name_of_elsewhere_means_our_component(room, name, ours):
    assert room.canonical(name) == room.read_as(name) == ours
    assert room.read_as(ours) is None


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.room)
def test_no_other_name_is_stated_twice_or_is_the_name_of_a_component(room):
    folder = Path(registry.__file__).parents[1] / room.room
    stated = [
        same_name(name) for stem in room.names() for name in stated_names(folder / f"{stem}.py").get("ALIASES", ())
    ]
    assert len(stated) == len({*stated, *map(same_name, room.names())}) - len(room.names())


def test_names_are_read_as_ours_in_the_effective_config_and_told_once(tmp_path):
    run = loaded(
        tmp_path,
        training__scheduler={"type": "ReduceLROnPlateau", "factor": 0.5},
        training__optimizer={"type": "torch.optim.AdamW"},
        training__loss={"BCEWithLogitsLoss": 0.3, "dice": 0.7},
        training__metrics=["jaccard", "dice"],
        training__early_stopping__monitor="val_jaccard",
    )
    training = run.training
    assert (training.scheduler.type, training.scheduler.options["factor"]) == ("plateau", 0.5)
    assert (training.optimizer.type, list(training.loss)) == ("adamw", ["bce", "dice"])
    assert [metric.type for metric in training.metrics] == ["iou", "dice"]
    assert training.early_stopping.monitor == "val_iou"
    assert sorted(run.readings) == [
        "`BCEWithLogitsLoss` is read as `bce`",
        "`ReduceLROnPlateau` is read as `plateau`",
        "`jaccard` is read as `iou`",
        "`torch.optim.AdamW` is read as `adamw`",
        "`val_jaccard` is read as `val_iou`",
    ]
    assert run_from_values(run.resolved(), source="checkpoint").readings == ()
    assert loaded(tmp_path, model__type="U-Net").readings == ()  # a spelling of our own name


@pytest.mark.parametrize("name", ["combined", "bce_dice", "DiceBCELoss"])
def test_the_name_of_a_sum_stands_for_its_parts(tmp_path, name):
    for given in (name, {"type": name}):
        run = loaded(tmp_path, "training.loss.dice.weight=0.7", training__loss=given)
        assert {part: values.weight for part, values in run.training.loss.items()} == {"bce": 0.5, "dice": 0.7}
        assert run.readings == (f"`{name}` is read as `{{bce: 0.5, dice: 0.5}}`",)
    text = refused(tmp_path, training__loss={"type": name, "bce_weight": 0.3})
    assert "a sum is written with its parts and weights: `loss: {bce: 0.5, dice: 0.5}`" in text


def test_a_loss_under_two_names_is_refused_and_none_is_dropped(tmp_path):
    text = refused(tmp_path, training__loss={"DiceLoss": 1.0, "dice": 2.0})
    assert "training.loss.dice: is the loss `dice`, as `DiceLoss` is" in text


ADVICE = [
    ({"training__scheduler": "MultiStepLR"}, "`step` reduces the rate after every `step_size` epochs"),
    ({"training__loss": "JaccardLoss"}, "`{type: tversky, alpha: 1.0, beta: 1.0}` is the Jaccard loss"),
    ({"training__scheduler": "cosine_anneling"}, "did you mean `cosine`?"),
    ({"training__scheduler": {"type": "CosineAnnealingLR", "T_max": 20}}, "the decay ends with the training"),
    ({"training__scheduler": {"type": "cosine", "eta_min": 1e-6}}, "did you mean `min_lr`?"),
    ({"training__scheduler": {"type": "StepLR", "factor": 0.5}}, "did you mean `gamma`?"),
    ({"training__scheduler": {"type": "plateau", "gamma": 0.5}}, "did you mean `factor`?"),
    ({"training__optimizer": {"type": "sgd", "lr": 0.1}}, "did you mean `learning_rate`?"),
    ({"training__lr": 0.1}, "set `training.optimizer.learning_rate`"),
    ({"model__features": [4, 8]}, "did you mean `depths`?"),
    ({"model__n_channels": 3}, "did you mean `in_channels`?"),
]


@pytest.mark.parametrize(("changes", "advice"), ADVICE, ids=str)
def test_what_means_something_else_is_refused_with_advice(tmp_path, changes, advice):
    assert advice in refused(tmp_path, **changes)


def test_presets_match_without_regard_to_case_and_none_is_no_augmentation(tmp_path):
    assert loaded(tmp_path, data__augmentation="Heavy").data.augmentation.preset == "heavy"
    assert loaded(tmp_path, data__augmentation={"preset": "LIGHT"}).data.augmentation.preset == "light"
    assert not loaded(tmp_path, data__augmentation="none").data.augmentation.enabled


def test_the_names_are_told_by_training_and_by_the_check_of_the_data(run_cli, tiny):
    config = tiny(training__scheduler="ReduceLROnPlateau")
    told = "`ReduceLROnPlateau` is read as `plateau`"
    for words in (["train", config, "--dry-run"], ["data", "check", config, "--json"]):
        result = run_cli(*words)
        assert result.code == 0
        assert " ".join((result.out + result.err).split()).count(told) == 1
