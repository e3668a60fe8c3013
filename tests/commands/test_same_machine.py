"""A resumed run computes with the threads of its beginning, and says what ends the equality of bits."""

import pytest
import torch
import yaml

from segcli.commands import same_machine
from segcli.core.processor import usable_processors
from segcli.engine.checkpoint import read_checkpoint, write_checkpoint
from segcli.engine.training import trainer

WIDE = {
    "training__epochs": 2,
    "data__patch_size": [64, 64],
    "model__depths": [16, 32],
    "training__metrics": ["dice"],
    "checkpoint__every_minutes": 0.0,
}


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def edited(folder, **changes):
    path = folder / "environment.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}, sort_keys=False))


def stopped(run_cli, monkeypatch, *words):
    """Train up to the third checkpoint, which ends the command like a kill."""
    write, written = trainer.write_checkpoint, []

    def killed(path, checkpoint):
        write(path, checkpoint)
        written.append(path)
        if len(written) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "write_checkpoint", killed)
        assert run_cli("train", *words).code == 130


def tensors(folder):
    return read_checkpoint(folder / "checkpoints/last.safetensors").tensors


def differing(one, other):
    a, b = tensors(one), tensors(other)
    return [name for name in a if not torch.equal(a[name], b[name])]


@pytest.mark.skipif(usable_processors() < 2, reason="needs two processors")
def test_a_run_resumed_with_other_threads_computes_with_those_of_its_beginning(
    run_cli, tiny, workplace, threads, monkeypatch
):
    config, place = tiny(**WIDE), workplace / "outputs/experiments"
    threads(2)
    assert run_cli("train", config, "name=whole").code == 0
    stopped(run_cli, monkeypatch, config, "name=cut")
    threads(1)
    result = run_cli("resume", "cut")
    assert (result.code, torch.get_num_threads()) == (0, 2)
    assert "computing with 2 threads, as the run did before (here: 1), for the same bits" in result.err
    assert differing(place / "whole", place / "cut") == []
    assert yaml.safe_load((place / "cut/environment.yaml").read_text())["threads"] == 2
    assert "may differ" not in result.err


def test_threads_that_this_machine_lacks_are_told(run_cli, tiny_run):
    edited(tiny_run, threads=4096)
    result = run_cli("resume", "tiny", "training.epochs=3", "--quiet")
    assert result.code == 0
    here = torch.get_num_threads()
    line = "warning: results may differ from those of a run that never stopped: 4096 threads before, "
    assert result.err == f"{line}{here} now on {usable_processors()} processors\n"


def test_another_software_processor_and_precision_are_told_in_one_line(run_cli, tiny_run, monkeypatch):
    values = yaml.safe_load((tiny_run / "environment.yaml").read_text())
    now = values["packages"]
    last = read_checkpoint(tiny_run / "checkpoints/last.safetensors")
    last.header["config"]["training"]["amp"] = "auto"  # as an earlier version has it
    write_checkpoint(tiny_run / "checkpoints/last.safetensors", last)
    (tiny_run / "config.yaml").write_text(yaml.safe_dump(last.header["config"]))
    edited(
        tiny_run,
        packages={**now, "torch": "1.0.0", "opencv-python-headless": "3.0"},
        processor={"kind": "arm64 Apple", "instructions": "DEFAULT"},
        precision="bf16",
    )
    result = run_cli("resume", "tiny", "training.epochs=3", "--quiet")
    assert result.code == 0
    kind = ", ".join(values["processor"].values())
    assert result.err == (
        "warning: results may differ from those of a run that never stopped: "
        f"PyTorch 1.0.0 before, {now['torch']} now; opencv-python-headless 3.0 before, {now['opencv-python-headless']} "
        f"now; processor arm64 Apple, DEFAULT before, {kind} now; "
        "`training.amp: auto` meant bf16 and now means fp32\n"
    )
    again = run_cli("resume", "tiny", "training.epochs=4", "--quiet")
    assert (again.code, again.err) == (0, "")


