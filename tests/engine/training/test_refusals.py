"""`segcli data check` of an experiment finds what `segcli train` refuses, in the same words."""

import json
import re

import pytest

from segcli.data import cache

MISTAKES = {
    "transform": {"data__augmentation": {"transforms": [{"type": "HorizontalFlop"}]}},
    "layer": {"logging": {"tensorboard": True, "log_activations": True, "activation_layers": ["down.9"]}},
    "weights": {"model": {"type": "deeplabv3_plus", "weights": "missing.pth"}},
    "class": {"inference__postprocess": {"classes": {"cat": {"fill_holes": True}}}},
    "cache": {"data__cache": "memory"},
}


@pytest.mark.parametrize("name", MISTAKES)
def test_the_check_refuses_what_the_training_refuses(name, tiny, run_cli, monkeypatch):
    if name == "cache":
        monkeypatch.setattr(cache, "HEADROOM", 0.0)
    path = tiny(**MISTAKES[name])
    refused = run_cli("train", path, "--dry-run")
    assert refused.code in (2, 3, 4), refused.err
    checked = run_cli("data", "check", path, "--json")
    assert checked.code == 1
    found = json.loads(checked.out)["findings"]
    (finding,) = [each for each in found if each["code"] == "refused_by_train"]
    free = re.compile(r"[\d,]+ MiB are free")  # changes between two commands
    assert free.sub("", f"error: {finding['message']}") in free.sub("", refused.err)
    assert f"hint: {finding['hint']}" in refused.err


def test_a_device_that_this_machine_lacks_is_no_fault_of_the_data(tiny, run_cli):
    path = tiny(device="cuda:7")
    assert run_cli("train", path, "--dry-run").code == 5
    assert run_cli("data", "check", path).code == 0


def test_several_reasons_are_told_together(tiny, run_cli):
    path = tiny(**MISTAKES["transform"], data__drop_last=True, data__batch_size=50)
    found = json.loads(run_cli("data", "check", path, "--json").out)["findings"]
    assert len([each for each in found if each["code"] == "refused_by_train"]) == 2
