"""Each fault, planted by itself in a clean data set, is found by itself."""

import json
import re
from pathlib import Path

import planted_files  # noqa: F401 - adds faults
import planted_forms  # noqa: F401 - adds faults
import planted_misfits  # noqa: F401 - adds faults
import planted_pictures  # noqa: F401 - adds faults
import planted_volumes  # noqa: F401 - adds faults
import pytest
from planted import FAULTS, SETS, Set, cells, clean

from segcli.commands.data import check_data
from segcli.config.load import load_dataset
from segcli.config.schema import DatasetSection
from segcli.data.checks import Finding
from segcli.engine.events import Silent


def found(made: Set) -> list[Finding]:
    """Check a data set; return the findings on which something can be done."""
    path = made.root.parent / "set.yaml"
    path.write_text(json.dumps({"name": "mine", **made.keys}))  # JSON is YAML, with names such as 0009 in quotes
    dataset: DatasetSection = load_dataset(path, whole_run=False)
    checked = check_data(dataset, listener=Silent())
    return [finding for finding in checked.findings if finding.hint]


def files_in(message: str) -> set[Path]:
    """Find the files that a message names with their path."""
    return {path for path in map(Path, re.findall("`([^`]+)`", message)) if path.is_file()}


@pytest.mark.parametrize("layout", SETS)
def test_a_clean_data_set_gives_no_finding(workplace, layout):
    assert found(SETS[layout](workplace / "data")) == []


def test_shares_of_a_few_images_that_differ_by_chance_are_no_finding(workplace):
    made = SETS["folders"](workplace / "data")
    for split, counts in {"train": (1, 2, 3, 15, 1, 20, 2, 9), "val": (1, 2, 1)}.items():
        for index, count in enumerate(counts):
            image, mask = cells(100 * len(split) + index, count=count)
            made.write(split, index, image=image, mask=mask)
    assert found(made) == []


CASES = [(name, layout) for name, (_, layouts, _) in FAULTS.items() for layout in layouts.split()]


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_a_planted_fault_is_the_only_finding(workplace, tmp_path_factory, name, layout):
    made = clean(layout, workplace / "data", tmp_path_factory.getbasetemp())
    codes, _, plant = FAULTS[name]
    plant(made)
    findings = found(made)
    assert list(dict.fromkeys(finding.code for finding in findings)) == codes.split()
    for finding in findings:
        listed = [path for path in (finding.file, *finding.others) if path is not None]
        for path in files_in(finding.message):
            assert any(path.is_relative_to(each) for each in listed), "a file is missing in --json and --html"
