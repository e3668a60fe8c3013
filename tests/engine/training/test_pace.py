"""Time left: of what will be done, not of what was slow once."""

import pytest

from segcli.engine.training import pace
from segcli.engine.training.pace import Pace
from segcli.engine.training.snapshot import Progress


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    return now


def train(clock, measured, progress, *seconds):
    """Begin an epoch and train a batch in each of the `seconds`."""
    measured.epoch_begins()
    for taken in seconds:
        clock[0] += taken
        measured.batch_over()
        progress.batch += 1


def epoch(clock, measured, progress, *, first_s, val_s=None, batches=4):
    """Train an epoch of 1 s a batch, a validation, and 2 s of checkpoints."""
    began = clock[0]
    train(clock, measured, progress, first_s, *[1.0] * (batches - 1))
    measured.training_over()
    if val_s is not None:
        clock[0] += val_s
        measured.validation_over()
    progress.epoch, progress.batch = progress.epoch + 1, 0
    progress.elapsed_s += clock[0] - began
    clock[0] += 2.0
    measured.epoch_over()


def test_the_start_of_the_loader_is_not_expected_again(clock):
    measured, progress = Pace(epochs=5, batches=4, val_interval=None), Progress()
    train(clock, measured, progress, 31.0, 1.0, 1.0)
    assert measured.remaining_s(progress) == pytest.approx(17.0)  # 1 batch here, 4 in each of 4 epochs


def test_validations_that_are_left_are_counted_and_so_is_the_end_of_each_epoch(clock):
    measured, progress = Pace(epochs=8, batches=4, val_interval=3), Progress()
    epoch(clock, measured, progress, first_s=31.0)
    epoch(clock, measured, progress, first_s=1.5)
    assert measured.remaining_s(progress) == pytest.approx(6 * (4 * 1.0 + 0.5 + 2.0))
    epoch(clock, measured, progress, first_s=1.5, val_s=10.0)
    assert measured.remaining_s(progress) == pytest.approx(5 * 6.5 + 2 * 10.0)  # after epochs 6 and 8
    epoch(clock, measured, progress, first_s=1.5)
    clock[0] += 100.0  # what is not of the training
    train(clock, measured, progress, 1.5)
    assert measured.remaining_s(progress) == pytest.approx(4 * 6.5 - 1.5 + 2 * 10.0)


def test_a_resumed_training_knows_of_validations_before_its_own_first(clock):
    measured = Pace(epochs=10, batches=4, val_interval=2)
    progress = Progress(epoch=4, elapsed_s=4 * 4.0 + 2 * 10.0)
    train(clock, measured, progress, 9.0, 1.0)
    assert measured.remaining_s(progress) == pytest.approx(22 * 1.0 + 3 * 10.0)


def test_the_batches_of_an_epoch_that_was_resumed_are_no_validations(clock):
    measured = Pace(epochs=10, batches=4, val_interval=2)
    progress = Progress(epoch=4, batch=2, elapsed_s=4 * 4.0 + 2 * 10.0 + 2 * 1.0)
    train(clock, measured, progress, 9.0, 1.0)
    assert measured.remaining_s(progress) == pytest.approx(20 * 1.0 + 3 * 10.0)


def test_a_finished_training_has_no_time_left(clock):
    measured, progress = Pace(epochs=1, batches=4, val_interval=1), Progress()
    epoch(clock, measured, progress, first_s=1.0, val_s=1.0)
    assert measured.remaining_s(progress) == 0.0
