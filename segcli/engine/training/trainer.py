"""Training loop: epochs, validation, checkpoints, resuming.

The loop does not depend on the task, the model or the loss: it takes a step per batch and keeps a `Snapshot`.
"""

import math
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from segcli.config.schema import Run
from segcli.core.errors import DataError, SegcliError
from segcli.core.files import write_text, yaml_text
from segcli.core.header_text import HeaderText
from segcli.core.heap import keep_freed_memory
from segcli.core.once import Once
from segcli.core.randomness import seed_of
from segcli.data.loader import EvaluationLoader, Loaded, TrainLoader
from segcli.engine.assembly import Assembly
from segcli.engine.checkpoint import sealed, write_checkpoint
from segcli.engine.events import Listener, Noting
from segcli.engine.inference.evaluator import Evaluation, evaluate
from segcli.engine.memory import MemoryLog
from segcli.engine.runfolder import RunFolder
from segcli.engine.runtime import give_memory_back, out_of_memory, seed_everything
from segcli.engine.stopping import StopSignal
from segcli.engine.training.batches import one_value
from segcli.engine.training.keeping import on_host, restore, snapshot_of
from segcli.engine.training.monitor import Monitor
from segcli.engine.training.snapshot import Progress, Snapshot
from segcli.engine.training.stepping.chosen import training_step
from segcli.engine.training.telling import Telling
from segcli.engine.training.watching import Watching
from segcli.engine.world import World, was_lost
from segcli.schedulers import Horizon, Schedule

__all__ = ["Trainer"]

CASES = 3
"""Number of best and of worst cases of the best validation that the report shows."""
REPORT_EVERY_S = 0.5
"""Seconds between two progress messages; a message waits for the device, so it must be rare."""


