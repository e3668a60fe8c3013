import json

import pytest
import yaml
from factories import write_folders


@pytest.fixture
def folders(workplace):
    """A data-set file on ten images in one folder; keyword arguments are keys of `split`."""
    write_folders(workplace / "data", {".": 10})

    def make(**split):
        path = workplace / "set.yaml"
        values = {"name": "mine", "paths": {"root": "data"}, "num_channels": 3, "mean": [0.4] * 3, "std": [0.2] * 3}
        path.write_text(yaml.safe_dump({**values, "split": {"by": "fraction", "val": 0.2, "test": 0.3, **split}}))
        return path

    return make


def ids(config):
    from segcli.config.load import load_dataset

    layout = load_dataset(config, whole_run=False).build()
    return {split: [case.id for case in layout.cases(split)] for split in ("train", "val", "test")}


def test_the_split_file_has_the_names_of_each_split_and_is_used(run_cli, folders, workplace):
    drawn = ids(folders())
    result = run_cli("data", "split", folders())
    assert result.code == 0
    assert "wrote data/split.yaml" in result.out
    written = yaml.safe_load((workplace / "data/split.yaml").read_text())
    assert {split: written[split] for split in drawn} == drawn
    assert written["drawn"] == {"by": "fraction", "val": 0.2, "test": 0.3, "seed": 0}
    swapped = {**written, "train": written["test"], "test": written["train"]}
    (workplace / "data/split.yaml").write_text(yaml.safe_dump(swapped))
    assert ids(folders())["train"] == drawn["test"]


def test_it_is_written_anew_with_another_seed_and_counts_are_told(run_cli, folders):
    run_cli("data", "split", folders())
    config = folders(seed=1)
    refused = run_cli("data", "check", config, "--json")
    assert refused.code == 1
    (found,) = (entry for entry in json.loads(refused.out)["findings"] if entry["severity"] == "error")
    assert "was drawn with `seed: 0`, but the data-set file says `seed: 1`" in found["message"]
    document = json.loads(run_cli("data", "split", config, "--json").out)
    assert document["num_images"] == {"train": 5, "val": 2, "test": 3}
    assert document["unit"] == "image"
    assert document["moved"] > 0
    assert json.loads(run_cli("data", "split", config, "--json").out)["moved"] == 0
    assert run_cli("data", "check", config).code == 0


def test_an_image_that_came_later_is_told(run_cli, folders, workplace):
    run_cli("data", "split", folders())
    for kind in ("image", "label"):
        (workplace / "data" / kind / "99.png").write_bytes((workplace / "data" / kind / "04.png").read_bytes())
    result = run_cli("data", "check", folders(), "--json")
    assert result.code == 0
    found = {finding["code"]: finding for finding in json.loads(result.out)["findings"]}
    assert found["not_in_split_file"]["message"] == "image `99` is in no split of `data/split.yaml`"


def test_a_data_set_that_draws_nothing_is_told(run_cli, workplace):
    write_folders(workplace / "data")
    (workplace / "set.yaml").write_text("paths: {root: data}\n")
    result = run_cli("data", "split", "set.yaml")
    assert result.code == 2
    assert "draws no split: folders, names or a file written by hand define it" in result.err
    assert not (workplace / "data/split.yaml").exists()
