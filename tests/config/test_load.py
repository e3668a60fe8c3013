import json
import random
from pathlib import Path

import pytest
import yaml
from factories import experiment, write_experiment

from segcli.config.load import load_dataset, load_run, run_from_values
from segcli.core.errors import ConfigError
from segcli.core.files import plain, write_yaml
from segcli.core.registry import METRICS

ROOT = Path(__file__).parents[2]
PAIR = ROOT / "configs/experiments/exp001_basic_unet.yaml"
EXPERIMENTS = sorted(
    path for path in (ROOT / "configs").rglob("*.yaml") if path.parent.name not in ("cluster", "datasets")
)
DATASETS = sorted((ROOT / "configs/datasets").glob("*.yaml"))


@pytest.fixture
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def load(tmp_path):
    """Load a tiny experiment with changes; returns the run."""

    def call(*overrides, **changes):
        return load_run(write_experiment(tmp_path / "run.yaml", experiment(tmp_path, **changes)), overrides)

    return call


def mistakes(call, *arguments, **changes):
    with pytest.raises(ConfigError) as caught:
        call(*arguments, **changes)
    return str(caught.value)


@pytest.mark.usefixtures("at_root")
def test_the_pair_of_the_contract_means_what_it_says():
    run = load_run(PAIR, ["device=cpu"])
    assert run.name == "exp001_basic_unet"
    assert run.dataset.paths.train == ROOT / "data/FIVES512/train"
    assert run.dataset.image_size == [512, 512]
    assert run.data.preprocessing.pad_to_multiple == 32
    assert not run.data.augmentation.enabled
    assert run.model.type == "unet"
    assert run.model.options["depths"] == [32, 64, 128, 256, 512]
    assert run.training.optimizer.options == {
        "learning_rate": 1e-4,
        "weight_decay": 1e-4,
        "betas": [0.9, 0.999],
        "eps": 1e-8,
    }
    assert run.training.scheduler.options == {"min_lr": 1e-6}
    assert run.training.loss["dice"].options["smooth"] == 1e-6
    assert [metric.type for metric in run.training.metrics] == ["dice", "iou"]
    assert run.training.early_stopping.monitor == "val_dice"
    assert run.folder == Path("outputs/experiments/exp001_basic_unet")
    assert run.device == "cpu"


@pytest.mark.usefixtures("at_root")
@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_shipped_experiment_loads_and_begins_with_its_command(path):
    assert load_run(path).name == path.stem
    assert path.read_text().startswith(f"# segcli train {path.relative_to(ROOT)}\n")


@pytest.mark.usefixtures("at_root")
@pytest.mark.parametrize("path", DATASETS, ids=lambda path: path.stem)
def test_every_shipped_data_set_loads(path):
    load_dataset(path, whole_run=False)
    assert path.read_text().startswith("# segcli data ")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("dice", {"dice": 1.0}),
        ({"type": "Dice", "smooth": 0.5}, {"dice": 1.0}),
        ({"bce": 1, "dice": 2.0}, {"bce": 1.0, "dice": 2.0}),
        ({"BCE": {"weight": 0.5, "pos_weight": 3.0}, "dice": 1}, {"bce": 0.5, "dice": 1.0}),
    ],
)
def test_a_loss_may_be_written_short(load, given, meant):
    assert {name: part.weight for name, part in load(training__loss=given).training.loss.items()} == meant


def test_other_short_forms_mean_their_long_ones(load):
    run = load(
        model="U-Net",
        training__optimizer="sgd",
        training__scheduler=None,
        training__ema=0.9,
        data__augmentation="heavy",
    )
    assert run.model.type == "unet"
    assert run.training.optimizer.type == "sgd"
    assert run.training.scheduler.type == "constant"
    assert (run.training.ema.enabled, run.training.ema.decay) == (True, 0.9)
    assert (run.data.augmentation.enabled, run.data.augmentation.preset) == (True, "heavy")


