"""Loader workers that are spawned, as on Windows and macOS, give the bits of forked ones."""

import pytest
import torch

from segcli.engine.checkpoint import read_checkpoint


@pytest.mark.slow
@pytest.mark.posix
def test_a_training_with_spawned_workers_ends_with_the_bits_of_one_with_forked_workers(
    run_cli, tiny, workplace, monkeypatch
):
    config = tiny(training__epochs=1, data__augmentation="heavy", data__num_workers=2, data__cache="memory")
    weights = {}
    for method in ("fork", "spawn"):
        monkeypatch.setattr("segcli.data.loader.START_METHOD", method)
        result = run_cli("train", config, f"name={method}")
        assert result.code == 0, result.err
        weights[method] = read_checkpoint(workplace / f"outputs/experiments/{method}/checkpoints/last.safetensors")
    forked, spawned = weights["fork"].tensors, weights["spawn"].tensors
    assert forked.keys() == spawned.keys()
    assert [name for name in forked if not torch.equal(forked[name], spawned[name])] == []
    assert weights["fork"].header["history"] == weights["spawn"].header["history"]
