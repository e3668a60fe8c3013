"""Images at once outside of training: the results of each image stay the same."""

from dataclasses import replace

import pytest
import torch
from factories import write_folders

from segcli.commands.resuming import refuse_changes
from segcli.config.load import load_run
from segcli.core.errors import ConfigError
from segcli.engine.assembly import Assembly, assemble
from segcli.engine.events import Silent
from segcli.engine.inference.evaluator import evaluate


def test_a_gpu_takes_the_stated_number_and_the_cpu_one(tiny):
    for stated, expected in ((None, 2), (5, 5), (1, 1)):
        parts = assemble(load_run(tiny(data__val_batch_size=stated)))
        assert parts.at_once == 1
        assert replace(parts, device=torch.device("cuda")).at_once == expected


def test_the_scores_of_each_image_do_not_depend_on_it(tiny, workplace, monkeypatch):
    write_folders(workplace / "data", {"train": 2, "val": 5})
    parts = assemble(load_run(tiny(inference__tile=[32, 32])))
    cases, scores, sizes = parts.layout.cases("val"), {}, {}
    parts.network.eval()
    for count in (1, 2, 5):
        monkeypatch.setattr(Assembly, "at_once", count)
        batches = list(parts.evaluation_loader(cases, parts.source(cases, Silent())))
        sizes[count] = [len(batch.cases) for batch in batches]
        found = evaluate(parts, parts.network, batches)
        scores[count] = [metric.over_classes(found.tally.statistics(metric)).tolist() for metric in parts.metrics]
    assert sizes == {1: [1] * 5, 2: [2, 2, 1], 5: [5]}
    assert scores[1] == [pytest.approx(values, abs=1e-6) for values in scores[2]]
    assert scores[1] == [pytest.approx(values, abs=1e-6) for values in scores[5]]
    assert len(set(scores[1][0])) > 1


def test_a_resumed_run_may_change_it_and_not_the_batch_size(tiny):
    before = load_run(tiny())
    refuse_changes(before, load_run(tiny(), ["data.val_batch_size=3"]))
    with pytest.raises(ConfigError, match=r"cannot change `data\.batch_size`"):
        refuse_changes(before, load_run(tiny(), ["data.batch_size=3"]))
