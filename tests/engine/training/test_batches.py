"""Batches on which no network can be trained are told before the first epoch, with ways out that work."""

import json
import re

import pytest
import torch
from factories import SMALL, volumes_experiment, write_experiment, write_folders, write_hdf5

from segcli.config.load import load_run
from segcli.core.errors import ConfigError, DeviceError
from segcli.core.registry import MODELS
from segcli.core.types import IOSpec
from segcli.engine.assembly import assemble
from segcli.engine.events import Silent
from segcli.engine.runfolder import RunFolder
from segcli.engine.stopping import StopSignal
from segcli.engine.training import batches
from segcli.engine.training.batches import _trains, check_batches
from segcli.engine.training.session import open_session
from segcli.nn.norms_only import NormsOnly

TOO_FEW = "which is too few for a batch norm"
REDUCED = "the last batch of an epoch has 1 image of 2x2, and model `unet` reduces it to one value per channel"


@pytest.fixture
def one_left(tiny, workplace):
    """Seven images of 2x2 pixels, whose last batch of two has one, which the network reduces to one value."""
    write_folders(workplace / "data", {"train": 7, "val": 1})

    def make(**changes):
        return tiny(**{"data": {"batch_size": 2, "num_workers": 0, "image_size": [2, 2]}, **changes})

    return make


def does_train(network, size):
    """Tell whether a batch of one image of this size goes through the network in training mode."""
    try:
        network.train()(torch.zeros(1, 1, *size))
    except ValueError as error:
        return "Expected more than 1 value per channel" not in str(error)
    return True


def ways_out(text):
    return re.findall(r"`(data\.[a-z_]+=[^`]+)`", text.partition("hint:")[2])


@pytest.mark.parametrize("accumulation", [1, 4])
def test_a_last_batch_of_one_value_is_told_with_ways_out_that_work(accumulation, one_left, run_cli, workplace):
    config = one_left(training__gradient_accumulation_steps=accumulation)
    for words in (["train", config], ["train", config, "--dry-run"]):
        refused = run_cli(*words)
        assert refused.code == 2
        assert REDUCED in " ".join(refused.err.split())
    assert not (workplace / "outputs").exists()
    ways = ways_out(refused.err)
    assert ways == ["data.batch_size=4", "data.drop_last=true", "data.image_size=[4, 4]"]
    for number, way in enumerate(ways):
        result = run_cli("train", config, way, f"name=way{number}", "training.epochs=1")
        assert result.code == 0, result.err


def test_a_norm_of_single_images_that_gets_one_value_is_told_whatever_the_batch_size(tiny, workplace, run_cli):
    write_folders(workplace / "data", {"train": 6, "val": 2})
    config = tiny(data={"batch_size": 2, "num_workers": 0, "image_size": [2, 2]}, model__norm="instance")
    for words in (["train", config], ["data", "check", config, "--json"]):
        told = run_cli(*words)
        assert told.code == (2 if words[0] == "train" else 1)
        text = " ".join((told.out + told.err).split())
        assert "model `unet` reduces images of 2x2 to one value per channel" in text
        assert "set a larger `data.image_size`, or `model.norm=group`" in text
    assert run_cli("train", config, "model.norm=group", "training.epochs=1").code == 0


def test_the_check_of_the_data_tells_it_in_the_same_words(one_left, run_cli):
    refused = run_cli("train", one_left(), "--dry-run").err
    checked = run_cli("data", "check", one_left(), "--json")
    assert checked.code == 1
    (finding,) = [each for each in json.loads(checked.out)["findings"] if each["code"] == "refused_by_train"]
    assert f"error: {finding['message']}" in refused
    assert f"hint: {finding['hint']}" in refused


def test_a_network_that_gets_enough_values_from_one_image_trains_on_it(one_left, run_cli):
    assert run_cli("train", one_left(training__epochs=1), "data.image_size=[2, 4]").code == 0


def test_a_single_image_may_be_cut_into_several_crops(tiny, run_cli, workplace):
    write_folders(workplace / "data", {"train": 1, "val": 1})
    config = tiny(data={"batch_size": 4, "num_workers": 0, "patch_size": [2, 2]}, training__epochs=1)
    ways = ways_out(run_cli("train", config).err)
    assert ways == ["data.patches_per_image=2", "data.patch_size=[4, 4]"]
    for number, way in enumerate(ways):
        assert run_cli("train", config, way, f"name=way{number}").code == 0


def test_batches_of_one_volume_are_told_too(run_cli, workplace):
    write_hdf5(workplace / "data")
    values = volumes_experiment(workplace / "data", data={"batch_size": 1, "num_workers": 0, "patch_size": [2, 2, 2]})
    config = write_experiment(workplace / "tiny.yaml", values)
    refused = run_cli("train", config)
    assert refused.code == 2
    assert f"every batch has 1 image of 2x2x2, and model `unet` reduces it to one value per channel, {TOO_FEW}" in (
        " ".join(refused.err.split())
    )
    for way in ways_out(refused.err):
        assert run_cli("train", config, way, "--dry-run").code == 0


def test_every_fold_is_looked_at_before_the_first_is_trained(tiny, run_cli, workplace):
    write_folders(workplace / "data", {"train": 7, "val": 1})
    # of 8 images, folds of 3, 3 and 2 leave 5, 5 and 6 to train
    config = tiny(data={"batch_size": 5, "num_workers": 0, "image_size": [2, 2]}, training__epochs=1)
    refused = run_cli("train", config, "--folds", 3)
    assert refused.code == 2
    assert TOO_FEW in " ".join(refused.err.split())
    assert not (workplace / "outputs").exists()
    assert run_cli("train", config, "--folds", 3, "data.drop_last=true").code == 0


