"""Promises of whole rooms: a new file in a room is tested at once."""

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from segcli import testing
from segcli.commands.data import make_sample
from segcli.config.load import load_dataset
from segcli.config.sections import DatasetSection
from segcli.core import registry
from segcli.core.errors import ConfigError, DataError
from segcli.core.registry import DATASETS, LOSSES, METRICS, MODELS, OPTIMIZERS, SAMPLES, SCHEDULERS, Registry
from segcli.core.types import IOSpec
from segcli.data.settings import Fold
from segcli.datasets import SPLITS
from segcli.datasets._folds import Folded
from segcli.engine.events import Silent

ROOMS = [value for value in vars(registry).values() if isinstance(value, Registry)]
COMPONENTS = [(room, name) for room in ROOMS for name in room.names()]


@pytest.mark.parametrize(("room", "name"), COMPONENTS, ids=lambda value: getattr(value, "room", value))
def test_a_file_is_a_component_with_one_public_name_and_a_docstring(room, name):
    try:
        kind = room.load(name)
    except ConfigError as error:
        pytest.skip(error.message)  # a package of an extra that is not installed
    assert kind.__module__ == f"segcli.{room.room}.{name}"
    assert kind.__doc__
    assert registry.same_name(kind.__name__) == registry.same_name(name)


@pytest.mark.parametrize("name", ["UNet", "u-net", "U_NET", "unet", "U+Net".replace("+", "")])
def test_names_match_without_regard_to_case_and_signs(name):
    assert MODELS.canonical(name) == "unet"


def test_an_unknown_name_gives_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown scheduler `cosin`\n  hint: did you mean `cosine`"):
        SCHEDULERS.load("cosin")


# ---- models


SIZE = 8
"""Of images for models that are made for one size."""


def network(name, ndim, channels=3):
    torch.manual_seed(0)
    kind = MODELS.load(name)
    size = (SIZE,) * ndim if kind.needs_size else None
    io = IOSpec(ndim, channels, dict.fromkeys(kind.can_output, 1), size=size)
    return kind(kind.Config.small(), io=io)


MODEL_CASES = [(name, ndim) for name in MODELS.names() for ndim in MODELS.load(name).can_ndim]


@pytest.mark.parametrize("name", MODELS.names())
def test_a_model_keeps_the_size_and_every_parameter_learns(name):
    testing.check_network(name)


@pytest.mark.parametrize("name", [name for name in MODELS.names() if "mask" in MODELS.load(name).can_output])
def test_a_model_gives_the_output_with_pixels_the_name_that_the_task_has_for_it(name):
    kind = MODELS.load(name)
    ndim = kind.can_ndim[0]
    size = (SIZE,) * ndim if kind.needs_size else None
    model = kind(kind.Config.small(), io=IOSpec(ndim, 1, {"depth": 3}, pixels="depth", size=size)).eval()
    outputs = model(torch.zeros(1, 1, *(size or (model.stride * 2,) * ndim)))
    assert {name: values.shape[:2] for name, values in outputs.items()} == {"depth": (1, 3)}


@pytest.mark.parametrize("name", MODELS.names())
def test_a_model_refuses_an_output_that_it_cannot_give(name):
    kind = MODELS.load(name)
    with pytest.raises(ConfigError, match="no `nonsense` output"):
        kind(kind.Config.small(), io=IOSpec(kind.can_ndim[0], 3, {"nonsense": 1}))


@pytest.mark.slow  # each time, `test_exporter.py` does so for every model, with the exporter itself
@pytest.mark.parametrize(("name", "ndim"), MODEL_CASES)
def test_a_model_exports_for_any_batch_and_size_since_it_does_not_branch_on_data(name, ndim):
    model = network(name, ndim).eval()
    free = [] if model.needs_size else range(ndim)
    sizes = {axis + 2: model.stride * torch.export.Dim(f"size{axis}", min=3, max=64) for axis in free}
    shapes = ({0: torch.export.Dim("batch", min=1, max=8), **sizes},)
    example = torch.randn(2, 3, *(model.io.size or (model.stride * 4,) * ndim))
    exported = torch.export.export(model, (example,), dynamic_shapes=shapes).module()
    other = torch.randn(1, 3, *(model.io.size or (model.stride * length for length in (3, 6, 5)[:ndim])))
    with torch.inference_mode():
        torch.testing.assert_close(exported(other), model(other))


# ---- losses and metrics

LOSS_CASES = [(name, target) for name in LOSSES.names() for target in LOSSES.load(name).can_target]


@pytest.mark.parametrize(("name", "target"), LOSS_CASES)
def test_a_loss_keeps_its_promises(name, target):
    testing.check_loss(name, targets=[target])


METRIC_CASES = [
    (name, target)
    for name in METRICS.names()
    for target in ("masks", "classes")
    if target == "classes" or not METRICS.load(name).needs_classes
]


@pytest.mark.parametrize(("name", "target"), METRIC_CASES)
def test_a_metric_keeps_its_promises(name, target):
    testing.check_metric(name, targets=[target])


