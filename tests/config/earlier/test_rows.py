"""The tables of old keys: each of our keys exists, no name stands twice, and no old key vanishes."""

import re
from collections import Counter

import pytest

from segcli.cli.old_keys import PAGE, main
from segcli.config.earlier.pipelines import PIPELINES
from segcli.config.earlier.reading import Old
from segcli.config.earlier.row import canonical
from segcli.config.earlier.shared import SHARED
from segcli.config.earlier.translate import translate
from segcli.config.schema import DatasetSection, Run
from segcli.config.short_forms import field_at
from segcli.core.registry import DATASETS, LOSSES, MODELS, OPTIMIZERS, SCHEDULERS

VALUES = (
    1,
    0.25,
    -3,
    True,
    None,
    "adam",
    "D:\\a\\b",
    [1, 2],
    ["dice", "x"],
    {},
    [[1, 2, 3]],
    "4,5",
    "(1, 2, 3)",
    float("inf"),
)
TABLES = {"shared": SHARED, **{name: pipeline.rows for name, pipeline in PIPELINES.items()}}


def keys_of(registry):
    return {key for name in registry.names() for key in registry.load(name).Config.model_fields}


def exists(key):
    """Tell whether one of our keys is one of the schema or of a component."""
    section, _, name = key.rpartition(".")
    of_components = {
        "model": MODELS,
        "dataset": DATASETS,
        "training.optimizer": OPTIMIZERS,
        "training.scheduler": SCHEDULERS,
        "dataset.split": DATASETS,
    }
    if section == "dataset.split":
        shares = [
            DATASETS.load(kind).Config.model_fields["split"].annotation for kind in ("sequences", "image_folders")
        ]
        return any(name in share.model_fields for share in shares)
    if section in of_components and name in keys_of(of_components[section]):
        return True
    if section.startswith("training.loss"):
        return name in keys_of(LOSSES) or name in {"weight", "<part>"} or key.count(".") == 2
    return field_at(Run, tuple(key.split("."))) is not None or name in DatasetSection.model_fields


@pytest.mark.parametrize("table", TABLES)
def test_every_key_that_a_table_names_exists(table):
    named = [row.new or row.keys for row in TABLES[table] if not row.new.startswith("~")]
    named += [key for row in TABLES[table] if row.new.startswith("~") for key in row.keys.partition(":")[0].split(", ")]
    single = [key for keys in named for key in keys.split(" or ") if key not in ("", "none")]
    assert [key for key in single if not exists(key)] == []


@pytest.mark.parametrize("table", TABLES)
def test_no_name_stands_twice_in_a_table(table):
    names = Counter(canonical(name) for row in TABLES[table] for name in dict.fromkeys(map(canonical, row.old.split())))
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_no_old_key_vanishes_whatever_its_value(pipeline):
    rows = (*PIPELINES[pipeline].rows, *(SHARED if pipeline == "vessels" else ()))
    for name in dict.fromkeys(row.old.split()[0].replace("*", "dice") for row in rows):
        for value in VALUES:
            told = translate(Old({name: value}), pipeline, "run")
            spoken = {remark.key for remark in (*told.left_out, *told.undecided)}
            spoken |= {change.old for change in told.changes if change.new}
            assert name in spoken, (name, value)


def test_the_page_of_old_keys_is_up_to_date():
    assert main(["--check"]) == 0


def test_keys_of_ours_that_the_tables_of_other_tools_name_exist():
    tables = PAGE.read_text(encoding="utf-8").partition("## Keys of other tools")[2]
    ours = [line.split(" | ")[1] for line in tables.splitlines() if line.startswith("| `")]
    sections = "data|dataset|model|training|inference|checkpoint|output"
    keys = {key for cell in ours for key in re.findall(rf"`((?:{sections})\.[a-z_.]+)(?=[`:])", cell)}
    assert len(keys) > 30
    assert sorted(key for key in keys if not exists(key)) == []
