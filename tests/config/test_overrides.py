"""An override means the same on a file in short forms and on the stored config of the same run."""

from pathlib import Path

import pytest
from factories import experiment, write_experiment

from segcli.config.load import load_dataset, load_run, run_from_values
from segcli.core.errors import ConfigError

SADAAN = {
    "dataset": {
        "format": "hdf5_volumes",
        "paths": {"root": "."},
        "num_channels": 1,
        "classes": [{"name": "a"}, {"name": "b"}],
        "num_classes": 2,
    },
    "model": {"type": "sadaan", "depths": [4, 8], "features": 8},
}
LOSSES = [
    ("sadaan", "training.loss.dice=3.0"),
    ("sadaan", "training.loss.weight=2.0"),
    ("sadaan", "training.loss.sadaan.alpha=0.5"),
    ({"type": "sadaan", "absence": 0.5}, "training.loss.dice=3.0"),
    ({"sadaan": 1.0}, "training.loss.dice=3.0"),
    ({"sadaan": 1.0, "dice": 1.0}, "training.loss.dice=3.0"),
    ("dice", "training.loss.dice=3.0"),
    ("dice", "training.loss.smooth=0.25"),
    ("dice", "training.loss.bce=3.0"),
    ({"bce": 1.0, "dice": {"weight": 2.0, "smooth": 0.5}}, "training.loss.dice=3.0"),
    ({"bce": 1.0, "dice": 2.0}, "training.loss.dice.smooth=0.25"),
    ({"bce": 1.0, "dice": 2.0}, "training.loss={type: dice, smooth: 0.25}"),
    ({"bce": 1.0, "dice": 2.0}, "training.loss.smoth=0.25"),
    ("dice", "training.loss.smoth=0.25"),
]
"""Loss as typed, and an override."""


def outcome(load, *arguments, **options):
    """Loss of the run with all its keys, or the sentence about the key."""
    try:
        loss = load(*arguments, **options).training.loss
    except ConfigError as error:
        return str(error).partition("unknown ")[2]
    return {name: part.model_dump() for name, part in loss.items()}


def short_and_stored(tmp_path, override, loss):
    """Outcomes of an override on a file as typed, and on the stored config of the same run."""
    values = experiment(tmp_path, training__loss=loss) | (SADAAN if "sadaan" in str(loss) else {})
    path = write_experiment(tmp_path / "run.yaml", values)
    stored = load_run(path).resolved()
    return outcome(load_run, path, [override]), outcome(run_from_values, stored, [override], source="checkpoint")


@pytest.mark.parametrize(("loss", "override"), LOSSES)
def test_an_override_of_the_loss_means_the_same_on_a_short_and_on_a_stored_config(tmp_path, loss, override):
    short, stored = short_and_stored(tmp_path, override, loss)
    assert short
    assert short == stored


def test_dice_below_a_loss_of_sadaan_alone_is_its_own_part_and_no_second_loss(tmp_path):
    for outcomes in short_and_stored(tmp_path, "training.loss.dice=3.0", "sadaan"):
        assert list(outcomes) == ["sadaan"]
        assert outcomes["sadaan"]["dice"] == 3.0
        assert outcomes["sadaan"]["weight"] == 1.0


def test_dice_below_a_sum_of_losses_is_the_part_of_that_name(tmp_path):
    loss = {"sadaan": 1.0, "dice": 1.0}
    for outcomes in short_and_stored(tmp_path, "training.loss.dice=3.0", loss):
        assert (outcomes["sadaan"]["dice"], outcomes["dice"]["weight"]) == (2.0, 3.0)


def test_another_loss_beside_a_single_one_is_added(tmp_path):
    for outcomes in short_and_stored(tmp_path, "training.loss.bce=3.0", "dice"):
        assert {name: part["weight"] for name, part in outcomes.items()} == {"dice": 1.0, "bce": 3.0}


