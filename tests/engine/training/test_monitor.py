from factories import experiment

from segcli.config.load import run_from_values
from segcli.config.schema import EarlyStopping
from segcli.engine.assembly import assemble
from segcli.engine.training.monitor import Monitor


def monitor(**settings):
    return Monitor(EarlyStopping(enabled=True, **settings), {"val_dice": True, "val_loss": False})


def test_patience_counts_down_and_starts_anew_with_an_improvement():
    made = monitor(patience=2)
    heard = [made.hear(value, epoch) for epoch, value in enumerate([0.5, 0.4, 0.6, 0.6, 0.5])]
    assert heard == [True, False, True, False, False]
    assert (made.best, made.best_epoch, made.is_over) == (0.6, 2, True)


def test_a_loss_is_better_when_lower_and_small_changes_do_not_count():
    made = monitor(monitor="val_loss", min_delta=0.1, patience=5)
    assert [made.hear(value, 0) for value in (1.0, 0.95, 0.85)] == [True, False, True]


def test_the_part_of_a_loss_that_is_named_like_a_metric_falls():
    values = experiment(".", training__loss={"bce": 1.0, "dice": 1.0}, training__metrics=["dice"])
    rises = assemble(run_from_values(values, source="test")).rises
    assert rises == {"val_dice": True, "val_loss": False, "val_loss_bce": False, "val_loss_dice": False}
    made = Monitor(EarlyStopping(monitor="val_loss_dice"), rises)
    assert [made.hear(value, epoch) for epoch, value in enumerate([0.9, 0.5, 0.7])] == [True, True, False]
