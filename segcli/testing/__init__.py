"""Promises that every component keeps, as checks for components of your own; segcli's own tests call them, too.

Each check takes a component as a config names it, `"my_loss.py:MyLoss"` or the name of an installed one, or the class
or function itself, and its keys. It raises `AssertionError` with the promise that is not kept, and needs no pytest:

    from segcli.testing import check_loss

    def test_my_loss():
        check_loss(MyLoss, alpha=0.3)
"""

import pickle
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segcli.augmentations import Augmentations
from segcli.core import registry
from segcli.core.own_code import Code
from segcli.core.registry import Registry, label
from segcli.core.types import Array, IOSpec
from segcli.data.samples import Sample
from segcli.datasets import SPLITS, Layout
from segcli.losses import WeightedSum
from segcli.metrics import Scored, ScoredClasses
from segcli.schedulers import Horizon

__all__ = [
    "check_augmentation",
    "check_layout",
    "check_loss",
    "check_metric",
    "check_network",
    "check_optimizer",
    "check_scheduler",
    "check_tracker",
]

CLASSES = 4


def _kind(room: Registry, component: Any) -> Any:
    """Find a component by its name, or make the class or function of a user one."""
    if isinstance(component, str):
        name = room.canonical(component)
        return room.load(name, digest=room.digest(name))
    if str(getattr(component, "__module__", "")).startswith(f"segcli.{room.room}."):
        return component
    code = Code(room.room, room.spoken, component.__name__)
    return import_module(f"segcli.{room.room}._own").adapted(component, code)


def _config(kind: Any, options: dict[str, Any]) -> Any:
    return kind.Config.model_validate(options) if options else kind.Config.small()


def _named(component: Any) -> str:
    return label(component) if isinstance(component, str) else str(component.__name__)


# ---- networks


def check_network(component: Any, *, channels: Iterable[int] = (1, 3), **options: Any) -> None:
    """Check that a network keeps the size of images, gives finite logits, and that every parameter learns.

    Args:
        component: The network.
        channels: Numbers of channels of the images.
        options: Its keys.
    """
    kind = _kind(registry.MODELS, component)
    for ndim in kind.can_ndim:
        for count in channels:
            torch.manual_seed(0)
            size = (8,) * ndim if kind.needs_size else None
            io = IOSpec(ndim, count, dict.fromkeys(kind.can_output, 1), size=size)
            _check_outputs(kind(_config(kind, options), io=io), kind.can_output)


def _check_outputs(network: Any, names: tuple[str, ...]) -> None:
    io = network.io
    size = io.size or (network.stride * 4,) * io.ndim
    outputs = network(torch.randn(2, io.in_channels, *size))
    assert tuple(outputs) == names, f"the outputs are {tuple(outputs)}, not {names}"
    shapes = {key: tuple(value.shape) for key, value in outputs.items()}
    assert set(shapes.values()) <= {(2, 1, *size), (2, 1)}, f"sizes are not kept: {shapes}"
    assert shapes.get("mask", (2, 1, *size)) == (2, 1, *size), f"the size is not kept: {shapes}"
    torch.stack([value.square().mean() for value in outputs.values()]).sum().backward()  # type: ignore[no-untyped-call]
    assert all(value.isfinite().all() for value in outputs.values()), "not every logit is finite"
    idle = [key for key, each in network.named_parameters() if each.grad is None or not each.grad.any()]
    assert not idle, f"these parameters do not learn: {idle}"


# ---- losses