def test_an_override_may_change_what_an_override_before_it_set(tmp_path):
    path = write_experiment(tmp_path / "run.yaml", experiment(tmp_path))
    overrides = ["training.loss=dice", "training.loss.smooth=0.5", "training.ema=0.9", "training.ema.enabled=false"]
    training = load_run(path, [*overrides, "model=unet", "model.depths=[8,16]"]).training
    assert training.loss["dice"].options["smooth"] == 0.5
    assert (training.ema.decay, training.ema.enabled) == (0.9, False)


def test_a_batch_size_by_number_replaces_auto(tmp_path):
    path = write_experiment(tmp_path / "run.yaml", experiment(tmp_path, data__batch_size="auto"))
    stored = load_run(path).resolved()
    assert load_run(path).data.fit_batch_size
    for run in (
        load_run(path, ["data.batch_size=8"]),
        run_from_values(stored, ["data.batch_size=8"], source="checkpoint"),
    ):
        assert (run.data.batch_size, run.data.fit_batch_size) == (8, False)


def test_a_key_of_the_data_set_is_set_for_an_experiment_that_names_a_file(tmp_path):
    (tmp_path / "set.yaml").write_text("name: set\n")
    path = write_experiment(tmp_path / "run.yaml", {"name": "x", "dataset": "set.yaml", "model": "unet"})
    assert load_dataset(path, ["num_channels=1"], whole_run=False).num_channels == 1


def test_a_path_of_a_file_is_beside_it_and_that_of_an_override_in_the_working_folder(tmp_path, monkeypatch):
    for folder in ("a/here", "a/there", "b/there"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "a/set.yaml").write_text("name: set\npaths: {train: here}\n")
    monkeypatch.chdir(tmp_path / "b")
    paths = load_dataset(Path("../a/set.yaml"), ["paths.val=there"], whole_run=False).paths
    assert paths.train is not None
    assert paths.train.resolve() == tmp_path / "a/here"
    assert paths.val == tmp_path / "b/there"
    assert paths.root is not None
    assert paths.root.resolve() == tmp_path / "a"


def test_an_empty_section_of_training_is_filled_like_one_that_is_left_out(tmp_path):
    path = write_experiment(tmp_path / "run.yaml", experiment(tmp_path, training=None))
    assert [metric.type for metric in load_run(path).training.metrics] == ["dice", "iou"]


SECTIONS = [
    ({}, "training.optimizer.type=sgd"),
    ({"training__optimizer": "adam"}, "training.optimizer.type=adamw"),
    ({"training__optimizer": {"type": "adam", "weight_decay": 0.1}}, "training.optimizer.type=adamw"),
    ({"training__optimizer": {"learning_rate": 0.1}}, "training.optimizer.type=sgd"),
    ({"training__optimizer": {"type": "sgd", "momentum": 0.5}}, "training.optimizer.type=adam"),
    ({"training__scheduler": "plateau"}, "training.scheduler.type=step"),
    ({"training__scheduler": {"type": "cosine", "min_lr": 0.1}}, "training.scheduler.type=poly"),
    ({"training__loss": "dice"}, "training.loss.type=focal"),
    ({"training__loss": {"type": "dice", "pooled": True}}, "training.loss.type=tversky"),
    ({"model": {"type": "unet", "depths": [4, 8], "checkpoint_activations": True}}, "model.type=sa_unet"),
    ({}, "training.ema.decay=0.9"),
    ({"training__ema": {"enabled": False}}, "training.ema.decay=0.9"),
    ({}, "data.augmentation.preset=heavy"),
    ({"data__augmentation": False}, "data.augmentation.preset=heavy"),
    ({"training__metrics": ["dice"]}, "training.metrics=[iou]"),
    ({"training": {"epochs": 1}}, "training.loss.bce=3.0"),
    ({"training": {"epochs": 1}}, "training.loss.weight=3.0"),
    ({"training": {"epochs": 1}}, "training.loss.dice.smooth=0.5"),
    ({"training": None}, "training.loss.type=bce"),
    ({"training__loss": {"type": "dice", "smooth": 0.5}}, "training.loss.dice=3.0"),
    ({}, "training.early_stopping.patience=3"),
]
"""Keys of a file, and an override of the key of a component or of a section that can be off."""


