"""Components of the user's own, of every kind, in files; networks have tests of their own in `test_foreign_code.py`."""

import pickle
import shutil
from hashlib import sha256

import pytest
import torch
import yaml
from own_components import CODE, EVIL, NAMES, named, write_own

from segcli.cli.main import run
from segcli.config.load import load_run
from segcli.core.registry import AUGMENTATIONS, DATASETS
from segcli.engine.checkpoint import read_checkpoint, write_checkpoint

COMMANDS = {
    "eval": ("eval", "RUN"),
    "predict": ("predict", "data/test/image", "--run", "RUN"),
    "export": ("export", "RUN"),
    "profile-memory": ("profile-memory", "RUN"),
    "resume": ("resume", "RUN", "training.epochs=3"),
}
DIGEST = sha256(EVIL.encode()).hexdigest()


@pytest.fixture(scope="session")
def trained_all(tmp_path_factory):
    """A folder with data, a file for each kind in `mine`, and the run `all` of two steps with all of them."""
    folder = tmp_path_factory.mktemp("all")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        write_own(folder)
        assert run(["train", "mine/all.yaml"]) == 0
    return folder


@pytest.fixture
def here(trained_all, workplace, monkeypatch):
    """A copy of it on the same machine, whose run is the user's."""
    shutil.copytree(trained_all, workplace, dirs_exist_ok=True)
    monkeypatch.setenv("XDG_STATE_HOME", str(workplace / "state"))
    old, new = str(trained_all), str(workplace)
    for note in (workplace / "state/segcli/networks").iterdir():
        text = note.read_text().replace(old, new)
        note.unlink()
        run_folder = workplace / "outputs/experiments/all"
        (note.parent / f"{sha256(str(run_folder.resolve()).encode()).hexdigest()[:32]}.yaml").write_text(text)

    def moved(values):
        return yaml.safe_load(yaml.safe_dump(values).replace(old, new))

    change(workplace / "outputs/experiments/all", moved)
    return workplace


def change(folder, how):
    """Let the checkpoints and the config of a run have other values."""
    for path in folder.glob("checkpoints/*.safetensors"):
        checkpoint = read_checkpoint(path)
        checkpoint.header["config"] = how(checkpoint.header["config"])
        write_checkpoint(path, checkpoint)
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(how(yaml.safe_load(config.read_text())), sort_keys=False))


def told(result):
    """What was written to the screen, in one line."""
    return " ".join(result.err.split())


def test_one_component_of_each_kind_trains_resumes_to_the_bit_evaluates_and_predicts(here, run_cli):
    folder = here / "outputs/experiments/all"
    resolved = (folder / "config.yaml").read_text()
    for kind, code in CODE.items():
        assert f"{here / 'mine' / named(kind)}" in resolved
        assert sha256(code.encode()).hexdigest() in resolved
    assert "'val/overlap'" in (folder / "told.txt").read_text()
    whole = read_checkpoint(folder / "checkpoints/last.safetensors").tensors
    assert whole["optimizer/network.body.bias/count=number"].item() == 2
    result = run_cli("resume", folder / "checkpoints/epoch_0001.safetensors")
    assert result.code == 0, result.err
    assert f"the scheduler is the code in `{here / 'mine/scheduler.py'}`, which runs now" in told(result)
    again = read_checkpoint(folder / "checkpoints/last.safetensors").tensors
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
    for kind in ("loss", "optimizer", "scheduler", "augmentation", "tracker"):  # which no prediction needs
        (here / "mine" / f"{kind}.py").unlink()
    result = run_cli("eval", "all", "--out", "out")
    assert result.code == 0, result.err
    assert f"the loss `{here / 'mine' / named('loss')}` is left out, which this command does not need" in told(result)
    scores = yaml.safe_load((here / "out/test_metrics.yaml").read_text())["average_metrics"]
    assert scores["overlap"] == pytest.approx(scores["iou"] ** 2)
    assert run_cli("predict", "data/test/image", "--run", "all").code == 0


def ask_for_evil(folder, kinds, here):
    """Let a run name files that leave a trace, with their right digests."""
    (here / "evil.py").write_text(EVIL)

    def changed(values):
        training = values["training"]
        evil = {kind: {"type": f"{here / 'evil.py'}:{NAMES[kind]}", "sha256": DIGEST} for kind in kinds}
        if "layout" in evil:
            values["dataset"] |= {"format": evil["layout"]["type"], "sha256": DIGEST}
        if "loss" in evil:
            training["loss"] = {evil["loss"]["type"]: {"weight": 1.0, "sha256": DIGEST}}
        if "metric" in evil:
            training["metrics"] = [*training["metrics"], evil["metric"]]
        if "augmentation" in evil:
            values["data"]["augmentation"] = {"transforms": [{**evil["augmentation"], "least": 0.1}]}
        if "tracker" in evil:
            values["logging"]["trackers"] = [evil["tracker"]]
        training |= {kind: evil[kind] for kind in ("optimizer", "scheduler") if kind in evil}
        return values

    change(folder, changed)