def case(
    target: str = "masks", seed: int = 0, batch: int = 3, size: tuple[int, ...] = (9, 7)
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw logits, truth and valid pixels of one mask, or of classes that exclude each other."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, 1 if target == "masks" else CLASSES, *size, generator=generator)
    shares = torch.rand(batch, 1, *size, generator=generator)
    truth = shares < 0.3 if target == "masks" else (shares[:, 0] * CLASSES).long()
    valid = torch.rand(batch, 1, *size, generator=generator) < 0.8
    return logits, truth, valid


def changed_outside(truth: Tensor, valid: Tensor) -> Tensor:
    """Change the truth wherever pixels are not valid."""
    if truth.dtype == torch.bool:
        return truth ^ ~valid
    return torch.where(valid[:, 0], truth, (truth + 1) % CLASSES)


def sure(truth: Tensor, height: float = 1.0) -> Tensor:
    """Make values that say the truth: `height` for it, minus `height` (of one mask) or 0 (of a class) for the rest."""
    if truth.dtype == torch.bool:
        return (truth * 2.0 - 1.0) * height
    return torch.nn.functional.one_hot(truth, CLASSES).movedim(-1, 1) * height


def value(loss: Any, logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Compute the total of a loss whose network says the same with each of its outputs."""
    highest = logits.where(valid, 0.0).flatten(2).amax(2)
    outputs = {"mask": logits, "attention": logits, "presence": highest, "gate": highest, "confidence": highest.abs()}
    batch = {"mask": truth, "valid": valid}
    if truth.dtype == torch.bool:
        batch["presence"] = (truth & valid).flatten(2).any(2)
    total: Tensor = WeightedSum([(1.0, loss)])({name: outputs[name] for name in loss.needs}, batch)["loss"]
    return total


def check_loss(component: Any, *, targets: Iterable[str] | None = None, **options: Any) -> None:
    """Check that a loss is finite, is 0 for the truth, leaves out pixels that are not valid, and averages over images.

    Args:
        component: The loss.
        targets: `masks` that are apart, `classes` that exclude each other, or both; default: as the loss says.
        options: Its keys.
    """
    kind = _kind(registry.LOSSES, component)

    def built() -> Any:
        loss = kind(_config(kind, options))
        loss.name = _named(component)
        return loss

    for target in targets or kind.can_target:
        for promise in (_is_scalar, _leaves_out, _is_nothing_for_the_truth, _is_a_mean, _bears_half, _bears_empty):
            promise(built, target)


def _is_scalar(built: Callable[[], Any], target: str) -> None:
    for size in ((9, 7), (5, 6, 7)):
        logits, truth, valid = case(target, batch=2, size=size)
        logits.requires_grad_()
        result = value(built(), logits, truth, torch.ones_like(valid))
        assert result.shape == (), f"the loss has the shape {tuple(result.shape)}"
        assert 0 <= result.item() < float("inf"), f"the loss is {result.item()}"
        (gradient,) = torch.autograd.grad(result, logits)
        assert gradient.isfinite().all(), "the gradient is not finite"
        assert gradient.any(), "there is no gradient"


def _leaves_out(built: Callable[[], Any], target: str) -> None:
    logits, truth, valid = case(target)
    logits.requires_grad_()
    result = value(built(), logits, truth, valid)
    (gradient,) = torch.autograd.grad(result, logits)
    everywhere = valid.expand_as(logits)
    assert not gradient[~everywhere].any(), "pixels that are not valid have a gradient"
    learning = gradient[everywhere]
    assert learning.any() if built().sparse_gradient else learning.all(), "valid pixels have no gradient"
    other = value(built(), torch.where(valid, logits, -logits * 3), changed_outside(truth, valid), valid)
    torch.testing.assert_close(other, result, msg="pixels that are not valid count")
    nothing = value(built(), logits, truth, torch.zeros_like(valid))
    (gradient,) = torch.autograd.grad(nothing, logits)
    assert nothing.isfinite(), "the loss of an image without a valid pixel is not finite"
    assert not gradient.any(), "an image without a valid pixel has a gradient"


def _is_nothing_for_the_truth(built: Callable[[], Any], target: str) -> None:
    _, truth, valid = case(target)
    found = float(value(built(), sure(truth, 40.0), truth, valid))
    assert found < 1e-3, f"the truth costs {found}"


def _is_a_mean(built: Callable[[], Any], target: str) -> None:
    batch = case(target)
    singles = [value(built(), *(entry[i : i + 1] for entry in batch)) for i in range(3)]
    torch.testing.assert_close(
        value(built(), *batch), torch.stack(singles).mean(), msg="the loss of a batch is not the mean of its images"
    )


def _bears_half(built: Callable[[], Any], target: str) -> None:
    logits, truth, _ = case(target, batch=1, size=(600, 600))
    result = value(built(), logits.half(), truth, torch.ones(1, 1, 600, 600, dtype=torch.bool))
    assert result.isfinite(), "logits of half precision overflow"
    assert result.dtype == torch.float32, f"the loss is {result.dtype}, not float32"


def _bears_empty(built: Callable[[], Any], target: str) -> None:
    for full in (False, True):
        for logit in (-200.0, -20.0, 0.0, 20.0, 200.0):
            logits, truth, valid = case(target, batch=2)
            logits = torch.full_like(logits, logit)
            logits[:, 1:] = -logit
            logits.requires_grad_()
            result = value(built(), logits, torch.full_like(truth, full), torch.ones_like(valid))
            (gradient,) = torch.autograd.grad(result, logits)
            assert result.isfinite(), f"the loss of logits of {logit} is not finite"
            assert gradient.isfinite().all(), f"the gradient of logits of {logit} is not finite"


# ---- metrics


def scored(target: str, probs: Tensor, truth: Tensor, valid: Tensor) -> Scored:
    """Combine probabilities and truth for metrics."""
    return Scored(probs, truth, valid, 0.5) if target == "masks" else ScoredClasses(probs, truth, valid)


def check_metric(component: Any, *, targets: Iterable[str] = ("masks", "classes"), **options: Any) -> None:
    """Check that a metric knows the truth, leaves out pixels that are not valid, and is NaN where there are none.

    Args:
        component: The metric.
        targets: `masks` that are apart, `classes` that exclude each other, or both.
        options: Its keys.
    """
    kind = _kind(registry.METRICS, component)
    made = kind(_config(kind, options))
    made.name = _named(component)
    for target in targets:
        if target == "classes" or not kind.needs_classes:
            _check_statistics(made, target)
            _check_perfect(made, target)


def _check_statistics(made: Any, target: str) -> None:
    logits, truth, valid = case(target, batch=4)
    probs = logits.sigmoid()
    whole = made.statistics(scored(target, probs, truth, valid))
    parts = [made.statistics(scored(target, *(e[i : i + 1] for e in (probs, truth, valid)))) for i in range(4)]
    assert torch.equal(whole, torch.cat(parts)), "the metric depends on how images are batched"
    turned = torch.where(valid, logits, -logits).sigmoid()
    other = made.statistics(scored(target, turned, changed_outside(truth, valid), valid))
    assert torch.equal(whole, other), "pixels that are not valid count"
    nothing = made.statistics(scored(target, probs, truth, torch.zeros_like(valid))).numpy()
    assert np.isnan(made.class_values(nothing)).all(), "the metric of no pixels is not NaN"
    assert np.isnan(made.over_classes(nothing)).all(), "the metric of no pixels is not NaN"


def _check_perfect(made: Any, target: str) -> None:
    _, truth, valid = case(target)
    if made.of_absence:
        truth = torch.zeros_like(truth)  # with classes, all but the first are absent
    statistics = made.statistics(scored(target, sure(truth).clamp(min=0.0), truth, valid)).numpy()
    values = made.class_values(statistics)
    np.testing.assert_allclose(values[~np.isnan(values)], made.perfect, err_msg="the truth is not perfect")
    assert np.isnan(values).sum() == (len(truth) if made.of_absence and target == "classes" else 0)
    np.testing.assert_allclose(made.over_classes(statistics), made.perfect)
    assert made.perfect == (1.0 if made.higher_is_better else 0.0)


# ---- the training


def check_optimizer(component: Any, **options: Any) -> None:
    """Check that an optimizer lowers a loss and takes its learning rate."""
    kind = _kind(registry.OPTIMIZERS, component)
    torch.manual_seed(0)
    layer = nn.Linear(4, 1)
    optimizer = kind(_config(kind, options).model_copy(update={"learning_rate": 0.01})).build(layer.parameters())
    assert optimizer.param_groups[0]["lr"] == 0.01, "the optimizer does not take its learning rate"
    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    before = layer(x).square().mean()
    before.backward()
    optimizer.step()
    assert layer(x).square().mean() < before, "a step does not lower the loss"


def check_scheduler(component: Any, **options: Any) -> None:
    """Check that a schedule warms up in a straight line and stays positive and below its peak."""
    kind = _kind(registry.SCHEDULERS, component)
    horizon = Horizon(epochs=10, steps_per_epoch=5, warmup_epochs=2)
    schedule = kind(_config(kind, options), base_lr=0.1, horizon=horizon)
    rates = [schedule.rate(step) for step in range(50)]
    np.testing.assert_allclose(rates[:10], [0.01 * (step + 1) for step in range(10)])
    assert all(0 <= rate <= 0.1 + 1e-12 for rate in rates), f"rates are above their peak or negative: {rates}"
    assert all(rate > 0 for rate in rates[:-1]), "the rate is 0 before the end"


def check_tracker(component: Any, folder: Path, **options: Any) -> None:
    """Check that a tracker takes what a training sends.

    Args:
        component: The tracker.
        folder: An empty folder to write to.
        options: Its keys.
    """
    kind = _kind(registry.TRACKERS, component)
    tracker = kind(folder, first_step=1, config=_config(kind, options))
    tracker.begin("run", {"name": "run"})
    tracker.scalars({"train/loss": 0.5, "val/dice": float("nan")}, 1)
    tracker.comparisons({"loss": {"train": 0.5, "val": 0.6}}, 1)
    tracker.images({"val/0": np.zeros((8, 8, 3), np.uint8)}, 1)
    tracker.hyperparameters({"training.epochs": 1}, {"val_dice": 0.5}, 1)
    tracker.close()


def check_augmentation(component: Any, **options: Any) -> None:
    """Check that an augmentation keeps sizes and types, and that the same seed gives the same pixels."""
    kind = _kind(registry.AUGMENTATIONS, component)
    made = Augmentations(None, [kind(_config(kind, options))], (32, 24, 3))
    for dtype in (np.uint8, np.float32):
        image: Array = np.random.default_rng(0).integers(0, 255, (32, 24, 3)).astype(dtype)
        sample = Sample(image, {"mask": (image[..., 0] > 127).astype(np.uint8)})
        one, again = made(sample, 5), made(sample, 5)
        np.testing.assert_array_equal(one.image, again.image, err_msg="random numbers are not drawn from `rng`")
        np.testing.assert_array_equal(one.maps["mask"], again.maps["mask"])


# ---- data sets


def check_layout(layout: Layout, counts: dict[str, int] | None = None) -> None:
    """Check that a layout finds each case once, reads it as it promised, and finds nothing wrong with it.

    Args:
        layout: The layout on its files: `load_dataset(path, whole_run=False).build()`, for one.
        counts: Cases in each split; None if they are not known.
    """
    assert registry.DATASETS.canonical(layout.spec.format)
    found = {split: layout.cases(split) for split in SPLITS if layout.has(split)}
    assert counts is None or {split: len(cases) for split, cases in found.items()} == counts
    for split, cases in found.items():
        assert len({case.id for case in cases}) == len(cases), f"two cases of `{split}` have one name"
        assert layout.all_cases(split) == cases
        assert list(layout.inspect(split)) == []
        for each in cases:
            sample = _check_case(layout, each)
            examined, findings = layout.examine(each)
            assert findings == []
            assert examined is not None
            np.testing.assert_array_equal(examined.image, sample.image)
            assert sorted(examined.maps) == sorted(sample.maps)
            for name, values in sample.maps.items():
                np.testing.assert_array_equal(examined.maps[name], values)
    there = pickle.loads(pickle.dumps(layout))  # loader workers on macOS and Windows get a copy
    first = next(iter(found.values()))[0]
    np.testing.assert_array_equal(there.read(first).image, layout.read(first).image)


def _check_case(layout: Layout, each: Any) -> Sample:
    sample, size = layout.read(each), tuple(layout.size(each))
    assert len(size) == layout.ndim
    assert sample.image.shape == (*size, layout.spec.num_channels), f"`{each.id}` has the shape {sample.image.shape}"
    masks = (2,) if layout.overlaps else ()
    truths = {*sample.maps, *sample.facts} - {"valid"}
    assert truths == set(layout.truths)
    assert {values.shape for values in sample.maps.values()} <= {(*size, *masks)}
    types = {name: values.dtype.name for name, values in sample.maps.items()}
    assert {types[name] for name in ("mask", "valid") if name in types} <= {"uint8"}
    assert {*types.values()} <= {"uint8", "float32"}
    highest = max(map(np.max, [sample.maps.get("mask", 0), *sample.facts.values()]))
    assert highest < max(layout.spec.num_classes, 2)
    again = layout.inputs(each.image)[each.index or 0]
    assert (again.id, again.index) == (each.id.split("/")[-1], each.index)
    np.testing.assert_array_equal(layout.read_unlabelled(again).image, sample.image)
    assert len(layout.spacing(each) or (1,) * layout.ndim) == layout.ndim
    return sample
