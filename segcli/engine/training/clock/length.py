"""Choose epochs and batches of a training that fill a given time."""

from dataclasses import dataclass, replace

__all__ = ["Costs", "Length", "fitted_interval", "fitted_length", "least_seconds", "length_and_interval", "told"]

MOST_CHECKING = 0.2
"""Largest share of the time for the validations of a training that has only a few epochs."""
CHECKING = 0.1
"""Share of the time for the validations of a training whose plan is free to choose their number."""
MOST_VALIDATIONS = 20
FEW = 8
"""Epochs that a training should have at least, so that the best of some validations is kept."""
CLOSE = 0.01
"""Share of the time that may be left over; otherwise more and shorter epochs are tried."""
MOST_LEFT = 0.03
"""Share of the time that may be left over; otherwise any number of epochs, and fewer validations, are tried."""


@dataclass(frozen=True)
class Costs:
    """Holds the seconds of the parts of a training."""

    step_s: float
    """One batch."""
    epoch_s: float
    """What comes once in each epoch: the wait for the first batch, checkpoint and history."""
    val_s: float = 0.0
    """One validation."""
    once_s: float = 0.0
    """Start of the loader, and the end: report and trackers."""
    pictures_s: float = 0.0
    """Pictures of a validation."""
    pictures_every: int = 0
    """Epochs between two sets of pictures; 0 for none."""

    def seconds(self, epochs: int, batches: int, val_interval: int) -> float:
        """Compute the seconds of a training."""
        drawn = epochs // max(self.pictures_every, val_interval) if self.pictures_every else 0
        validations = -(-epochs // val_interval)
        each = self.epoch_s + batches * self.step_s
        return self.once_s + epochs * each + validations * self.val_s + drawn * self.pictures_s


@dataclass(frozen=True)
class Length:
    """Holds the number of epochs and of the batches of each."""

    epochs: int
    batches: int


def least_seconds(costs: Costs, group: int) -> float:
    """Compute the seconds of the shortest training: one optimizer step of `group` batches, with its validation."""
    return costs.seconds(1, group, 1)


def fitted_length(
    costs: Costs, seconds: float, *, batches: int, val_interval: int = 1, group: int = 1
) -> Length | None:
    """Choose epochs and batches that fill the seconds; None if not even one optimizer step fits.

    Whole epochs first: as many as fit, and one more, for which each epoch gives up a few batches. Where one epoch is
    longer than the time, epochs are shorter, and there are a few of them if validations are cheap. If those leave too
    much of the time over, any number of epochs is tried.

    Args:
        costs: Seconds of the parts.
        seconds: Seconds to fill.
        batches: Batches of a whole epoch.
        val_interval: Epochs between two validations.
        group: Batches of one optimizer step.

    Example:
        >>> fitted_length(Costs(step_s=0.5, epoch_s=1.0, val_s=3.0), 600.0, batches=100)
        Length(epochs=11, batches=100)
    """
    fewest = max(_epochs_that_fit(costs, seconds, batches, val_interval), 1)
    most = _epochs_that_fit(costs, seconds, min(group, batches), val_interval)
    least = max(fewest, _short_epochs(costs, seconds, val_interval))
    usual = range(least, min(2 * least + FEW, most + 1))

    def filled(epochs: int) -> Length:
        return Length(epochs, _batches(costs, seconds, epochs, batches, val_interval, group))

    def left(length: Length) -> float:
        return seconds - costs.seconds(length.epochs, length.batches, val_interval)

    close = next((length for length in map(filled, usual) if left(length) <= CLOSE * seconds), None)
    if close is not None:
        return close
    best = min(map(filled, usual), key=left, default=None)
    if best is not None and left(best) <= MOST_LEFT * seconds:
        return best
    return min(map(filled, range(most, fewest - 1, -1)), key=left, default=None)


def _short_epochs(costs: Costs, seconds: float, val_interval: int) -> int:
    """Count the epochs that a training should have although each is cut short: a few, if validations are cheap."""
    each = max(costs.epoch_s + costs.val_s / val_interval, 1e-9)
    return min(FEW, int(MOST_CHECKING * seconds / each))


def fitted_interval(costs: Costs, seconds: float, *, batches: int, group: int = 1) -> int:
    """Choose the epochs between two validations, so that these take a tenth of the time, and are 20 at most.

    Example:
        >>> fitted_interval(Costs(step_s=0.5, epoch_s=1.0, val_s=20.0), 600.0, batches=20)
        18
    """
    length = fitted_length(replace(costs, val_s=0.0), seconds, batches=batches, group=group)
    count = max(1, min(MOST_VALIDATIONS, int(CHECKING * seconds / max(costs.val_s, 1e-9))))
    return 1 if length is None else max(1, -(-length.epochs // count))


def length_and_interval(
    costs: Costs, seconds: float, *, batches: int, val_interval: int, group: int = 1
) -> tuple[Length | None, int]:
    """Choose the length, and fewer validations where these are so long that much of the time would be left over.

    Arguments as of `fitted_length`.

    Example:
        >>> length_and_interval(Costs(step_s=1.0, epoch_s=0.0, val_s=300.0), 600.0, batches=10, val_interval=1)
        (Length(epochs=30, batches=10), 60)
    """
    length = fitted_length(costs, seconds, batches=batches, val_interval=val_interval, group=group)
    if length is None or seconds - costs.seconds(length.epochs, length.batches, val_interval) <= MOST_LEFT * seconds:
        return length, val_interval
    rarer = max(val_interval, fitted_interval(costs, seconds, batches=batches, group=group))
    other = fitted_length(costs, seconds, batches=batches, val_interval=rarer, group=group)
    if other is None or other.epochs * other.batches <= length.epochs * length.batches:
        return length, val_interval
    return other, rarer


def _epochs_that_fit(costs: Costs, seconds: float, batches: int, val_interval: int) -> int:
    """Count the epochs of so many batches that fit."""
    low, high = 0, 1
    while costs.seconds(high, batches, val_interval) <= seconds:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if costs.seconds(middle, batches, val_interval) <= seconds else (low, middle)
    return low


def _batches(costs: Costs, seconds: float, epochs: int, batches: int, val_interval: int, group: int) -> int:
    """Count the batches that each of so many epochs has room for; whole optimizer steps, unless the epoch is whole."""
    room = seconds - costs.seconds(epochs, 0, val_interval)
    count = int(room / (epochs * costs.step_s) + 1e-9)
    return batches if count >= batches else count // group * group


def told(costs: Costs) -> str:
    """Say what a step and a validation take."""
    parts = [f"a batch takes {_seconds(costs.step_s)}"]
    if costs.val_s:
        parts.append(f"a validation {_seconds(costs.val_s)}")
    return ", ".join(parts)


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value < 100.0 else f"{value:.0f} s"