def resolved(load, *arguments, **options):
    """All keys of the run, or the sentences about keys without their places."""
    try:
        return load(*arguments, **options).resolved()
    except ConfigError as error:
        return [line for line in str(error).splitlines() if line.startswith("      hint")]


@pytest.mark.parametrize(("changes", "override"), SECTIONS)
def test_every_override_means_the_same_on_a_file_and_on_a_stored_config(tmp_path, changes, override):
    path = write_experiment(tmp_path / "run.yaml", experiment(tmp_path, **changes))
    stored = load_run(path).resolved()
    assert resolved(load_run, path, [override]) == resolved(run_from_values, stored, [override], source="checkpoint")


def test_another_component_brings_its_own_defaults_and_keeps_what_was_typed(tmp_path):
    optimizer = {"type": "adam", "learning_rate": 0.125}
    path = write_experiment(tmp_path / "run.yaml", experiment(tmp_path, training__optimizer=optimizer))
    for load, given in ((load_run, path), (run_from_values, load_run(path).resolved())):
        source = {} if load is load_run else {"source": "checkpoint"}
        made = load(given, ["training.optimizer.type=adamw"], **source).training.optimizer
        assert made.type == "adamw"
        assert made.options["learning_rate"] == 0.125
        assert made.options["weight_decay"] == 0.01  # of adamw; that of adam is 0


def test_a_key_of_a_section_that_is_off_turns_it_on_and_off_said_last_stays_off(tmp_path):
    path = write_experiment(tmp_path / "run.yaml", experiment(tmp_path, training__ema=False))
    on = load_run(path, ["training.ema.decay=0.9"]).training.ema
    assert (on.enabled, on.decay) == (True, 0.9)
    assert not load_run(path, ["training.ema.decay=0.9", "training.ema.enabled=false"]).training.ema.enabled
    assert not load_run(path, ["training.early_stopping.patience=3"]).training.early_stopping.enabled


@pytest.mark.parametrize(
    "loss", [{"type": "dice", "smooth": 0.5}, {"bce": 1.0, "dice": {"weight": 2.0, "smooth": 0.5}}]
)
def test_a_weight_alone_leaves_the_other_keys_of_its_part(tmp_path, loss):
    path = write_experiment(tmp_path / "run.yaml", experiment(tmp_path, training__loss=loss))
    part = load_run(path, ["training.loss.dice=3"]).training.loss["dice"]
    assert (part.weight, part.options["smooth"]) == (3.0, 0.5)


def test_a_part_is_added_to_the_default_loss_of_the_task_that_the_other_overrides_choose(tmp_path):
    path = write_experiment(tmp_path / "run.yaml", experiment(tmp_path, training={"epochs": 1}))
    assert list(load_run(path, ["training.loss.bce=3.0"]).training.loss) == ["dice", "bce"]
    classes = load_run(path, ["training.loss.dice=3.0", "dataset.num_classes=3"]).training.loss
    assert list(classes) == ["cross_entropy", "dice"]


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan"])
def test_a_number_that_is_not_finite_is_refused(tmp_path, value):
    path = write_experiment(tmp_path / "run.yaml", experiment(tmp_path))
    for key in ("training.optimizer.learning_rate", "training.gradient_clip_norm"):
        with pytest.raises(ConfigError, match=key):
            load_run(path, [f"{key}={value}"])
    with pytest.raises(ConfigError, match="must be a finite number"):
        load_run(path, [f"dataset.mean=[{value}, 0.5, 0.5]"])


def test_what_is_wrong_with_a_path_is_said_where_a_word_could_stand(tmp_path):
    model = {"type": "deeplabv3_plus", "weights": "$NOT_SET/weights.pth"}
    path = write_experiment(tmp_path / "run.yaml", experiment(tmp_path, model=model))
    with pytest.raises(ConfigError, match=r"model.weights: the variable `\$NOT_SET` is not set"):
        load_run(path)
    with pytest.raises(ConfigError, match="is an address, and segcli opens no connection"):
        load_run(path, ["model.weights=https://example.org/weights.pth"])
