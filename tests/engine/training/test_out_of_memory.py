"""What happens when memory runs out in a training step."""

import math
from dataclasses import replace

import pytest
import torch
import yaml

from segcli.config.load import load_run
from segcli.core.errors import DataError
from segcli.engine.assembly import Assembly
from segcli.engine.events import Silent
from segcli.engine.runfolder import RunFolder
from segcli.engine.runtime import Precision
from segcli.engine.stopping import StopSignal
from segcli.engine.training.session import open_session
from segcli.engine.training.stepping.stepper import Stepper


def exhausted_above(monkeypatch, most, *, within):
    """Let steps of more than `most` images fail as a GPU does: before the backward pass, or after it."""
    sizes = []
    forward, backward = Stepper.forward_loss, Stepper.backward

    def counting(self, batch):
        sizes.append(len(batch["image"]))
        if within == "forward" and sizes[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(self, batch)

    def failing(self, loss, share):
        backward(self, loss, share)
        if within == "backward" and sizes[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(Stepper, "forward_loss", counting)
    monkeypatch.setattr(Stepper, "backward", failing)
    return sizes


def without_norms(network):
    """Batch norms in evaluation mode, whose statistics would differ for half a batch."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.train = lambda mode=True, module=module: module
            module.eval()
            module.training = False


def gradients(config, monkeypatch, most=None, within="forward"):
    with monkeypatch.context() as patch:
        sizes = exhausted_above(patch, most or 99, within=within)
        run = load_run(config)
        trainer = open_session(run, RunFolder(run.folder), Silent(), StopSignal())
        without_norms(trainer.parts.network)
        taken = []
        patch.setattr(trainer.step, "update", lambda *_: taken.append(trainer.step.stepper.gradients()))
        trainer._train_epoch()
        trainer.close()
        return taken[0], sizes, trainer


@pytest.mark.parametrize("within", ["forward", "backward"])
@pytest.mark.parametrize("accumulation", [1, 3])
def test_halves_give_the_same_gradient_and_the_same_figures(within, accumulation, tiny, monkeypatch):
    config = tiny(
        debug__on_oom="halve",
        data={"batch_size": 2, "num_workers": 0},
        training__gradient_accumulation_steps=accumulation,
    )
    whole, _, trainer = gradients(config, monkeypatch)
    halved, sizes, other = gradients(config, monkeypatch, most=1, within=within)
    assert sizes == [2, 1, 1, 1, 1, 1, 1]
    assert whole.keys() == halved.keys()
    for name, value in whole.items():
        torch.testing.assert_close(halved[name], value, rtol=1e-4, atol=1e-6)
    assert other.step.totals.losses() == pytest.approx(trainer.step.totals.losses(), rel=1e-5)
    assert other.step.totals.tally.averages() == pytest.approx(trainer.step.totals.tally.averages())


def test_a_batch_is_skipped_once_and_as_a_whole_however_it_is_cut(tiny, monkeypatch):
    forward = Stepper.forward_loss

    def spoilt(self, batch):
        if len(batch["image"]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        losses, outputs = forward(self, batch)
        spoilt.calls += 1
        return {**losses, "loss": losses["loss"] * (math.nan if spoilt.calls % 2 == 0 else 1.0)}, outputs

    spoilt.calls = 0
    monkeypatch.setattr(Stepper, "forward_loss", spoilt)
    run = load_run(tiny(debug={"on_oom": "halve", "on_nan": "skip"}, data={"batch_size": 2, "num_workers": 0}))
    trainer = open_session(run, RunFolder(run.folder), Silent(), StopSignal())
    before = {name: value.clone() for name, value in trainer.parts.network.state_dict().items()}
    with pytest.raises(DataError, match="no batch of epoch 1 had a finite loss"):  # the second half of each has none
        trainer._train_epoch()
    trainer.close()
    assert trainer.progress.skipped == len(trainer.train) == 3
    assert trainer.step.totals.losses() == {}
    after = trainer.parts.network.state_dict()
    assert [name for name, value in before.items() if not torch.equal(value, after[name])] == []


@pytest.mark.parametrize("on_oom", ["stop", "halve"])
def test_a_skipped_batch_leaves_the_running_statistics_of_batch_norms_as_they_were(on_oom, tiny, monkeypatch):
    run = load_run(tiny(debug={"on_oom": on_oom, "on_nan": "skip"}, data={"batch_size": 2, "num_workers": 0}))
    trainer = open_session(run, RunFolder(run.folder), Silent(), StopSignal())
    forward, kept = Stepper.forward_loss, []

    def overflowing(self, batch):
        if len(kept) == 1:  # the second of three batches
            batch = {**batch, "image": batch["image"] * math.inf}
        kept.append(trainer.step.stepper.buffers())
        return forward(self, batch)

    monkeypatch.setattr(Stepper, "forward_loss", overflowing)
    trainer._train_epoch()
    trainer.close()
    assert trainer.progress.skipped == 1
    assert all(torch.equal(*pair) for pair in zip(kept[1], kept[2], strict=True))
    assert all(buffer.isfinite().all() for buffer in trainer.parts.network.buffers())


def test_an_attempt_that_runs_out_of_memory_leaves_the_running_statistics_as_they_were(tiny, monkeypatch):
    config = tiny(debug__on_oom="halve", data={"batch_size": 2, "num_workers": 0})
    run = load_run(config, ["data.limit_batches=1"])
    trainer = open_session(run, RunFolder(run.folder), Silent(), StopSignal())
    exhausted_above(monkeypatch, 1, within="backward")
    trainer._train_epoch()
    trainer.close()
    counts = {
        int(value) for name, value in trainer.parts.network.named_buffers() if name.endswith("num_batches_tracked")
    }
    assert counts == {2}  # the two halves, not the whole batch


def test_it_says_so_and_goes_on_to_the_end(tiny, run_cli, monkeypatch):
    exhausted_above(monkeypatch, 1, within="forward")
    result = run_cli("train", tiny(debug__on_oom="halve"))
    assert result.code == 0, result.err
    assert result.err.count("out of memory in epoch 1, batch 1") == 1
    assert "a batch of 2 goes through the network in 2 pieces" in result.err


@pytest.mark.parametrize("on_oom", ["stop", "halve"])
def test_what_no_halving_helps_ends_with_the_remedies(on_oom, tiny, run_cli, monkeypatch):
    exhausted_above(monkeypatch, 0, within="forward")
    result = run_cli("train", tiny(debug__on_oom=on_oom))
    assert result.code == 5
    for remedy in ("data.batch_size", "data.patch_size", "training.amp", "segcli profile-memory"):
        assert remedy in result.err


def test_validation_on_the_cpu_gives_the_same_figures(tiny, run_cli, workplace):
    told = []
    for where in ("device", "cpu"):
        assert run_cli("train", tiny(name=where, training__validate_on=where)).code == 0
        told.append(yaml.safe_load((workplace / f"outputs/experiments/{where}/metrics_history.yaml").read_text()))
    assert [entry["val"] for entry in told[0]] == [entry["val"] for entry in told[1]]


def test_validation_on_the_cpu_takes_a_copy_in_full_precision_and_leaves_the_network_where_it_is(tiny):
    run = load_run(tiny(training__validate_on="cpu"))
    trainer = open_session(run, RunFolder(run.folder), Silent(), StopSignal())
    trainer.close()
    network = trainer.parts.network
    on_gpu = replace(trainer.parts, device=torch.device("meta"), precision=Precision(torch.bfloat16, "cuda"))
    parts, copied = on_gpu.on_cpu(network)
    assert (parts.device.type, parts.precision) == ("cpu", Precision(None, "cpu"))
    assert parts.loss is not on_gpu.loss
    assert copied is not network
    for name, value in network.state_dict().items():
        assert torch.equal(copied.state_dict()[name], value)


@pytest.mark.parametrize(("where", "times"), [("device", 0), ("cpu", 2)])
def test_every_validation_is_where_the_run_wants_it(where, times, tiny, run_cli, monkeypatch):
    heard = []
    monkeypatch.setattr(Assembly, "on_cpu", lambda self, network: heard.append(network) or (self, network))
    assert run_cli("train", tiny(training__validate_on=where, training__epochs=2)).code == 0
    assert len(heard) == times
