"""`data.cache: auto` keeps images in memory where that is worth it and fits easily; the run's config tells."""

import pytest
import yaml
from factories import experiment, write_folders

from segcli.config.load import run_from_values
from segcli.data import cache
from segcli.data.cache import MemoryCache
from segcli.engine.assembly import assemble
from segcli.engine.events import Silent
from segcli.engine.training.caching import with_chosen_cache

MIB = 2**20


@pytest.fixture
def decided(workplace, monkeypatch):
    """Decides for a tiny run with free memory of the test's choice; an image takes 9.2 kB."""
    write_folders(workplace / "data")

    def decide(free=100 * MIB, processes=1, **changes):
        monkeypatch.setattr(cache, "free_bytes", lambda: free)
        parts = assemble(run_from_values(experiment(workplace / "data", **changes), source="test"))
        cases = [parts.layout.cases(split) for split in ("train", "val")]
        run, reason = with_chosen_cache(parts, *cases, processes=processes)
        return run.data.cache, reason

    return decide


def test_images_are_kept_where_they_fit_into_half_of_the_free_memory(decided):
    needed = 8 * 48 * 48 * 4
    assert decided(free=2 * needed) == ("memory", "")
    chosen, reason = decided(free=2 * needed - 2)
    assert (chosen, reason) == (
        "none",
        "cache: none, because decoded images would take 0 MiB of memory (0 MiB free)",
    )


def test_each_process_and_each_spawned_worker_takes_a_copy(decided, monkeypatch):
    free = 3 * 2 * 8 * 48 * 48 * 4
    assert decided(free, processes=3)[0] == "memory"
    assert decided(free, processes=4)[0] == "none"
    assert decided(free, data__num_workers=4)[0] == "memory"
    monkeypatch.setattr(cache, "START_METHOD", "spawn")
    assert decided(free, data__num_workers=1)[0] == "memory"
    assert decided(free, data__num_workers=2)[0] == "none"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"training__epochs": 1}, "none"),
        ({"training__epochs": 1, "data__patches_per_image": 2, "data__patch_size": [16, 16]}, "memory"),
        ({"training__epochs": 3, "data__limit_batches": 1}, "none"),
        ({"training__epochs": 4, "data__limit_batches": 1}, "memory"),
    ],
)
def test_images_that_are_read_once_are_not_kept(decided, changes, expected):
    chosen, reason = decided(**changes)
    assert chosen == expected
    assert ("no image is read twice" in reason) == (expected == "none")


@pytest.mark.parametrize("stated", ["none", "memory", "disk"])
def test_a_stated_cache_stays(decided, stated):
    assert decided(free=0, data__cache=stated) == (stated, "")


def test_the_choice_is_told_written_and_kept_by_a_resumed_run(run_cli, tiny, workplace, monkeypatch):
    result = run_cli("train", tiny())
    assert result.code == 0, result.err
    assert result.err.count("cache: decoded images take") == 1
    config = workplace / "outputs/experiments/tiny/config.yaml"
    assert yaml.safe_load(config.read_text())["data"]["cache"] == "memory"
    monkeypatch.setattr(cache, "EASY", 0.0)  # would now choose none
    resumed = run_cli("resume", "tiny", "training.epochs=3")
    assert resumed.code == 0, resumed.err
    assert "cache: decoded images take" in resumed.err


def test_statistics_of_each_image_are_kept_with_it(workplace):
    values = experiment(write_folders(workplace / "data"), data__cache="memory")
    values["data"]["preprocessing"] = {"normalize": "per_image"}
    parts = assemble(run_from_values(values, source="test"))
    cases = parts.layout.cases("train")
    source = parts.source(cases, Silent())
    assert isinstance(source, MemoryCache)
    sample = source.read(cases[0])
    assert sample.scale is not None
    assert [each.tolist() for each in sample.scale] == [each.tolist() for each in parts.pipeline.scale(sample.image)]
    plain = parts.train_loader(cases, parts.layout)
    kept = parts.train_loader(cases, source)
    for one, other in zip(kept.epoch(0), plain.epoch(0), strict=True):
        assert one.tensors["image"].equal(other.tensors["image"])
