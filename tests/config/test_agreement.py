"""Keys that have no effect beside others, and values that are probably not meant."""

from pathlib import Path

import pytest
from factories import experiment, scenes_experiment, volumes_experiment, write_experiment

from segcli.config.agreement import IDLE, doubts, without_effect
from segcli.config.load import load_run, run_from_values
from segcli.core.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"
SHIPPED = [CONFIGS / "exp.yaml", *sorted(CONFIGS.glob("experiments/*.yaml"))]


def run(make=experiment, **changes):
    return run_from_values(make(Path(), **changes), source="test")


PAIRS = [
    ({"training__ema": {"enabled": False, "decay": 0.9}}, {"training__ema": 0.9}),
    (
        {"training__early_stopping": {"patience": 3}, "training__epochs": 9},
        {"training__early_stopping": {"patience": 3, "enabled": True}, "training__epochs": 9},
    ),
    (
        {
            "training__early_stopping": {"patience": 3, "enabled": True},
            "training__epochs": 6,
            "training__val_interval": 2,
        },
        {
            "training__early_stopping": {"patience": 3, "enabled": True},
            "training__epochs": 8,
            "training__val_interval": 2,
        },
    ),
    (
        {"training__scheduler": {"type": "plateau", "patience": 3}, "training__epochs": 3},
        {"training__scheduler": {"type": "plateau", "patience": 3}, "training__epochs": 9},
    ),
    (
        {"training__scheduler": {"type": "step", "step_size": 4}, "training__epochs": 4},
        {"training__scheduler": {"type": "step", "step_size": 4}, "training__epochs": 5},
    ),
    ({"training__validate_on": "cpu"}, {"training__validate_on": "cpu", "device": "auto"}),
    ({"data__foreground_share": 0.9}, {"data__foreground_share": 0.9, "data__patch_size": [8, 8]}),
    ({"data__cache_dir": "/tmp/x"}, {"data__cache_dir": "/tmp/x", "data__cache": "disk"}),
    ({"data__drop_last": True, "data__batch_size": 1}, {"data__drop_last": True, "data__batch_size": 2}),
    ({"data__drop_last": True, "data__batch_size": 1}, {"data__drop_last": True, "data__batch_size": "auto"}),
    (
        {"logging__log_activations": True, "training__epochs": 4},
        {"logging__log_activations": True, "training__epochs": 5},
    ),
    (
        {"logging__visualization_interval": 3, "training__epochs": 2},
        {"logging__visualization_interval": 2, "training__epochs": 2},
    ),
    (
        {"data__augmentation": {"enabled": False, "preset": "heavy"}},
        {"data__augmentation": {"enabled": True, "preset": "heavy"}},
    ),
    ({"data__val_batch_size": 2}, {"data__val_batch_size": 2, "device": "cuda"}),
    (
        {"data__augmentation": {"transforms": [{"type": "GaussianBlur"}], "flip_probability": 0.2}},
        {"data__augmentation": {"flip_probability": 0.2}},
    ),
    (
        {"data__augmentation": {"preset": "light", "turn_probability": 0.2}},
        {"data__augmentation": {"preset": "medium", "turn_probability": 0.2}},
    ),
    ({"inference": {"overlap": 0.5, "tile": None}}, {"inference": {"overlap": 0.5}}),
    ({"checkpoint": {"save_every": 2, "keep_best_only": True}}, {"checkpoint": {"save_every": 2}}),
    ({"checkpoint": {"save_every": 3}, "training__epochs": 2}, {"checkpoint": {"save_every": 2}}),
    ({"checkpoint": {"max_checkpoints": 2}}, {"checkpoint": {"max_checkpoints": 2, "save_every": 1}}),
    ({"checkpoint": {"keep_best_only": True}}, {}),
    ({"logging__image_log_frequency": 2}, {"logging__image_log_frequency": 2, "logging__log_images": True}),
    (
        {"logging__activation_layers": ["head"]},
        {"logging__activation_layers": ["head"], "logging__log_activations": True, "training__epochs": 9},
    ),
    ({"debug": {"estimate_activations": False}}, {"debug": {"estimate_activations": False, "profile_memory": True}}),
]
"""Keys of which one has no effect, and keys beside which it has one."""


