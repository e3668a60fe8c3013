"""Length of a training by the clock: time its parts on this machine, and choose the epochs that fit into the minutes.

The timed steps run on copies of the network and of the optimizer, and the random generators are seeded again after
them. So a training whose length was chosen here has the same bits as one whose config states the same length.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from segcli.config.schema import Run
from segcli.core.errors import ConfigError
from segcli.data.loader import EvaluationLoader, Loaded, TrainLoader
from segcli.data.samples import Case
from segcli.engine.events import Silent
from segcli.engine.inference.evaluator import Evaluation
from segcli.engine.runfolder import RunFolder
from segcli.engine.runtime import give_memory_back
from segcli.engine.training.clock.length import Costs, fitted_length, least_seconds, length_and_interval, told
from segcli.engine.training.trainer import Trainer
from segcli.engine.training.watching import Watching
from segcli.schedulers import Horizon, Schedule

__all__ = ["fitted_to_clock", "measured_costs", "with_length"]

SHARE = 0.04
"""Share of the minutes that the timing takes, about."""
TRIED = 2
"""Optimizer steps of each epoch of the first, rough timing, and its validation images."""
SHORTEST_S = 1e-6
"""Seconds of a step, at least."""
EPOCHS = 3
"""Epochs of the second timing. The first one starts the loader and is not counted."""


def fitted_to_clock(trainer: Trainer, began: float, over: Callable[[Trainer], None]) -> Trainer:
    """Return a trainer whose epochs fit into `training.minutes`; without that key, the trainer as it is.

    Args:
        trainer: Trainer before its first step.
        began: Time at which the minutes began, of `time.monotonic`.
        over: Does what comes after the last epoch, such as the report.

    Raises:
        ConfigError: The minutes are not enough for a single step.
    """
    minutes = trainer.run.training.minutes
    if minutes is None:
        return trainer
    costs = measured_costs(trainer, 60.0 * minutes, over)
    costs, elapsed_s = trainer.world.told((costs, time.monotonic() - began))  # by the clock of the first process
    run, text = with_length(trainer.run, costs, 60.0 * minutes - elapsed_s, len(trainer.train))
    trainer.listener.notice(text)
    parts, train = trainer.parts.with_numbers(run), trainer.train
    world = trainer.world
    loader = parts.train_loader(train.cases.cases, train.cases.source, rank=world.rank, size=world.size)
    fitted: Trainer = _like(Trainer, trainer, parts=parts, folder=trainer.folder, train=loader, val=trainer.val)
    return fitted


def with_length(run: Run, costs: Costs, seconds: float, batches: int) -> tuple[Run, str]:
    """Return the run with the epochs that fit into the seconds, and a sentence with the figures they follow from.

    Args:
        run: A run with `training.minutes`.
        costs: What was measured on this machine.
        seconds: Seconds that are left.
        batches: Batches of a whole epoch.

    Raises:
        ConfigError: The seconds are not enough for a single step.
    """
    training = run.training
    assert training.minutes is not None
    group, interval = training.gradient_accumulation_steps, training.val_interval
    if "val_interval" in training.model_fields_set:
        length = fitted_length(costs, seconds, batches=batches, val_interval=interval, group=group)
    else:
        length, interval = length_and_interval(costs, seconds, batches=batches, val_interval=interval, group=group)
    if length is None:
        least = (60.0 * training.minutes - seconds + least_seconds(costs, group)) / 60.0
        raise ConfigError(
            f"`training.minutes` is {training.minutes:g}, which is not enough for a single step here: {told(costs)}",
            hint=f"give {1.05 * least + 0.05:.1f} minutes or more",
        )
    changed: dict[str, Any] = {"epochs": length.epochs, "minutes": None}
    rarer = interval > training.val_interval
    if rarer:
        changed["val_interval"] = interval = min(interval, length.epochs)
    run = run.model_copy(update={"training": training.model_copy(update=changed)})
    steps = ""
    if length.batches < batches:
        run = run.model_copy(update={"data": run.data.model_copy(update={"limit_batches": length.batches})})
        steps = f" of {length.batches} of {batches} batches (`data.limit_batches`)"
    word = "epoch fits" if length.epochs == 1 else "epochs fit"
    fit = f"{length.epochs} {word}" if not steps else f"{length.epochs} epoch{'s' * (length.epochs > 1)}{steps} fit"
    seldom = f"; validated every {interval} epochs (`training.val_interval`)" if rarer else ""
    minutes = f"{training.minutes:g} minute{'s' * (training.minutes != 1)}"
    return run, f"{fit} into {minutes} ({told(costs)}, measured here){seldom}"


def measured_costs(trainer: Trainer, seconds: float, over: Callable[[Trainer], None]) -> Costs:
    """Time training, validation, checkpoint and end of a run, in a small share of the seconds.

    Args:
        trainer: Trainer before its first step; nothing in it changes, and the random generators are seeded again by
            the trainer that follows.
        seconds: Seconds that the training will have.
        over: Does what comes after the last epoch.
    """
    trainer.listener.stage("timing a few steps")
    group = trainer.step.group
    rough = _Timed.on(trainer, epochs=2, batches=TRIED * group, cases=_spread(_cases(trainer.val), TRIED))
    rough.fit()
    first, second = rough.laps
    step_s = max((second.train_s - second.first_s) / len(rough.train), SHORTEST_S)
    image_s = second.val_s / max(len(_cases(rough.val)), 1)
    batches, images = trainer.world.told(_affordable(trainer, SHARE * seconds / EPOCHS, step_s, image_s))
    timed = _Timed.on(trainer, epochs=EPOCHS, batches=batches, cases=_spread(_cases(trainer.val), images))
    began = time.monotonic()
    timed.fit(when_over=lambda: over(timed))
    laps = timed.laps
    whole_s = time.monotonic() - began
    give_memory_back(trainer.parts.device)
    counted = laps[1:]
    start_s = max(first.train_s - second.train_s, 0.0)
    return Costs(
        step_s=max(fmean((lap.train_s - lap.first_s) / batches for lap in counted), SHORTEST_S),
        epoch_s=fmean(lap.first_s for lap in counted) + laps[1].rest_s + _copies(trainer.run) * laps[1].write_s,
        val_s=fmean(lap.val_s for lap in counted) * _scale(timed.val, trainer.val),
        pictures_s=max(laps[2].rest_s - laps[1].rest_s, 0.0),
        pictures_every=trainer.run.logging.visualization_interval or 0,
        once_s=start_s + max(whole_s - sum(lap.seconds for lap in laps), 0.0),
    )


def _affordable(trainer: Trainer, seconds: float, step_s: float, image_s: float) -> tuple[int, int]:
    """Choose how many batches and validation images are timed in one epoch: all, if the seconds are enough."""
    group, count = trainer.step.group, len(_cases(trainer.val))
    images = min(count, max(TRIED, int(0.4 * seconds / image_s))) if count and image_s else count
    batches = int((seconds - images * image_s) / step_s)
    return min(len(trainer.train), max(batches // group, TRIED) * group), images


def _copies(run: Run) -> float:
    """Count the checkpoints that an epoch writes beside `last`; about every second validation is the best so far."""
    kept = run.checkpoint
    periodic = 0.0 if kept.save_every is None or kept.keep_best_only else 1.0 / kept.save_every
    return 0.5 / run.training.val_interval + periodic


def _cases(loader: TrainLoader | EvaluationLoader | None) -> Sequence[Case]:
    return [] if loader is None else loader.cases.cases


def _spread(cases: Sequence[Case], count: int) -> list[Case]:
    """Choose some cases from the whole list."""
    count = min(count, len(cases))
    return [cases[(2 * index + 1) * len(cases) // (2 * count)] for index in range(count)]


def _scale(timed: EvaluationLoader | None, whole: EvaluationLoader | None) -> float:
    """Compute how many times larger the whole validation split is than the timed part of it."""
    return len(_cases(whole)) / max(len(_cases(timed)), 1)


def _like(kind: type[Any], trainer: Trainer, **changes: Any) -> Any:
    """Make a trainer of the same data."""
    kept = {each: getattr(trainer, each) for each in ("dataset", "listener", "stop", "world")}
    return kind(**(kept | changes))


@dataclass
class _Lap:
    """Holds the seconds of an epoch by part."""

    train_s: float = 0.0
    first_s: float = 0.0
    """Seconds until the first batch is there, a part of `train_s`."""
    val_s: float = 0.0
    rest_s: float = 0.0
    """Seconds of checkpoint, history, trackers and pictures."""
    write_s: float = 0.0
    """Seconds of one checkpoint, a part of `rest_s`."""

    @property
    def seconds(self) -> float:
        return self.train_s + self.val_s + self.rest_s


class _Still(Schedule):
    """Keeps the weights as they are, so that no timed step can end in a loss that is not finite."""

    def after_warmup(self, step: int) -> float:
        return 0.0


class _Timed(Trainer):
    """Trains copies in a folder of their own, and keeps the seconds of each epoch."""

    laps: list[_Lap]

    @classmethod
    def on(cls, trainer: Trainer, *, epochs: int, batches: int, cases: list[Case]) -> "_Timed":
        """Make a trainer of some batches and validation cases of another one."""
        run = _shortened(trainer.run, epochs, batches)
        parts = replace(trainer.parts.with_numbers(run), network=deepcopy(trainer.parts.network))
        folder = RunFolder(trainer.folder.timing)
        source, world = trainer.train.cases.source, trainer.world
        if world.is_first:
            shutil.rmtree(folder.path, ignore_errors=True)
        train = parts.train_loader(trainer.train.cases.cases, source, rank=world.rank, size=world.size)
        val = parts.evaluation_loader(cases, source) if cases else None
        made: _Timed = _like(cls, trainer, parts=parts, folder=folder, train=train, val=val, listener=Silent())
        made.laps = []
        made.schedule = _Still(_Still.Config(), base_lr=0.0, horizon=Horizon(epochs, batches))
        return made

    def fit(self, *, when_over: Callable[[], None] | None = None) -> None:
        """Train, and remove all files."""
        if self.world.is_first:
            self.folder.path.mkdir(parents=True)
        try:
            super().fit(when_over=when_over if self.world.is_first else None)
        finally:
            if self.world.is_first:
                shutil.rmtree(self.folder.path, ignore_errors=True)

    def _train_epoch(self) -> None:
        self.laps.append(_Lap())
        began = time.monotonic()
        super()._train_epoch()
        self.laps[-1].train_s = time.monotonic() - began

    def _batches(self) -> Iterator[Loaded]:
        began = time.monotonic()
        for number, loaded in enumerate(super()._batches()):
            if not number:
                self.laps[-1].first_s = time.monotonic() - began
            yield loaded

    def _validate(self, watching: Watching) -> Evaluation:
        began = time.monotonic()
        done = super()._validate(watching)
        self.laps[-1].val_s = time.monotonic() - began
        return done

    def _finish_epoch(self, watching: Watching, started: float) -> None:
        began = time.monotonic()
        super()._finish_epoch(watching, started)
        self.laps[-1].rest_s = time.monotonic() - began - self.laps[-1].val_s

    def save(self, *, best: bool = False, keep: bool = False) -> None:
        """Write `last` alone, and note the seconds."""
        began = time.monotonic()
        super().save()
        self.laps[-1].write_s = time.monotonic() - began


def _shortened(run: Run, epochs: int, batches: int) -> Run:
    """Return the run with few epochs of few batches, a validation in each, pictures in the last, and no trackers."""
    training = run.training
    stopping = training.early_stopping.model_copy(update={"enabled": False})
    logging = run.logging
    every = None if logging.visualization_interval is None else epochs
    return run.model_copy(
        update={
            "data": run.data.model_copy(update={"limit_batches": batches}),
            "training": training.model_copy(
                update={"epochs": epochs, "minutes": None, "val_interval": 1, "early_stopping": stopping}
            ),
            "logging": logging.model_copy(
                update={"trackers": [], "visualization_interval": every, "log_images": False, "log_activations": False}
            ),
        }
    )