def test_loss_and_metrics_that_nobody_named_are_those_of_the_task(load):
    run = load(training={})
    assert list(run.training.loss) == ["dice"]
    assert [metric.type for metric in run.training.metrics] == ["dice", "iou"]


def test_overrides_set_one_key_and_are_parsed_as_yaml(load):
    run = load("training.optimizer.learning_rate=1e-3", "data.image_size=[64, 32]", "training.loss=bce")
    assert run.training.optimizer.options["learning_rate"] == 0.001
    assert run.data.image_size == [64, 32]
    assert list(run.training.loss) == ["bce"]


def test_an_override_of_a_short_form_keeps_its_type(load):
    run = load("training.loss.smooth=0.25", "training.scheduler.min_lr=1e-5", training__loss="dice")
    assert run.training.loss["dice"].options["smooth"] == 0.25
    assert run.training.scheduler.type == "cosine"


def test_all_mistakes_are_told_together_with_line_key_and_nearest_key(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(
        "name: bad\n"
        "dataset: {num_chanels: 3, paths: {root: ., trian: x}}\n"
        "model: {type: unett}\n"
        "data:\n"
        "  num_workers: two\n"
        "training:\n"
        "  optimizer: {type: Adam, learning_rat: 1e-3}\n"
        "  loss: {type: dice, smoth: 1}\n"
        "  metrics: [dice, jou]\n"
        "  epochs: 3.5\n"
        "devise: cpu\n"
    )
    message = mistakes(load_run, path, ["data.batch_size=0"])
    assert message.startswith(f"10 problems in `{path}`")
    for line, text in (
        (2, "dataset.num_chanels: unknown key\n      hint: did you mean `num_channels`?"),
        (2, "dataset.paths.trian: unknown key\n      hint: did you mean `train`?"),
        (3, "model.type: unknown model `unett`\n      hint: did you mean `unet`?"),
        (5, "data.num_workers: must be a whole number, got `'two'`"),
        (7, "training.optimizer.learning_rat: unknown key\n      hint: did you mean `learning_rate`?"),
        (8, "training.loss.smoth: unknown key\n      hint: did you mean `smooth`?"),
        (9, "training.metrics.1: unknown metric `jou`\n      hint: did you mean `iou`?"),
        (10, "training.epochs: must be a whole number, got 3.5"),
        (11, "devise: unknown key\n      hint: did you mean `device`?"),
    ):
        assert f"  - {path}:{line}  {text}" in message
    assert "  - data.batch_size=0  data.batch_size: must be at least 1, got 0" in message


def test_mistakes_in_the_data_set_file_are_blamed_on_its_lines(tmp_path):
    (tmp_path / "set.yaml").write_text("name: set\nnum_channels: 3\nmean: [0.1]\nstd: [0.2]\nsplit: {by: foldrs}\n")
    message = mistakes(
        load_run, write_experiment(tmp_path / "run.yaml", {"name": "x", "dataset": "set.yaml", "model": "unet"})
    )
    assert "set.yaml:5  dataset.split.by: must be one of folders, lists, fraction" in message
    assert "`mean` has 1 numbers for 3 channels" in message


def test_a_data_set_is_looked_up_beside_the_experiment_and_then_from_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, name in (("a", "beside"), (".", "here")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "set.yaml").write_text(
            f"name: {name}\nmean: [0, 0, 0]\nstd: [1, 1, 1]\n".replace("0", "0.0").replace("1", "1.0")
        )
    values = {"name": "x", "dataset": "set.yaml", "model": "unet"}
    assert load_run(write_experiment(tmp_path / "a/run.yaml", values)).dataset.name == "beside"
    (tmp_path / "a/set.yaml").unlink()
    assert load_run(tmp_path / "a/run.yaml").dataset.name == "here"
    message = mistakes(load_run, write_experiment(tmp_path / "a/run.yaml", {**values, "dataset": "none.yaml"}))
    assert "no data-set file `none.yaml`" in message
    assert "a/none.yaml" in message


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"model__in_channels": 1}, "model.in_channels: is 1, the data set has 3 channels"),
        ({"model__out_channels": 4}, "model.out_channels: is 4, the data set with `num_classes: 1` needs 1"),
        ({"model__final_activation": "softmax"}, "model.final_activation: is `softmax`, task `binary` has `sigmoid`"),
        ({"training__early_stopping": {"monitor": "val_auc"}}, "`val_auc` is not computed in this run"),
        ({"data__patch_size": [8, 8, 8]}, "data.patch_size: has 3 sizes, images of format `image_folders` have 2 axes"),
        ({"inference__tta": "vertical"}, "inference.tta: must be one of false, true, horizontal, got `'vertical'`"),
        ({"inference__scales": []}, "inference.scales: must have at least 1 entries, got `[]`"),
        ({"dataset__num_classes": 4}, "`bce` is a loss of masks of their own, task `multiclass` has classes"),
        ({"training__loss": "cross_entropy"}, "`cross_entropy` is a loss of classes that exclude each other"),
        ({"training__metrics": ["mean_iou"]}, "`mean_iou` is a metric of many classes, the data set has one mask"),
        (
            {"dataset__num_classes": 3, "training__loss": {"cross_entropy": {"class_weights": [1.0, 2.0]}}},
            "training.loss.cross_entropy: `class_weights` has 2 entries, the data set has 3 classes",
        ),
        (
            {"dataset__num_classes": 2, "training__loss": {"cross_entropy": {"class_weights": [0.0, 0.0]}}},
            "every one of the `class_weights` is 0",
        ),
        (
            {"dataset__num_classes": 2, "training__loss": {"cross_entropy": {"class_weights": "median"}}},
            "training.loss.cross_entropy.class_weights",
        ),
        (
            {"inference__undo_class_weights": 0.5},
            "inference.undo_class_weights: is set, and no part of the loss has `class_weights`",
        ),
        ({"dataset__paths": {"root": None}}, "dataset.paths.root: is not set"),
        ({"training__loss": {"bce": 0.0, "dice": 0.0}}, "training.loss: every part weighs 0"),
        ({"training__metrics": ["dice", "iou", "Dice"]}, "training.metrics.2: `dice` stands twice"),
        ({"device": "gpu"}, "device: must be auto, cpu, cuda, cuda:N or mps, got `gpu`"),
        ({"name": "a/b"}, "name: must be usable as a folder's name, got `a/b`"),
        ({"training__loss": {}}, "training.loss"),
        ({"training__loss": {"dice": -1.0}}, "training.loss.dice.weight: must be at least 0.0, got -1.0"),
        ({"training__scheduler": {"type": "cosine", "power": 2}}, "training.scheduler.power: unknown key"),
        ({"data__augmentation": {"transforms": [{"p": 0.5}]}}, "transform 0 has no `type`"),
        ({"model": None}, "model"),
        ({"training": None}, None),
        ({"data": 3}, "data: must be a section with keys, got 3"),
    ],
)
def test_keys_that_cannot_work_together_are_told(load, changes, text):
    if text is None:
        load(**changes)
    else:
        assert text in mistakes(load, **changes)