@pytest.mark.parametrize(("idle", "used"), PAIRS, ids=" ".join)
def test_a_key_without_effect_is_told_and_the_same_key_with_an_effect_is_not(idle, used):
    told = without_effect(run(**idle))
    assert len(told) == 1
    assert " has no effect: " in told[0]
    assert without_effect(run(**used)) == []


def test_the_folder_of_the_cache_has_an_effect_where_the_pixels_of_classes_are_counted():
    told = "`data.cache_dir` has no effect: `data.cache` is not `disk`"
    for weights, expected in (("inverse", []), ("none", [told])):
        loss = {"type": "cross_entropy", "class_weights": weights}
        assert without_effect(run(scenes_experiment, data__cache_dir="/tmp/x", training__loss=loss)) == expected


def test_a_hyperparameter_of_another_method_has_no_effect():
    told = "`training.loss.cross_entropy.beta` has no effect: `class_weights` is not `effective_number`"
    for weights, expected in (("effective_number", []), ([1.0] * 4, []), ("inverse", [told]), ("none", [told])):
        loss = {"type": "cross_entropy", "class_weights": weights, "beta": 0.9}
        assert without_effect(run(scenes_experiment, training__loss=loss)) == expected


def test_a_share_of_volumes_with_noise_has_no_effect_without_noise():
    told = "`data.augmentation.noise_share` has no effect: neither `noise_std` nor `noise_up_to` is set"
    for keys, expected in (({}, [told]), ({"noise_std": 0.1}, []), ({"preset": "nuclei"}, [])):
        augmentation = {"noise_share": 0.5, **keys}
        assert without_effect(run(volumes_experiment, data__augmentation=augmentation)) == expected


MONITORS = [("val_loss", "max"), ("val_hd95", "max"), ("val_dice", "min"), ("val_loss_dice", "max"), (None, "min")]


@pytest.mark.parametrize(("monitor", "mode"), MONITORS)
def test_a_mode_that_would_keep_the_worst_epoch_is_refused_with_the_way_out(tmp_path, monitor, mode):
    stopping = {"monitor": monitor, "mode": mode}
    values = experiment(tmp_path, training__metrics=["dice", "hd95"], training__early_stopping=stopping)
    path, better = write_experiment(tmp_path / "run.yaml", values), {"max": "min", "min": "max"}[mode]
    with pytest.raises(ConfigError) as refused:
        load_run(path)
    assert f"training.early_stopping.mode: is `{mode}`, but " in str(refused.value)
    way_out = f"training.early_stopping.mode={better}"
    assert f"set `{way_out}`" in str(refused.value)
    stored = load_run(path, [way_out]).resolved()
    assert run_from_values(stored, source="checkpoint").training.early_stopping.mode == better
    stored["training"]["early_stopping"]["mode"] = mode  # a run of an earlier version can still be read
    assert run_from_values(stored, source="checkpoint")
    with pytest.raises(ConfigError, match="would be kept as the best"):
        run_from_values(stored, [f"training.early_stopping.monitor={monitor or 'val_dice'}"], source="checkpoint")


def test_each_part_of_a_loss_with_parts_can_be_monitored():
    model = {"type": "sadaan", "depths": [4, 8]}
    for monitor in ("val_loss_dice", "val_loss_segmentation", "val_loss_confidence"):
        stopping = {"monitor": monitor}
        chosen = run(volumes_experiment, model=model, training__loss="sadaan", training__early_stopping=stopping)
        assert chosen.training.early_stopping.monitor == monitor
    with pytest.raises(ConfigError, match="val_loss_dice_dice"):
        run(
            volumes_experiment,
            model=model,
            training__loss={"sadaan": 1.0, "dice": 1.0},
            training__early_stopping={"monitor": "val_loss_sadaan"},
        )