# ---- data sets


@pytest.fixture(params=DATASETS.names())
def written(request, workplace):
    """A layout on files of its kind, and the data-set file."""
    (workplace / "data").mkdir()
    try:
        keys = DATASETS.load(request.param).write_small(workplace / "data")
    except ConfigError as error:
        pytest.skip(error.message)  # a package of an extra that is not installed
    file = workplace / "set.yaml"
    file.write_text(yaml.safe_dump({"format": request.param, "paths": {"root": "data"}, **keys}))
    return load_dataset(file, whole_run=False).build()


def test_a_layout_finds_every_case_once_and_reads_it_as_it_promised_in_other_processes_too(written):
    counts = {split: count for split, count in {"train": 6, "val": 2, "test": 2}.items() if written.has(split)}
    testing.check_layout(written, counts)
    for case in written.cases("train") if {"mask", "class"} & set(written.truths) else []:
        assert written.truth_of(case).shape == (written.spec.num_classes,) or "mask" in written.truths


def test_a_layout_can_be_shared_out_to_folds_that_validate_each_case_once(written):
    pool = sorted(case.place for split in ("train", "val") for case in written.cases(split))
    held = []
    for index in range(2):
        fold = Folded(written, Fold(index=index, of=2))
        train, val, test = (fold.cases(split) for split in ("train", "val", "test"))
        assert sorted(case.place for case in [*train, *val]) == pool
        assert {fold.together(case) for case in train}.isdisjoint(fold.together(case) for case in val)
        assert [case.place for case in test] == [case.place for case in written.cases("test")]
        assert fold.read(val[0]).size == fold.size(val[0])
        held += [case.place for case in val]
    assert sorted(held) == pool


def test_a_layout_describes_other_data_as_a_test_split_of_all_their_cases(written):
    root = written.root
    place = next(each for each in (root / "test", root / "test.h5", root) if each.exists())
    own = [case for split in (SPLITS if place == root else ["test"]) for case in written.cases(split)]
    values = {**written.config.model_dump(), **written.spec.model_dump()}
    fewer = {"include": ["Video_000"], "exclude": ["Video_001"], "sample_fraction": 0.1}
    values |= {key: value for key, value in fewer.items() if key in values}  # which are about the own data
    other = DatasetSection.model_validate(type(written).elsewhere(values, place)).build()
    assert other.has("test")
    assert list(other.inspect("test")) == []
    found = {case.place: case for case in other.cases("test")}
    assert found.keys() == {case.place for case in own}
    for case in own:
        np.testing.assert_array_equal(other.read(found[case.place]).image, written.read(case).image)


def test_a_layout_tells_a_missing_and_a_damaged_mask_by_name(written):
    missing, damaged = (case.label for case in written.cases("val"))
    if missing is None or "mask" not in written.truths:
        pytest.skip("images and masks are in one file")
    damaged.write_bytes(damaged.read_bytes()[:50])
    missing.unlink()
    again = type(written)(written.config, written.spec)
    with pytest.raises(DataError, match=r"has no (mask|label map)"):
        again.cases("val")
    assert len(again.all_cases("val")) == 2
    findings = {finding.code: finding for finding in again.inspect("val") if finding.severity == "error"}
    assert missing.stem in findings["missing_label"].message
    (finding,) = again.examine(again.all_cases("val")[1])[1]
    assert finding.code in ("unreadable_label", "unreadable_case")
    with pytest.raises(DataError, match=str(damaged)):
        again.read(again.all_cases("val")[1])
    assert len(again.cases("train")) == 6


@pytest.mark.parametrize("kind", SAMPLES.names())
def test_a_sample_is_ready_to_train_and_has_the_images_that_it_states(kind, run_cli, workplace):
    made = make_sample(kind, workplace / "sample", seed=1, size=48, overwrite=False, listener=Silent())
    dataset = load_dataset(workplace / "sample/dataset.yaml", whole_run=False)
    layout = dataset.build()
    assert {split: len(layout.cases(split)) for split in SPLITS} == made["images"]
    assert list(layout.size(layout.cases("train")[0])) == made["shape"]
    result = run_cli("data", "check", "sample/dataset.yaml")
    assert result.code == 0, result.out
    assert "0 errors, 0 warnings" in result.out
    assert dataset.mean is not None


# ---- optimizers and schedules


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_an_optimizer_lowers_a_loss_and_hears_its_options(name):
    testing.check_optimizer(name)
    factory = OPTIMIZERS.load(name)
    torch.manual_seed(0)
    layer = nn.Linear(4, 1)
    config = factory.Config.small().model_copy(update={"learning_rate": 0.01, "weight_decay": 0.25})
    optimizer = factory(config).build(layer.parameters())
    assert optimizer.param_groups[0]["lr"] == 0.01
    assert optimizer.param_groups[0]["weight_decay"] == 0.25


@pytest.mark.parametrize("name", SCHEDULERS.names())
def test_a_schedule_warms_up_in_a_straight_line_and_stays_positive_and_below_its_peak(name):
    testing.check_scheduler(name)
