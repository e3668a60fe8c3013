"""Promises of whole rooms: a new file in a room is tested at once."""

import pickle

import numpy as np
import pytest
import torch
import yaml
from torch import nn

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
from segcli.losses import WeightedSum
from segcli.metrics import Scored, ScoredClasses
from segcli.schedulers import Horizon

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


@pytest.mark.parametrize(("name", "ndim"), MODEL_CASES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_model_keeps_the_size_and_every_parameter_learns(name, ndim, channels):
    model = network(name, ndim, channels)
    size = model.io.size or (model.stride * 4,) * ndim
    outputs = model(torch.randn(2, channels, *size))
    assert tuple(outputs) == model.can_output
    shapes = {key: tuple(value.shape) for key, value in outputs.items()}
    assert set(shapes.values()) <= {(2, 1, *size), (2, 1)}  # of each pixel, or of the whole image
    assert shapes.get("mask", (2, 1, *size)) == (2, 1, *size)
    sum(value.square().mean() for value in outputs.values()).backward()
    assert all(value.isfinite().all() for value in outputs.values())
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


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


# ---- losses

CLASSES = 4


def built(name):
    kind = LOSSES.load(name)
    loss = kind(kind.Config.small())
    loss.name = name
    return loss


def case(target="masks", seed=0, batch=3, size=(9, 7)):
    """Logits, truth and valid pixels of one mask, or of classes that exclude each other."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, 1 if target == "masks" else CLASSES, *size, generator=generator)
    shares = torch.rand(batch, 1, *size, generator=generator)
    truth = shares < 0.3 if target == "masks" else (shares[:, 0] * CLASSES).long()
    valid = torch.rand(batch, 1, *size, generator=generator) < 0.8
    return logits, truth, valid


def changed_outside(truth, valid):
    """Another truth wherever pixels are not valid."""
    if truth.dtype == torch.bool:
        return truth ^ ~valid
    return torch.where(valid[:, 0], truth, (truth + 1) % CLASSES)


def sure(truth, height=1.0):
    """Values that say the truth: `height` for it, minus `height` (of one mask) or 0 (of a class) for the rest."""
    if truth.dtype == torch.bool:
        return (truth * 2.0 - 1.0) * height
    return torch.nn.functional.one_hot(truth, CLASSES).movedim(-1, 1) * height


def value(loss, logits, truth, valid):
    """Total of a loss whose network says the same with each of its outputs."""
    highest = logits.where(valid, 0.0).flatten(2).amax(2)
    outputs = {"mask": logits, "attention": logits, "presence": highest, "gate": highest, "confidence": highest.abs()}
    batch = {"mask": truth, "valid": valid}
    if truth.dtype == torch.bool:
        batch["presence"] = (truth & valid).flatten(2).any(2)
    return WeightedSum([(1.0, loss)])({name: outputs[name] for name in loss.needs}, batch)["loss"]


LOSS_CASES = [(name, target) for name in LOSSES.names() for target in LOSSES.load(name).can_target]


@pytest.mark.parametrize(("name", "target"), LOSS_CASES)
def test_a_loss_is_a_finite_scalar_that_never_is_negative(name, target):
    result = value(built(name), *case(target))
    assert result.shape == ()
    assert result.isfinite()
    assert result >= 0


@pytest.mark.parametrize(("name", "target"), LOSS_CASES)
def test_what_is_not_valid_counts_neither_in_a_loss_nor_in_its_gradient(name, target):
    logits, truth, valid = case(target)
    logits.requires_grad_()
    result = value(built(name), logits, truth, valid)
    (gradient,) = torch.autograd.grad(result, logits)
    everywhere = valid.expand_as(logits)
    assert not gradient[~everywhere].any()
    assert gradient.isfinite().all()
    assert gradient[everywhere].any() if LOSSES.load(name).sparse_gradient else gradient[everywhere].all()
    other = torch.where(valid, logits, -logits * 3)
    torch.testing.assert_close(value(built(name), other, changed_outside(truth, valid), valid), result)


@pytest.mark.parametrize(("name", "target"), LOSS_CASES)
def test_a_perfect_prediction_costs_nothing(name, target):
    _, truth, valid = case(target)
    assert value(built(name), sure(truth, 40.0), truth, valid) < 1e-3


@pytest.mark.parametrize(("name", "target"), LOSS_CASES)
def test_the_loss_of_a_batch_is_the_mean_of_its_images(name, target):
    logits, truth, valid = case(target)
    singles = [value(built(name), *(entry[i : i + 1] for entry in (logits, truth, valid))) for i in range(3)]
    torch.testing.assert_close(value(built(name), logits, truth, valid), torch.stack(singles).mean())


@pytest.mark.parametrize(("name", "target"), LOSS_CASES)
def test_half_precision_logits_of_a_large_image_do_not_overflow(name, target):
    logits, truth, _ = case(target, batch=1, size=(600, 600))
    result = value(built(name), logits.half(), truth, torch.ones(1, 1, 600, 600, dtype=torch.bool))
    assert result.isfinite()
    assert result.dtype == torch.float32


@pytest.mark.parametrize(("name", "target"), LOSS_CASES)
@pytest.mark.parametrize("truth", [False, True])
@pytest.mark.parametrize("logit", [-200.0, -20.0, 0.0, 20.0, 200.0])
def test_a_mask_empty_or_full_and_a_sure_network_give_a_finite_loss_and_gradient(name, target, truth, logit):
    logits, empty, valid = case(target, batch=2)
    logits = torch.full_like(logits, logit)
    logits[:, 1:] = -logit
    logits.requires_grad_()
    result = value(built(name), logits, torch.full_like(empty, truth), torch.ones_like(valid))
    (gradient,) = torch.autograd.grad(result, logits)
    assert result.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize(("name", "target"), LOSS_CASES)
def test_a_loss_of_volumes_learns(name, target):
    logits, truth, valid = case(target, batch=2, size=(5, 6, 7))
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(value(built(name), logits, truth, torch.ones_like(valid)), logits)
    assert gradient.isfinite().all()
    assert gradient.any()


@pytest.mark.parametrize(("name", "target"), LOSS_CASES)
def test_an_image_without_a_valid_pixel_gives_a_finite_loss(name, target):
    logits, truth, valid = case(target)
    logits.requires_grad_()
    result = value(built(name), logits, truth, torch.zeros_like(valid))
    (gradient,) = torch.autograd.grad(result, logits)
    assert result.isfinite()
    assert not gradient.any()


# ---- metrics


def metric(name):
    made = METRICS.load(name)(METRICS.load(name).Config.small())
    made.name = name
    return made


def scored(target, probs, truth, valid):
    return Scored(probs, truth, valid, 0.5) if target == "masks" else ScoredClasses(probs, truth, valid)


METRIC_CASES = [
    (name, target)
    for name in METRICS.names()
    for target in ("masks", "classes")
    if target == "classes" or not METRICS.load(name).needs_classes
]


@pytest.mark.parametrize(("name", "target"), METRIC_CASES)
def test_a_metric_does_not_depend_on_how_images_are_batched(name, target):
    logits, truth, valid = case(target, batch=4)
    probs, made = logits.sigmoid(), metric(name)
    whole = made.statistics(scored(target, probs, truth, valid))
    parts = [made.statistics(scored(target, *(e[i : i + 1] for e in (probs, truth, valid)))) for i in range(4)]
    assert torch.equal(whole, torch.cat(parts))


@pytest.mark.parametrize(("name", "target"), METRIC_CASES)
def test_what_is_not_valid_has_no_part_in_a_metric(name, target):
    logits, truth, valid = case(target)
    made = metric(name)
    one = made.statistics(scored(target, logits.sigmoid(), truth, valid))
    turned = torch.where(valid, logits, -logits).sigmoid()
    assert torch.equal(one, made.statistics(scored(target, turned, changed_outside(truth, valid), valid)))


@pytest.mark.parametrize(("name", "target"), METRIC_CASES)
def test_a_perfect_prediction_has_the_perfect_value(name, target):
    _, truth, valid = case(target)
    made = metric(name)
    if made.of_absence:
        truth = torch.zeros_like(truth)  # with classes, all but the first are absent
    statistics = made.statistics(scored(target, sure(truth).clamp(min=0.0), truth, valid)).numpy()
    values = made.class_values(statistics)
    np.testing.assert_allclose(values[~np.isnan(values)], made.perfect)
    assert np.isnan(values).sum() == (len(truth) if made.of_absence and target == "classes" else 0)
    np.testing.assert_allclose(made.over_classes(statistics), made.perfect)
    assert made.perfect == (1.0 if made.higher_is_better else 0.0)


@pytest.mark.parametrize(("name", "target"), METRIC_CASES)
def test_a_metric_of_no_pixels_is_not_defined(name, target):
    logits, truth, valid = case(target)
    made = metric(name)
    statistics = made.statistics(scored(target, logits.sigmoid(), truth, torch.zeros_like(valid))).numpy()
    assert np.isnan(made.class_values(statistics)).all()
    assert np.isnan(made.over_classes(statistics)).all()


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


def test_a_layout_finds_every_case_once_and_reads_it_as_it_promised(written):
    assert {split: len(written.cases(split)) for split in SPLITS if written.has(split)} == {
        "train": 6,
        "val": 2,
        "test": 2,
    }
    for split in SPLITS:
        cases = written.cases(split)
        assert len({case.id for case in cases}) == len(cases)
        assert written.all_cases(split) == cases
        for case in cases:
            sample = written.read(case)
            size = tuple(written.size(case))
            assert len(size) == written.ndim
            assert sample.image.shape == (*size, written.spec.num_channels)
            assert sample.size == size
            masks = (2,) if written.overlaps else ()
            truths = {*sample.maps, *sample.facts} - {"valid"}
            assert truths == set(written.truths)
            assert {each.shape for each in sample.maps.values()} <= {(*size, *masks)}
            types = {name: each.dtype.name for name, each in sample.maps.items()}
            assert {"uint8"} >= {types[name] for name in ("mask", "valid") if name in types}
            assert {"uint8", "float32"} >= {*types.values()}
            assert max(map(np.max, [sample.maps.get("mask", 0), *sample.facts.values()])) < max(
                written.spec.num_classes, 2
            )
            if truths & {"mask", "class"}:
                assert written.truth_of(case).shape == (written.spec.num_classes,) or "mask" in truths
            inputs = written.inputs(case.image)
            again = inputs[case.index or 0]
            assert (again.id, again.index) == (case.id.split("/")[-1], case.index)
            np.testing.assert_array_equal(written.read_unlabelled(again).image, sample.image)
            assert len(written.spacing(case) or (1,) * written.ndim) == written.ndim


def test_a_layout_finds_nothing_wrong_with_what_is_right_and_examines_what_it_reads(written):
    for split in SPLITS:
        assert list(written.inspect(split)) == []
        for case in written.cases(split):
            sample, findings = written.examine(case)
            assert findings == []
            read = written.read(case)
            np.testing.assert_array_equal(sample.image, read.image)
            assert sorted(sample.maps) == sorted(read.maps)
            for name, each in read.maps.items():
                np.testing.assert_array_equal(sample.maps[name], each)


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


def test_a_layout_travels_to_a_loader_worker_that_is_started_afresh_as_on_macos(written):
    case = written.cases("train")[0]
    assert written.size(case)
    there = pickle.loads(pickle.dumps(written))
    np.testing.assert_array_equal(there.read(case).image, written.read(case).image)


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
    factory = OPTIMIZERS.load(name)
    torch.manual_seed(0)
    layer = nn.Linear(4, 1)
    config = factory.Config.small().model_copy(update={"learning_rate": 0.01, "weight_decay": 0.25})
    optimizer = factory(config).build(layer.parameters())
    assert optimizer.param_groups[0]["lr"] == 0.01
    assert optimizer.param_groups[0]["weight_decay"] == 0.25
    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    before = layer(x).square().mean()
    before.backward()
    optimizer.step()
    assert layer(x).square().mean() < before


@pytest.mark.parametrize("name", SCHEDULERS.names())
def test_a_schedule_warms_up_in_a_straight_line_and_stays_positive_and_below_its_peak(name):
    kind = SCHEDULERS.load(name)
    schedule = kind(kind.Config.small(), base_lr=0.1, horizon=Horizon(epochs=10, steps_per_epoch=5, warmup_epochs=2))
    rates = [schedule.rate(step) for step in range(50)]
    np.testing.assert_allclose(rates[:10], [0.01 * (step + 1) for step in range(10)])
    assert all(0 <= rate <= 0.1 + 1e-12 for rate in rates)
    assert all(rate > 0 for rate in rates[:-1])