def test_a_metric_must_be_able_to_score_images_of_so_many_axes(load, monkeypatch):
    monkeypatch.setattr(METRICS.load("cldice"), "can_ndim", (3,))
    text = mistakes(load, training__metrics=["dice", "cldice"])
    assert "training.metrics.1: `cldice` cannot score the images of 2 axes of format `image_folders`" in text


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("epochs", "override `epochs` is not KEY=VALUE"),
        ("=3", "override `=3` is not KEY=VALUE"),
        ("training.epochs=[", "override `training.epochs=[`: the value is not valid YAML"),
        ("seed.x=1", "seed.x=1  seed: is no section, it is `42`"),
        ("training.epoch=3", "training.epoch=3  training.epoch: unknown key\n      hint: did you mean `epochs`?"),
        (
            "training.optimizer.type=adm",
            "training.optimizer.type=adm  training.optimizer.type: unknown optimizer `adm`",
        ),
    ],
)
def test_an_override_is_blamed_by_its_own_text(load, override, text):
    assert text in mistakes(load, override, seed=42)


@pytest.mark.usefixtures("at_root")
@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_a_resolved_config_alone_gives_the_same_run(path, tmp_path):
    run = load_run(path)
    write_yaml(tmp_path / "config.yaml", run.resolved())
    assert load_run(tmp_path / "config.yaml") == run
    assert run_from_values(json.loads(json.dumps(plain(run.resolved()))), source="checkpoint") == run


