"""A training that is given minutes ends with them, and is otherwise the training of the same number of epochs."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from segcli.engine.checkpoint import read_checkpoint
from segcli.engine.training import trainer
from segcli.engine.training.clock.length import Costs, Length, fitted_length, length_and_interval
from segcli.engine.training.stepping.step import TrainingStep

TOLERANCE = 0.03
STEP_S, VALIDATION_S, CHECKPOINT_S = 1.0, 2.0, 0.5


@pytest.mark.parametrize(
    ("costs", "batches", "length"),
    [
        (Costs(step_s=1.0, epoch_s=0.0), 10, Length(60, 10)),
        # 6 s are left over, too few for a 55th epoch
        (Costs(step_s=1.0, epoch_s=1.0), 10, Length(54, 10)),
        # one epoch alone takes 1000 s
        (Costs(step_s=1.0, epoch_s=0.0, val_s=5.0), 1000, Length(8, 70)),
        # a validation is dear: only one of them
        (Costs(step_s=1.0, epoch_s=0.0, val_s=120.0), 1000, Length(1, 480)),
        (Costs(step_s=700.0, epoch_s=0.0), 4, None),
        # steps are so long that eight epochs do not get one each
        (Costs(step_s=100.0, epoch_s=0.0), 1000, Length(6, 1)),
        (Costs(step_s=200.0, epoch_s=0.0), 2, Length(3, 1)),
    ],
)
def test_ten_minutes_are_filled_with_whole_epochs_or_with_parts_of_them(
    costs: Costs, batches: int, length: Length | None
) -> None:
    assert fitted_length(costs, 600.0, batches=batches) == length


def test_long_validations_of_few_images_become_rare_instead_of_leaving_time_over() -> None:
    costs = Costs(step_s=1.0, epoch_s=0.0, val_s=130.0)
    assert fitted_length(costs, 600.0, batches=10) == Length(4, 10)  # 40 s over
    length, interval = length_and_interval(costs, 600.0, batches=10, val_interval=1)
    assert length is not None
    assert 600.0 * (1.0 - TOLERANCE) <= costs.seconds(length.epochs, length.batches, interval) <= 600.0
    cheap = Costs(step_s=1.0, epoch_s=0.0, val_s=1.0)
    assert length_and_interval(cheap, 600.0, batches=10, val_interval=3)[1] == 3


def test_the_length_leaves_little_of_the_time_and_never_takes_more() -> None:
    for step_s in (0.013, 0.4, 3.1):
        for epoch_s, val_s, interval, group in ((0.1, 0.0, 1, 1), (0.3, 7.0, 3, 2), (2.0, 11.0, 10, 4)):
            for batches in (20, 333, 20_000):
                costs = Costs(step_s, epoch_s, val_s, once_s=4.0, pictures_s=0.5, pictures_every=5)
                length = fitted_length(costs, 600.0, batches=batches, val_interval=interval, group=group)
                assert length is not None
                taken = costs.seconds(length.epochs, length.batches, interval)
                assert 600.0 * (1.0 - TOLERANCE) <= taken <= 600.0, (costs, batches, length)
                assert length.batches == batches or length.batches % group == 0


def test_many_short_epochs_are_tried_where_a_few_leave_time_over() -> None:
    costs = Costs(step_s=7.0, epoch_s=0.2, val_s=0.3, once_s=62.0)
    length = fitted_length(costs, 600.0, batches=20, val_interval=2, group=2)  # 18 epochs of 4 leave 4.6 % over
    assert length == Length(37, 2)


def test_no_other_length_fills_the_time_where_the_chosen_one_leaves_much_over() -> None:
    def left(length: Length | None) -> float:
        return 600.0 if length is None else 600.0 - costs.seconds(length.epochs, length.batches, interval)

    draw, some = random.Random(0), 0
    for _ in range(500):
        step_s, epoch_s, val_s = (10 ** draw.uniform(low, 2.2) for low in (0.8, -1.0, -1.0))
        costs = Costs(step_s, epoch_s, val_s, once_s=draw.uniform(0.0, 100.0), pictures_s=3.0, pictures_every=5)
        batches, interval, group = draw.randint(1, 40), draw.randint(1, 4), draw.randint(1, 4)
        allowed = [*range(group, batches, group), batches]
        every = [Length(epochs, count) for epochs in range(1, 101) for count in allowed if epochs * count <= 100]
        best = min((length for length in every if left(length) >= 0.0), key=left, default=None)
        found = fitted_length(costs, 600.0, batches=batches, val_interval=interval, group=group)
        assert (found is None) == (best is None), costs
        assert found is None or (found.batches in allowed and left(found) > -1e-6)
        assert left(found) <= max(TOLERANCE * 600.0, left(best) + 1e-6), (costs, found, best)
        some += left(best) > TOLERANCE * 600.0
    assert 20 < some < 400  # both kinds of costs are among them


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A clock that goes on only when a batch, a validation or a checkpoint is done; its time is the only entry."""
    now = [0.0]

    def taking(call: Callable[..., Any], length: float) -> Callable[..., Any]:
        def slowed(*arguments: Any, **options: Any) -> Any:
            now[0] += length
            return call(*arguments, **options)

        return slowed

    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "take", taking(TrainingStep.take, STEP_S))
        patch.setattr(trainer, "evaluate", taking(trainer.evaluate, VALIDATION_S))
        patch.setattr(trainer, "write_checkpoint", taking(trainer.write_checkpoint, CHECKPOINT_S))
        patch.setattr(time, "monotonic", lambda: now[0])
        yield now