def test_the_last_batch_is_dropped_where_the_run_says_so_and_other_images_each_epoch(tiny, workplace):
    write_folders(workplace / "data", {"train": 7, "val": 1})
    run = load_run(tiny(data={"batch_size": 2, "num_workers": 0, "drop_last": True}))
    parts = assemble(run)
    cases = parts.layout.cases("train")
    loader = parts.train_loader(cases, parts.source(cases, Silent()))
    epochs = [[[case.id for case in loaded.cases] for loaded in loader.epoch(epoch)] for epoch in range(6)]
    assert [[len(batch) for batch in epoch] for epoch in epochs] == [[2, 2, 2]] * 6
    assert len(loader) == 3
    assert len({frozenset(name for batch in epoch for name in batch) for epoch in epochs}) > 1


def test_an_epoch_of_which_nothing_is_left_is_told(tiny, run_cli):
    result = run_cli("train", tiny(data__drop_last=True, data__batch_size=8))
    assert result.code == 2
    assert "an epoch has no batch: it has 6 images, and `data.drop_last` leaves out a batch of fewer than 8" in (
        " ".join(result.err.split())
    )
    assert run_cli("train", tiny(data__drop_last=True, data__batch_size=6), "--dry-run").code == 0


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("name", MODELS.names())
def test_a_network_without_memory_refuses_what_the_network_refuses(name, ndim):
    kind = MODELS.load(name)
    if ndim not in kind.can_ndim:
        pytest.skip(f"not for {ndim}D images")
    config, size = kind.Config(**SMALL[name]), (8,) * ndim
    output = "class" if kind.can_output == ("class",) else kind.can_output[0]
    io = IOSpec(ndim, 1, dict.fromkeys(kind.can_output, 2), pixels=output, size=size if kind.needs_size else None)
    network = kind(config, io=io)
    with torch.device("meta"):
        shadow = kind(config, io=io)
    sizes = [size] if kind.needs_size else [(network.stride,) * ndim, (2 * network.stride,) * ndim]
    told = [_trains(shadow, 1, each) for each in sizes]
    assert told == [does_train(network, each) for each in sizes]
    assert told[-1]


def test_the_first_batch_size_that_works_ends_the_search_for_others(one_left, monkeypatch):
    sizes, trains = [], batches._trains

    def noted(network, images, size):
        sizes.append(images)
        return trains(network, images, size)

    monkeypatch.setattr(batches, "_trains", noted)
    run = load_run(one_left())
    layout = run.dataset.build()
    with pytest.raises(ConfigError, match=TOO_FEW) as refused:
        check_batches(run, layout, layout.cases("train"))
    assert refused.value.hint.startswith("set `data.batch_size=4`")
    assert 7 not in sizes


def test_looking_at_batches_draws_no_random_number(one_left):
    run = load_run(one_left())
    layout = run.dataset.build()
    before = torch.get_rng_state()
    with pytest.raises(ConfigError, match=TOO_FEW):
        check_batches(run, layout, layout.cases("train"))
    assert torch.equal(before, torch.get_rng_state())


@pytest.fixture
def halving(one_left, monkeypatch):
    """Open a training that halves batches of 4 on a device with memory for fewer images; it notes the sizes tried."""

    def opened(*, largest):
        run = load_run(one_left(debug__on_oom="halve", data={"batch_size": 4, "num_workers": 0, "image_size": [2, 2]}))
        trainer = open_session(run, RunFolder(run.folder), Silent(), StopSignal())
        sizes, forward = [], type(trainer.step.stepper).forward_loss

        def exhausted(self, batch):
            sizes.append(len(batch["image"]))
            if sizes[-1] > largest:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return forward(self, batch)

        monkeypatch.setattr(type(trainer.step.stepper), "forward_loss", exhausted)
        return trainer, sizes

    return opened


def test_halves_that_leave_one_value_end_with_the_error_of_the_memory(halving):
    trainer, sizes = halving(largest=1)
    with pytest.raises(DeviceError, match="out of memory"):
        trainer.fit()
    assert sizes == [4, 2, 1]
    assert [text.partition(": ")[2] for text in trainer.listener.warnings] == [
        f"from now on a batch of 4 goes through the network in {pieces} pieces (`debug.on_oom: halve`)"
        for pieces in (2, 4)
    ]


def test_a_smaller_last_batch_is_not_cut_where_its_images_fit_together(halving):
    trainer, sizes = halving(largest=3)
    trainer.train.count = 6  # batches of 4 and 2: by pieces instead of images, the second would be cut into single ones
    trainer._train_epoch()
    trainer.close()
    assert sizes == [4, 2, 2, 2]


def test_norms_of_a_network_without_memory_are_asked_and_not_computed(monkeypatch):
    """Computed by PyTorch's Python functions, they would import its compiler for a second."""
    io = IOSpec(ndim=2, in_channels=1, outputs={"mask": 1})

    def computed(*_):
        raise AssertionError("a norm was computed")

    for name in ("batch_norm", "instance_norm"):
        monkeypatch.setattr(torch, name, computed)
    for norm in ("batch", "instance"):
        with torch.device("meta"):
            kind = MODELS.load("unet")
            network = kind(kind.Config(depths=[2, 4], norm=norm), io=io).train()
        with NormsOnly():
            assert network(torch.empty(1, 1, 4, 4, device="meta"))["mask"].shape == (1, 1, 4, 4)
        with NormsOnly(), pytest.raises(ValueError, match="Expected more than 1"):
            network(torch.empty(1, 1, 2, 2, device="meta"))