def _mutated(rng, values):
    """The values with one key dropped, renamed, retyped or moved."""
    values = json.loads(json.dumps(values))
    target = values
    while True:
        key = rng.choice(sorted(target)) if target else None
        if key is None or not isinstance(target[key], dict) or rng.random() < 0.4:
            break
        target = target[key]
    if key is None:
        return values
    junk = [None, -1, 0, 1.5, "x", "", [], {}, [1, "a"], {"type": "x"}, True, 10**30, "1e-3", [[]], {"a": {"b": 1}}]
    match rng.randrange(4):
        case 0:
            del target[key]
        case 1:
            target[key + "x"] = target.pop(key)
        case 2:
            target[key] = rng.choice(junk)
        case 3:
            target[rng.choice(["type", "weight", "extra"])] = rng.choice(junk)
    return values


@pytest.mark.usefixtures("at_root")
def test_whatever_is_in_a_file_gives_a_run_or_a_config_error(tmp_path):
    rng = random.Random(0)
    start = yaml.safe_load(PAIR.read_text()) | {
        "dataset": yaml.safe_load((ROOT / "configs/datasets/fives_512.yaml").read_text())
    }
    outcomes = set()
    for _ in range(300):
        values = _mutated(rng, start)
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump(values))
        try:
            load_run(path)
            outcomes.add("run")
        except ConfigError as error:
            outcomes.add("mistake" if "run.yaml" in str(error) else str(error))
    assert outcomes == {"run", "mistake"}


def test_stats_and_check_take_a_data_set_file_by_itself(tmp_path):
    (tmp_path / "set.yaml").write_text("name: set\npaths: {root: .}\n")
    assert load_dataset(tmp_path / "set.yaml", ["num_channels=1"], whole_run=False).num_channels == 1
    message = mistakes(load_dataset, tmp_path / "set.yaml", ["nam=1"], whole_run=True)
    assert "nam=1  dataset.nam: unknown key\n      hint: did you mean `name`?" in message


def test_a_relative_path_of_an_override_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    path = write_experiment(tmp_path / "run.yaml", experiment(tmp_path / "data"))
    assert load_run(path, ["dataset.paths.root=mine"]).dataset.paths.root == tmp_path / "mine"
    assert load_dataset(path, ["paths.test=mine"], whole_run=False).paths.test == tmp_path / "mine"


def test_a_data_set_without_a_root_is_told(tmp_path):
    path = write_experiment(tmp_path / "run.yaml", experiment(tmp_path / "data"))
    assert "dataset.paths.root: is not set" in mistakes(load_dataset, path, ["paths.root=null"], whole_run=False)


LONG = "a" * 300


@pytest.mark.parametrize(
    ("override", "text"),
    [
        (f"dataset.paths.root={LONG}", "cannot be the name of a file"),
        (f"dataset.classes_file={LONG}.csv", "no file"),
        (f"dataset={LONG}.yaml", "no data-set file"),
        ("logging.trackers=-1", "logging.trackers: "),
        ("logging.trackers=.nan", "logging.trackers: "),
        ("logging.trackers=sacred", "logging.trackers: "),
        ("training.loss={null: 2}", "unknown loss `None`"),
        ("training.loss={true: {weight: 1}}", "unknown loss `True`"),
    ],
)
def test_a_name_too_long_for_a_file_and_trackers_that_are_no_list_are_told(load, override, text):
    assert text in mistakes(load, override)