NEEDED = {
    "eval": {"layout"},
    "predict": {"layout"},
    "export": {"layout"},
    "profile-memory": {"layout", "loss", "optimizer"},
    "resume": {"layout", "loss", "metric", "optimizer", "scheduler", "augmentation", "tracker"},
}
"""Kinds besides the network whose file a command asks for."""


@pytest.mark.parametrize(
    ("command", "kind"), [(command, kind) for command in NEEDED for kind in sorted(NEEDED[command])]
)
def test_a_needed_component_that_a_stranger_ships_is_not_run(command, kind, tiny_run, workplace, run_cli):
    ask_for_evil(tiny_run, [kind], workplace)
    result = run_cli(*[tiny_run if word == "RUN" else word for word in COMMANDS[command]])
    assert not (workplace / "ran").exists()
    assert result.code == 4
    assert f"asks for the code in `{workplace / 'evil.py'}:{NAMES[kind]}`" in told(result)
    assert "name it yourself with `--model-file PATH`" in told(result)


def test_a_layout_is_not_run_to_find_the_loss_that_a_strangers_config_lacks(tiny_run, workplace, run_cli):
    ask_for_evil(tiny_run, ["layout"], workplace)
    change(tiny_run, lambda values: {**values, "training": {**values["training"], "loss": None}})
    assert run_cli("eval", tiny_run, "training.loss.dice=1").code == 4
    assert not (workplace / "ran").exists()


@pytest.mark.parametrize(
    "command", ["eval", "predict", pytest.param("export", marks=pytest.mark.slow), "profile-memory"]
)
def test_what_a_command_does_not_need_is_neither_run_nor_asked_for(command, tiny_run, workplace, run_cli):
    kinds = {"loss", "metric", "optimizer", "scheduler", "augmentation", "tracker"} - NEEDED[command]
    ask_for_evil(tiny_run, kinds, workplace)
    result = run_cli(*[tiny_run if word == "RUN" else word for word in COMMANDS[command]])
    assert result.code == 0, result.err
    assert not (workplace / "ran").exists()
    if command == "eval":
        assert "overlap` is left out, until its file is named with `--model-file PATH`" in told(result)
        given = run_cli("eval", tiny_run, "--model-file", "evil.py", "--out", "out")
        assert given.code == 0, given.err
        assert (workplace / "ran").exists()  # for the metric that the user named
        scores = yaml.safe_load((workplace / "out/test_metrics.yaml").read_text())
        assert scores["average_metrics"]["overlap"] == pytest.approx(scores["average_metrics"]["iou"])


def test_a_changed_file_is_told_with_a_way_out_that_works(here, run_cli):
    for kind, where in (("loss", "training.loss."), ("scheduler", "training.scheduler")):
        path, epochs = here / "mine" / f"{kind}.py", f"training.epochs={3 + len(kind)}"
        path.write_text(f"{CODE[kind]}\n# changed\n")
        result = run_cli("resume", "all", epochs, "--model-file", path)
        assert result.code == 2
        assert f"the file is not the one that the run was trained with: `{path}` has the SHA-256" in told(result)
        digest = sha256(path.read_bytes()).hexdigest()
        hint = result.err.partition(f"`{where}")[2].partition("`")[0]
        assert hint.endswith(f".sha256={digest}")
        accepted = run_cli("resume", "all", epochs, "--model-file", path, f"{where}{hint}")
        assert accepted.code == 0, accepted.err
    path = here / "mine/metric.py"
    assert run_cli("train", "mine/all.yaml", "name=other", "training.epochs=1").code == 0
    path.write_text(f"{CODE['metric']}\n# changed\n")
    result = run_cli("eval", "other")
    assert "take it as it is with `training.metrics=[...]`, where it is named anew" in told(result)
    assert run_cli("eval", "other", "training.metrics=[mine/metric.py:overlap]").code == 0


INHERITING = """
class Every:
    def __init__(self, power):
        self.power = power

    def __call__(self, prediction, truth):
        return float("inf")

class overlap(Every):
    pass
"""
FAILING = """
from segcli.metrics import Metric

class overlap(Metric):
    def __init__(self, power):
        self.power = power

    def statistics(self, scored):
        return scored.nothing

    def values(self, statistics):
        return statistics[..., 0]
"""
OBJECT = """
class Every:
    def __call__(self, image, maps):
        return image, maps

Dim = Every()
"""