class Trainer:
    """Trains one run.

    Args:
        parts: The run's parts.
        folder: Run folder for checkpoints and history.
        train: Loader of training batches.
        val: Loader of validation images; None without a validation split.
        dataset: Fingerprint of the data.
        listener: Receives progress, notices and warnings.
        stop: Signal that asks for a stop at the next safe point.
        world: Processes that share each batch and each validation; the first one writes. Default: this one alone.
    """

    def __init__(
        self,
        parts: Assembly,
        folder: RunFolder,
        train: TrainLoader,
        val: EvaluationLoader | None,
        *,
        dataset: dict[str, Any],
        listener: Listener,
        stop: StopSignal,
        world: World | None = None,
    ) -> None:
        self.parts = parts
        self.world = world or World.alone()
        self.run: Run = parts.run
        self.folder = folder
        self.train = train
        self.val = val
        self.dataset = dataset
        self.listener = listener if isinstance(listener, Noting) else Noting(listener)
        self.stop = stop
        self.step = training_step(parts, self.listener, self.world)
        self.progress = Progress()
        self.history: list[dict[str, Any]] = []
        self.history_text, self.header_text = Once(lambda entry: yaml_text([entry])), HeaderText()
        self.best_validation: dict[str, Any] = {}
        training = self.run.training
        self.monitor = Monitor(training.early_stopping, parts.rises)
        horizon = Horizon(training.epochs, -(-len(train) // self.step.group), training.warmup_epochs)
        self.num_steps = horizon.steps
        self.schedule: Schedule = training.scheduler.build(base_lr=self.step.stepper.base_lr, horizon=horizon)
        self.memory = MemoryLog(folder.memory, parts.device) if self.world.is_first else None
        interval = training.val_interval if val else None
        self.telling = Telling(self.listener, self.memory, train, training.epochs, parts.device, val_interval=interval)
        self.saved_at = time.monotonic()
        self.epoch_began: float | None = None
        """Time at which the current epoch began in this process; None between two epochs."""
        # Seed again, so that training does not depend on the random numbers used to build the network.
        rank = self.world.rank
        seed_everything(seed_of(self.run.seed, "training", *([rank] if rank else [])))

    # ---- state

    def snapshot(self) -> Snapshot:
        """Return the state of the run between two optimizer steps, in which all processes are."""
        return snapshot_of(self)

    def restore(self, snapshot: Snapshot) -> None:
        """Restore the state of a stopped run."""
        restore(self, snapshot)

    def save(self, *, best: bool = False, keep: bool = False) -> None:
        """Write checkpoints: on request `best` and one for this epoch, then always `last`.

        The order matters: a run that is killed in between resumes from the older `last` and writes the others again.
        """
        self.step.guard.settle()
        snapshot = self.snapshot()
        self.saved_at = time.monotonic()
        if not self.world.is_first:
            return
        checkpoint = sealed(snapshot.to_checkpoint(), self.header_text)
        if best:
            write_checkpoint(self.folder.best, checkpoint)
        if keep:
            write_checkpoint(self.folder.periodic(self.progress.epoch), checkpoint)
            for old in self.folder.kept()[: -self.run.checkpoint.max_checkpoints]:
                old.unlink()
        write_checkpoint(self.folder.last, checkpoint)

    # ---- the loop

    def fit(self, *, when_over: Callable[[], None] | None = None) -> None:
        """Train until the last epoch, or until early stopping.

        Args:
            when_over: Called at the very end, after everything is saved and before trackers collect the files.

        Raises:
            Stopped: A stop signal was received; everything is saved.
            DataError: A loss is not finite, or a file cannot be read.
            DeviceMemoryError: The device's memory is exhausted.
        """
        self.stop.defer(self.listener.notice)
        if self.parts.device.type == "cpu":
            keep_freed_memory()
        cases = self.val.cases.cases if self.val else []
        watching = Watching(
            self.parts,
            self.folder,
            cases,
            self.listener,
            self.memory,
            epochs=self.progress.epoch,
            records=self.world.is_first,
        )
        try:
            watching.begin(None if self.step.stepper.is_sharded else self.parts.network, self.history)
            while not self.progress.finished:
                self.epoch_began = started = time.monotonic()
                self.telling.epoch_begins()
                self._train_epoch()
                self.telling.stage_over(self.progress, "train", started)
                self._finish_epoch(watching, started)
            watching.training_over(self.history[-1], self.monitor)
            if when_over is not None:
                when_over()
        except (RuntimeError, MemoryError, ValueError) as error:
            if was_lost(error):
                raise
            self.stop.raise_if_asked()  # the workers may have died from the signal that asked us to stop
            raise self._explained(error) from error
        finally:
            watching.close()
            self.close()

    def _explained(self, error: Exception) -> Exception:
        """Turn known causes into an error that a user understands; return any other error unchanged."""
        causes = [loader.explained(error) for loader in (self.train, self.val) if loader is not None]
        return out_of_memory(error) or one_value(error) or next(filter(None, causes), None) or error

    def close(self) -> None:
        """Stop the loader's worker processes."""
        self.train.close()
        if self.val is not None:
            self.val.close()

    def rehearse(self, batches: int = 2) -> dict[str, Any]:
        """Train a few batches and validate one image without writing files.

        Raises:
            SegcliError: As `fit`.
        """
        try:
            self._begin_epoch()
            for loaded in islice(self.train.epoch(0), batches):
                self._take(loaded, share=1.0)
                self._update()
            self.step.guard.settle()
            val = self._glance() if self.val else {}
        except (RuntimeError, MemoryError, ValueError) as error:
            raise self._explained(error) from error
        finally:
            self.close()
        return {"train": self._averages(), "val": val}

    def _glance(self) -> dict[str, float]:
        """Compute the scores of the first validation batch."""
        assert self.val is not None
        with self.step.stepper.whole():
            return evaluate(self.parts, self.step.stepper.best_network, islice(self.val, 1)).averages()

    def _begin_epoch(self) -> None:
        """Enter training mode, and freeze or unfreeze layers for this epoch."""
        self.parts.network.train()
        message = self.parts.network.epoch_begins(self.progress.epoch)
        if message is not None:
            self.listener.notice(f"epoch {self.progress.epoch + 1}: {message}")

    def _train_epoch(self) -> None:
        self._begin_epoch()
        progress, total = self.progress, len(self.train)
        self.listener.stage(f"epoch {progress.epoch + 1}/{self.run.training.epochs}", total)
        reported = started = time.monotonic()
        images = 0
        for loaded in self._batches():
            progress.skipped += not self._take(loaded, share=self._share(progress.batch, total))
            progress.batch += 1
            images += self.train.images(progress.batch - 1)
            if progress.batch % self.step.group == 0 or progress.batch == total:
                self._update()
                self._settle()
            self.telling.pace.batch_over()
            if time.monotonic() - reported > REPORT_EVERY_S or progress.batch == total:
                reported = time.monotonic()
                speed = images / max(reported - started, 1e-9)
                self.telling.step(progress, self._running(), speed, started)
        if progress.skipped == total:
            raise DataError(
                f"no batch of epoch {progress.epoch + 1} had a finite loss",
                hint="lower the learning rate, or look at the data",
            )

    def _batches(self) -> Iterator[Loaded]:
        """Yield the remaining batches of the epoch."""
        try:
            yield from self.train.epoch(self.progress.epoch, first_batch=self.progress.batch)
        except SegcliError:
            # A cluster scheduler signals every process of a job, so the workers die from the same signal.
            if self.stop.signum is not None and not self.world.is_alone:
                self.train.close()  # the others wait for this process; all of them stop after this step
                yield from self.train.epoch(self.progress.epoch, first_batch=self.progress.batch)
            elif self.stop.signum is not None and self.progress.batch % self.step.group == 0:
                self.save()
            self.stop.raise_if_asked()
            raise

    def _share(self, batch: int, total: int) -> float:
        """Compute the share of a batch in the images of its optimizer step, which has fewer at the end of an epoch."""
        first = batch - batch % self.step.group
        group = range(first, min(first + self.step.group, total))
        return self.train.images(batch) / sum(self.train.images(each) for each in group)

    def _take(self, loaded: Loaded, *, share: float) -> bool:
        """Train on a batch; return False if it was skipped."""
        progress = self.progress
        self.parts.network.progressed(progress.step / self.num_steps)
        return self.step.take(loaded, share=share, place=f"epoch {progress.epoch + 1}, batch {progress.batch + 1}")

    def _update(self) -> None:
        self.step.update(self.schedule.rate(self.progress.step), self.progress.step)
        self.progress.step += 1

    def _settle(self) -> None:
        """Free memory between two optimizer steps, and save if it is time or a stop was requested."""
        frequency = self.run.training.memory_cleanup_frequency
        if frequency is not None and self.progress.step % frequency == 0:
            give_memory_back(self.parts.device)
        is_due = time.monotonic() - self.saved_at >= 60.0 * self.run.checkpoint.every_minutes
        signum, saves = self.world.most(self.stop.signum or 0, int(is_due and self.world.is_first))
        if signum or saves:
            self.stop.join(signum)
            self.save()
        if signum:  # not for a signal that has come meanwhile: the others have not heard of it
            self.stop.raise_if_asked()

    def _running(self) -> dict[str, float]:
        """Return loss and metrics of the current epoch so far, of the images of this process, without parts."""
        totals = self.step.totals
        return {name: value for name, value in totals.losses().items() if name == "loss"} | totals.tally.averages()

    # ---- the end of an epoch

    def _finish_epoch(self, watching: Watching, started: float) -> None:
        progress, training = self.progress, self.run.training
        train = self._averages()
        validated = self._validate(watching) if self._is_validated() else None
        val = validated.averages() if validated else {}
        per_class = validated.per_class(self.parts.task.classes) if validated else {}
        if validated:
            self.telling.stage_over(progress, "val", started)
        rate = self.schedule.rate(max(progress.step - 1, 0))
        notes = [f"{progress.skipped} batches skipped: loss not finite"] if progress.skipped else []
        progress.epoch, progress.batch, progress.skipped = progress.epoch + 1, 0, 0
        self.listener.keep(*(f"epoch {progress.epoch}: {note}" for note in notes))
        progress.elapsed_s += time.monotonic() - started
        self.epoch_began = None
        improved = self._judge(val)
        if improved and validated:
            self.best_validation = validated.remembered(CASES)
        progress.finished = progress.epoch >= training.epochs or (bool(val) and self.monitor.is_over)
        self.step.totals.clear()
        entry = {"epoch": progress.epoch, "train": train, "val": val, "learning_rate": rate}
        self.history.append({**entry, "val_per_class": per_class} if per_class else entry)
        self.step.guard.settle()
        # Before the checkpoint: a run killed in between repeats the epoch, and trackers discard what they have of it.
        with self.step.stepper.whole():
            watching.epoch_over(self.history[-1], self.step.stepper.best_network, improved=improved)
        self._write(best=improved)
        elapsed_s = time.monotonic() - started
        self.telling.epoch(
            progress, self.history[-1], self.monitor, elapsed_s=elapsed_s, improved=improved, notes=notes
        )
        if not progress.finished:
            (signum,) = self.world.most(self.stop.signum or 0)
            self.stop.join(signum)
            if signum:
                self.stop.raise_if_asked()

    def _averages(self) -> dict[str, float]:
        """Compute losses and metrics of the epoch over the images of all processes."""
        totals = self.step.totals
        if self.world.is_alone:
            return totals.averages()
        return totals.joined(self.world.gathered(on_host(totals.state(), self.world))).averages()

    def _is_validated(self) -> bool:
        epoch, training = self.progress.epoch + 1, self.run.training
        return self.val is not None and (epoch == training.epochs or epoch % training.val_interval == 0)

    def _validate(self, watching: Watching) -> Evaluation:
        assert self.val is not None
        self.listener.stage(f"validation {self.progress.epoch + 1}/{self.run.training.epochs}", self.val.count)

        def after_batch(count: int) -> None:
            self.listener.advance(count)
            if self.stop.signum is not None:
                self._stop_together()

        network, hook = self.step.stepper.best_network, watching.image_scored
        parts = self.parts
        self.step.stepper.sharing.adopt_statistics(network, self.parts.network)
        if self.run.training.validate_on == "cpu":
            parts, network = parts.on_cpu(network)
        with self.step.stepper.whole():
            done = evaluate(
                parts,
                network,
                self.val,
                on_image=hook,
                after_batch=after_batch,
                when_done=None if self.world.is_alone else self._stop_together,
                world=self.world,
            )
        watching.join(self.world)
        return done

    def _stop_together(self) -> None:
        """Stop if a process was asked to: the epoch is trained, and resuming begins with its validation."""
        (signum,) = self.world.most(self.stop.signum or 0)
        if signum:
            self.stop.join(signum)
            self.save()
            self.stop.raise_if_asked()

    def _judge(self, val: dict[str, float]) -> bool:
        """Pass a validation to schedule and monitor; return True if it is the best so far."""
        value = val.get(self.monitor.name, math.nan)
        if math.isnan(value):
            if val:
                self.listener.warn(f"`{self.monitor.name}` is not defined on this validation split: no best checkpoint")
            return False
        self.schedule.epoch_ended(self.monitor.oriented(value))
        return self.monitor.hear(value, self.progress.epoch)

    def _write(self, *, best: bool) -> None:
        settings, epoch = self.run.checkpoint, self.progress.epoch
        keep = settings.save_every is not None and not settings.keep_best_only and epoch % settings.save_every == 0
        if self.world.is_first:
            write_text(self.folder.history, self.history_text.joined(self.history))
        self.save(best=best, keep=keep)