def test_the_threshold_has_no_effect_on_classes_that_exclude_each_other():
    told = "`inference.threshold` has no effect: the most probable class is taken"
    assert without_effect(run(inference__threshold=0.4)) == []
    assert without_effect(run(volumes_experiment, inference={"threshold": 0.4})) == []
    assert told in without_effect(run(scenes_experiment, inference={"threshold": 0.4}))


def test_every_row_of_the_table_names_a_key_that_exists():
    keys = {row.key for row in IDLE if not row.key.startswith(("training.scheduler.", "training.loss."))}
    for key in keys:
        section = run()
        for name in key.split("."):
            assert hasattr(section, name), key
            section = getattr(section, name)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_key_of_a_shipped_experiment_has_an_effect(path):
    assert (without_effect(load_run(path)), doubts(load_run(path))) == ([], [])


def test_noise_that_hides_the_volume_is_warned_of_with_its_unit():
    (told,) = doubts(run(volumes_experiment, data__augmentation={"noise_std": 10.0}))
    assert "`data.augmentation.noise_std` is 10 standard deviations of the volume" in told
    assert "not in units of intensity" in told
    assert doubts(run(volumes_experiment, data__augmentation={"noise_std": 0.5})) == []


@pytest.mark.parametrize("layers", [None, []])
def test_no_layer_is_named_although_layers_are_to_be_recorded(layers):
    (told,) = doubts(run(logging={"log_activations": True, "activation_layers": layers}))
    assert "`all` takes every layer" in told
    assert doubts(run(logging={"log_activations": True, "activation_layers": "all"})) == []
    assert doubts(run(logging={"log_activations": False, "activation_layers": layers})) == []


def test_training_and_the_check_of_the_data_say_it_in_the_same_words(run_cli, tiny):
    config = tiny(data__foreground_share=0.9, training__epochs=1)
    told = "`data.foreground_share` has no effect: `data.patch_size` is not set"
    assert told in run_cli("train", config, "--dry-run").err
    checked = run_cli("data", "check", config, "--json")
    assert checked.code == 0
    assert told in checked.out


def test_keys_that_do_not_work_with_shares_of_a_network_are_refused_together():
    shares = {"training__strategy": "fsdp"}
    keys = {"training__amp": "fp16", "training__validate_on": "cpu", "debug__on_oom": "halve"}
    keys["training__minutes"] = 5.0
    with pytest.raises(ConfigError) as refused:
        run(**shares, **keys)
    for key, value in keys.items():
        told = f"{key.replace('__', '.')}: is `{value}`, which does not work with `training.strategy: fsdp`"
        assert told in str(refused.value)
        assert run(**{key: value}).training.strategy == "ddp"
    assert run(**shares, training__amp="bf16").training.strategy == "fsdp"


def test_keys_that_do_not_work_with_slots_are_refused_together():
    keys = {
        "training__compile": True,
        "training__sync_batchnorm": False,
        "debug__on_oom": "halve",
        "data__slot_size": 3,
    }
    with pytest.raises(ConfigError) as refused:
        run(training__reduce="exact", data__batch_size=2, **keys)
    for key, value in list(keys.items())[:-1]:
        told = f"{key.replace('__', '.')}: is `{str(value).lower()}`, which does not work with `training.reduce: exact`"
        assert told in str(refused.value)
    assert "data.slot_size: is 3, and a batch has 2 images" in str(refused.value)
    with pytest.raises(ConfigError, match=r"strategy: is `fsdp`, which does not work with `training\.reduce: exact`"):
        run(training__reduce="exact", training__strategy="fsdp")
    for key, value in keys.items():
        assert run(**{key: value}).training.reduce == "fast"
    assert run(training__reduce="exact", data__slot_size=2).data.slot_size == 2
    assert "`data.slot_size` has no effect: `training.reduce` is `fast`" in without_effect(run(data__slot_size=2))