@pytest.mark.parametrize(
    ("kind", "code", "keys", "text"),
    [
        ("loss", None, ["training.loss.beta=1"], "cannot be made from these keys: got an unexpected keyword argument"),
        (
            "augmentation",
            None,
            ["data.augmentation.transforms=[{type: mine/augmentation.py:Dim}]"],
            "missing a required",
        ),
        (
            "loss",
            "def Sharp(logits, target, valid):\n    return logits.nothing",
            [],
            "`loss.py:Sharp` fails in line 2 (Attr",
        ),
        ("loss", "def Sharp(logits, target, valid, alpha):\n    return logits", [], "expected a scalar tensor"),
        (
            "loss",
            "def Sharp(logits, target, valid):\n    return logits.detach().sum()",
            [],
            "`loss.py:Sharp` has no gradient",
        ),
        ("loss", "raise SystemExit(0)", [], "loss.py` cannot be imported (SystemExit: 0)"),
        (
            "loss",
            "from segcli.losses import Loss\nclass Sharp(Loss): pass",
            [],
            "the loss `loss.py:Sharp` lacks `forward`",
        ),
        (
            "loss",
            "from segcli.losses import MaskLoss\nclass Sharp(MaskLoss):\n    def compute(self, *_): pass\n"
            "    def __init__(self, alpha): raise ValueError('no')",
            [],
            "`loss.py:Sharp` fails in line 4 (ValueError: no)",
        ),
        ("loss", "Sharp = 3", [], "`loss.py:Sharp` is neither class nor function, and no loss"),
        ("metric", "class overlap: pass", [], "`metric.py:overlap` is a class, and no metric"),
        ("metric", INHERITING, [], "metric `metric.py:overlap` gives inf"),
        ("metric", FAILING, [], "`metric.py:overlap` fails in line 9 (Attr"),
        ("optimizer", "def Walk(params, lr): return lr", [], "`optimizer.py:Walk` gives no `torch.optim"),
        ("scheduler", "def ramp(progress, low): return -1", [], "`scheduler.py:ramp` gives the factor -1.0"),
        ("augmentation", "def Dim(image, maps, rng, least): return image", [], "must return `image, maps`"),
        ("augmentation", "def Dim(image, maps, least): return image / 2, maps", [], "gives `image` as float64"),
        ("augmentation", OBJECT, [], "and no augmentation"),
        ("layout", "class Renamed: pass", [], "`layout.py:Renamed` is a class, and no data-set format"),
        ("tracker", "class Lines: pass", [], "`tracker.py:Lines` is a class, and no tracker"),
        ("metric", "def dice(prediction, truth): return 1", ["training.metrics=[mine/metric.py:dice]"], "of segcli"),
    ],
)
def test_a_mistake_is_told_in_a_sentence_and_nothing_is_left(kind, code, keys, text, workplace, run_cli):
    config = write_own(workplace)
    if code is not None:
        (workplace / "mine" / f"{kind}.py").write_text(code)
        edited = yaml.safe_load(config.read_text())
        edited["training"]["loss"] = {named("loss"): {"alpha": 0.3} if "alpha" in (code or "alpha") else {}}
        config.write_text(yaml.safe_dump(edited))
    result = run_cli("train", config, *keys)
    assert result.code == 2, result.err
    assert text in told(result)
    assert "Traceback" not in result.err


def test_a_loss_without_valid_is_refused_only_where_pixels_do_not_count(workplace, run_cli):
    config = write_own(workplace)
    (workplace / "mine/loss.py").write_text(
        "def Sharp(logits, target, alpha=0.3):\n    return ((logits.sigmoid() - target) ** 2).mean()\n"
    )
    assert run_cli("train", config, "training.epochs=1").code == 0
    result = run_cli("train", config, "name=padded", "data.preprocessing.pad_to_multiple=32")
    assert result.code == 2
    assert "loss `loss.py:Sharp` takes no `valid`, and some pixels of this batch do not count" in told(result)


def test_overrides_reach_the_keys_of_components_in_files(workplace):
    config = write_own(workplace)
    run_ = load_run(config, ["training.loss.alpha=0.9", "training.optimizer.momentum=0.1"])
    ((name, part),) = run_.training.loss.items()
    assert (part.options["alpha"], run_.training.optimizer.options["momentum"]) == (0.9, 0.1)
    run_ = load_run(config, ["training.loss.Sharp=2", "training.loss.dice=1", "training.loss.loss.py:Sharp.alpha=0.7"])
    assert {key: part.weight for key, part in run_.training.loss.items()} == {name: 2.0, "dice": 1.0}
    assert run_.training.loss[name].options["alpha"] == 0.7


def test_a_layout_and_an_augmentation_travel_to_a_worker_that_is_started_afresh(workplace):
    run_ = load_run(write_own(workplace))
    layout = run_.dataset.build()
    there = pickle.loads(pickle.dumps(layout))
    assert there.config == layout.config
    assert there.cases("train") == layout.cases("train")
    entry = run_.data.augmentation.transforms[0]
    kind = AUGMENTATIONS.load(entry["type"], digest=entry["sha256"])
    made = kind(kind.Config(least=0.5))
    assert pickle.loads(pickle.dumps(made)).config == made.config
    assert DATASETS.load(run_.dataset.format, digest=run_.dataset.model_extra["sha256"]) is type(layout)
