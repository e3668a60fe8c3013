"""Each fault, planted by itself in a clean data set, is found by itself."""

import json

import pytest
from planted import FAULTS, SETS, Set, cells

from segcli.commands.data import check_data
from segcli.config.load import load_dataset
from segcli.config.schema import DatasetSection
from segcli.engine.events import Silent


def found(made: Set) -> dict[str, str]:
    """Severity of each kind of finding on which something can be done."""
    path = made.root.parent / "set.yaml"
    path.write_text(json.dumps({"name": "mine", **made.keys}))  # JSON is YAML, with names such as 0009 in quotes
    dataset: DatasetSection = load_dataset(path, whole_run=False)
    checked = check_data(dataset, listener=Silent())
    return {finding.code: finding.severity for finding in checked.findings if finding.hint}


@pytest.mark.parametrize("layout", SETS)
def test_a_clean_data_set_gives_no_finding(workplace, layout):
    assert found(SETS[layout](workplace / "data")) == {}


def test_shares_of_a_few_images_that_differ_by_chance_are_no_finding(workplace):
    made = SETS["folders"](workplace / "data")
    for split, counts in {"train": (1, 2, 3, 15, 1, 20, 2, 9), "val": (1, 2, 1)}.items():
        for index, count in enumerate(counts):
            image, mask = cells(100 * len(split) + index, count=count)
            made.write(split, index, image=image, mask=mask)
    assert found(made) == {}


CASES = [(name, layout) for name, (_, layouts, _) in FAULTS.items() for layout in layouts.split()]


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_a_planted_fault_is_the_only_finding(workplace, name, layout):
    made = SETS[layout](workplace / "data")
    codes, _, plant = FAULTS[name]
    plant(made)
    assert list(found(made)) == codes.split()
