"""Folders in the form of public data sets: the right thing is recognised, checked without errors, and trained on."""

import json

import pytest
import yaml
from public_forms import FORMS


@pytest.mark.parametrize("name", FORMS)
def test_a_folder_in_the_form_of_a_public_data_set_is_recognised_checked_and_trained_on(run_cli, workplace, name):
    form = FORMS[name]
    form.write(workplace / "data" / "set")
    made = run_cli("init", "data/set", *form.answers, "--json")
    assert made.code == 0, made.err
    answer = json.loads(made.out)
    keys = yaml.safe_load((workplace / answer["dataset"]).read_text())
    assert {key: keys.get(key) for key in form.keys} == form.keys
    assert answer["counts"] == form.counts
    assert [part for part in form.notes if not any(part in note for note in answer["notes"])] == []
    checked = run_cli("data", "check", answer["experiment"], "--json")
    assert [each for each in json.loads(checked.out)["findings"] if each["severity"] == "error"] == []
    assert checked.code == 0
    tried = run_cli("train", answer["experiment"], "--dry-run", "device=cpu")
    assert tried.code == 0, tried.err
