"""Estimate of the time that is left of a training, from what its parts have taken so far."""

import time

from segcli.engine.training.snapshot import Progress

__all__ = ["Pace"]


class Pace:
    """Measures the batches, validations and ends of epochs of this process, and counts those that are left.

    The first batch of an epoch waits for the loader, and the first of all also for its start, so it is counted apart.

    Args:
        epochs: Epochs of the training.
        batches: Batches of an epoch.
        val_interval: Epochs between two validations; None without a validation split.
    """

    def __init__(self, *, epochs: int, batches: int, val_interval: int | None) -> None:
        self.epochs, self.batches, self.val_interval = epochs, batches, val_interval
        self._marked = time.monotonic()
        """Time at which what is measured now began."""
        self._is_first = True
        self._firsts: list[float] = []
        """Seconds until the end of the first batch, for each epoch."""
        self._later = [0.0, 0.0]
        self._validations = [0.0, 0.0]
        self._ends = [0.0, 0.0]
        """Seconds, and how many times: of later batches, of validations, and of what follows a validation."""

    def epoch_begins(self) -> None:
        """Begin to measure an epoch."""
        self._lap()
        self._is_first = True

    def batch_over(self) -> None:
        """Measure a batch."""
        if self._is_first:
            self._firsts.append(self._lap())
        else:
            self._note(self._later)
        self._is_first = False

    def training_over(self) -> None:
        """Begin to measure a validation, or what follows the batches of an epoch."""
        self._lap()

    def validation_over(self) -> None:
        """Measure a validation."""
        self._note(self._validations)

    def epoch_over(self) -> None:
        """Measure what follows the batches, or the validation, of an epoch: trackers, pictures and checkpoints."""
        self._note(self._ends)

    def remaining_s(self, progress: Progress) -> float:
        """Estimate the seconds until the last epoch is over; without validations until the time of one is known."""
        epochs = self.epochs - progress.epoch
        batches = epochs * self.batches - progress.batch
        waits = self._firsts[1:]
        wait = max(sum(waits) / len(waits) - self._batch_s, 0.0) if waits else 0.0
        starts = epochs - bool(progress.batch)
        validations = self._left(progress.epoch) * self._validation_s(progress)
        return batches * self._batch_s + starts * wait + validations + epochs * _mean(self._ends)

    @property
    def _batch_s(self) -> float:
        """Seconds of a batch; the first one of all only as long as there is no other."""
        later = self._firsts[1:] if not self._later[1] else []
        return _mean(self._later) or (sum(later) / len(later) if later else sum(self._firsts[:1]))

    def _validation_s(self, progress: Progress) -> float:
        """Compute the seconds of a validation; those of an earlier process are what its batches leave of its time."""
        if self._validations[1]:
            return _mean(self._validations)
        done = self._left(0) - self._left(progress.epoch)
        begun = max(progress.batch - self._later[1] - len(self._firsts), 0.0)  # batches of the epoch that was resumed
        rest = progress.elapsed_s - (progress.epoch * self.batches + begun) * self._batch_s
        return max(rest, 0.0) / done if done else 0.0

    def _left(self, epoch: int) -> int:
        """Count the validations after an epoch; the last epoch always has one."""
        if self.val_interval is None or epoch >= self.epochs:
            return 0
        return self.epochs // self.val_interval - epoch // self.val_interval + bool(self.epochs % self.val_interval)

    def _note(self, sums: list[float]) -> None:
        sums[0] += self._lap()
        sums[1] += 1

    def _lap(self) -> float:
        now = time.monotonic()
        elapsed_s, self._marked = now - self._marked, now
        return elapsed_s


def _mean(sums: list[float]) -> float:
    return sums[0] / sums[1] if sums[1] else 0.0
