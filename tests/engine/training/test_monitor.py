import copy

import pytest
from factories import experiment

from segcli.config.load import run_from_values
from segcli.config.schema import EarlyStopping
from segcli.engine.assembly import assemble
from segcli.engine.checkpoint import read_checkpoint
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


def history(**values):
    """Validations of epochs 1, 2, ... by the names of the values."""
    return [
        {"epoch": epoch, "val": dict(zip(values, row, strict=True))}
        for epoch, row in enumerate(zip(*values.values(), strict=True), start=1)
    ]


def heard(made, entries):
    for entry in entries:
        made.hear(entry["val"][made.name], entry["epoch"])
    return made


def test_another_monitored_value_is_that_of_the_epoch_that_the_best_checkpoint_holds():
    entries = history(val_dice=[0.5, 0.7, 0.6], val_loss=[0.9, 0.5, 0.4])
    before = heard(monitor(monitor="val_dice"), entries)
    after = monitor(monitor="val_loss", patience=5)
    message = after.restore(before.state, entries)
    assert message == (
        "`val_loss` is monitored from now on, lower is better (`val_dice` before): the best checkpoint, of epoch 2, "
        "has 0.5000"
    )
    assert (after.best, after.best_epoch, after.patience_left) == (0.5, 2, 5)
    assert [after.hear(value, 4) for value in (0.6, 0.45)] == [False, True]  # 0.7, the Dice, was never beaten


def test_a_monitored_value_that_nobody_computed_before_begins_anew():
    entries = history(val_dice=[0.5, 0.7])
    before = heard(monitor(monitor="val_dice"), entries)
    after = monitor(monitor="val_loss")
    assert "is not known for the best checkpoint, which the next validation replaces" in (
        after.restore(before.state, entries)
    )
    assert after.best is None
    assert after.hear(3.0, 3)


def test_the_same_value_goes_on_and_the_other_direction_does_not():
    entries = history(val_dice=[0.5, 0.7, 0.6])
    before = heard(monitor(), entries)
    same, turned = monitor(), monitor(mode="min")
    assert same.restore(before.state, entries) is None
    assert same.state == before.state
    assert "lower is better: the best checkpoint" in turned.restore(before.state, entries)
    older = {key: value for key, value in before.state.items() if key != "lower_is_better"}
    assert monitor().restore(older, entries) is None  # a checkpoint of an older version


@pytest.mark.parametrize("monitored", ["val_loss", "val_loss_dice"])
def test_a_resumed_run_may_monitor_another_value_and_says_so(monitored, run_cli, tiny, workplace):
    scheduler = {"type": "plateau", "patience": 1, "factor": 0.5}
    config = tiny(training__epochs=3, training__scheduler=scheduler, training__early_stopping={"monitor": "val_dice"})
    assert run_cli("train", config).code == 0
    folder = workplace / "outputs/experiments/tiny/checkpoints"
    before = copy.deepcopy(read_checkpoint(folder / "last.safetensors").header)
    result = run_cli("resume", f"training.early_stopping.monitor={monitored}", "training.epochs=7")
    assert result.code == 0, result.err
    assert f"`{monitored}` is monitored from now on, lower is better (`val_dice` before)" in result.err
    last, best = (read_checkpoint(folder / f"{name}.safetensors") for name in ("last", "best"))
    values = {entry["epoch"]: entry["val"][monitored] for entry in last.header["history"]}
    then = before["early_stopping"]["best_epoch"]
    lowest = min([then, 4, 5, 6, 7], key=lambda epoch: values[epoch])
    assert last.header["early_stopping"]["best_epoch"] == lowest
    assert last.header["early_stopping"]["best"] == values[lowest]
    assert best.header["progress"]["epoch"] == lowest  # the file that `best` names
    assert last.header["scheduler"]["best"] > 0  # no Dice with its sign turned
    again = run_cli("resume", "training.epochs=8")
    assert "is monitored from now on" not in again.err
