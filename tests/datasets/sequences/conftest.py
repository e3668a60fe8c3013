"""Data-set files on generated sequences."""

import json

import pytest
import yaml
from factories import street_classes, write_sequences

from segcli.config.load import load_dataset


@pytest.fixture
def clips(workplace):
    """Four sequences of three frames under `data`."""
    return write_sequences(workplace / "data")


@pytest.fixture
def config(workplace):
    """Writes a data-set file on `data`; keyword arguments are its keys, None takes one away."""

    def make(**keys):
        values = {
            "name": "mine",
            "format": "sequences",
            "paths": {"root": "data"},
            "classes": street_classes(),
            "ignore": ["void"],
            "mean": [0.4] * 3,
            "std": [0.2] * 3,
            **keys,
        }
        path = workplace / "set.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
        return path

    return make


@pytest.fixture
def layout(config):
    return lambda *overrides, **keys: load_dataset(config(**keys), overrides, whole_run=False).build()


@pytest.fixture
def check(run_cli, config):
    """`data check --json`; returns exit code and findings by code."""

    def call(**keys):
        result = run_cli("data", "check", config(**keys), "--json")
        findings = {}
        for finding in json.loads(result.out)["findings"]:
            findings.setdefault(finding["code"], []).append(finding)
        return result.code, findings

    return call