def bits(path: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(path).tensors


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_training_of_minutes_ends_in_time_with_the_bits_of_its_epochs_stopped_or_not(
    run_cli: Callable[..., Any], tiny: Callable[..., Path], seconds: list[float]
) -> None:
    config = tiny(
        model__dropout=0.2, data__augmentation="light", checkpoint__save_every=1, checkpoint__every_minutes=99
    )
    result = run_cli("train", config, "training.minutes=1.2")
    assert result.code == 0, result.err
    ended = seconds[0]
    assert abs(ended - 72.0) <= TOLERANCE * 72.0
    folder = Path("outputs/experiments/tiny")
    stated = yaml.safe_load((folder / "config.yaml").read_text())
    epochs, batches = stated["training"]["epochs"], stated["data"]["limit_batches"]
    assert stated["training"]["minutes"] is None
    assert f"{epochs} epochs" in result.err
    assert f"a batch takes {STEP_S:g} s, a validation {VALIDATION_S:g} s, measured here" in result.err
    assert not (folder / ".timing").exists()
    fitted = bits(folder / "checkpoints/last.safetensors")

    limit = f"data.limit_batches={'null' if batches is None else batches}"
    assert run_cli("train", config, f"training.epochs={epochs}", limit, "name=stated").code == 0
    assert same(fitted, bits(Path("outputs/experiments/stated/checkpoints/last.safetensors")))

    stopped = folder / f"checkpoints/epoch_{epochs - 2:04d}.safetensors"
    assert run_cli("resume", stopped).code == 0
    assert same(fitted, bits(folder / "checkpoints/last.safetensors"))


def test_minutes_that_are_not_enough_for_a_step_are_refused(
    run_cli: Callable[..., Any], tiny: Callable[..., Path], seconds: list[float]
) -> None:
    result = run_cli("train", tiny(), "training.minutes=0.1")
    assert result.code == 2
    assert "`training.minutes` is 0.1, which is not enough for a single step here: a batch takes 1 s" in result.err
    assert not Path("outputs").exists()


def test_minutes_and_epochs_of_one_file_are_refused_and_an_override_of_either_counts(
    run_cli: Callable[..., Any], tiny: Callable[..., Path]
) -> None:
    config = tiny(training__minutes=5)
    result = run_cli("data", "check", config)
    assert result.code == 2
    assert "training.minutes: stands beside `training.epochs`" in result.err
    both = yaml.safe_load(config.read_text())
    del both["training"]["epochs"]
    config.write_text(yaml.safe_dump(both))
    assert run_cli("train", config, "training.epochs=1", "--quiet").code == 0
    assert yaml.safe_load(Path("outputs/experiments/tiny/config.yaml").read_text())["training"]["epochs"] == 1
    refused = run_cli("resume", "tiny", "training.minutes=5")
    assert refused.code == 2
    assert "a resumed run cannot change `training.minutes`" in refused.err