def test_another_device_and_another_gpu_are_told():
    packages = {"torch": "2"}
    before = {"packages": packages, "device": "cuda:0", "gpu": {"name": "A", "cudnn": 1}, "threads": 4}
    now = {**before, "gpu": {"name": "B", "cudnn": 2}, "threads": 8}
    assert list(same_machine._differences(before, now)) == ["GPU A, 1 before, B, 2 now"]
    assert list(same_machine._differences(before, {**before, "device": "cpu"})) == ["device cuda:0 before, cpu now"]


def test_another_number_of_processes_is_told_unless_sums_are_exact(run_cli, tiny_run, threads):
    edited(tiny_run, processes=4)
    told = "may differ from those of a run that never stopped: 4 processes before, 1 now"
    assert told in run_cli("resume", "tiny", "training.epochs=3").err
    edited(tiny_run, processes=4)
    result = run_cli("resume", "tiny", "training.epochs=4", "training.reduce=exact")
    assert result.code == 0
    assert "may differ" not in result.err
    assert "`training.reduce: exact` computes with 1 thread in each process" in result.err
    assert "`training.reduce`, `training.epochs` changed: from here on, results differ" in result.err


@pytest.mark.parametrize("content", [None, "packages: [", "5"])
def test_an_environment_that_cannot_be_read_is_told(run_cli, tiny_run, content):
    path = tiny_run / "environment.yaml"
    path.unlink() if content is None else path.write_text(content)
    result = run_cli("resume", "tiny", "training.epochs=3")
    assert result.code == 0
    assert "the run folder has no readable `environment.yaml`" in result.err


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        (["training.loss=bce", "training.ema=0.9"], "`training.loss`, `training.ema`"),
        (["training.optimizer.learning_rate=0.5"], "`training.optimizer`"),
        (["training.scheduler=poly"], "`training.scheduler`"),
        (["training.amp=bf16"], "`training.amp`"),
        (["debug.on_nan=skip"], "`debug.on_nan`"),
    ],
)
def test_keys_that_end_the_equality_of_bits_are_named_in_one_line(run_cli, tiny_run, overrides, keys):
    result = run_cli("resume", "tiny", "training.epochs=3", *overrides)
    assert result.code == 0
    line = "changed: from here on, results differ from those of a run that never stopped"
    assert next(text for text in result.err.splitlines() if line in text).startswith(keys)
    assert result.err.count(line) == 1


def test_more_epochs_are_named_only_where_the_schedule_depends_on_them(run_cli, tiny, tiny_run):
    assert "`training.epochs` changed" in run_cli("resume", "tiny", "training.epochs=3").err
    config = tiny(training__scheduler={"type": "constant"}, training__epochs=1)
    assert run_cli("train", config, "name=steady").code == 0
    result = run_cli("resume", "steady", "training.epochs=2", "data.num_workers=1", "training.metrics=[iou]")
    assert (result.code, "changed: from here on" in result.err) == (0, False)


@pytest.mark.parametrize("override", ["training.loss=bce", "inference.threshold=0.9"])
def test_a_monitored_value_that_is_computed_in_another_way_begins_anew(run_cli, tiny, workplace, override):
    monitor = "val_loss" if "loss" in override else "val_dice"
    config = tiny(training__early_stopping={"monitor": monitor}, training__epochs=1, training__metrics=["dice"])
    assert run_cli("train", config).code == 0
    result = run_cli("resume", "tiny", "training.epochs=2", override)
    key = "training.loss" if "loss" in override else "inference"
    assert result.code == 0
    assert (
        f"`{monitor}` is another value with another `{key}`: it is not known for the best checkpoint, which the next "
        "validation replaces"
    ) in result.err
    best = read_checkpoint(workplace / "outputs/experiments/tiny/checkpoints/best.safetensors")
    assert best.header["early_stopping"]["best_epoch"] == 2
