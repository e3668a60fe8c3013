"""The JSON schema for editors: what loads is valid, and what is refused is not."""

import json
from pathlib import Path

import pytest

from segcli.config.json_schema import json_schema
from segcli.config.shipped import SCHEMA, folder
from segcli.core.strict_yaml import parse

CONFIGS = sorted(path for path in folder().rglob("*.yaml") if path.parent.name != "cluster")


@pytest.fixture(scope="module")
def problems():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    return lambda values: [error.message for error in validator.iter_errors(values)]


def test_the_shipped_schema_is_that_of_the_code(run_cli):
    printed = run_cli("config", "schema").out
    assert (folder() / SCHEMA).read_text() == printed, f"run `segcli config schema > configs/{SCHEMA}`"
    assert json.loads(printed) == json_schema()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_each_shipped_file_points_editors_at_the_schema_and_is_valid(path, problems):
    (line,) = (line for line in path.read_text().splitlines() if "yaml-language-server" in line)
    assert line.startswith("# yaml-language-server: $schema=")
    assert (path.parent / Path(line.partition("$schema=")[2])).resolve() == (folder() / SCHEMA).resolve()
    assert problems(parse(path.read_text())) == []


BASE = "{name: x, dataset: d.yaml, model: unet, "
LEGAL = [
    "model: {type: U-Net, depths: [4, 8]}",
    "model: DeepLabV3+",
    "model: {type: 'my.py:Net', anything: 1}",
    "training: {loss: dice}",
    "training: {loss: DiceLoss, scheduler: torch.optim.lr_scheduler.StepLR}",
    "training: {loss: {bce: 0.5, dice: {weight: 1, smooth: 0.1}}}",
    "training: {loss: {type: Focal-Tversky, gamma: 1.0}}",
    "training: {ema: 0.99, scheduler: null, freeze: down.*, metrics: [dice, {type: surface_dice, tolerance_mm: 1.0}]}",
    "data: {batch_size: auto, augmentation: heavy}",
    "logging: {trackers: [sacred, {type: mlflow, uri: x}]}",
    "dataset: {name: a, classes: [a, b], split: {by: fraction, val: 0.2}}",
]
ILLEGAL = [
    "nam: 1",
    "model: unett",
    "model: {type: unet, dephts: [4]}",
    "training: {epochs: 0}",
    "training: {loss: dise}",
    "training: {loss: {bce: 0.5, dise: 1}}",
    "training: {loss: {type: dice, smoth: 1.0}}",
    "training: {optimizer: {type: sgd, betas: [0.9, 0.9]}}",
    "training: {optimizer: {momentum: 0.9}}",
    "training: {metrics: [dicee]}",
    "data: {augmentation: hevy}",
    "dataset: {split: {vall: 0.2}}",
    "dataset: {format: nifti_volumes, label_sufix: x}",
]


@pytest.mark.parametrize(("texts", "is_legal"), [(LEGAL, True), (ILLEGAL, False)])
def test_the_schema_knows_short_forms_and_the_keys_of_what_is_chosen(texts, is_legal, problems):
    base = parse(BASE + "}")
    assert problems(base) == []
    assert [text for text in texts if (problems(base | parse(f"{{{text}}}")) == []) != is_legal] == []
